"""What leaves a connection half-open, and what does not: B23. Sequence numbers of their own for each packet."""

import pytest
from scapy.packet import Packet, Raw

from fastpath import engine
from tests.packets.director import Director
from tests.packets.frames import inbound, outbound, tcp

CONNECTIONS = 1024
CLIENT_ISN, SERVER_ISN = 5000, 90000


def half_open(director: Director) -> Packet:
    """A handshake that lacks its last packet; the SYN as the server got it."""
    director.service()
    syn = director.send(inbound(tcp("S", seq=CLIENT_ISN))).one()
    director.send(outbound(syn, tcp("SA", seq=SERVER_ISN, ack=CLIENT_ISN + 1)))
    assert director.states() == ["SYN_RECV"]
    return syn


@pytest.mark.parametrize(("flags", "state"), [("A", "ESTABLISHED"), ("PA", "ESTABLISHED"), ("FA", "FIN_WAIT")])
def test_the_handshake_ends(director: Director, flags: str, state: str) -> None:
    """B23: what continues where the SYN ended, and acknowledges, ends the handshake."""
    half_open(director)
    director.send(inbound(tcp(flags, seq=CLIENT_ISN + 1, ack=SERVER_ISN + 1))).one()
    assert director.states() == [state]


@pytest.mark.parametrize("flags", ["", "P", "U", "F", "FP"])
def test_without_acknowledgement(director: Director, flags: str) -> None:
    """B23: a segment that acknowledges nothing, which servers pass over in silence, passes, but leaves the connection
    among those that a flood recycles."""
    half_open(director)
    director.send(inbound(tcp(flags, seq=CLIENT_ISN + 1))).one()
    assert director.states() == ["SYN_RECV"]


@pytest.mark.parametrize("flags", ["A", "FA"])
@pytest.mark.parametrize("seq", [0, CLIENT_ISN, CLIENT_ISN + 2, CLIENT_ISN + 1 + 2**31])
def test_elsewhere(director: Director, flags: str, seq: int) -> None:
    """B23: nor does one end the handshake that a server answers by an ACK only, since it does not continue the SYN."""
    half_open(director)
    director.send(inbound(tcp(flags, seq=seq, ack=1))).one()
    assert director.states() == ["SYN_RECV"]


def test_a_later_fragment(director: Director) -> None:
    """B23, B35: nor does a later fragment, in which there is no TCP header."""
    half_open(director)
    first = inbound(tcp("S", seq=CLIENT_ISN, data=bytes(4)), id=3, flags="MF")
    director.send(first).one()
    later = inbound(Raw(bytes(24)), id=3, frag=3, proto=6)
    director.send(later).one()
    assert director.states() == ["SYN_RECV"]


def test_nothing_keeps_the_oldest_from_expiring(director: Director) -> None:
    """B22, B23: a RST that nobody believes gives a half-open connection no more time, nor those behind it."""
    half_open(director)
    director.later(1)
    director.send(inbound(tcp("S", sport=2000)))
    director.wait(200)
    director.send(inbound(tcp("R", seq=CLIENT_ISN + 2**31))).one()
    director.send(inbound(tcp("", seq=CLIENT_ISN + 1))).one()
    assert sorted(director.states()) == ["SYN_RECV", "SYN_SENT"]
    director.wait(42)
    assert director.in_use() == 0


def test_a_flood_of_two_packets(director: Director) -> None:
    """B23: nor can a flood fill the table by a second packet for each SYN, long after the server has answered."""
    director.service()
    for sport in range(1, 400):
        syn = director.send(inbound(tcp("S", sport=sport, seq=sport))).one()
        director.send(outbound(syn, tcp("SA", seq=SERVER_ISN, ack=sport + 1)))
        director.send(inbound(tcp("", sport=sport, seq=sport + 1)))
    (counters,) = engine.worker_counters()
    assert counters.half_open == counters.connections == CONNECTIONS // 4
