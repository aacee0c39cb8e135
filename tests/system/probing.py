"""Traffic that runs while a test changes something, and what became of it."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.system.services import VIP, VirtualService, drops
from tools.lab import Host, Laboratory, wait_until

HERE = Path(__file__).parent
PORT = 7000


@dataclass
class Fate:
    """Of queries on an old connection and on new ones: sent, lost, and seconds without an answer at most."""

    old: dict[str, float] = field(default_factory=dict)
    new: dict[str, float] = field(default_factory=dict)

    @property
    def lost(self) -> int:
        return int(self.old["lost"] + self.new["lost"])

    @property
    def gap(self) -> float:
        return max(self.old["gap"], self.new["gap"])


def serve_udp(lab: Laboratory) -> None:
    """Start udp_peer on all servers of the laboratory."""
    for server in lab.servers:
        serve_udp_at(server, str(server.address))


def serve_udp_at(host: Host, address: str) -> None:
    process = host.start(sys.executable, str(HERE / "udp_peer.py"), "serve", address, str(PORT))
    assert process.stdout
    assert process.stdout.readline() == "ready\n"


@contextmanager
def probing(service: VirtualService) -> Iterator[Fate]:
    """Queries by a UDP service, some hundred a second; the fate is known after the block."""
    client = service.lab.client
    stop = client.path("/run/prober.stop")
    stop.unlink(missing_ok=True)
    prober = client.start(sys.executable, str(HERE / "prober.py"), VIP, str(service.port), "/run/prober.stop")
    fate = Fate()
    assert prober.stdout
    assert prober.stdout.readline() == "ready\n"
    try:
        yield fate
    finally:
        stop.touch()
        output, errors = prober.communicate(timeout=30)
    assert prober.returncode == 0, errors
    report = json.loads(output)
    fate.old, fate.new = report["old"], report["new"]


def flow(service: VirtualService) -> None:
    """Return when a hundred queries or so have been answered."""
    before = service.sent_to_clients()
    wait_until(lambda: service.sent_to_clients() - before > 6000, "answers to queries")


def without_next_hop(lab: Laboratory) -> int:
    """Packets that were dropped because no next hop was known for them."""
    return sum(count for reason, count in drops(lab).items() if reason.startswith("next_hop"))
