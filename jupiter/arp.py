"""Frames of ARP that are sent unasked. Pure."""

import struct
from ipaddress import IPv4Address

BROADCAST = b"\xff" * 6
ETHERTYPE_ARP = 0x0806
# RFC 826: hardware type, protocol type, their address lengths, operation; sender's and target's MAC and address
ARP = struct.Struct("!HHBBH 6s4s 6s4s")
ETHERNET, IPV4, REQUEST = 1, 0x0800, 1
FRAME_MIN = 60  # IEEE 802.3, without FCS; not every driver pads


def announcement(address: IPv4Address, mac: bytes) -> bytes:
    """A gratuitous ARP (RFC 5227, section 1.1: a request with address as sender and target): who has it now.

    mac: 6 bytes, where to send to from now on. Hosts and routers that know the address change their entry.
    """
    arp = ARP.pack(ETHERNET, IPV4, 6, 4, REQUEST, mac, address.packed, bytes(6), address.packed)
    return (BROADCAST + mac + ETHERTYPE_ARP.to_bytes(2) + arp).ljust(FRAME_MIN, b"\0")
