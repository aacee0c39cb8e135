"""rtnetlink, as much of it as the director needs: pyroute2 packs and parses the messages, a plain socket carries them.

Requests block, which costs nothing: rtnetlink does its work within send(), the answer waits when recv() is called. They
serve alike before, inside and after an asyncio loop, unlike pyroute2's own sockets: IPRoute cannot run inside one, and
AsyncIPRoute is dead after its first ENOBUFS and queues without a bound.

Whatever the kernel refuses is an OSError with the kernel's errno and, where it gave one, its own sentence.
"""

import enum
import errno
import ipaddress
import os
import socket
import struct
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv6Interface
from typing import Any, NamedTuple

from pyroute2.netlink import (
    NETLINK_EXT_ACK,
    NETLINK_GET_STRICT_CHK,
    NLM_F_ACK,
    NLM_F_APPEND,
    NLM_F_CREATE,
    NLM_F_DUMP,
    NLM_F_REPLACE,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
    SOL_NETLINK,
    rtnl,
)
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import IFF_LOWER_UP, IFF_UP, ifinfmsg
from pyroute2.netlink.rtnl.ndmsg import NTF_USE, ndmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

SO_RCVBUFFORCE = 33  # asm-generic/socket.h
RTN_UNICAST = 1
RTPROT_BOOT = 3
RT_TABLE_MAIN = 254
RTM_NEWNEXTHOP = 104  # linux/rtnetlink.h; pyroute2 parses their header only
RTM_DELNEXTHOP = 105
RTMGRP_NEXTHOP = 1 << 31  # RTNLGRP_NEXTHOP
RECEIVE_SIZE = 1 << 16
PART_SIZE = 1 << 13  # a datagram of a dump that must not hold up a loop: some 5 ms of parsing
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")

# rtnetlink(7), linux/rtnetlink.h
_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, pid
_ERROR = struct.Struct("=i")
_LOOK_UP = struct.Struct("=IHHII 8BI HH4s")  # nlmsghdr, rtmsg, RTA_DST
_ATTRIBUTE = struct.Struct("=HH")  # rtattr: length with itself, type
RTMSG_SIZE, RTM_TYPE = 12, 7
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_VIA = 1, 4, 5, 18

Message = Any  # pyroute2's nlmsg, which is untyped: a mapping of header fields with get_attr()


class NeighbourState(enum.IntFlag):
    """NUD_*, linux/neighbour.h."""

    NONE = 0x00
    INCOMPLETE = 0x01
    REACHABLE = 0x02
    STALE = 0x04
    DELAY = 0x08
    PROBE = 0x10
    FAILED = 0x20
    NOARP = 0x40
    PERMANENT = 0x80
    STATIC = NOARP | PERMANENT
    VALID = REACHABLE | STALE | DELAY | PROBE | STATIC


@dataclass(frozen=True, slots=True)
class Link:
    index: int
    name: str
    up: bool
    carrier: bool
    master: int | None
    """Index of the bridge or bond that it is a member of."""


class Hop(NamedTuple):
    """A neighbour's place: interface index and address on that link."""

    interface: int
    address: IPv4Address


class Entry(NamedTuple):
    """What the kernel knows of a neighbour. mac: while valid; confirmed: time.monotonic() of its last sign of life."""

    mac: bytes | None
    state: NeighbourState
    confirmed: float


class Address(NamedTuple):
    interface: int
    value: IPv4Interface | IPv6Interface


class Netlink:
    """One conversation with rtnetlink in the network namespace of the calling thread. Not for two threads at a time.

    receive_size: bytes of an answer's datagram at most; the kernel makes those of a dump as large as this.
    """

    def __init__(self, receive_size: int = RECEIVE_SIZE) -> None:
        self._receive_size = receive_size
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._socket.setsockopt(SOL_NETLINK, NETLINK_EXT_ACK, 1)
        self._socket.setsockopt(SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1)
        self._parser = rtnl.marshal.MarshalRtnl()
        self._sequence = 0

    def __enter__(self) -> "Netlink":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def links(self) -> list[Link]:
        return [link_of(message) for message in self._dump(rtnl.RTM_GETLINK, ifinfmsg())]

    def link(self, which: str | int) -> Link:
        """By name or index; OSError ENODEV if there is none."""
        request = ifinfmsg()
        if isinstance(which, int):
            request["index"] = which
        else:
            request["attrs"] = [("IFLA_IFNAME", which)]
        return link_of(self._request(rtnl.RTM_GETLINK, 0, request)[0])

    def change_link(
        self, index: int, *, up: bool | None = None, mac: bytes | None = None, mtu: int | None = None
    ) -> None:
        request = ifinfmsg()
        request["index"] = index
        if up is not None:
            request["flags"], request["change"] = (IFF_UP if up else 0), IFF_UP
        if mac is not None:
            request["attrs"].append(("IFLA_ADDRESS", mac.hex(":")))
        if mtu is not None:
            request["attrs"].append(("IFLA_MTU", mtu))
        self._request(rtnl.RTM_NEWLINK, 0, request)

    def addresses(self, index: int = 0) -> list[Address]:
        """IPv4 and IPv6 addresses of an interface, its primary one first; of all interfaces unless one is given."""
        request = ifaddrmsg()
        request["index"] = index  # strict checking has the kernel choose
        return [address_of(message) for message in self._dump(rtnl.RTM_GETADDR, request)]

    def add_address(self, index: int, address: IPv4Interface) -> None:
        request = ifaddrmsg()
        request["family"], request["index"], request["prefixlen"] = socket.AF_INET, index, address.network.prefixlen
        request["attrs"] = [
            ("IFA_LOCAL", str(address.ip)),
            ("IFA_ADDRESS", str(address.ip)),
            ("IFA_BROADCAST", str(address.network.broadcast_address)),
        ]
        self._request(rtnl.RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, request)

    def has_default_route(self, index: int, families: Iterable[int] = (socket.AF_INET, socket.AF_INET6)) -> bool:
        """True if a default route of one of these families leaves through this interface."""
        for family in families:
            request = rtmsg()
            request["family"] = family
            request["attrs"] = [("RTA_OIF", index)]  # strict checking has the kernel choose
            if any(route["dst_len"] == 0 for route in self._dump(rtnl.RTM_GETROUTE, request)):
                return True
        return False

    def add_default_route(self, index: int, gateway: IPv4Address) -> None:
        """Behind those that exist: a host that has a default route elsewhere keeps using that."""
        request = rtmsg()
        request["family"], request["table"], request["proto"] = socket.AF_INET, RT_TABLE_MAIN, RTPROT_BOOT
        request["type"] = RTN_UNICAST
        request["attrs"] = [("RTA_GATEWAY", str(gateway)), ("RTA_OIF", index)]
        self._request(rtnl.RTM_NEWROUTE, NLM_F_CREATE | NLM_F_APPEND, request)

    def next_hop(self, address: IPv4Address) -> Hop | None:
        """Where the kernel would send a packet to `address`; None: nowhere, or to itself.

        Asked for each server, a hundred thousand at a time: packed and read here, which takes 8 us where pyroute2's
        general way takes 130.
        """
        self._sequence += 1
        header = _LOOK_UP.size, rtnl.RTM_GETROUTE, NLM_F_REQUEST, self._sequence, 0
        self._socket.send(_LOOK_UP.pack(*header, socket.AF_INET, 32, 0, 0, 0, 0, 0, 0, 0, 8, RTA_DST, address.packed))
        answer = self._socket.recv(self._receive_size)
        while _HEADER.unpack_from(answer)[3] != self._sequence:  # what is left of a request that failed half-way
            answer = self._socket.recv(self._receive_size)
        if _HEADER.unpack_from(answer)[1] == NLMSG_ERROR:
            refusal = -_ERROR.unpack_from(answer, _HEADER.size)[0]
            if refusal in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES, errno.EINVAL):
                return None  # no route, or one of type unreachable, prohibit, blackhole
            raise OSError(refusal, os.strerror(refusal))
        attributes = dict(_attributes(answer, _HEADER.size + RTMSG_SIZE))
        if answer[_HEADER.size + RTM_TYPE] != RTN_UNICAST or RTA_OIF not in attributes or RTA_VIA in attributes:
            return None
        gateway = attributes.get(RTA_GATEWAY)
        return Hop(int.from_bytes(attributes[RTA_OIF], sys.byteorder), IPv4Address(gateway) if gateway else address)

    def neighbours(self, interface: int) -> Iterator[list[tuple[Hop, Entry]]]:
        """IPv4 neighbours on an interface, a datagram at a time; nothing else may be asked until the end."""
        request = ndmsg()
        request["family"] = socket.AF_INET
        request["attrs"] = [("NDA_IFINDEX", interface)]
        for part in self._parts(rtnl.RTM_GETNEIGH, NLM_F_DUMP, request):
            yield [neighbour_of(message) for message in part]

    def solicit(self, hop: Hop) -> None:
        """Have the kernel find this neighbour, by broadcast unless it has a MAC for it, as a packet of its own would.

        Would make a permanent entry an ordinary one: not for those.
        """
        request = _neighbour_request(hop)
        request["flags"] = NTF_USE
        self._request(rtnl.RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, request)

    def probe(self, hop: Hop) -> None:
        """Have the kernel ask the MAC that it has whether it is still right; in use meanwhile.

        OSError ENOENT, EINVAL: it has none. Not for permanent entries either.
        """
        request = _neighbour_request(hop)
        request["state"] = NeighbourState.PROBE
        self._request(rtnl.RTM_NEWNEIGH, NLM_F_REPLACE, request)

    def _dump(self, kind: int, request: Message) -> list[Message]:
        return self._request(kind, NLM_F_DUMP, request)

    def _request(self, kind: int, flags: int, request: Message) -> list[Message]:
        return [message for part in self._parts(kind, flags, request) for message in part]

    def _parts(self, kind: int, flags: int, request: Message) -> Iterator[list[Message]]:
        """The answers as they come, a datagram at a time."""
        self._sequence += 1
        request["header"].update(
            type=kind, flags=NLM_F_REQUEST | NLM_F_ACK | flags, sequence_number=self._sequence, pid=0
        )
        request.encode()
        self._socket.send(request.data)
        while True:
            answers: list[Message] = []
            for message in self._parser.parse(self._socket.recv(self._receive_size)):
                if message["header"]["sequence_number"] != self._sequence:
                    continue  # what is left of a request that failed half-way
                if message["header"]["type"] in (NLMSG_ERROR, NLMSG_DONE):
                    _raise_refusal(message)
                    yield answers
                    return
                answers.append(message)
            yield answers


class Events:
    """What rtnetlink announces to `groups` (RTMGRP_*), for a selector. receive_buffer: bytes the kernel keeps."""

    def __init__(self, groups: int, receive_buffer: int) -> None:
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        self._socket = socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, receive_buffer)
        except PermissionError:  # needs CAP_NET_ADMIN of the host; else net.core.rmem_max is the limit
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._socket.bind((0, groups))
        self._parser = rtnl.marshal.MarshalRtnl()

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def read(self, limit: int) -> list[Message]:
        """Messages of at most `limit` datagrams that are there. OSError ENOBUFS: some were lost."""
        messages: list[Message] = []
        for _ in range(limit):
            try:
                messages.extend(self._parser.parse(self._socket.recv(RECEIVE_SIZE)))
            except BlockingIOError:
                break
        return messages


def link_of(message: Message) -> Link:
    flags = message["flags"]
    return Link(
        index=message["index"],
        name=message.get_attr("IFLA_IFNAME"),
        up=bool(flags & IFF_UP),
        carrier=bool(flags & IFF_LOWER_UP),
        master=message.get_attr("IFLA_MASTER"),
    )


def address_of(message: Message) -> Address:
    # on a point-to-point link IFA_ADDRESS is the far end's; without IFA_LOCAL (IPv6) it is our own
    own = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
    return Address(message["index"], ipaddress.ip_interface(f"{own}/{message['prefixlen']}"))


def neighbour_of(message: Message) -> tuple[Hop, Entry]:
    """Of an IPv4 RTM_NEWNEIGH or RTM_DELNEIGH."""
    mac = message.get_attr("NDA_LLADDR")
    state = NeighbourState(message["state"])
    age = (message.get_attr("NDA_CACHEINFO") or {}).get("ndm_confirmed", 0) / CLOCK_TICKS
    entry = Entry(
        mac=bytes.fromhex(mac.replace(":", "")) if mac else None,
        state=state,
        confirmed=time.monotonic() - age,
    )
    return Hop(message["ifindex"], IPv4Address(message.get_attr("NDA_DST"))), entry


def _neighbour_request(hop: Hop) -> Message:
    request = ndmsg()
    request["family"], request["ifindex"] = socket.AF_INET, hop.interface
    request["attrs"] = [("NDA_DST", str(hop.address))]
    return request


def _attributes(message: bytes, offset: int) -> Iterator[tuple[int, bytes]]:
    """(type, value), each on a boundary of four bytes."""
    while offset + _ATTRIBUTE.size <= len(message):
        length, kind = _ATTRIBUTE.unpack_from(message, offset)
        yield kind, message[offset + _ATTRIBUTE.size : offset + length]
        offset += max(length + 3 & ~3, _ATTRIBUTE.size)


def _raise_refusal(message: Message) -> None:
    """Of an acknowledgement that is none: the kernel's sentence where it has one, else errno's."""
    refusal = message["header"]["error"]
    if refusal is not None:
        code, sentence = refusal.args[:2]
        raise OSError(code, sentence or os.strerror(code))
