"""Sources that no client can have: B10."""

import pytest
from scapy.layers.inet import ICMP

from fastpath import engine
from tests.packets.director import Director
from tests.packets.frames import LOCAL, VIP, inbound, tcp, udp

SPOOFED = [
    *(VIP, LOCAL, "0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.255.255"),
    *("224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"),
]
GENUINE = ["1.0.0.1", "126.255.255.255", "128.0.0.1", "223.255.255.255", "10.0.1.2", "10.0.2.2"]


@pytest.fixture
def served(director: Director) -> Director:
    director.service()
    director.service(protocol=engine.UDP, id=1, first=1)
    return director


@pytest.mark.parametrize("source", SPOOFED)
def test_dropped(served: Director, source: str) -> None:
    """B10: V itself, L, multicast, 0/8 and 127/8 open nothing; counted for the service too."""
    served.send(inbound(tcp("S"), src=source), inbound(udp(), src=source), drops={"spoofed_source": 2})
    assert served.in_use() == 0
    assert engine.service_counters(0).inbound_drops > 0


@pytest.mark.parametrize("source", GENUINE)
def test_neighbours_pass(served: Director, source: str) -> None:
    """B10: the addresses beside those ranges are clients like any other."""
    assert len(served.send(inbound(tcp("S"), src=source), inbound(udp(), src=source)).to_network) == 2


@pytest.mark.parametrize("source", SPOOFED)
def test_no_echo_reply_to_them(served: Director, source: str) -> None:
    """B10: an echo request from such a source makes no reply to it."""
    served.send(inbound(ICMP(), src=source), drops={"spoofed_source": 1})
