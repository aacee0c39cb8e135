"""An engine with timeouts of its own: B17."""

import pytest

from fastpath import engine
from tests.packets.director import Director
from tests.packets.frames import inbound, outbound, tcp, udp

TIMEOUTS = engine.Timeouts(tcp_established=100, tcp_transitory=20, tcp_closed=3, udp=7)
LIVES = {"SYN_SENT": 20, "SYN_RECV": 20, "ESTABLISHED": 100, "FIN_WAIT": 20, "TIME_WAIT": 20, "CLOSE": 3, "UDP": 7}


@pytest.mark.parametrize(("state", "seconds"), LIVES.items())
def test_every_timeout_is_settable(director: Director, state: str, seconds: int) -> None:
    """B17: each state is freed after the timeout that init() was given for it."""
    director.service()
    director.service(protocol=engine.UDP, id=1, first=1)
    first = director.send(inbound(udp() if state == "UDP" else tcp("S"))).one()
    path = ["SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT", "TIME_WAIT"]
    steps = [outbound(first, tcp("SA")), inbound(tcp("A")), inbound(tcp("FA")), outbound(first, tcp("FA"))]
    if state == "CLOSE":
        director.send(inbound(tcp("R")))
    elif state != "UDP":
        director.send(*steps[: path.index(state)])
    found = director.connections(engine.UDP if state == "UDP" else engine.TCP)[0]
    assert (found.state, found.timeout) == (state, seconds)
    director.wait(seconds - 0.001)
    assert director.in_use() == 1
    director.wait(2.048)
    assert director.in_use() == 0
