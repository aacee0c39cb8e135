"""Draining, removing, adding: B26; virtual addresses that come and go: B30, B40."""

import pytest
from scapy.layers.inet import ICMP, IP

from fastpath import engine
from tests.packets.director import Director
from tests.packets.frames import OTHER_SERVER, SERVER, VIP, arp, inbound, outbound, tcp, udp


def test_weight_0_drains(director: Director) -> None:
    """B26: no new connections, old ones flow both ways to their end."""
    director.service({SERVER: 1})
    to_server = director.send(inbound(tcp("S", sport=1))).one()
    director.service({SERVER: 0, OTHER_SERVER: 1})
    news = director.send(*[inbound(tcp("S", sport=sport)) for sport in range(2, 20)]).to_network
    assert {p[IP].dst for p in news} == {OTHER_SERVER}
    director.send(outbound(to_server, tcp("SA")), inbound(tcp("A", sport=1)), outbound(to_server, tcp("FA")))
    assert director.send(inbound(tcp("FA", sport=1))).one()[IP].dst == SERVER
    assert "TIME_WAIT" in director.states()


def test_tcp_of_a_removed_server_lives_on(director: Director) -> None:
    """B11, B26: policy `keep`: its connections flow both ways; the id is busy until the last of them has gone."""
    director.service([SERVER], first=0, timeout=100)
    to_server = director.send(inbound(tcp("S"))).one()
    director.service([OTHER_SERVER], first=1, timeout=100)
    director.send(outbound(to_server, tcp("SA")))
    assert director.send(inbound(tcp("A"))).one()[IP].dst == SERVER
    assert director.send(inbound(tcp("S", sport=7))).one()[IP].dst == OTHER_SERVER
    assert engine.server_busy(0)
    director.wait(103)
    assert not engine.server_busy(0)


def test_tcp_of_a_removed_service_lives_on(director: Director) -> None:
    """B11, B26: so do those of a service that is gone; new ones find nobody."""
    director.service()
    to_server = director.send(inbound(tcp("S"))).one()
    director.remove(0)
    assert director.send(outbound(to_server, tcp("SA"))).one()[IP].src == VIP
    assert director.send(inbound(tcp("A"))).one()[IP].dst == SERVER
    stranger = inbound(tcp("S", sport=7))
    assert director.send(stranger).to_kernel == [stranger]


def test_udp_leaves_a_removed_server(director: Director) -> None:
    """B26: the next packet of the client opens a new connection to a server that is there, several in a burst one."""
    director.service([SERVER], engine.UDP)
    director.send(inbound(udp()))
    director.service([OTHER_SERVER], engine.UDP, first=1)
    sent = director.send(*[inbound(udp())] * 3).to_network
    assert {p[IP].dst for p in sent} == {OTHER_SERVER}
    assert len({p[IP].payload.sport for p in sent}) == 1
    assert not engine.server_busy(0)
    assert director.in_use() == 1


def test_udp_leaves_a_removed_service(director: Director) -> None:
    """B26: with its service gone, the next packet frees the connection and is the kernel's."""
    director.service(protocol=engine.UDP)
    director.send(inbound(udp()))
    director.remove(0)
    assert director.send(inbound(udp())).to_kernel == [inbound(udp())]
    assert director.in_use() == 0


def test_udp_stays_with_a_drained_server(director: Director) -> None:
    """B26: weight 0 is no removal."""
    director.service([SERVER], engine.UDP)
    director.send(inbound(udp()))
    director.service({SERVER: 0, OTHER_SERVER: 1}, engine.UDP)
    assert director.send(inbound(udp())).one()[IP].dst == SERVER


def test_udp_of_a_removed_server_ends_although_it_sends(director: Director) -> None:
    """B26: gone in bounded time, also when the server alone keeps sending."""
    director.service(protocol=engine.UDP)
    to_server = director.send(inbound(udp())).one()
    director.remove(0)
    answer = outbound(to_server, udp())
    for _ in range(10):
        director.later(100)
        engine.run_once([answer], now=director.seconds())
    assert director.in_use() == 0


def test_a_server_that_comes_back(director: Director) -> None:
    """B11, B26: removed and added again under its id, it serves its old connections and gets new ones."""
    director.service([SERVER, OTHER_SERVER])
    director.send(*[inbound(tcp("S", sport=sport)) for sport in (1, 2)])
    director.service([OTHER_SERVER], first=1)
    director.service([SERVER, OTHER_SERVER])
    kept = director.send(inbound(tcp("A", sport=1)), inbound(tcp("A", sport=2))).to_network
    assert {p[IP].dst for p in kept} == {SERVER, OTHER_SERVER}
    news = director.send(*[inbound(tcp("S", sport=sport)) for sport in (3, 4)]).to_network
    assert {p[IP].dst for p in news} == {SERVER, OTHER_SERVER}


@pytest.mark.parametrize("question", [arp(VIP), inbound(ICMP(id=1))], ids=["ARP", "ping"])
def test_a_virtual_address_goes_with_its_last_service(director: Director, question: bytes) -> None:
    """B30, B40: a VIP answers while one service has it; then it is not ours: the kernel's."""
    director.service()
    director.service(protocol=engine.UDP, id=1, first=1)
    director.remove(0)
    assert len(director.send(question).to_network) == 1
    director.remove(1)
    assert director.send(question).to_kernel == [question]
    director.service()
    assert len(director.send(question).to_network) == 1
