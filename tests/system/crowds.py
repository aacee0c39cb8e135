"""Crowds of connections through a service; crowd.py is what runs on the hosts, in as many processes as the limit of
open files asks for: we may not raise it everywhere."""

import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

from tests.system.services import VirtualService
from tools.lab import Laboratory

PROGRAM = str(Path(__file__).with_name("crowd.py"))
PORT = 7200
EACH = 12500
"""Connections of a process: on the clients' side exactly, on the servers' side on average."""
ROOM = ("net.core.somaxconn=65535", "net.ipv4.tcp_max_syn_backlog=65535", "net.ipv4.tcp_max_tw_buckets=1000000")
"""sysctl: for real stacks that open and close as fast as they can."""
Counts = dict[str, int]
Process = subprocess.Popen[str]


def read(processes: list[Process]) -> Counts:
    """A line of JSON from each, added up."""
    total: Counts = {}
    for process in processes:
        assert process.stdout
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        for name, count in json.loads(line).items():
            total[name] = total.get(name, 0) + count
    return total


class Crowd:
    """One that has come: each of its connections is open or has failed. It has addresses of its own on the client."""

    _numbers = itertools.count()
    _addresses = itertools.count(10)

    def __init__(self, service: VirtualService, connections: int, patience: float = 30) -> None:
        """patience: seconds until a connection has failed; its SYN is sent again after 1, 3, 7, 15."""
        self._client = service.lab.client
        self._steps = f"/run/crowd{next(self._numbers)}"
        self._processes = []
        for first in range(0, connections, EACH):
            address = f"1.1.1.{next(self._addresses)}"
            self._client.run("ip", "address", "add", f"{address}/24", "dev", "eth0")
            size = str(min(EACH, connections - first))
            arguments = (service.vip, str(service.port), size, address, str(patience), self._steps)
            self._processes.append(self._client.start(sys.executable, PROGRAM, "come", *arguments))
        counts = read(self._processes)
        self.opened, self.failed = counts["opened"], counts["failed"]

    def use(self) -> int:
        """A request on each; how many connections were answered."""
        self._client.path(f"{self._steps}.use").touch()
        return read(self._processes)["answered"]

    def leave(self) -> int:
        """All ends, in order; how many connections did, of those that were open."""
        self._client.path(f"{self._steps}.leave").touch()
        left = read(self._processes)["left"]
        for process in self._processes:
            process.communicate(timeout=60)
        return left


@contextmanager
def serving(lab: Laboratory, connections: int, servers: int = 2) -> Iterator[list[Counts]]:
    """crowd.py on the first servers, for so many connections in all; what each server says is known after the block."""
    stop = lab.client.path("/run/crowd.stop")
    stop.unlink(missing_ok=True)
    for host in (lab.client, *lab.servers):
        host.run("sysctl", "-qw", *ROOM)
    parts = -(-connections // (EACH * servers))
    processes = [
        [
            server.start(sys.executable, PROGRAM, "serve", str(server.address), str(PORT), "/run/crowd.stop")
            for _ in range(parts)
        ]
        for server in lab.servers[:servers]
    ]
    counts: list[Counts] = []
    try:
        for process in chain.from_iterable(processes):
            assert process.stdout
            assert process.stdout.readline() == "ready\n", process.communicate()[1]
        yield counts
    finally:
        stop.touch()
    counts += [read(of_a_server) for of_a_server in processes]
    for process in chain.from_iterable(processes):
        process.communicate(timeout=60)
