"""Frames as tests write and read them: scapy builds each one, and judges each one that leaves."""

from scapy.layers.inet import ICMP, IP, TCP, UDP, TCPerror, UDPerror
from scapy.layers.l2 import ARP, Ether
from scapy.packet import NoPayload, Packet, Raw

CLIENT, CLIENT_MAC = "1.1.1.1", "02:00:00:00:01:01"
OTHER_CLIENT = "1.1.1.9"
DIRECTOR, DIRECTOR_MAC = "1.1.1.2", "02:00:00:00:00:01"
VIP, LOCAL = "10.0.1.1", "10.0.2.1"
SERVER, OTHER_SERVER = "1.1.1.3", "1.1.1.4"
BROADCAST = "ff:ff:ff:ff:ff:ff"


def server_mac(address: str) -> str:
    return "02:00:00:00:02:" + format(int(address.rsplit(".", 1)[1]), "02x")


def frame(*layers: Packet, src: str = CLIENT_MAC, dst: str = DIRECTOR_MAC) -> bytes:
    """An Ethernet frame of these layers; to the director's first port unless said otherwise."""
    packet = Ether(src=src, dst=dst)
    for layer in layers:
        packet = packet / layer
    return bytes(packet)


def tcp(flags: str = "A", sport: int = 1000, dport: int = 80, data: bytes = b"", **fields: object) -> Packet:
    return TCP(sport=sport, dport=dport, flags=flags, **fields) / Raw(data)


def udp(sport: int = 1000, dport: int = 53, data: bytes = b"", **fields: object) -> Packet:
    return UDP(sport=sport, dport=dport, **fields) / Raw(data)


def inbound(l4: Packet, src: str = CLIENT, dst: str = VIP, **fields: object) -> bytes:
    """A packet of a client to a virtual address."""
    return frame(IP(src=src, dst=dst, **fields), l4)


def outbound(sent: Packet, l4: Packet, **fields: object) -> bytes:
    """A packet of the server that received `sent`: R -> L, its ports taken from there."""
    theirs = sent[IP].payload
    l4.sport, l4.dport = theirs.dport, theirs.sport
    return frame(IP(src=sent[IP].dst, dst=sent[IP].src, **fields), l4, src=sent.dst, dst=sent.src)


def recomputed(raw: bytes) -> bytes:
    """The frame with every checksum computed anew from its bytes; a UDP checksum of 0 is none, and stays (RFC 768), and
    so does that of a segment which an ICMP error quotes, perhaps in part, or that is in fragments."""
    packet = Ether(raw)
    layer = packet
    while not isinstance(layer, NoPayload):
        if isinstance(layer, TCPerror | UDPerror):
            pass
        elif isinstance(layer, IP) and (layer.frag or layer.flags.MF):
            layer.chksum = None
            break
        elif isinstance(layer, IP | TCP | ICMP) or (isinstance(layer, UDP) and layer.chksum):
            del layer.chksum
        layer = layer.payload
    return bytes(packet)


def is_correct(raw: bytes) -> bool:
    """Whether all checksums are right."""
    return recomputed(raw) == raw


def bare(raw: bytes) -> bytes:
    """What forwarding must not touch: everything but MAC and IPv4 addresses, ports, TTL and checksums, blanked here."""
    blank = bytearray(raw)
    ip = Ether(raw)[IP]
    header = 14 + ip.ihl * 4
    checksum = header + (16 if ip.proto == 6 else 6)
    for start, end in ((0, 12), (22, 23), (24, 34), (header, header + 4), (checksum, checksum + 2)):
        blank[start:end] = bytes(end - start)
    return bytes(blank)


def arp(target: str, **fields: object) -> bytes:
    """A client's question for an address."""
    return frame(ARP(op=1, hwsrc=CLIENT_MAC, psrc=CLIENT, pdst=target, **fields), dst=BROADCAST)
