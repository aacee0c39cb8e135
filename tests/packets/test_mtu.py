"""Two devices of different MTU: B33, and what may be fragmented."""

from collections.abc import Sequence

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP, IPOption_Router_Alert, IPOption_RR
from scapy.packet import Packet

from fastpath import engine
from tests.packets.director import Director
from tests.packets.frames import (
    CLIENT,
    CLIENT_MAC,
    DIRECTOR,
    DIRECTOR_MAC,
    LOCAL,
    SERVER,
    frame,
    inbound,
    server_mac,
    tcp,
    udp,
)

SMALL = 1300
MTUS = (1500, SMALL)
SECOND_MAC = "02:00:00:00:00:02"
OWN = "1.1.2.2"


def two_arms(director: Director, protocol: int, server_port: int = 1) -> None:
    """Clients are on the first port, the server on this one."""
    for port in range(2):
        director.locals(*[LOCAL] * (port == server_port), port=port)
    engine.set_port_address(1, bytes(map(int, OWN.split("."))))
    director.service(protocol=protocol, hops={SERVER: (server_port, server_mac(SERVER))})


def assert_told(packet: Packet, about: bytes, mtu: int, router: str) -> None:
    assert (packet[IP].src, packet[ICMP].type, packet[ICMP].code, packet[ICMP].nexthopmtu) == (router, 3, 4, mtu)
    quoted = bytes(packet[ICMP])[8:]
    assert quoted == about[14 : 14 + len(quoted)]
    assert len(quoted) >= 28


def data_of(pieces: Sequence[Packet]) -> bytes:
    """What the fragments carry together; they must fit each other."""
    whole = b""
    for n, piece in enumerate(sorted(pieces, key=lambda p: p[IP].frag)):
        assert piece[IP].frag * 8 == len(whole)
        assert ("MF" in str(piece[IP].flags)) == (n + 1 < len(pieces))
        whole += bytes(piece[IP].payload)
    assert len({piece[IP].id for piece in pieces}) == 1
    return whole


@pytest.mark.parametrize(("size", "fits"), [(SMALL - 40, True), (SMALL - 39, False), (1460, False)])
def test_tcp_with_df(director: Director, size: int, fits: bool) -> None:
    """B33: a packet longer than its way out, with DF, is dropped, and its sender told the MTU that it must keep to."""
    two_arms(director, engine.TCP)
    director.send(inbound(tcp("S"), flags="DF"))
    data = inbound(tcp("PA", data=bytes(size)), flags="DF")
    if fits:
        assert director.send(data).one()[IP].len == SMALL
        return
    answer = director.send(data, drops={"mtu_exceeded": 1}, errors=1)
    assert (answer.ports, answer.one().dst, answer.one()[IP].dst) == ([0], CLIENT_MAC, CLIENT)
    assert_told(answer.one(), data, SMALL, DIRECTOR)


def test_the_server_is_told_too(director: Director) -> None:
    """B33: the same on the way to the client; the director speaks from its address on the server's side."""
    two_arms(director, engine.TCP, server_port=0)
    engine.set_port_address(0, bytes(map(int, OWN.split("."))))
    sent = director.send((1, frame(IP(src=CLIENT, dst="10.0.1.1"), tcp("S"), dst=SECOND_MAC))).one()
    answer = frame(
        IP(src=SERVER, dst=LOCAL, flags="DF"), tcp("A", sport=80, dport=sent[TCP].sport, data=bytes(1400)), src=sent.dst
    )
    told = director.send(answer, drops={"mtu_exceeded": 1}, errors=1)
    assert (told.ports, told.one()[IP].dst) == ([0], SERVER)
    assert_told(told.one(), answer, SMALL, OWN)


def test_a_port_without_an_address_says_nothing(director: Director) -> None:
    """B33: where the director has no address of its own, it drops in silence."""
    two_arms(director, engine.UDP)
    engine.set_port_address(0, None)
    director.send(inbound(udp(data=bytes(1400)), flags="DF"), drops={"mtu_exceeded": 1})


def test_what_comes_back_the_same_way_may_be_long(director: Director) -> None:
    """B33: the MTU that counts is that of the way out, not of the way in."""
    two_arms(director, engine.UDP, server_port=0)
    assert director.send(inbound(udp(data=bytes(1400)), flags="DF")).one()[IP].len == 1428


def test_errors_about_length_are_limited(director: Director) -> None:
    """B33: no more ICMP errors than the limit allows; the packets are dropped all the same."""
    two_arms(director, engine.UDP)
    director.wait(1)
    director.send(*[inbound(udp(data=bytes(1400)), flags="DF")] * 120, drops={"mtu_exceeded": 120}, errors=50)


@pytest.mark.parametrize("size", [SMALL - 27, 1275, 1281, 1400, 1472, 1473, 1900])
def test_udp_without_df(director: Director, size: int) -> None:
    """What may be fragmented leaves in pieces that fit, and together are the translated packet (RFC 791)."""
    two_arms(director, engine.UDP)
    payload = bytes(n * 7 & 255 for n in range(size))
    sent = director.send(inbound(udp(data=payload), tos=0x2E, id=77), errors=(size + 8 - 1) // 1280)
    assert set(sent.ports) == {1}
    assert all(p[IP].len <= SMALL and p[IP].tos == 0x2E and p[IP].ttl == 63 for p in sent.to_network)
    whole = IP(src=LOCAL, dst=SERVER, proto=17) / UDP(data_of(sent.to_network))
    assert bytes(whole[UDP].payload) == payload
    checksum = whole[UDP].chksum
    del whole[UDP].chksum
    assert IP(bytes(whole))[UDP].chksum == checksum


def test_pieces_of_two_clients_do_not_mix(director: Director) -> None:
    """Pieces get an identification of the director's own: clients chose theirs without knowing of each other."""
    two_arms(director, engine.UDP)
    both = [inbound(udp(data=bytes(1400)), src=src, id=5) for src in (CLIENT, "1.1.1.8")]
    sent = director.send(*both, errors=2).to_network
    assert len({p[IP].id for p in sent}) == 2
    assert len(sent) == 4


def test_options_of_the_pieces(director: Director) -> None:
    """An option without the copied flag stands in the first piece only (RFC 791 3.1)."""
    two_arms(director, engine.UDP)
    options = [IPOption_RR(length=7, routers=["0.0.0.0"]), IPOption_Router_Alert(), IPOption_NOP()]
    first, second = director.send(inbound(udp(data=bytes(1400)), options=options), errors=1).to_network
    assert [o.option for o in first[IP].options] == [7, 20, 1]
    assert [o.option for o in second[IP].options] == [1] * 7 + [20, 1]


def test_the_next_fragments_of_a_fragmenting_burst(director: Director) -> None:
    """More pieces than a transmit buffer holds all leave, in order, and what is short goes between them."""
    two_arms(director, engine.UDP)
    frames = [inbound(udp(data=bytes(1400 if n % 2 else 10))) for n in range(64)]
    sent = director.send(*frames, errors=32).to_network
    assert [p[IP].frag for p in sent] == [0, 0, 160] * 32
    assert DIRECTOR_MAC not in {p.src for p in sent}
