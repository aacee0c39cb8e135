"""The kernel interface: a TAP device through which everything that is not a virtual service reaches Linux."""

import fcntl
import os
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface

from jupiter.errors import JupiterError
from jupiter.host.netlink import Netlink

# linux/if_tun.h
TUNSETIFF = 0x400454CA
IFF_TAP = 0x0002
IFF_NO_PI = 0x1000
IFREQ = struct.Struct("16sH22x")  # struct ifreq: name, flags
NAME_LIMIT = 15  # IFNAMSIZ - 1


@dataclass
class Tap:
    """An open TAP device, gone after close(). fd: non-blocking, one Ethernet frame (without FCS) a read or write."""

    name: str
    index: int
    fd: int

    def close(self) -> None:
        """Once; the device and its addresses and routes go with it."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def open_tap(name: str, mac: bytes, mtu: int) -> Tap:
    """Create the interface, down and without addresses. mac: 6 bytes, that of the port it stands for.

    JupiterError interface-unavailable: the kernel refuses the name, the MAC or the MTU, or the name is taken.
    """
    if not 0 < len(name.encode()) <= NAME_LIMIT:
        raise JupiterError("interface-unavailable", f"Invalid interface name {name}: expected 1 to {NAME_LIMIT} bytes.")
    if len(mac) != 6 or mac[0] & 1:
        raise JupiterError("interface-unavailable", f"Invalid MAC {mac.hex(':')} of {name}: expected 6 bytes, unicast.")
    try:
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as refusal:
        raise JupiterError(
            "interface-unavailable", f"Cannot create interface {name}: /dev/net/tun: {refusal.strerror}."
        ) from refusal
    try:
        fcntl.ioctl(fd, TUNSETIFF, IFREQ.pack(name.encode(), IFF_TAP | IFF_NO_PI))
        with Netlink() as kernel:
            index = kernel.link(name).index
            kernel.change_link(index, mac=mac, mtu=mtu)
    except OSError as refusal:
        os.close(fd)
        raise JupiterError(
            "interface-unavailable",
            f"Cannot create interface {name} (MAC {mac.hex(':')}, MTU {mtu}): {refusal.strerror}.",
        ) from refusal
    return Tap(name, index, fd)


def configure(tap: Tap, address: IPv4Interface, gateway: IPv4Address | None) -> None:
    """Give the interface its address, raise it, and add a default route through gateway if the interface has none.

    A host whose default route leaves elsewhere keeps using that one: ours stands behind it.
    JupiterError invalid-gateway: not another address in the interface's own network.
    JupiterError interface-unavailable: the kernel refuses.
    """
    if gateway is not None and (gateway not in address.network or gateway == address.ip):
        raise JupiterError(
            "invalid-gateway",
            f"Invalid gateway {gateway} of {tap.name}: expected another address in {address.network}.",
        )
    try:
        with Netlink() as kernel:
            kernel.add_address(tap.index, address)
            kernel.change_link(tap.index, up=True)
            if gateway is not None and not kernel.has_default_route(tap.index):
                kernel.add_default_route(tap.index, gateway)
    except OSError as refusal:
        raise JupiterError(
            "interface-unavailable", f"Cannot configure interface {tap.name} as {address}: {refusal.strerror}."
        ) from refusal
