"""README, "On a machine with a real network card", on PCI cards that QEMU emulates.

Not part of `make test`: run it by `sudo .venv/bin/python -m pytest tests/vm/check_pci.py`.
"""

import json
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.vm.walk import FILE, WITHOUT_DIRECTOR, configure, serve, service
from tools.lab.host import Host
from tools.lab.laboratory import Laboratory
from tools.vm.machine import CARDS, Card, Machine

MODULES = {  # of each driver of DPDK's; busybox's modprobe knows no soft dependencies
    "uio_pci_generic": ["uio_pci_generic"],
    "vfio-pci": ["vfio_iommu_type1", "vfio-pci"],
}


@pytest.fixture(scope="module", params=MODULES)
def site(request: pytest.FixtureRequest) -> Iterator[tuple[Laboratory, Machine, str]]:
    """Client and servers; a machine with a card of each kind, Linux's drivers for them, and one of DPDK's."""
    dpdk_driver = request.param
    iommu = dpdk_driver == "vfio-pci"
    with Laboratory(WITHOUT_DIRECTOR) as lab, Machine(Host(lab.pid, "switch"), iommu=iommu) as machine:
        for module in ("tun", *(card.module for card in CARDS), *MODULES[dpdk_driver]):
            machine.run("modprobe", module)
        for server in lab.servers:
            server.offer("file", FILE)
        yield lab, machine, dpdk_driver


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.model)
def test_walk_through(site: tuple[Laboratory, Machine, str], card: Card) -> None:
    """B1, B2: the card goes to DPDK, jupiter0 gets its MAC, downloads are whole, all that was taken is given back."""
    lab, director, dpdk_driver = site
    before = belongings(director)
    address, (_, [interface]) = next(each for each in before.cards.items() if each[1][0] == card.driver)
    mac = before.macs[interface]

    configure(director, address)
    with service(director):
        during = belongings(director)
        assert during.cards == {**before.cards, address: (dpdk_driver, [])}
        assert during.huge_pages > before.huge_pages
        assert during.macs == {name: m for name, m in before.macs.items() if name != interface} | {"jupiter0": mac}
        serve(director, lab)
    assert belongings(director) == before


class Belongings(NamedTuple):
    """What jupiter-service takes and gives back. cards: address -> driver and interfaces; macs: interface -> MAC."""

    cards: dict[str, tuple[str, list[str]]]
    macs: dict[str, str]
    huge_pages: int


def belongings(director: Machine) -> Belongings:
    cards = json.loads(director.run("jupiter-devbind", "status", "--json").stdout)
    links = json.loads(director.run("ip", "-json", "link").stdout)
    return Belongings(
        cards={card["address"]: (card["driver"], card["interfaces"]) for card in cards},
        macs={link["ifname"]: link["address"] for link in links},
        huge_pages=int(director.run("cat", "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages").stdout),
    )
