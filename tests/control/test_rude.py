"""A good client does not notice a thousand rude ones: a server, a crowd and the client, each a process of its own."""

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from jupiter.control.client import Client
from jupiter.control.server import MAX_CLIENTS, SPARE_CLIENTS
from jupiter.session import MAX_DRAFTS
from tests.control.crowd import KINDS

ROOT = Path(__file__).parents[2]
CROWD = 1000
CALLS = 50
MOST = 400
"""Milliseconds of the server's work in front of a call. Its CPU time, so that a busy machine does not fail the test: 10
to 70 on a quiet one, and 130 once where others had the caches."""

MOST_MEGABYTES = 50 + 2 * (MAX_CLIENTS + SPARE_CLIENTS) + (MAX_DRAFTS >> 20)
"""Python itself, the clients' requests and answers, the drafts."""


@contextmanager
def process(module: str, *arguments: object) -> Iterator[int]:
    """Its pid."""
    words = [sys.executable, "-m", f"tests.control.{module}", *map(str, arguments)]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as running:
        try:
            assert running.stdout is not None
            assert running.stdout.readline() == "ready\n"
            yield running.pid
        finally:
            running.kill()


def cpu_milliseconds(pid: int) -> float:
    """Time that it ran (Linux, Documentation/scheduler/sched-stats.rst)."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e6


def peak_megabytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) >> 10


class Times:
    """What calls take, on the clock and of the server's CPU."""

    def __init__(self, server: int) -> None:
        self._server = server
        self.clock: list[float] = []
        self.cpu: list[float] = []

    def measure(self, call: Callable[[], object]) -> None:
        began, cpu = time.perf_counter(), cpu_milliseconds(self._server)
        call()
        self.clock.append((time.perf_counter() - began) * 1000)
        self.cpu.append(cpu_milliseconds(self._server) - cpu)

    def __str__(self) -> str:
        return ", ".join(
            f"{name} p50 {sorted(times)[CALLS // 2]:5.1f} p99 {sorted(times)[CALLS * 99 // 100]:5.1f}"
            for name, times in (("clock", self.clock), ("CPU", self.cpu))
        )


@pytest.mark.parametrize("kind", [kind.__name__ for kind in KINDS])
def test_a_good_client_does_not_notice_rude_ones(directory: Path, kind: str) -> None:
    """Neither one that stays connected nor one that comes for each call: what is done before their turn is bounded."""
    path = directory / "jupiter.sock"

    def come() -> None:
        with Client(path) as newcomer:
            newcomer.call("version")

    with process("serve", path) as server, process("crowd", kind, path, CROWD), Client(path) as client:
        client.call("version")  # by now it is accepted
        staying, coming = Times(server), Times(server)
        for _ in range(CALLS):
            staying.measure(lambda: client.call("version"))
            coming.measure(come)
            time.sleep(0.002)
        megabytes = peak_megabytes(server)
    print(f"{kind:15} ms: staying: {staying}; coming: {coming}; {megabytes} MB")
    assert megabytes < MOST_MEGABYTES
    assert sorted(staying.cpu)[CALLS * 99 // 100] < MOST
    assert sorted(coming.cpu)[CALLS * 99 // 100] < MOST
