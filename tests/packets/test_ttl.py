"""TTL: B4."""

import pytest
from scapy.layers.inet import ICMP, IP, TCP

from fastpath import engine
from tests.packets.director import Director
from tests.packets.frames import (
    CLIENT,
    CLIENT_MAC,
    DIRECTOR,
    DIRECTOR_MAC,
    SERVER,
    inbound,
    outbound,
    server_mac,
    tcp,
    udp,
)


def assert_time_exceeded(director: Director, about: bytes, to: tuple[str, str], padding: bytes = b"") -> None:
    """`about` is dropped, counted, and answered by an ICMP time exceeded from the director to `to` (address, MAC) that
    quotes it (RFC 792, RFC 1812 4.3.2)."""
    packet = director.send(about + padding, drops={"ttl_exceeded": 1}, errors=1).one()
    assert (packet.src, packet.dst) == (DIRECTOR_MAC, to[1])
    assert (packet[IP].src, packet[IP].dst, packet[IP].tos) == (DIRECTOR, to[0], 0xC0)
    assert (packet[ICMP].type, packet[ICMP].code, packet[IP].len + 14) == (11, 0, len(packet))
    quoted = bytes(packet[ICMP])[8:]
    assert quoted == about[14 : 14 + len(quoted)]
    assert len(quoted) == min(len(about) - 14, 576 - 28)


@pytest.mark.parametrize("ttl", [2, 3, 64, 128, 255])
def test_ttl_is_one_less(director: Director, ttl: int) -> None:
    """B4: the TTL is one less, once a direction."""
    director.service()
    to_server = director.send(inbound(tcp("S"), ttl=ttl)).one()
    to_client = director.send(outbound(to_server, tcp("SA"), ttl=ttl)).one()
    assert (to_server[IP].ttl, to_client[IP].ttl) == (ttl - 1, ttl - 1)


@pytest.mark.parametrize("ttl", [0, 1])
@pytest.mark.parametrize("size", [0, 1, 100, 508, 509, 1400])
def test_client_ttl_runs_out(director: Director, ttl: int, size: int) -> None:
    """B4: a new flow's packet with TTL <= 1 is not forwarded; its sender hears of it; no connection is made."""
    director.service()
    request = inbound(tcp("S", data=bytes(size)), ttl=ttl)
    assert_time_exceeded(director, request, (CLIENT, CLIENT_MAC))
    assert director.in_use() == 0


@pytest.mark.parametrize("ttl", [0, 1])
def test_living_connection_ttl_runs_out(director: Director, ttl: int) -> None:
    """B4: the same within a connection, in both directions."""
    director.service()
    to_server = director.send(inbound(tcp("S"))).one()
    request = inbound(tcp("A"), ttl=ttl)
    assert_time_exceeded(director, request, (CLIENT, CLIENT_MAC))
    answer = outbound(to_server, tcp("SA"), ttl=ttl)
    assert_time_exceeded(director, answer, (SERVER, server_mac(SERVER)))
    assert director.states() == ["SYN_SENT"]


def test_options_and_padding_in_the_quote(director: Director) -> None:
    """B4, B6: the quote ends where the IPv4 packet ends, not the frame."""
    director.service(protocol=engine.UDP)
    request = inbound(udp(), ttl=1)
    assert_time_exceeded(director, request, (CLIENT, CLIENT_MAC), bytes(18))


def test_time_exceeded_is_rate_limited(director: Director) -> None:
    """B4: 50 errors at once, then one each millisecond; every packet is counted as ttl_exceeded."""
    director.service()
    doomed = inbound(tcp("S"), ttl=1)
    director.send(*[doomed] * 80, drops={"ttl_exceeded": 80}, errors=50)
    director.send(doomed, drops={"ttl_exceeded": 1})
    director.later(0.010)
    director.send(*[doomed] * 80, drops={"ttl_exceeded": 80}, errors=10)
    director.later(1)
    director.send(*[doomed] * 50, drops={"ttl_exceeded": 50}, errors=50)


def test_silent_without_an_address(director: Director) -> None:
    """B4: a port without an address of the director has nothing to answer from."""
    engine.set_port_address(0, None)
    director.service()
    director.send(inbound(tcp("S"), ttl=1), drops={"ttl_exceeded": 1})


def test_kernel_frames_keep_their_ttl(director: Director) -> None:
    """B4, B9: a BGP packet with TTL 1 for the director itself is the kernel's."""
    raw = inbound(tcp("S", dport=179), dst=DIRECTOR, ttl=1)
    assert director.send(raw).to_kernel == [raw]
    assert TCP(raw[34:]).dport == 179
