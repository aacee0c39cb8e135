"""Frames in one line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet, Raw

from jupiter.dissect import one_line

ENDS = {"src": "1.1.1.1", "dst": "10.0.1.1"}
MACS = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")

LINES: dict[str, Packet] = {
    "1.1.1.1:1000 > 10.0.1.1:80 tcp S seq 7 win 100 len 0 ttl 64, 54 bytes": IP(**ENDS)
    / TCP(sport=1000, dport=80, flags="S", seq=7, window=100),
    "1.1.1.1:1000 > 10.0.1.1:80 tcp PA seq 7 ack 9 win 8192 len 5 ttl 1, 63 bytes": IP(ttl=1, **ENDS)
    / TCP(sport=1000, dport=80, flags="PA", seq=7, ack=9, options=[("NOP", 0)] * 4)
    / Raw(b"hello"),
    "1.1.1.1:53 > 10.0.1.1:99 udp len 3 ttl 64, 45 bytes": IP(**ENDS) / UDP(sport=53, dport=99) / Raw(b"abc"),
    "1.1.1.1 > 10.0.1.1 icmp echo request code 0 ttl 64, 42 bytes": IP(**ENDS) / ICMP(),
    "1.1.1.1 > 10.0.1.1 icmp time exceeded code 1 ttl 64, 42 bytes": IP(**ENDS) / ICMP(type=11, code=1),
    "1.1.1.1 > 10.0.1.1 icmp type 13 code 0 ttl 64, 54 bytes": IP(**ENDS) / ICMP(type=13),
    "1.1.1.1 > 10.0.1.1 protocol 89 ttl 64, 38 bytes": IP(proto=89, **ENDS) / Raw(b"1234"),
    "1.1.1.1:53 > 10.0.1.1:99 udp len 8 ttl 64 fragment 5:0+, 50 bytes": IP(id=5, flags="MF", **ENDS)
    / UDP(sport=53, dport=99)
    / Raw(b"12345678"),
    "1.1.1.1 > 10.0.1.1 protocol 17 ttl 64 fragment 5:16, 42 bytes": IP(id=5, frag=2, proto=17, **ENDS)
    / Raw(b"12345678"),
    "arp who-has 10.0.1.1 tell 1.1.1.1, 42 bytes": ARP(op=1, psrc="1.1.1.1", pdst="10.0.1.1"),
    "arp 1.1.1.1 is-at 02:00:00:00:00:01, 42 bytes": ARP(op=2, psrc="1.1.1.1", hwsrc="02:00:00:00:00:01"),
    "02:00:00:00:00:01 > 02:00:00:00:00:02 ethertype 0x86dd, 54 bytes": IPv6(),
}


@pytest.mark.parametrize(("line", "packet"), LINES.items(), ids=LINES)
def test_a_frame_is_told_in_a_line(line: str, packet: Packet) -> None:
    raw = bytes(MACS / packet)
    assert one_line(raw, len(raw)) == line


@given(st.sampled_from([bytes(MACS / packet) for packet in LINES.values()]), st.integers(0, 60), st.binary(max_size=60))
def test_whatever_the_bytes_it_is_one_printable_line(raw: bytes, kept: int, more: bytes) -> None:
    line = one_line(raw[:kept] + more, 1500)
    assert line.isprintable()
    assert line.endswith(", 1500 bytes")
