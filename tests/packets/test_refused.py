"""What is not served, and who hears of it: B9, B19, B27."""

from collections.abc import Iterator

import pytest
from scapy.layers.inet import ICMP, IP, TCP
from scapy.packet import Packet

from fastpath import engine
from tests.packets.director import Director
from tests.packets.frames import CLIENT, CLIENT_MAC, DIRECTOR_MAC, LOCAL, SERVER, VIP, frame, inbound, tcp, udp

BURST = 50
"""Answers at once; one more each millisecond."""


@pytest.fixture(autouse=True)
def _policy(director: Director) -> Iterator[None]:
    """Each test sets its own; all others are silent."""
    yield
    engine.set_policy(refuse=False, reset_unknown=False)


def assert_reset(packet: Packet, about: Packet, seq: int, ack: int, flags: str) -> None:
    """A RST from where `about` went to, back to where it came from."""
    assert (packet.src, packet.dst) == (DIRECTOR_MAC, CLIENT_MAC)
    assert (packet[IP].src, packet[IP].dst, packet[IP].len) == (about[IP].dst, about[IP].src, 40)
    assert (packet[TCP].sport, packet[TCP].dport) == (about[TCP].dport, about[TCP].sport)
    assert (packet[TCP].seq, packet[TCP].ack, str(packet[TCP].flags)) == (seq, ack, flags)


@pytest.mark.parametrize(
    ("l4", "seq", "ack", "flags"),
    [
        (tcp("S", dport=81, seq=7), 0, 8, "RA"),
        (tcp("S", dport=81, seq=2**32 - 1), 0, 0, "RA"),
        (tcp("S", dport=81, seq=7, data=b"early"), 0, 13, "RA"),
        (tcp("SEC", dport=81, seq=7, options=[("MSS", 1460), ("SAckOK", b"")]), 0, 8, "RA"),
    ],
)
def test_closed_tcp_port(director: Director, l4: Packet, seq: int, ack: int, flags: str) -> None:
    """B9: a SYN to a port of a virtual address that is not served gets the RST that a host would send (RFC 9293)."""
    director.service()
    engine.set_policy(refuse=True)
    request = inbound(l4)
    answer = director.send(request, drops={"no_service": 1}, errors=1).one()
    assert_reset(answer, IP(src=CLIENT, dst=VIP) / l4, seq, ack, flags)


@pytest.mark.parametrize("size", [0, 5, 1400])
def test_closed_udp_port(director: Director, size: int) -> None:
    """B9: UDP there gets an ICMP port unreachable from the virtual address that quotes it."""
    director.service()
    engine.set_policy(refuse=True)
    request = inbound(udp(dport=54, data=bytes(size)))
    answer = director.send(request, drops={"no_service": 1}, errors=1).one()
    assert (answer[IP].src, answer[IP].dst, answer[ICMP].type, answer[ICMP].code) == (VIP, CLIENT, 3, 3)
    quoted = bytes(answer[ICMP])[8:]
    assert len(quoted) >= 28
    assert quoted == request[14 : 14 + len(quoted)]


@pytest.mark.parametrize("protocol", [engine.TCP, engine.UDP])
def test_no_eligible_server(director: Director, protocol: int) -> None:
    """B27: a service whose servers are all at weight 0 refuses as a closed port does; the service counts it."""
    director.service({SERVER: 0}, protocol)
    engine.set_policy(refuse=True)
    before = engine.service_counters(0).inbound_drops
    request = inbound(tcp("S") if protocol == engine.TCP else udp())
    answer = director.send(request, drops={"no_server": 1}, errors=1).one()
    assert TCP in answer if protocol == engine.TCP else answer[ICMP].code == 3
    assert engine.service_counters(0).inbound_drops == before + 1
    director.service({SERVER: 1}, protocol)
    assert director.send(request).one()[IP].dst == SERVER


def test_silence_is_a_policy(director: Director) -> None:
    """B9, B27: where the policy says so, nobody hears of anything."""
    engine.set_policy(refuse=False)
    director.service({SERVER: 0})
    director.send(inbound(tcp("S")), drops={"no_server": 1})
    director.send(inbound(tcp("S", dport=81)), inbound(udp(dport=81)), drops={"no_service": 2})


@pytest.mark.parametrize("flags", ["A", "PA", "FA", "SA", "F", ""])
@pytest.mark.parametrize("dport", [80, 81])
def test_unknown_is_silent(director: Director, flags: str, dport: int) -> None:
    """B19: a TCP packet in mid-flow of which nothing is known gets no RST, though closed ports do."""
    director.service()
    engine.set_policy(refuse=True, reset_unknown=False)
    director.send(inbound(tcp(flags, dport=dport)), drops={"no_connection" if dport == 80 else "no_service": 1})


@pytest.mark.parametrize(
    ("l4", "seq", "ack", "flags"),
    [
        (tcp("A", seq=5, ack=99), 99, 0, "R"),
        (tcp("PA", seq=5, ack=99, data=b"data"), 99, 0, "R"),
        (tcp("FA", seq=5, ack=2**32 - 1), 2**32 - 1, 0, "R"),
        (tcp("SA", seq=5, ack=99), 99, 0, "R"),
        (tcp("F", seq=5, data=b"abc"), 0, 9, "RA"),
        (tcp("", seq=5), 0, 5, "RA"),
    ],
)
@pytest.mark.parametrize("dport", [80, 81])
def test_unknown_is_reset(director: Director, l4: Packet, seq: int, ack: int, flags: str, dport: int) -> None:
    """B19: where the policy says so, it gets the RST that its sender must believe (RFC 9293 3.10.7.1)."""
    director.service()
    engine.set_policy(refuse=True, reset_unknown=True)
    l4.dport = dport
    answer = director.send(inbound(l4), drops={"no_connection" if dport == 80 else "no_service": 1}, errors=1).one()
    assert_reset(answer, IP(src=CLIENT, dst=VIP) / l4, seq, ack, flags)


@pytest.mark.parametrize("flags", ["R", "RA", "SR"])
def test_a_reset_is_not_answered(director: Director, flags: str) -> None:
    """B9, B19: no RST answers a RST."""
    director.service()
    engine.set_policy(refuse=True, reset_unknown=True)
    director.send(inbound(tcp(flags)), drops={"no_connection": 1})
    director.send(inbound(tcp(flags, dport=81)), drops={"no_service": 1})


@pytest.mark.parametrize("source", ["127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", VIP, LOCAL])
def test_a_forged_source_hears_nothing(director: Director, source: str) -> None:
    """B9, B10: nothing is sent to an address that cannot be a client's."""
    director.service()
    engine.set_policy(refuse=True, reset_unknown=True)
    director.send(inbound(tcp("S", dport=81), src=source), inbound(udp(dport=81), src=source), drops={"no_service": 2})


def test_a_local_address_stays_silent(director: Director) -> None:
    """B13: what comes to a local address and has no connection is dropped in silence, whatever the policy."""
    director.service()
    engine.set_policy(refuse=True, reset_unknown=True)
    strangers = [frame(IP(src=SERVER, dst=LOCAL), l4) for l4 in (tcp("S"), tcp("A"), udp())]
    director.send(*strangers, drops={"no_connection": 3})


@pytest.mark.parametrize("l4", [tcp("S", dport=81), udp(dport=81)])
def test_refusals_are_limited(director: Director, l4: Packet) -> None:
    """B9: a burst of refusals, then one each millisecond; the rest is dropped in silence."""
    director.service()
    engine.set_policy(refuse=True)
    director.wait(1)
    director.send(*[inbound(l4)] * (2 * BURST), drops={"no_service": 2 * BURST}, errors=BURST)
    director.later(0.007)
    director.send(*[inbound(l4)] * 20, drops={"no_service": 20}, errors=7)
