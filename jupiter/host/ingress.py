"""Kernel netdevs that DPDK uses as ports (af_packet, af_xdp): keep the kernel from serving them too.

The kernel receives every frame of such a netdev as well and would answer ARP, ICMP and TCP on its own. A drop in
nftables' netdev ingress hook stands behind the packet sockets, so DPDK still sees each frame.
"""

import contextlib
import re
import subprocess
from collections.abc import Iterable

from jupiter.errors import JupiterError
from jupiter.host.netlink import Netlink

NETDEV_DRIVERS = ("net_af_packet", "eth_af_packet", "net_af_xdp")  # EAL vdevs that share a kernel netdev
NFT_NAME = re.compile(r"[A-Za-z0-9_.-]{1,15}")  # what is both a netdev's name and fit for a table's


class KernelIngressDrop:
    """Netdevs given over to DPDK: up, and dropped at the kernel's ingress, from install() to remove(); both repeatable.

    A table of our own for each netdev, named after it; one left over by a killed process is replaced.
    """

    def __init__(self, ifnames: Iterable[str]) -> None:
        self.ifnames = tuple(ifnames)
        self._raised: set[str] = set()
        for name in self.ifnames:
            if not NFT_NAME.fullmatch(name):
                raise JupiterError(
                    "netdev-unavailable",
                    f"Invalid netdev name {name}: expected letters, digits, '_', '.', '-'; 15 at most.",
                )

    def install(self) -> None:
        """JupiterError netdev-unavailable: no such netdev, or the kernel or nft refuses; nothing stays changed then."""
        try:
            with Netlink() as kernel:
                for name in self.ifnames:
                    self._take(kernel, name)
        except JupiterError:
            with contextlib.suppress(JupiterError):  # the operator needs the first reason
                self.remove()
            raise

    def remove(self) -> None:
        """Also where a netdev has gone meanwhile."""
        _nft("".join(_no_table(name) for name in self.ifnames))
        with Netlink() as kernel:
            for link in kernel.links():
                if link.name in self._raised:
                    kernel.change_link(link.index, up=False)
        self._raised.clear()

    def _take(self, kernel: Netlink, name: str) -> None:
        try:
            link = kernel.link(name)
            _nft(_no_table(name) + _drop_table(name))  # before it is up: not one frame reaches the kernel
            if not link.up:
                kernel.change_link(link.index, up=True)
                self._raised.add(name)
        except OSError as refusal:
            raise JupiterError(
                "netdev-unavailable", f"Cannot use netdev {name} as a port: {refusal.strerror}."
            ) from refusal


def netdevs_of(vdev: str) -> str | None:
    """The kernel netdev behind an EAL vdev such as `net_af_packet0,iface=eth1`; None if there is none."""
    driver, *arguments = vdev.strip().split(",")
    if not driver.startswith(NETDEV_DRIVERS):
        return None
    return next(
        (value for key, _, value in (argument.partition("=") for argument in arguments) if key == "iface"), None
    )


def _no_table(name: str) -> str:
    """Deleting what is not there is an error to nft: create it first."""
    return f"table netdev jupiter-{name} {{\n}}\ndelete table netdev jupiter-{name}\n"


def _drop_table(name: str) -> str:
    chain = f'type filter hook ingress device "{name}" priority -500; policy drop;'
    return f"table netdev jupiter-{name} {{\nchain ingress {{ {chain}\n}}\n}}\n"


def _nft(script: str) -> None:
    """Run one transaction of nft: all of it or nothing."""
    try:
        done = subprocess.run(["nft", "-f", "-"], input=script, capture_output=True, text=True, check=False)
    except OSError as missing:
        raise JupiterError(
            "nft-missing", "Cannot find the program nft: expected the Debian package nftables."
        ) from missing
    if done.returncode:
        raise JupiterError("netdev-unavailable", f"nft refuses the ingress drop: {done.stderr.strip()}")
