"""A next hop that is not known yet costs no packet that can wait for it: B40."""

from collections.abc import Iterator

import pytest
from scapy.layers.inet import IP, TCP
from scapy.packet import Packet

from fastpath import engine
from tests.packets.director import Director
from tests.packets.frames import OTHER_SERVER, SERVER, inbound, outbound, server_mac, tcp, udp

HOP, OTHER_HOP = (0, server_mac(SERVER)), (0, server_mac(OTHER_SERVER))
UNKNOWN = {SERVER: None, OTHER_SERVER: None}
WRAP = 2**32
"""Milliseconds."""


def data(*numbers: int, sport: int = 1000) -> list[bytes]:
    """Segments of a connection that tell their number."""
    return [inbound(tcp("PA", sport=sport, seq=n)) for n in numbers]


def numbers(packets: list[Packet]) -> list[int]:
    return [p[TCP].seq for p in packets]


@pytest.fixture
def parked(director: Director) -> Iterator[Director]:
    """One server whose next hop is not known, one SYN that waits for it."""
    director.service(hops=UNKNOWN)
    sent = director.send(inbound(tcp("S", sport=1)))
    assert (sent.to_network, director.parked(), director.in_use()) == ([], 1, 0)
    yield director
    assert director.parked() == 0


def lose_hop(director: Director) -> Packet:
    """A living connection whose server's next hop goes away; the SYN as the server got it."""
    director.service()
    first = director.send(inbound(tcp("S"))).one()
    director.send(outbound(first, tcp("SA")), inbound(tcp("A")))
    engine.set_next_hop(0, 0, None)
    return first


def test_resolved_in_time(parked: Director) -> None:
    """B40: the SYN that found no next hop opens its connection once there is one, whole and as it was."""
    parked.later(0.5)
    parked.resolve(0, *HOP)
    out = parked.send().one()
    assert (out.dst, out[IP].dst, out[TCP].flags, out[IP].ttl) == (server_mac(SERVER), SERVER, "S", 63)
    assert parked.send(outbound(out, tcp("SA"))).one()[TCP].dport == 1
    assert parked.states() == ["SYN_RECV"]


@pytest.mark.parametrize("before", [0, 0.4, 0.999])
def test_at_most_a_second(parked: Director, before: float) -> None:
    """B40: it waits for a second and no longer; then it is dropped under next_hop_unresolved, for its service too."""
    service, port = engine.service_counters(0), engine.port_counters(0)
    parked.wait(before)
    assert parked.parked() == 1
    parked.later(1 - before)
    parked.send(drops={"next_hop_unresolved": 1})
    assert engine.service_counters(0).inbound_drops == service.inbound_drops + 1
    assert engine.service_counters(0).inbound_drop_bytes == service.inbound_drop_bytes + 54
    assert engine.port_counters(0).rx_dropped == port.rx_dropped + 1
    parked.resolve(0, *HOP)
    assert parked.send().to_network == []


def test_a_hop_that_comes_late_but_before_the_next_turn(parked: Director) -> None:
    """B40: what counts is the next hop when the packet's wait is looked at: it is not dropped when it can be sent."""
    parked.later(5)
    parked.resolve(0, *HOP)
    parked.send().one()


def test_a_living_connection(director: Director) -> None:
    """B40, B11: a hop that goes away and comes back costs a living connection nothing, and its packets keep their
    order; what comes in with them comes after them."""
    first = lose_hop(director)
    assert director.send(*data(1, 2, 3)).to_network == []
    assert director.send(outbound(first, tcp("A"))).one()[TCP].dport == 1000  # the way to the client is another one
    assert director.send(*data(4)).to_network == []
    director.later(0.9)
    director.resolve(0, 0, "02:00:00:00:02:99")
    sent = director.send(*data(5, 6)).to_network
    assert numbers(sent) == [1, 2, 3, 4, 5, 6]
    assert {(p.dst, p[TCP].sport) for p in sent} == {("02:00:00:00:02:99", first[TCP].sport)}
    assert director.states() == ["ESTABLISHED"]


def test_parked_packets_do_not_refresh(director: Director) -> None:
    """B17: a packet that waits and is then dropped has proved nothing."""
    lose_hop(director)
    director.later(100)
    director.send(*data(1))
    director.later(1)
    director.send(drops={"next_hop_unresolved": 1})
    assert director.connections()[0].idle == 101


def test_at_most_eight_for_a_server(director: Director) -> None:
    """B40: the first eight for a server wait, the others are dropped under parking_full, for their service too; as
    soon as there is a place again, it is taken."""
    lose_hop(director)
    before = engine.service_counters(0).inbound_drops
    director.send(*data(*range(12)), drops={"parking_full": 4})
    assert engine.service_counters(0).inbound_drops == before + 4
    assert director.parked() == 8
    director.resolve(0, *HOP)
    assert numbers(director.send().to_network) == list(range(8))
    engine.set_next_hop(0, 0, None)
    director.send(*data(20))
    assert director.parked() == 1
    director.resolve(0, *HOP)
    assert numbers(director.send().to_network) == [20]


@pytest.mark.parametrize("later", [0, 1, 40])
def test_at_most_sixty_four(director: Director, later: int) -> None:
    """B40: all servers of a worker share 64 places; resolved at once, all packets leave in one run, each server's in
    order, although a burst is 32."""
    servers = [f"1.1.1.{n}" for n in range(10, 20)]
    director.service(servers, hops=dict.fromkeys(servers))
    syns = [inbound(tcp("S", sport=sport, seq=sport)) for sport in range(1, 101)]
    director.send(*syns, drops={"parking_full": 36})
    assert director.parked() == 64
    for n, address in enumerate(servers):
        director.resolve(n, 0, server_mac(address))
    news = range(200, 200 + later)
    sent = director.send(*[inbound(tcp("S", sport=sport, seq=sport)) for sport in news]).to_network
    assert len(sent) == 64 + later
    assert numbers(sent[64:]) == list(news)
    for address in servers:
        own = numbers([p for p in sent if p[IP].dst == address])
        assert own == sorted(own)


def test_each_server_for_itself(director: Director) -> None:
    """B40, B24: SYNs that wait go to the servers that the round chose for them, each when that one is there."""
    director.service([SERVER, OTHER_SERVER], hops=UNKNOWN)
    assert director.send(*[inbound(tcp("S", sport=sport)) for sport in range(1, 7)]).to_network == []
    director.resolve(1, *OTHER_HOP)
    second = director.send().to_network
    director.resolve(0, *HOP)
    first = director.send().to_network
    assert ({p[IP].dst for p in second}, {p[IP].dst for p in first}) == ({OTHER_SERVER}, {SERVER})
    assert len(first) == len(second) == 3


def test_a_server_that_left_meanwhile(director: Director) -> None:
    """B26, B40: a packet does not follow its server out of the service: it is scheduled anew."""
    director.service([SERVER], hops=UNKNOWN)
    director.send(inbound(tcp("S")))
    director.service([OTHER_SERVER], first=1)
    director.resolve(0, *HOP)
    assert director.send().one()[IP].dst == OTHER_SERVER
    assert not engine.server_busy(0)


def test_nobody_waits_twice(director: Director) -> None:
    """B40: a packet that has waited and finds no next hop again is dropped at once."""
    director.service([SERVER], hops=UNKNOWN)
    director.send(inbound(tcp("S")))
    director.service([OTHER_SERVER], first=1, hops=UNKNOWN)
    director.resolve(0, *HOP)
    director.send(drops={"next_hop_unresolved": 1})


def test_a_udp_flow(director: Director) -> None:
    """B18, B40: datagrams of one new flow wait and then ride one connection, in order."""
    director.service([SERVER], engine.UDP, hops=UNKNOWN)
    director.send(*[inbound(udp(data=bytes([n]))) for n in range(5)])
    director.resolve(0, *HOP)
    sent = director.send().to_network
    assert [bytes(p[IP].payload.payload)[0] for p in sent] == [0, 1, 2, 3, 4]
    assert director.in_use() == 1


def test_each_port_takes_its_own(director: Director) -> None:
    """B1, B40: a packet goes on as one that came in by its port: the answer leaves there."""
    director.service(hops=UNKNOWN)
    second = bytes.fromhex("020000000002") + inbound(tcp("S"))[6:]
    director.send(inbound(tcp("S", sport=1)), (1, second))
    assert director.parked() == 2
    director.resolve(0, *HOP)
    ways = {p[TCP].sport: p for p in director.send().to_network}
    ports = [director.send(outbound(p, tcp("SA"))) for p in ways.values()]
    assert sorted((sent.ports[0], sent.one()[TCP].dport) for sent in ports) == [(0, 1), (1, 1000)]


def test_over_the_wrap_of_the_clock(director: Director) -> None:
    """B40: a second is a second, also when the clock's 32 bits begin anew in it."""
    while WRAP - director.ms % WRAP > 300:
        director.ms += min(WRAP // 4, WRAP - director.ms % WRAP - 300)
        director.turn()
    director.service(hops=UNKNOWN)
    director.send(inbound(tcp("S")))
    director.wait(0.999)
    assert director.parked() == 1
    director.later(0.001)
    director.send(drops={"next_hop_unresolved": 1})


def test_stop_leaves_nobody_waiting(parked: Director) -> None:
    """B40: stop() drops what waits, under its reason, and gives its buffers back."""
    free, dropped = engine.port_counters(0).mbufs_free, engine.drops()["next_hop_unresolved"]
    engine.stop()
    assert engine.port_counters(0).mbufs_free == free + 1
    assert engine.drops()["next_hop_unresolved"] == dropped + 1
