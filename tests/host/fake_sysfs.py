"""A FAKE of the PCI part of sysfs: a tree of plain files, and what the kernel would do when its files are written.

The machines that run these tests have no network card to spare. Cards and drivers match by identifier as in the kernel:
a driver probes a card if driver_override names it, or if there is no override and the driver knows the card.
"""

import errno
from pathlib import Path

from jupiter.host.pci import Sysfs

NETWORK_CLASS, DISK_CLASS = "0x020000", "0x010802"


class FakeSysfs(Sysfs):
    """writes: what was written, in order, as (path below bus/pci, text)."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.bus = root / "bus/pci"
        self.devices.mkdir(parents=True)
        self.drivers.mkdir()
        self.probe.write_text("")
        self.knows: dict[str, set[str]] = {}
        self.rejecting: set[str] = set()  # drivers whose probe() fails, as vfio-pci's does without an IOMMU
        self.writes: list[tuple[str, str]] = []

    def add_driver(self, name: str, *knows: str) -> None:
        (self.drivers / name).mkdir()
        (self.drivers / name / "unbind").write_text("")
        self.knows[name] = set(knows)

    def add_card(self, address: str, driver: str | None, *netdevs: str, kind: str = NETWORK_CLASS) -> None:
        """netdevs: the interfaces it has under its own driver."""
        card = self.devices / address
        (card / "net").mkdir(parents=True)
        (card / "driver_override").write_text("(null)\n")
        (card / "class").write_text(kind + "\n")
        (card / "vendor").write_text("0x8086\n")
        (card / "device").write_text("0x10fb\n")
        for name in netdevs:
            (card / "net" / name).mkdir()
        if driver is not None:
            (card / "driver").symlink_to(self.drivers / driver)

    def write(self, path: Path, text: str) -> None:
        path.write_text(text)
        self.writes.append((str(path.relative_to(self.bus)), text))
        if path.name == "unbind":
            (self.devices / text / "driver").unlink()
        elif path == self.probe and self.driver_of(text) is None:
            override = (self.devices / text / "driver_override").read_text().strip().replace("(null)", "")
            for driver, known in self.knows.items():
                if driver == override or (not override and text in known):
                    if driver in self.rejecting:
                        raise OSError(errno.EINVAL, "Invalid argument")
                    (self.devices / text / "driver").symlink_to(self.drivers / driver)
                    return
