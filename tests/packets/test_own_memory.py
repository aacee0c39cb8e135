"""What each worker writes: nothing that another one writes, to the cache line (DESIGN: one line, one owner)."""

from itertools import combinations

import pytest
from scapy.layers.inet import ICMP, IP

from fastpath import engine
from tests.packets.director import Director
from tests.packets.frames import (
    CLIENT,
    DIRECTOR,
    OTHER_SERVER,
    SERVER,
    VIP,
    arp,
    frame,
    inbound,
    outbound,
    tcp,
    udp,
)

WORKERS = 3
LINE = 64


def lines(worker: int) -> dict[int, str]:
    """Cache line -> whose structure lies there, of all that a worker may write."""
    return {
        line: area.name
        for area in engine.written_by(worker)
        for line in range(area.address // LINE, (area.address + area.length - 1) // LINE + 1)
    }


def test_no_line_has_two_writers(director: Director) -> None:
    """The structures that workers write share no cache line with each other's."""
    for one, other in combinations([lines(worker) for worker in range(WORKERS)], 2):
        shared = one.keys() & other.keys()
        assert {(one[line], other[line]) for line in shared} == set()


@pytest.mark.parametrize("worker", range(WORKERS))
def test_a_turn_writes_its_own_alone(director: Director, worker: int) -> None:
    """Whatever a worker does, in what the others write, and in what main writes, no byte changes."""
    director.service([SERVER, OTHER_SERVER])
    director.service(protocol=engine.UDP, id=1, first=2)
    limits = engine.Limits(1000, 1000, 50, ((b"\1\1\1\1", 40),))
    most = {SERVER: 5, OTHER_SERVER: 9}
    director.service(
        most, id=2, first=3, vport=81, most=most, limits=limits, persistence=engine.Persistence(9), mss=1400
    )
    director.service(
        most, id=3, first=5, vport=82, limits=limits, persistence=engine.Persistence(9, whole_address=True)
    )
    sent = director.send(*[inbound(tcp("S", sport=n)) for n in range(1, 61)]).to_network
    traffic = [
        *[inbound(tcp("S", sport=n)) for n in range(100, 160)],
        *[outbound(p, tcp("SA")) for p in sent],
        *[inbound(tcp("FA", sport=n)) for n in range(1, 61)],
        *[inbound(udp(sport=n)) for n in range(1, 21)],
        *[inbound(tcp("S", sport=n, dport=port), src=f"2.0.0.{n}") for n in range(1, 31) for port in (81, 82)],
        inbound(tcp("A", sport=999)),
        inbound(tcp("S"), ttl=1),
        frame(IP(src=CLIENT, dst=VIP) / ICMP()),
        frame(IP(src=CLIENT, dst=DIRECTOR) / tcp(dport=22)),
        arp(VIP),
        b"short",
    ]
    others = [other for other in range(WORKERS) if other != worker]
    areas = [engine.written_by_main(), *map(engine.written_by, others)]
    asking = [inbound(tcp("S", sport=n, dport=port)) for n in range(1, 31) for port in (81, 82)]
    engine.run_once(asking, others[0], director.seconds())  # some ask this worker, some are its own
    before = list(map(engine.fingerprint, areas))
    engine.run_once(traffic, worker, director.seconds(), [(0, frame(IP(dst=CLIENT) / udp()))])
    assert list(map(engine.fingerprint, areas)) == before
    assert engine.worker_counters()[others[0]].handover_depth > 0
    director.settle()


def test_a_fingerprint_sees_a_change(director: Director) -> None:
    """The measure itself: what a worker's own turn changes is seen, and so is what main changes."""
    director.service()
    own, main = engine.written_by(1), engine.written_by_main()
    before = engine.fingerprint(own), engine.fingerprint(main)
    engine.run_once([b"short"], 1, director.seconds())
    assert engine.fingerprint(own) != before[0]
    assert engine.fingerprint(main) == before[1]
    engine.set_next_hop(0, 1, bytes(6))
    assert engine.fingerprint(main) != before[1]
