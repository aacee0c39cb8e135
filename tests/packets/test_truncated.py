"""Short and inconsistent frames: each dropped under one reason, nothing read outside the frame: B8."""

import pytest
from scapy.layers.inet import ICMP, IP
from scapy.packet import Raw

from fastpath import engine
from tests.packets.director import Director
from tests.packets.frames import BROADCAST, DIRECTOR, VIP, arp, frame, inbound, tcp, udp

BAD_IP_CHECKSUM = 1 << 4
"""RTE_MBUF_F_RX_IP_CKSUM_BAD, what a NIC sets in mbuf.ol_flags."""

GOOD = {
    "tcp": inbound(tcp("S", data=b"payload!")),
    "udp": inbound(udp(data=b"payload!")),
    "icmp": inbound(ICMP() / Raw(b"payload!")),
}


def cut_reason(length: int) -> str:
    """Why a whole frame cut to this length is dropped."""
    if length < 14:
        return "frame_truncated"
    return "ipv4_truncated" if length < 34 else "ipv4_bad_length"


@pytest.fixture
def served(director: Director) -> Director:
    director.service()
    director.service(protocol=engine.UDP, id=1, first=1)
    return director


@pytest.mark.parametrize("kind", GOOD)
def test_every_truncation(served: Director, kind: str) -> None:
    """B8: a good frame cut to each length from 0 on: one counted reason each, nothing sent."""
    good = GOOD[kind]
    for length in range(len(good)):
        served.send(good[:length], drops={cut_reason(length): 1})
    assert len(served.send(good).to_network) == 1


def test_every_truncation_of_arp(served: Director) -> None:
    """B8: the same for an ARP request, which carries no length of its own."""
    good = arp(VIP)
    for length in range(len(good)):
        served.send(good[:length], drops={"frame_truncated" if length < 14 else "arp_truncated": 1})
    assert len(served.send(good).to_network) == 1


@pytest.mark.parametrize("kind", GOOD)
def test_every_ipv4_length(served: Director, kind: str) -> None:
    """B8: the total length says each value up to the frame's: too short for the L4 header is dropped as that."""
    good = GOOD[kind]
    need = {"tcp": 20, "udp": 8, "icmp": 8}[kind]
    for total in range(len(good) - 14):
        raw = bytearray(good)
        raw[16:18] = total.to_bytes(2, "big")
        reason = "ipv4_bad_length" if total < 20 else f"{kind}_truncated" if total < 20 + need else None
        if kind == "udp" and reason is None:
            reason = "udp_bad_length"
        if reason:
            served.send(bytes(raw), drops={reason: 1})
    assert len(served.send(good).to_network) == 1


CASES = [
    ("total length beyond the frame", inbound(tcp("S"), len=41), "ipv4_bad_length"),
    ("total length beyond the padded frame", inbound(tcp("S"), len=61) + bytes(6), "ipv4_bad_length"),
    ("total length of 65535", inbound(tcp("S"), len=65535), "ipv4_bad_length"),
    *((f"IHL {ihl}", inbound(tcp("S"), ihl=ihl), "ipv4_bad_ihl") for ihl in range(5)),
    ("IHL 15 in a packet of 40 bytes", inbound(tcp("S"), ihl=15), "ipv4_bad_length"),
    ("IHL 10 leaves no TCP header", inbound(tcp("S"), ihl=10), "tcp_truncated"),
    ("version 6 behind IPv4's EtherType", inbound(tcp("S"), version=6), "ipv4_bad_version"),
    ("version 0", inbound(tcp("S"), version=0), "ipv4_bad_version"),
    *((f"data offset {n}", inbound(tcp("S", dataofs=n)), "tcp_bad_offset") for n in (0, 1, 4, 6, 15)),
    *((f"UDP length {n}", inbound(udp(data=b"1234", len=n)), "udp_bad_length") for n in (0, 7, 8, 11, 13, 65535)),
    ("GRE to a virtual address", frame(IP(dst=VIP, src="1.1.1.1", proto=47), Raw(bytes(20))), "protocol_not_served"),
    ("an ICMP timestamp request", inbound(ICMP(type=13)), "icmp_not_handled"),
    ("an echo reply", inbound(ICMP(type=0)), "icmp_not_handled"),
    ("an echo request with a code", inbound(ICMP(code=1)), "icmp_not_handled"),
    ("another machine's MAC", frame(IP(dst=VIP), tcp("S"), dst="02:00:00:00:00:77"), "not_for_us"),
    ("ARP about something else than Ethernet", arp(VIP, hwtype=6), "arp_truncated"),
    ("ARP about something else than IPv4", arp(VIP, ptype=0x86DD), "arp_truncated"),
]


@pytest.mark.parametrize(("raw", "reason"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_inconsistent(served: Director, raw: bytes, reason: str) -> None:
    """B8: each under its own counter, nothing sent, no state."""
    served.send(raw, drops={reason: 1})
    assert served.in_use() == 0


def test_ipv4_checksum_that_the_nic_found_wrong(served: Director) -> None:
    """B8: the NIC says so in the packet buffer's flags; without that the packet passes."""
    served.send((0, GOOD["tcp"], BAD_IP_CHECKSUM), drops={"ipv4_bad_checksum": 1})
    assert len(served.send((0, GOOD["tcp"], 1 << 7)).to_network) == 1


def test_dropped_bursts_are_counted_whole(served: Director) -> None:
    """B8: good and bad frames in one burst: each has its own fate."""
    raws = [GOOD["tcp"], GOOD["tcp"][:20], GOOD["udp"], GOOD["udp"][:10], GOOD["tcp"][:50], GOOD["icmp"]]
    sent = served.send(*raws * 10, drops={"ipv4_truncated": 10, "frame_truncated": 10, "ipv4_bad_length": 10})
    assert len(sent.to_network) == 30
    assert engine.port_counters(0).rx_dropped >= 30


@pytest.mark.parametrize("length", range(14, 60, 5))
def test_short_frames_for_the_kernel(served: Director, length: int) -> None:
    """B8, B9: a frame of an EtherType that is not ours is the kernel's, however short."""
    raw = bytes.fromhex(BROADCAST.replace(":", "")) + bytes.fromhex("02000000010186dd") + bytes(length - 14)
    assert served.send(raw).to_kernel == [raw]


def test_broken_packets_for_the_director_itself(served: Director) -> None:
    """B8: the checks come before the question whose it is."""
    served.send(inbound(tcp("S", dataofs=3), dst=DIRECTOR), drops={"tcp_bad_offset": 1})
