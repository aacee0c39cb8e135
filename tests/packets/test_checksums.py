"""Checksums after the rewrite, at the edges where one's complement has two zeros: B2, B3.

Director.send() compares every checksum with scapy's full computation; here are the payloads that make it hard.
"""

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from fastpath import engine
from tests.packets.director import Director
from tests.packets.frames import inbound, outbound, tcp, udp

PROTOCOLS = pytest.mark.parametrize("protocol", [engine.TCP, engine.UDP])
DIRECTIONS = pytest.mark.parametrize("direction", ["inbound", "outbound"])


class Flow:
    """One connection, and packets of it whose checksum a payload word or the IP id can move."""

    def __init__(self, director: Director, protocol: int, direction: str) -> None:
        self.director, self.protocol, self.direction = director, protocol, direction
        director.service(protocol=protocol)
        self.first = director.send(self.request(0, 0)).one()

    def l4(self, word: int) -> Packet:
        data = word.to_bytes(2, "big")
        return tcp("S", data=data) if self.protocol == engine.TCP else udp(data=data)

    def request(self, word: int, id: int) -> bytes:
        return inbound(self.l4(word), id=id)

    def packet(self, word: int = 0, id: int = 0) -> bytes:
        if self.direction == "inbound":
            return self.request(word, id)
        return outbound(self.first, tcp("SA", data=word.to_bytes(2, "big")) if self.protocol == engine.TCP
                        else self.l4(word), id=id)  # fmt: skip

    def sums(self, packet: Packet) -> tuple[int, int]:
        return packet[IP].chksum, packet[TCP if self.protocol == engine.TCP else UDP].chksum

    def through(self, raw: bytes) -> Packet:
        return self.director.send(raw).one()


def around(n: int) -> list[int]:
    return [(n + d) % 0x10000 for d in (-2, -1, 0, 1, 2)]


@PROTOCOLS
@DIRECTIONS
def test_l4_checksum_at_zero(director: Director, protocol: int, direction: str) -> None:
    """B2, B3: where the L4 checksum is 0x0000 (UDP: 0xffff) before or after the rewrite, or beside it."""
    flow = Flow(director, protocol, direction)
    zero = 0 if protocol == engine.TCP else 0xFFFF
    # A payload word equal to the checksum that a zero word gives brings the sum to 0xffff, the checksum to zero.
    before, after = flow.sums(Ether(flow.packet()))[1], flow.sums(flow.through(flow.packet()))[1]
    assert flow.sums(Ether(flow.packet(before)))[1] == zero
    for word in around(before) + around(after):
        packet = flow.through(flow.packet(word))
        if word == after:
            assert flow.sums(packet)[1] == zero


@PROTOCOLS
@DIRECTIONS
def test_ipv4_checksum_at_zero(director: Director, protocol: int, direction: str) -> None:
    """B2: where the IPv4 header checksum is 0x0000 before or after the rewrite, and beside that, it is right."""
    flow = Flow(director, protocol, direction)
    before, after = flow.sums(Ether(flow.packet()))[0], flow.sums(flow.through(flow.packet()))[0]
    assert flow.sums(Ether(flow.packet(id=before)))[0] == 0
    for id in around(before) + around(after):
        packet = flow.through(flow.packet(id=id))
        if id == after:
            assert flow.sums(packet)[0] == 0


@PROTOCOLS
@DIRECTIONS
def test_many_payloads(director: Director, protocol: int, direction: str) -> None:
    """B2: a thousand payload words spread over all values."""
    flow = Flow(director, protocol, direction)
    director.send(*[flow.packet(word) for word in range(0, 0x10000, 65)])


@DIRECTIONS
@pytest.mark.parametrize("size", [0, 1, 2, 1000])
def test_udp_without_checksum(director: Director, direction: str, size: int) -> None:
    """B3: a UDP checksum of 0 stays 0, whatever is rewritten."""
    flow = Flow(director, engine.UDP, "inbound")
    l4 = udp(data=bytes(size), chksum=0)
    packet = flow.through(inbound(l4) if direction == "inbound" else outbound(flow.first, l4))
    assert packet[UDP].chksum == 0


@PROTOCOLS
def test_a_wrong_checksum_stays_wrong(director: Director, protocol: int) -> None:
    """B2: incremental: a packet that came damaged is not repaired, so that the receiver can tell."""
    director.service(protocol=protocol)
    raw = bytearray(inbound(tcp("S", data=b"damaged") if protocol == engine.TCP else udp(data=b"damaged")))
    raw[-1] ^= 0xFF
    left = director.turn([bytes(raw)])
    packet = Ether(left[0][1])
    received = packet[TCP if protocol == engine.TCP else UDP].chksum
    del packet[TCP if protocol == engine.TCP else UDP].chksum
    assert received != Ether(bytes(packet))[IP].payload.chksum
