"""PCI network cards: from their kernel driver to one that hands them to DPDK, and back.

Everything goes through sysfs: driver_override, unbind, drivers_probe (Linux, Documentation/ABI/testing/sysfs-bus-pci).
"""

import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jupiter.errors import JupiterError
from jupiter.host.netlink import Link, Netlink

DPDK_DRIVERS = ("igb_uio", "vfio-pci", "uio_pci_generic")
"""Kernel drivers that hand a card to user space, the preferred one first."""

ADDRESS = re.compile(r"(?:(?P<domain>[0-9a-f]{4,6}):)?(?P<rest>[0-9a-f]{2}:[01][0-9a-f]\.[0-7])")
CLASS_NETWORK = 0x02  # base class of a network controller, PCI Code and ID Assignment Specification


class Sysfs:
    """/sys/bus/pci, or a tree that looks like it."""

    def __init__(self, root: Path = Path("/sys")) -> None:
        self.devices = root / "bus/pci/devices"
        self.drivers = root / "bus/pci/drivers"
        self.probe = root / "bus/pci/drivers_probe"

    def driver_of(self, address: str) -> str | None:
        link = self.devices / address / "driver"
        return link.resolve().name if link.exists() else None

    def netdevs_of(self, address: str) -> list[str]:
        """Kernel interfaces of this card; none when DPDK has it. A virtio card has them below its virtio device."""
        card = self.devices / address
        return sorted(entry.name for pattern in ("net/*", "virtio*/net/*") for entry in card.glob(pattern))

    def identifier(self, address: str) -> str:
        """vendor:device, four hexadecimal digits each."""
        card = self.devices / address
        return ":".join((card / part).read_text().strip().removeprefix("0x") for part in ("vendor", "device"))

    def network_cards(self) -> list[str]:
        cards = (device for device in self.devices.glob("*") if self._class_of(device) == CLASS_NETWORK)
        return sorted(device.name for device in cards)

    def write(self, path: Path, text: str) -> None:
        path.write_text(text)

    @staticmethod
    def _class_of(device: Path) -> int:
        return int((device / "class").read_text(), 16) >> 16


HOST = Sysfs()


@dataclass(frozen=True, slots=True)
class Binding:
    """A card that bind() gave to `driver`; before: the driver it came from, None if it had none."""

    address: str
    driver: str
    before: str | None
    sysfs: Sysfs

    def restore(self) -> None:
        """Back to the driver it came from, unless it is there. JupiterError pci-bind-failed: the kernel refuses."""
        if self.sysfs.driver_of(self.address) != self.before:
            _move(self.address, self.before, self.sysfs)


def normalise(address: str) -> str:
    """0000:01:00.2 for that and for 01:00.2, in any case. JupiterError invalid-argument for what is no PCI address."""
    match = ADDRESS.fullmatch(address.strip().lower())
    if match is None:
        raise JupiterError("invalid-argument", f"Invalid PCI address {address}: expected one like 0000:01:00.2.")
    return f"{match['domain'] or '0000'}:{match['rest']}"


def available_driver(sysfs: Sysfs = HOST) -> str:
    """The first of DPDK_DRIVERS that the kernel has loaded. JupiterError pci-driver-missing if it has none."""
    for driver in DPDK_DRIVERS:
        if (sysfs.drivers / driver).is_dir():
            return driver
    raise JupiterError(
        "pci-driver-missing", f"No driver for DPDK is loaded: expected one of {', '.join(DPDK_DRIVERS)}."
    )


def bind(address: str, driver: str, sysfs: Sysfs = HOST) -> Binding:
    """Give the card to a driver that is loaded.

    JupiterError: pci-device-not-found, pci-driver-missing, pci-device-busy (the host itself is reached through it),
    pci-bind-failed (the kernel refuses; the card goes back to where it was).
    """
    address = _existing(address, sysfs)
    if not (sysfs.drivers / driver).is_dir():
        raise JupiterError("pci-driver-missing", f"Cannot bind {address} to {driver}: that driver is not loaded.")
    before = sysfs.driver_of(address)
    if before != driver:
        _refuse_if_busy(address, sysfs)
        try:
            _move(address, driver, sysfs)
        except JupiterError:
            with contextlib.suppress(JupiterError):  # the operator needs the first reason
                _move(address, before, sysfs)
            raise
    return Binding(address, driver, before, sysfs)


def unbind(address: str, sysfs: Sysfs = HOST) -> str | None:
    """Give the card back to the kernel; the driver that knows it and took it, None if there is none.

    JupiterError: pci-device-not-found, pci-device-busy, pci-bind-failed.
    """
    address = _existing(address, sysfs)
    _refuse_if_busy(address, sysfs)
    _move(address, None, sysfs)
    sysfs.write(sysfs.probe, address)
    return sysfs.driver_of(address)


def _existing(address: str, sysfs: Sysfs) -> str:
    address = normalise(address)
    if not (sysfs.devices / address).exists():
        raise JupiterError("pci-device-not-found", f"Cannot find PCI device {address}.")
    return address


def _refuse_if_busy(address: str, sysfs: Sysfs) -> None:
    """Taking away the card by which the operator is logged in cannot be undone from afar."""
    names = sysfs.netdevs_of(address)
    with Netlink() as kernel:
        links = {link.index: link for link in kernel.links()}
        for link in links.values():
            if link.name in names and link.up and (use := _use_of(link, links, kernel)):
                raise JupiterError("pci-device-busy", f"Cannot take {address}: its interface {link.name} {use}.")


def _use_of(link: Link, links: Mapping[int, Link], kernel: Netlink) -> str | None:
    """What the host does with an interface that is up, as the end of a sentence."""
    if kernel.has_default_route(link.index):
        return "has the host's default route"
    own = [str(a.value) for a in kernel.addresses() if a.interface == link.index and not a.value.is_link_local]
    if own:
        return f"is up with {', '.join(own)}"
    if link.master is not None:
        return f"is up as a member of {links[link.master].name}"
    return None


def _move(address: str, driver: str | None, sysfs: Sysfs) -> None:
    """From whatever driver it has to `driver`; None: to no driver at all."""
    device = sysfs.devices / address
    try:
        if sysfs.driver_of(address) is not None:
            sysfs.write(device / "driver/unbind", address)
        if driver is not None:
            sysfs.write(device / "driver_override", driver)
            sysfs.write(sysfs.probe, address)
        sysfs.write(device / "driver_override", "\n")  # the kernel's word for none
    except OSError as refusal:
        raise JupiterError(
            "pci-bind-failed", f"Cannot bind {address} to {driver or 'no driver'}: {refusal.strerror}."
        ) from refusal
    if sysfs.driver_of(address) != driver:
        raise JupiterError(
            "pci-bind-failed",
            f"Cannot bind {address} to {driver or 'no driver'}: the driver does not take it (see dmesg).",
        )
