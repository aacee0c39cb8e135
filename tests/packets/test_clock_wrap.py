"""The worker's clock is 32 bits of milliseconds: it wraps after 49.7 days, and nothing happens: B17."""

import pytest

from fastpath import engine
from tests.packets.director import Director
from tests.packets.frames import inbound, outbound, tcp, udp

WRAP = 2**32
"""Milliseconds."""


@pytest.fixture
def late(director: Director) -> Director:
    """A director whose clock wraps 100 s from now, with TCP and UDP served."""
    target = (director.ms // WRAP + 1) * WRAP - 100_000
    while director.ms < target:  # in steps that the wheel cannot take for the past
        director.ms = min(director.ms + WRAP // 4, target)
        director.turn()
    director.service()
    director.service(protocol=engine.UDP, id=1, first=1)
    return director


@pytest.mark.parametrize("idle", [0, 99, 101, 299])
def test_udp_over_the_wrap(late: Director, idle: float) -> None:
    """B17: a flow that begins before the wrap is freed 300 s after its last packet, whenever that came."""
    late.send(inbound(udp()))
    late.wait(idle)
    late.send(inbound(udp()))
    late.wait(299.999)
    assert late.in_use() == 1
    late.wait(2.048)
    assert late.in_use() == 0


@pytest.mark.parametrize("wait", [50, 150, 240])
def test_half_open_over_the_wrap(late: Director, wait: float) -> None:
    """B17: so is a half-open connection; one that is answered lives on."""
    first = late.send(inbound(tcp("S", sport=1))).one()
    late.send(inbound(tcp("S", sport=2)))
    late.wait(wait - 0.001)
    assert late.states() == ["SYN_SENT"] * 2
    late.send(outbound(first, tcp("SA")), inbound(tcp("A", sport=1)))
    late.wait(240 - wait + 2.048)
    assert late.states() == ["ESTABLISHED"]
    late.wait(7440)
    assert late.in_use() == 0


def test_time_exceeded_over_the_wrap(late: Director) -> None:
    """B4: the rate limit of ICMP errors does not stop at the wrap."""
    doomed = inbound(tcp("S"), ttl=1)
    late.send(*[doomed] * 60, drops={"ttl_exceeded": 60}, errors=50)
    late.wait(99.995)
    late.send(*[doomed] * 50, drops={"ttl_exceeded": 50}, errors=50)
    late.later(0.010)
    late.send(*[doomed] * 60, drops={"ttl_exceeded": 60}, errors=10)
