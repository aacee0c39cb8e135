"""What is the kernel's, both ways, and ARP: B9, B40."""

import pytest
from scapy.layers.inet import ICMP, IP
from scapy.layers.inet6 import ICMPv6ND_NS, IPv6
from scapy.layers.l2 import ARP, Dot1Q
from scapy.packet import Raw

from fastpath import engine
from tests.packets.director import Director
from tests.packets.frames import (
    BROADCAST,
    CLIENT,
    CLIENT_MAC,
    DIRECTOR,
    DIRECTOR_MAC,
    LOCAL,
    VIP,
    arp,
    frame,
    inbound,
    tcp,
    udp,
)

SOLICITED = "33:33:ff:00:00:02"
ALL_OSPF, ALL_VRRP = "01:00:5e:00:00:05", "01:00:5e:00:00:12"

KERNEL = {
    "ARP for the director": arp(DIRECTOR),
    "ARP for another host": arp("1.1.1.77"),
    "an ARP reply": frame(ARP(op=2, psrc=CLIENT, hwsrc=CLIENT_MAC, pdst=DIRECTOR, hwdst=DIRECTOR_MAC)),
    "a gratuitous ARP": frame(ARP(op=2, psrc=CLIENT, hwsrc=CLIENT_MAC, pdst=CLIENT), dst=BROADCAST),
    "ssh": inbound(tcp("S", dport=22), dst=DIRECTOR),
    "BGP": inbound(tcp("PA", sport=179, dport=40000, data=b"open"), dst=DIRECTOR, ttl=1),
    "DNS": inbound(udp(sport=53, dport=40000, data=b"answer"), dst=DIRECTOR),
    "a service's port of the director's own address": inbound(tcp("S"), dst=DIRECTOR),
    "ping to the director": inbound(ICMP() / Raw(b"ping"), dst=DIRECTOR),
    "a fragment for the director": inbound(udp(), dst=DIRECTOR, flags="MF"),
    "OSPF": frame(IP(src=CLIENT, dst="224.0.0.5", proto=89, ttl=1), Raw(bytes(44)), dst=ALL_OSPF),
    "unicast OSPF": frame(IP(src=CLIENT, dst=DIRECTOR, proto=89, ttl=1), Raw(bytes(44))),
    "VRRP": frame(IP(src=CLIENT, dst="224.0.0.18", proto=112, ttl=255), Raw(bytes(20)), dst=ALL_VRRP),
    "IPv6 neighbour discovery": frame(IPv6(dst="ff02::1:ff00:2"), ICMPv6ND_NS(tgt="fe80::2"), dst=SOLICITED),
    "DHCP": frame(IP(src="0.0.0.0", dst="255.255.255.255"), udp(68, 67, bytes(240)), dst=BROADCAST),
    "a VLAN tag": frame(Dot1Q(vlan=7), IP(dst=VIP), tcp("S")),
    "LLDP": frame(Raw(bytes(50)), dst="01:80:c2:00:00:0e"),
    "padding": inbound(udp(dport=9), dst=DIRECTOR) + bytes(18),
}


@pytest.fixture
def served(director: Director) -> Director:
    director.service()
    director.service(protocol=engine.UDP, id=1, first=1)
    return director


@pytest.mark.parametrize("raw", KERNEL.values(), ids=KERNEL)
def test_to_the_kernel(served: Director, raw: bytes) -> None:
    """B9: what is not ours reaches the kernel interface, byte for byte."""
    before = engine.port_counters(0).kernel_rx_packets
    sent = served.send(raw)
    assert (sent.to_kernel, sent.to_network) == ([raw], [])
    assert engine.port_counters(0).kernel_rx_packets == before + 1


@pytest.mark.parametrize("raw", KERNEL.values(), ids=KERNEL)
def test_from_the_kernel(served: Director, raw: bytes) -> None:
    """B9: what the kernel sends leaves by the port of its interface, byte for byte, multicast included."""
    for port in (0, 1):
        sent = served.send(kernel=[(port, raw)])
        assert ([bytes(p) for p in sent.to_network], sent.ports) == ([raw], [port])


def test_both_at_once(served: Director) -> None:
    """B9: kernel traffic of both directions and a service's packets in one turn."""
    down, up = KERNEL["ssh"], KERNEL["BGP"]
    sent = served.send(inbound(tcp("S")), down, inbound(udp()), down, kernel=[(0, up)] * 40)
    assert sent.to_kernel == [down, down]
    assert [bytes(p) for p in sent.to_network].count(up) == 40
    assert len(sent.to_network) == 42


def test_kernel_ring_overflow(served: Director) -> None:
    """B9: more than the kernel takes is dropped under its counter; the rest is unharmed and in order."""
    raws = [inbound(tcp("S", sport=n, dport=22), dst=DIRECTOR) for n in range(1, 301)]
    assert served.send(*raws, drops={"kernel_ring_full": 44}).to_kernel == raws[:256]
    assert served.send(raws[0]).to_kernel == raws[:1]


@pytest.mark.parametrize("target", [VIP, LOCAL])
@pytest.mark.parametrize("unicast", [False, True])
@pytest.mark.parametrize("padding", [0, 18])
def test_arp_is_answered(served: Director, target: str, unicast: bool, padding: int) -> None:
    """B40: ARP for a virtual or a local address is answered with the port's MAC, and is no business of the kernel."""
    question = arp(target) + bytes(padding)
    if unicast:
        question = bytes.fromhex(DIRECTOR_MAC.replace(":", "")) + question[6:]
    answer = served.send(question).one()
    assert (answer.src, answer.dst) == (DIRECTOR_MAC, CLIENT_MAC)
    assert (answer[ARP].op, answer[ARP].hwsrc, answer[ARP].psrc) == (2, DIRECTOR_MAC, target)
    assert (answer[ARP].hwdst, answer[ARP].pdst) == (CLIENT_MAC, CLIENT)


def test_arp_on_the_second_port(served: Director) -> None:
    """B40: each port answers with its own MAC."""
    sent = served.send((1, arp(VIP)))
    assert (sent.ports, sent.one()[ARP].hwsrc) == ([1], "02:00:00:00:00:02")


def test_arp_probe(served: Director) -> None:
    """B40: a probe (sender 0.0.0.0, RFC 5227) for a virtual address is answered: it is taken."""
    answer = served.send(frame(ARP(op=1, hwsrc=CLIENT_MAC, psrc="0.0.0.0", pdst=VIP), dst=BROADCAST)).one()
    assert (answer[ARP].psrc, answer[ARP].pdst) == (VIP, "0.0.0.0")


def test_unserved_ports_of_a_virtual_address(served: Director) -> None:
    """B9: they are not the kernel's: silent, and counted."""
    served.send(inbound(tcp("S", dport=81)), inbound(udp(dport=80)), drops={"no_service": 2})
    served.send(inbound(udp(dport=54)), drops={"no_service": 1})


def test_an_address_without_a_service_is_the_kernels(director: Director) -> None:
    """B9: before a service is published its address is not ours."""
    raw = inbound(tcp("S"))
    assert director.send(raw).to_kernel == [raw]
