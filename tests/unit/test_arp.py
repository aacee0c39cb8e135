"""Gratuitous ARP, as scapy reads it."""

from ipaddress import IPv4Address

from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.l2 import ARP, Ether

from jupiter.arp import announcement


@given(
    st.integers(0, 2**32 - 1).map(IPv4Address),
    st.binary(min_size=6, max_size=6).map(lambda mac: bytes([mac[0] & 0xFE]) + mac[1:]),
)
def test_announcement(address: IPv4Address, mac: bytes) -> None:
    """B40: a broadcast request whose sender and target are the address (RFC 5227, 1.1), padded to a legal frame."""
    frame = announcement(address, mac)
    assert len(frame) == 60
    ether = Ether(frame)
    assert (ether.dst, ether.src, ether.type) == ("ff:ff:ff:ff:ff:ff", mac.hex(":"), 0x0806)
    arp = ether[ARP]
    assert (arp.hwtype, arp.ptype, arp.hwlen, arp.plen, arp.op) == (1, 0x0800, 6, 4, 1)
    assert (arp.hwsrc, arp.psrc, arp.hwdst, arp.pdst) == (mac.hex(":"), str(address), "00:" * 5 + "00", str(address))
    assert bytes(arp.payload).strip(b"\0") == b""
