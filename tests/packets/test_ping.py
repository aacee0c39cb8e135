"""Echo: B30."""

import pytest
from scapy.layers.inet import ICMP, IP
from scapy.packet import Raw

from tests.packets.director import Director
from tests.packets.frames import CLIENT, CLIENT_MAC, DIRECTOR, DIRECTOR_MAC, LOCAL, VIP, inbound

ADDRESSES = pytest.mark.parametrize("address", [VIP, LOCAL])


@pytest.fixture
def served(director: Director) -> Director:
    director.service()
    return director


@ADDRESSES
@pytest.mark.parametrize("data", [b"", b"\0", b"odd", bytes(56), bytes(range(256)) * 5, b"\xff" * 1472])
@pytest.mark.parametrize(("id", "seq"), [(1, 0), (0, 1), (0x1234, 0x5678), (0xFFFF, 0xFFFF)])
def test_echo(served: Director, address: str, data: bytes, id: int, seq: int) -> None:
    """B30: an echo to a virtual or a local address is answered: payload, id and sequence kept, a TTL of our own."""
    reply = served.send(inbound(ICMP(id=id, seq=seq) / Raw(data), dst=address)).one()
    assert (reply.src, reply.dst) == (DIRECTOR_MAC, CLIENT_MAC)
    assert (reply[IP].src, reply[IP].dst, reply[IP].ttl) == (address, CLIENT, 64)
    assert (reply[ICMP].type, reply[ICMP].code, reply[ICMP].id, reply[ICMP].seq) == (0, 0, id, seq)
    assert bytes(reply[ICMP].payload) == data
    assert served.in_use() == 0


@pytest.mark.parametrize("size", [0, 1, 56])
def test_echo_of_nothing_but_zeros(served: Director, size: int) -> None:
    """B30, B2: a reply whose every word is zero has the checksum 0xffff: any other is wrong to its receiver."""
    assert served.send(inbound(ICMP(id=0, seq=0) / Raw(bytes(size)))).one()[ICMP].chksum == 0xFFFF


@pytest.mark.parametrize("ttl", [1, 2, 63, 64, 65, 255])
@pytest.mark.parametrize("tos", [0, 0xB8])
def test_ttl_and_tos(served: Director, ttl: int, tos: int) -> None:
    """B30: whatever TTL it comes with, 1 included: it has arrived; the checksum follows."""
    reply = served.send(inbound(ICMP(id=7), ttl=ttl, tos=tos)).one()
    assert (reply[IP].ttl, reply[IP].tos) == (64, tos)


@pytest.mark.parametrize("word", [0, 1, 0xF7FE, 0xF7FF, 0xF800, 0xFFFE, 0xFFFF])
def test_checksum_edges(served: Director, word: int) -> None:
    """B2, B30: where the ICMP checksum of request or reply is 0 or beside it."""
    for id in (0x0800, 0xF7FF, 0xFFFF, 1):
        served.send(inbound(ICMP(id=id, seq=word)))


def test_padding(served: Director) -> None:
    """B6, B30: padding of a short frame is not echoed."""
    assert len(served.send(inbound(ICMP(id=1)) + b"\xa5" * 18).one()) == 42


def test_not_for_others(served: Director) -> None:
    """B30, B9: ping to the director itself is the kernel's."""
    raw = inbound(ICMP(id=1), dst=DIRECTOR)
    assert served.send(raw).to_kernel == [raw]
