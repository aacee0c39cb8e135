"""How long silence may last, by default: B17, B18."""

import pytest

from fastpath import engine
from tests.packets.director import Director
from tests.packets.frames import OTHER_SERVER, SERVER, inbound, outbound, tcp, udp

GRANULARITY = 2 * 1.024
"""Seconds: what a timer may be late, and the turn that sees it."""


def establish(director: Director, sport: int = 1000) -> bytes:
    """An answer of the server to send at will."""
    to_server = director.send(inbound(tcp("S", sport=sport))).one()
    director.send(outbound(to_server, tcp("SA")))
    director.send(inbound(tcp("A", sport=sport)))
    assert set(director.states()) == {"ESTABLISHED"}
    return outbound(to_server, tcp("A"))


def assert_lives(director: Director, seconds: float) -> None:
    """Freed after so many seconds of silence from now, not before and not much later."""
    director.wait(seconds - 0.001)
    assert director.in_use() == 1
    director.wait(GRANULARITY)
    assert director.in_use() == 0


def test_tcp_established(director: Director) -> None:
    """B17: 7,440 s (RFC 5382 REQ-5)."""
    director.service()
    establish(director)
    assert_lives(director, 7440)


def test_tcp_opening(director: Director) -> None:
    """B17: 240 s for a half-open connection, unanswered or answered."""
    director.service()
    to_server = director.send(inbound(tcp("S"))).one()
    assert_lives(director, 240)
    to_server = director.send(inbound(tcp("S"))).one()
    director.send(outbound(to_server, tcp("SA")))
    assert_lives(director, 240)


def test_udp(director: Director) -> None:
    """B17: 300 s (RFC 4787 REQ-5)."""
    director.service(protocol=engine.UDP)
    director.send(inbound(udp()))
    assert_lives(director, 300)


@pytest.mark.parametrize("protocol", [engine.TCP, engine.UDP])
@pytest.mark.parametrize("timeout", [1, 90, 20000])
def test_of_a_service(director: Director, protocol: int, timeout: int) -> None:
    """B17: a service's own value covers established TCP and UDP, shorter or longer than the wheel's 8,388 s."""
    director.service(protocol=protocol, timeout=timeout)
    if protocol == engine.TCP:
        establish(director)
    else:
        director.send(inbound(udp()))
    assert director.connections(protocol)[0].timeout == timeout
    assert_lives(director, timeout)


def test_of_a_service_does_not_cover_closing(director: Director) -> None:
    """B17: a connection that closes has the transitory timeout, whatever the service says."""
    director.service(timeout=20000)
    establish(director)
    director.send(inbound(tcp("FA")))
    assert_lives(director, 240)


@pytest.mark.parametrize("protocol", [engine.TCP, engine.UDP])
@pytest.mark.parametrize("direction", ["inbound", "outbound"])
def test_both_directions_refresh(director: Director, protocol: int, direction: str) -> None:
    """B18: a packet of either direction begins the silence anew."""
    director.service(protocol=protocol, timeout=500)
    if protocol == engine.TCP:
        answer, request = establish(director), inbound(tcp("A"))
    else:
        request = inbound(udp())
        answer = outbound(director.send(request).one(), udp())
    for _ in range(4):
        director.wait(499)
        director.send(request if direction == "inbound" else answer)
    assert_lives(director, 500)


def test_udp_many_packets_one_connection(director: Director) -> None:
    """B18: many packets and many answers ride one connection to one server from one local port."""
    director.service([SERVER, OTHER_SERVER], engine.UDP)
    requests = director.send(*[inbound(udp(data=bytes(n))) for n in range(100)]).to_network
    assert len({(p.payload.dst, p.payload.src, p.payload.payload.sport) for p in requests}) == 1
    answers = director.send(*[outbound(requests[0], udp(data=bytes(n))) for n in range(100)]).to_network
    assert len({p.payload.payload.dport for p in answers}) == 1
    assert director.in_use() == 1


def test_a_freed_tuple_begins_anew(director: Director) -> None:
    """B17: after its timeout a flow's next packet is a stranger, and its server's answer too."""
    director.service()
    answer = establish(director)
    director.wait(7440 + GRANULARITY)
    director.send(inbound(tcp("A")), answer, drops={"no_connection": 2})


def test_a_refreshed_half_open_connection_delays_no_other(director: Director) -> None:
    """B17: the SYN of another client, sent again and again, does not lengthen the life of this one."""
    director.service()
    director.send(inbound(tcp("S", sport=1)))
    director.send(inbound(tcp("S", sport=2)))
    director.wait(200)
    director.send(inbound(tcp("S", sport=1)))
    director.wait(40 + GRANULARITY)
    assert [c.client[1] for c in director.connections()] in ([], [1])


def test_a_very_long_timeout(director: Director) -> None:
    """B17: a timeout that the clock cannot hold is refused; one that is accepted holds."""
    try:
        director.service(timeout=30 * 24 * 3600)
    except engine.EngineError:
        return
    establish(director)
    director.wait(24 * 3600)
    assert director.in_use() == 1


def test_a_shorter_timeout(director: Director) -> None:
    """B17: est_timeout set lower holds for new connections at once, for old ones when their timer next looks."""
    director.service()
    establish(director)
    director.wait(10)
    director.service(timeout=60)
    establish(director, sport=2)
    director.wait(120)
    assert director.in_use() == 1
    director.wait(7440 - 100)
    assert director.in_use() == 0
