"""Transfers through a service, as both ends tell of them; transfer.py moves the bytes."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.system.services import VirtualService
from tools.lab import Host, Laboratory

PROGRAM = str(Path(__file__).with_name("transfer.py"))
PORT = 7100
Report = dict[str, Any]


@dataclass
class Ends:
    """What the clients and the servers of the same connections say."""

    clients: list[Report] = field(default_factory=list)
    servers: list[Report] = field(default_factory=list)

    def whole(self) -> bool:
        return all(report.get("whole") for report in self.clients + self.servers)


class Transfers:
    """transfer.py on all servers of a laboratory."""

    def __init__(self, lab: Laboratory) -> None:
        self.processes = [self._serve(server, str(server.address)) for server in lab.servers]

    @staticmethod
    def _serve(host: Host, address: str) -> Any:
        process = host.start(sys.executable, PROGRAM, "serve", address, str(PORT))
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        return process

    def run(
        self,
        service: VirtualService,
        connections: int,
        down: int = 0,
        up: int = 0,
        down_seconds: float = 0,
        up_seconds: float = 0,
        servers: Sequence[int] = (0, 1),
    ) -> Ends:
        """Through an `rr` service whose servers' port is PORT, of whose connections each of `servers` gets its part."""
        plan = (connections, down, down_seconds, up, up_seconds)
        said = service.lab.client.run(
            sys.executable, PROGRAM, "run", service.vip, str(service.port), *map(str, plan), timeout=150
        )
        clients = json.loads(said.stdout)
        errors = [report["error"] for report in clients if "error" in report]
        assert not errors, errors
        each, more = divmod(connections, len(servers))
        assert not more
        processes = [self.processes[number] for number in servers]
        return Ends(clients, [json.loads(p.stdout.readline()) for p in processes for _ in range(each)])
