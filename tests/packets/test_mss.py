"""The largest segment that a SYN offers, as the service wants it. Every frame that leaves must have right checksums."""

import pytest
from scapy.layers.inet import TCP

from fastpath import engine
from tests.packets.director import Director
from tests.packets.frames import inbound, outbound, tcp, udp


def offered(packet: object) -> int | None:
    return dict(packet[TCP].options).get("MSS")  # type: ignore[index]


@pytest.mark.parametrize(
    ("mss", "offer", "leaves"), [(1400, 1460, 1400), (1400, 1400, 1400), (1400, 536, 536), (0, 9000, 9000)]
)
@pytest.mark.parametrize("before", [[], [("NOP", None)], [("NOP", None)] * 2, [("SAckOK", b""), ("NOP", None)]])
def test_both_ways(director: Director, mss: int, offer: int, leaves: int, before: list[tuple[str, object]]) -> None:
    """B33: a SYN and its SYN-ACK, sent again too, offer no more than the service's mss, and less if they do."""
    director.service(mss=mss)
    options = [*before, ("MSS", offer), ("WScale", 7)]
    for _ in range(2):
        sent = director.send(inbound(tcp("S", options=options, data=b""))).one()
        assert offered(sent) == leaves
        assert dict(sent[TCP].options)["WScale"] == 7
    for _ in range(2):
        assert offered(director.send(outbound(sent, tcp("SA", options=options))).one()) == leaves


def test_no_option(director: Director) -> None:
    """B33: without the option none is added: the default of 536 holds (RFC 9293, section 3.7.1)."""
    director.service(mss=1400)
    sent = director.send(inbound(tcp("S"))).one()
    assert sent[TCP].dataofs == 5
    assert offered(director.send(outbound(sent, tcp("SA", options=[("WScale", 7)]))).one()) is None


def test_only_syns(director: Director) -> None:
    """B33: what carries no SYN is not looked into."""
    director.service(mss=1400)
    sent = director.send(inbound(tcp("S"))).one()
    assert offered(director.send(outbound(sent, tcp("A", options=[("MSS", 1460)]))).one()) == 1460
    director.send(outbound(sent, tcp("SA")))
    assert offered(director.send(inbound(tcp("A", options=[("MSS", 1460)]))).one()) == 1460


def test_data_in_a_syn(director: Director) -> None:
    """B33, B2: data behind the header that looks like an option stays as it is."""
    director.service(mss=1400)
    sent = director.send(inbound(tcp("S", data=bytes([2, 4, 255, 255])))).one()
    assert bytes(sent[TCP].payload)[:4] == bytes([2, 4, 255, 255])


def test_udp(director: Director) -> None:
    """B33: a UDP service has no segments."""
    director.service(protocol=engine.UDP, mss=1400)
    assert director.send(inbound(udp(data=bytes([2, 4, 255, 255]) * 10))).one()
