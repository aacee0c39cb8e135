"""A frame in one line, as a person reads it; whatever the bytes are, and however short. Pure."""

import struct
from ipaddress import IPv4Address
from typing import Final

_ETHERNET = struct.Struct("!6s6sH")
_IPV4 = struct.Struct("!BxHHHBBxx4s4s")
_ARP = struct.Struct("!HHBBH6s4s6s4s")
_TCP = struct.Struct("!HHIIBBH")
_UDP = struct.Struct("!HHH")
_ICMP = struct.Struct("!BB")
_FLAGS: Final = "FSRPAUEC"
"""From bit 0 on."""
_ICMP_TYPES: Final = {0: "echo reply", 3: "unreachable", 5: "redirect", 8: "echo request", 11: "time exceeded"}


def one_line(frame: bytes, length: int) -> str:
    """length: of the whole frame."""
    try:
        return f"{_network(frame)}, {length} bytes"
    except struct.error:  # it ends where there should be a header
        return f"cut short, {length} bytes"


def _network(frame: bytes) -> str:
    target, source, kind = _ETHERNET.unpack_from(frame)
    if kind == 0x0800:
        return _ipv4(frame[_ETHERNET.size :])
    if kind == 0x0806:
        return _arp(frame[_ETHERNET.size :])
    return f"{source.hex(':')} > {target.hex(':')} ethertype 0x{kind:04x}"


def _arp(data: bytes) -> str:
    *_, kind, source_mac, source, _, target = _ARP.unpack_from(data)
    if kind == 1:
        return f"arp who-has {IPv4Address(target)} tell {IPv4Address(source)}"
    return f"arp {IPv4Address(source)} is-at {source_mac.hex(':')}"


def _ipv4(data: bytes) -> str:
    first, total, id, fragment, ttl, protocol, source, target = _IPV4.unpack_from(data)
    offset, behind = (fragment & 0x1FFF) * 8, (first & 15) * 4
    ends = str(IPv4Address(source)), str(IPv4Address(target))
    more = f" ttl {ttl}"
    if fragment & 0x3FFF:
        more += f" fragment {id}:{offset}{'+' if fragment & 0x2000 else ''}"
    if offset:
        return f"{ends[0]} > {ends[1]} protocol {protocol}{more}"
    return _transport(ends, protocol, data[behind:], total - behind) + more


def _transport(ends: tuple[str, str], protocol: int, data: bytes, length: int) -> str:
    source, target = ends
    if protocol == 6:
        sport, dport, seq, ack, offset, bits, window = _TCP.unpack_from(data)
        flags = "".join(flag for n, flag in enumerate(_FLAGS) if bits >> n & 1) or "-"
        acked = f" ack {ack}" if bits & 16 else ""
        payload = max(0, length - (offset >> 4) * 4)
        return f"{source}:{sport} > {target}:{dport} tcp {flags} seq {seq}{acked} win {window} len {payload}"
    if protocol == 17:
        sport, dport, size = _UDP.unpack_from(data)
        return f"{source}:{sport} > {target}:{dport} udp len {max(0, size - 8)}"
    if protocol == 1:
        kind, code = _ICMP.unpack_from(data)
        return f"{source} > {target} icmp {_ICMP_TYPES.get(kind, f'type {kind}')} code {code}"
    return f"{source} > {target} protocol {protocol}"
