"""Two processes that net_af_packet cannot tell apart, found before EAL stumbles over them.

DPDK's net_af_packet calls the fanout group of its sockets (pid ^ index of the netdev) & 0xffff (rte_eth_af_packet.c),
and a network namespace has each name once: of two instances the second may come to a name that the first has taken.
"""

import os
import socket
import struct

from jupiter.errors import JupiterError

SOL_PACKET = 263  # linux/socket.h
PACKET_FANOUT = 18  # linux/if_packet.h
HASH_DEFRAG_ROLLOVER = 0x9000  # the driver's kind of group
UNIQUE_ID = 0x2000  # the kernel finds a name
ETH_P_ALL = 3  # linux/if_ether.h


def is_taken(netdev: str) -> bool:
    """Whether this process cannot use the netdev by net_af_packet, while one with another pid could.

    False also where nobody could, or we may not ask: the driver will say why.
    """
    try:
        name = _name(netdev)
        return not _has_group(netdev, HASH_DEFRAG_ROLLOVER, name) and _has_group(netdev, UNIQUE_ID, 0)
    except OSError:
        return False


def refuse_taken(netdev: str) -> None:
    """JupiterError netdev-unavailable: is_taken()."""
    if is_taken(netdev):
        raise JupiterError(
            "netdev-unavailable",
            f"Cannot use netdev {netdev} as a port: another process has packet fanout group {_name(netdev)}, to which "
            f"net_af_packet comes from our pid, {os.getpid()}. Start it again: it will have another pid.",
        )


def _name(netdev: str) -> int:
    return (os.getpid() ^ socket.if_nametoindex(netdev)) & 0xFFFF


def _has_group(netdev: str, flags: int, name: int) -> bool:
    """EINVAL: a group of that name is on another netdev, or of another kind."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as packets:
        packets.bind((netdev, ETH_P_ALL))
        try:
            packets.setsockopt(SOL_PACKET, PACKET_FANOUT, struct.pack("HH", name, flags))
        except OSError:
            return False
        return True
