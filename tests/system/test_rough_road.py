"""Real stacks with a relay between client and director, and one between director and servers, each of which loses,
reorders and duplicates frames by a seeded random source: transfers stay whole."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from tests.system.services import VIP, VirtualService
from tests.system.transfers import PORT, Transfers
from tools.lab import TWO_ARM, Host, Laboratory
from tools.lab.topology import Cable

HERE = Path(__file__).parent
UDP_PORT = 7000
# The client and the servers move to wires of their own, which a relay joins to the director's.
WIRES = {"client": "far-clients", "server1": "far-servers", "server2": "far-servers"}
TOPOLOGY = replace(
    TWO_ARM,
    cables=(
        *(replace(cable, bridge=WIRES.get(cable.host, cable.bridge)) for cable in TWO_ARM.cables),
        Cable("relay", "far0", "far-clients"),
        Cable("relay", "near0", "clients"),
        Cable("relay", "far1", "far-servers"),
        Cable("relay", "near1", "servers"),
    ),
)
SIDES = ("clients", "servers")
GENTLE = ("0", "0", "0")
ROUGH = ("0.01", "0.03", "0.02")
"""Loss, reordering, duplicates."""
CONNECTIONS, BYTES = 6, 1 << 20


@dataclass
class Harm:
    """What the relays did, by side: two directions each; known after the block."""

    by_side: dict[str, list[dict[str, int]]] = field(default_factory=dict)

    def least(self, side: str, name: str) -> int:
        return min(direction[name] for direction in self.by_side[side])


@contextmanager
def relayed(lab: Laboratory, rough: str) -> Iterator[Harm]:
    """Both relays run; that of the side `rough`, or of both, is what its name says."""
    stop = lab.client.path("/run/relay.stop")
    stop.unlink(missing_ok=True)
    harm = Harm()
    relays = {}
    for number, side in enumerate(SIDES):
        rates = ROUGH if rough in (side, "both") else GENTLE
        arguments = (f"far{number}", f"near{number}", str(number), *rates, "/run/relay.stop")
        relays[side] = Host(lab.pid, "relay").start(sys.executable, str(HERE / "relay.py"), *arguments)
    try:
        for relay in relays.values():
            assert relay.stdout
            assert relay.stdout.readline() == "ready\n"
        yield harm
    finally:
        stop.touch()
        said = {side: relay.communicate(timeout=30) for side, relay in relays.items()}
    assert not any(errors for _, errors in said.values()), said
    harm.by_side = {side: json.loads(output) for side, (output, _) in said.items()}


@pytest.fixture(scope="module")
def lab() -> Iterator[Laboratory]:
    with Laboratory(TOPOLOGY) as laboratory:
        laboratory.director.run("jupiter-service", "--daemon")
        yield laboratory


@pytest.fixture(scope="module")
def transfers(lab: Laboratory) -> Transfers:
    return Transfers(lab)


@pytest.mark.parametrize("rough", [*SIDES, "both"])
def test_transfers_stay_whole(lab: Laboratory, transfers: Transfers, ports: Iterator[int], rough: str) -> None:
    """B1, B12, B38: through losses, reordering and duplicates on either side of the director, and on both, six
    connections carry a megabyte each in both directions at once, byte for byte, with timestamps and SACK."""
    service = VirtualService(lab, next(ports), rport=PORT).add("rr")
    with relayed(lab, rough) as harm:
        ends = transfers.run(service, CONNECTIONS, down=BYTES, up=BYTES)
    assert ends.whole()
    assert all(report["timestamps"] and report["sack"] for report in ends.clients + ends.servers)
    assert sum(report["retransmitted"] for report in ends.clients) > 10
    assert sum(report["retransmitted"] for report in ends.servers) > 10
    for side in SIDES:
        assert harm.least(side, "came") > CONNECTIONS * BYTES / 1500
        suffered = [harm.least(side, name) for name in ("lost", "doubled", "overtaken")]
        assert min(suffered) > 10 if rough in (side, "both") else not any(suffered)
    assert sorted(service.connections()) == [CONNECTIONS // 2] * 2


def test_queries_are_answered(lab: Laboratory, ports: Iterator[int]) -> None:
    """B18: 400 requests by UDP, repeated until they are answered, through losses on both sides; each socket's
    datagrams, late, doubled and repeated ones too, ride one connection to one server."""
    for server in lab.servers:
        process = server.start(sys.executable, str(HERE / "udp_peer.py"), "serve", str(server.address), str(UDP_PORT))
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    service = VirtualService(lab, next(ports), "udp", rport=UDP_PORT).add("rr")
    with relayed(lab, "both") as harm:
        program = (sys.executable, str(HERE / "udp_peer.py"), "insist", VIP, str(service.port), "8", "50")
        report = json.loads(lab.client.run(*program).stdout)
    assert report["answered"] == 400
    assert report["repeated"] > 5
    assert report["servers"] == [1] * 8
    assert service.connections() == [4, 4]
    assert min(harm.least(side, "lost") for side in SIDES) > 0
