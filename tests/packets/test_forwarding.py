"""What forwarding does to a packet, and what it must not do: B1, B5, B6, B7, B38."""

import pytest
from scapy.layers.inet import IP, TCP, UDP, IPOption_NOP
from scapy.packet import Raw

from fastpath import engine
from tests.packets.director import Director
from tests.packets.frames import (
    CLIENT,
    CLIENT_MAC,
    DIRECTOR_MAC,
    LOCAL,
    SERVER,
    VIP,
    bare,
    inbound,
    outbound,
    server_mac,
    tcp,
    udp,
)


@pytest.mark.parametrize("size", [0, 1, 2, 3, 500, 1460])
def test_tcp_both_ways(director: Director, size: int) -> None:
    """B1: a SYN C->V leaves as L->R, the answer R->L leaves as V->C, payload as it was, MACs those of the next hops."""
    director.service()
    data = bytes(range(256)) * 6
    request = inbound(tcp("S", data=data[:size]))
    to_server = director.send(request).one()
    assert (to_server[IP].src, to_server[IP].dst, to_server[TCP].dport) == (LOCAL, SERVER, 80)
    assert (to_server.src, to_server.dst) == (DIRECTOR_MAC, server_mac(SERVER))
    assert bare(bytes(to_server)) == bare(request)

    answer = outbound(to_server, tcp("SA", data=data[:size]))
    to_client = director.send(answer).one()
    assert (to_client[IP].src, to_client[TCP].sport) == (VIP, 80)
    assert (to_client[IP].dst, to_client[TCP].dport) == (CLIENT, 1000)
    assert (to_client.src, to_client.dst) == (DIRECTOR_MAC, CLIENT_MAC)
    assert bare(bytes(to_client)) == bare(answer)


OPENING = [("MSS", 1300), ("SAckOK", b""), ("Timestamp", (7, 0)), ("NOP", None), ("WScale", 7), (253, b"\1\2")]
LATER = [("NOP", None), ("Timestamp", (8, 7)), ("NOP", None), ("SAck", (5, 6, 7, 8)), (253, b"\1\2")]


@pytest.mark.parametrize("mss", [0, 1400])
def test_tcp_options_both_ways(director: Director, mss: int) -> None:
    """B38: window scale, SACK, timestamps and what nobody knows pass as they are, both ways, in SYNs and later; also
    where the service limits the largest segment, and these are smaller."""
    director.service(mss=mss)
    request = inbound(tcp("S", options=OPENING))
    to_server = director.send(request).one()
    assert bare(bytes(to_server)) == bare(request)
    for flags, options in (("SA", OPENING), ("A", LATER), ("PA", LATER)):
        answer = outbound(to_server, tcp(flags, data=b"xyz", options=options))
        assert bare(bytes(director.send(answer).one())) == bare(answer)
        request = inbound(tcp("A", data=b"wxyz", options=LATER))
        assert bare(bytes(director.send(request).one())) == bare(request)


@pytest.mark.parametrize("size", [0, 1, 2, 3, 500, 1472])
def test_udp_both_ways(director: Director, size: int) -> None:
    """B1, for UDP."""
    director.service(protocol=engine.UDP)
    request = inbound(udp(data=bytes(size)))
    to_server = director.send(request).one()
    assert (to_server[IP].src, to_server[IP].dst, to_server[UDP].dport) == (LOCAL, SERVER, 53)
    assert bare(bytes(to_server)) == bare(request)
    answer = outbound(to_server, udp(data=b"answer"))
    to_client = director.send(answer).one()
    assert (to_client[IP].src, to_client[UDP].sport, to_client[IP].dst, to_client[UDP].dport) == (VIP, 53, CLIENT, 1000)
    assert (to_client.src, to_client.dst) == (DIRECTOR_MAC, CLIENT_MAC)
    assert bare(bytes(to_client)) == bare(answer)


def test_answers_go_where_the_client_last_came_from(director: Director) -> None:
    """B1: the next hop towards a client is the MAC that sent its last packet (its router may change)."""
    director.service()
    to_server = director.send(inbound(tcp("S"))).one()
    moved = bytearray(inbound(tcp("A")))
    moved[6:12] = bytes.fromhex("0200000001fe")
    director.send(bytes(moved))
    assert director.send(outbound(to_server, tcp("A"))).one().dst == "02:00:00:00:01:fe"


@pytest.mark.parametrize("flags", ["", "DF"])
@pytest.mark.parametrize("tos", [0, 0x03, 0xB8, 0xFF])
@pytest.mark.parametrize("id", [0, 1, 0xFFFF])
def test_header_fields_survive(director: Director, flags: str, tos: int, id: int) -> None:
    """B5: DSCP, ECN, DF and the IP id survive, both ways."""
    director.service()
    to_server = director.send(inbound(tcp("S"), tos=tos, id=id, flags=flags)).one()
    to_client = director.send(outbound(to_server, tcp("SA"), tos=tos, id=id, flags=flags)).one()
    for packet in (to_server, to_client):
        assert (packet[IP].tos, packet[IP].id, str(packet[IP].flags)) == (tos, id, flags)


@pytest.mark.parametrize("padding", [1, 6, 20, 100])
def test_padding_is_not_payload(director: Director, padding: int) -> None:
    """B6: bytes behind the IPv4 total length are not sent on, and no checksum counts them."""
    director.service()
    to_server = director.send(inbound(tcp("S")) + b"\xa5" * padding).one()
    assert len(to_server) == 54
    to_client = director.send(outbound(to_server, tcp("SA")) + b"\xa5" * padding).one()
    assert len(to_client) == 54


@pytest.mark.parametrize("words", range(11))
@pytest.mark.parametrize("protocol", [engine.TCP, engine.UDP])
def test_ipv4_options(director: Director, words: int, protocol: int) -> None:
    """B7: with IHL 5 to 15 the L4 header is found where IHL says; the options survive."""
    director.service(protocol=protocol)
    options = [IPOption_NOP()] * (4 * words)
    l4 = tcp("S", data=b"payload") if protocol == engine.TCP else udp(data=b"payload")
    to_server = director.send(inbound(l4, options=options)).one()
    assert (to_server[IP].ihl, to_server[IP].dst) == (5 + words, SERVER)
    assert bytes(to_server[Raw]) == b"payload"
    answer = tcp("SA", data=b"answer") if protocol == engine.TCP else udp(data=b"answer")
    to_client = director.send(outbound(to_server, answer, options=options)).one()
    assert (to_client[IP].ihl, to_client[IP].src) == (5 + words, VIP)
    assert bytes(to_client[Raw]) == b"answer"


@pytest.mark.parametrize(
    "options",
    [
        [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (1, 0)), ("NOP", None), ("WScale", 7)],
        [("NOP", None)] * 40,
        [("SAck", (1, 2, 3, 4)), ("NOP", None), ("NOP", None)],
    ],
)
def test_tcp_options_are_untouched(director: Director, options: list[tuple[str, object]]) -> None:
    """B1: TCP options pass as they are."""
    director.service()
    request = inbound(tcp("S", options=options, data=b"x"))
    to_server = director.send(request).one()
    assert bare(bytes(to_server)) == bare(request)
    answer = outbound(to_server, tcp("SA", options=options))
    assert bare(bytes(director.send(answer).one())) == bare(answer)


def test_counters_of_the_way(director: Director) -> None:
    """B1: what was forwarded is counted for the server: packets and bytes of both directions, connections."""
    director.service()
    before = engine.server_counters(0)
    to_server = director.send(inbound(tcp("S"))).one()
    director.send(inbound(tcp("A", data=b"request")))
    director.send(outbound(to_server, tcp("A", data=b"answer")))
    after = engine.server_counters(0)
    assert [b - a for a, b in zip(before, after, strict=True)] == [1, 1, 2, 54 + 61, 1, 60, 0]
