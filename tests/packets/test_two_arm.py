"""Two ports, clients on one and servers on the other; frames larger than 1,500 bytes."""

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether

from fastpath import engine
from tests.packets.director import Director
from tests.packets.frames import (
    CLIENT_MAC,
    DIRECTOR_MAC,
    LOCAL,
    OTHER_SERVER,
    SERVER,
    inbound,
    outbound,
    server_mac,
    tcp,
)

MTU = 9000
SECOND_MAC = "02:00:00:00:00:02"
INSIDE = "10.0.3.1"
HOPS = {SERVER: (1, server_mac(SERVER))}


def to_second(raw: bytes) -> tuple[int, bytes]:
    """The frame as it arrives on the director's second port."""
    return 1, bytes.fromhex(SECOND_MAC.replace(":", "")) + raw[6:]


def test_there_and_back(director: Director) -> None:
    """B1: in by one port, out by the server's, with that port's MAC and local address; back by the client's."""
    director.locals(INSIDE, port=1)
    director.service(hops=HOPS)
    sent = director.send(inbound(tcp("S")))
    to_server = sent.one()
    assert (sent.ports, to_server.src, to_server.dst) == ([1], SECOND_MAC, server_mac(SERVER))
    assert (to_server[IP].src, to_server[IP].dst) == (INSIDE, SERVER)

    back = director.send(to_second(outbound(to_server, tcp("SA"))))
    assert (back.ports, back.one().src, back.one().dst) == ([0], DIRECTOR_MAC, CLIENT_MAC)


def test_servers_on_both_sides(director: Director) -> None:
    """B1: each server has the local address of its side."""
    director.locals(INSIDE, port=1)
    director.service([SERVER, OTHER_SERVER], hops=HOPS)
    sent = director.send(*[inbound(tcp("S", sport=sport)) for sport in range(1, 11)])
    ways = {(port, p[IP].src, p[IP].dst) for port, p in zip(sent.ports, sent.to_network, strict=True)}
    assert ways == {(1, INSIDE, SERVER), (0, LOCAL, OTHER_SERVER)}


def test_a_side_without_local_addresses(director: Director) -> None:
    """B22: a server behind a port without local addresses cannot be reached: counted."""
    director.service(hops=HOPS)
    director.send(inbound(tcp("S")), drops={"no_local_port": 1})


def test_a_client_that_moves_to_the_other_port(director: Director) -> None:
    """B1: answers leave by the port that the client's last packet came in by."""
    director.service()
    to_server = director.send(inbound(tcp("S"))).one()
    director.send(to_second(inbound(tcp("A"))))
    back = director.send(outbound(to_server, tcp("A")))
    assert (back.ports, back.one().src) == ([1], SECOND_MAC)


def test_both_ports_in_one_turn(director: Director) -> None:
    """B21: a connection's packets of both directions, one on each port, in one turn."""
    director.locals(INSIDE, port=1)
    director.service(hops=HOPS)
    to_server = director.send(inbound(tcp("S"))).one()
    sent = director.send(inbound(tcp("A")), to_second(outbound(to_server, tcp("A"))), inbound(tcp("PA")))
    assert sorted(sent.ports) == [0, 1, 1]
    assert director.in_use() == 1


def test_the_other_ports_mac_is_not_ours(director: Director) -> None:
    """B8: a frame for the second port's MAC that comes in by the first is another machine's."""
    director.service()
    director.send(to_second(inbound(tcp("S")))[1], drops={"not_for_us": 1})


def test_time_exceeded_has_its_ports_address(director: Director) -> None:
    """B4: ICMP errors of a port without an address of the director are not sent."""
    director.service()
    director.send(to_second(inbound(tcp("S"), ttl=1)), drops={"ttl_exceeded": 1})
    engine.set_port_address(1, bytes([10, 9, 9, 9]))
    told = director.send(to_second(inbound(tcp("S"), ttl=1)), drops={"ttl_exceeded": 1}, errors=1).one()
    assert told[IP].src == "10.9.9.9"
    engine.set_port_address(1, None)


@pytest.mark.parametrize("size", [1460, 1461, 4000, 8960])
def test_jumbo_frames(director: Director, size: int) -> None:
    """B1, B2: packets of up to the largest MTU pass both ways, right to the last byte."""
    director.service()
    data = bytes(n * 7 & 0xFF for n in range(size))
    to_server = director.send(inbound(tcp("S", data=data))).one()
    assert bytes(to_server[TCP].payload) == data
    to_client = director.send(outbound(Ether(bytes(to_server)), tcp("SA", data=data))).one()
    assert bytes(to_client[TCP].payload) == data
