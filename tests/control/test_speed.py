"""2,000 commands a second from 50 clients, none lost: a server in a process of its own."""

import selectors
import socket
import time
from pathlib import Path

from jupiter.control.protocol import encode_request
from tests.control.test_rude import cpu_milliseconds, process
from tests.control.wire import connect

CLIENTS = 50
RATE = 2000
SECONDS = 2
MOST = 400
"""Microseconds of the server's CPU time for a command that does nothing: 2,000 of them leave most of a core."""


def drive(crowd: list[socket.socket]) -> list[float]:
    """RATE commands a second for SECONDS, each client one at a time; seconds from sending to answer, ascending."""
    request, waiting, idle, took = encode_request(1, "version", {}), {}, list(crowd), []
    with selectors.DefaultSelector() as selector:
        for raw in crowd:
            selector.register(raw, selectors.EVENT_READ)
        began, sent = time.perf_counter(), 0
        while len(took) < RATE * SECONDS:
            while idle and sent < min(RATE * SECONDS, (time.perf_counter() - began) * RATE):
                raw = idle.pop()
                waiting[raw] = time.perf_counter()
                raw.sendall(request)
                sent += 1
            for key, _ in selector.select(0.001):
                assert key.fileobj.recv(1000).startswith(b'{"jsonrpc":"2.0","id":1,"result":')
                took.append(time.perf_counter() - waiting.pop(key.fileobj))
                idle.append(key.fileobj)
    return sorted(took)


def test_2000_commands_a_second_cost_little(directory: Path) -> None:
    path = directory / "jupiter.sock"
    with process("serve", path) as server:
        crowd = [connect(path) for _ in range(CLIENTS)]
        before = cpu_milliseconds(server)
        took = drive(crowd)
        cost = (cpu_milliseconds(server) - before) * 1000 / len(took)
        for raw in crowd:
            raw.close()
    p50, p99 = took[len(took) // 2] * 1e6, took[len(took) * 99 // 100] * 1e6
    print(f"{len(took)} commands: {cost:.0f} µs of CPU each; answered within p50 {p50:.0f} µs, p99 {p99:.0f} µs")
    assert len(took) == RATE * SECONDS
    assert cost < MOST
