"""README, "On a machine with a real network card", on PCI cards that QEMU emulates.

Not part of `make test`: run it by `sudo .venv/bin/python -m pytest tests/vm/check_pci.py`.
"""

import hashlib
import json
import random
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tools.lab.host import ROOT, Host
from tools.lab.laboratory import Laboratory, wait_until
from tools.lab.topology import ONE_ARM, VIP, Topology
from tools.vm.machine import CARDS, Card, Machine

FILE = random.Random(7).randbytes(2 << 20)
WITHOUT_DIRECTOR = Topology(
    cables=tuple(cable for cable in ONE_ARM.cables if cable.host != "director"),
    routes=ONE_ARM.routes,
    devices=(),
    server_addresses=ONE_ARM.server_addresses,
)
MODULES = {  # of each driver of DPDK's; busybox's modprobe knows no soft dependencies
    "uio_pci_generic": ["uio_pci_generic"],
    "vfio-pci": ["vfio_iommu_type1", "vfio-pci"],
}
PID_FILE = "/run/jupiter.pid"


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
    director.run("jupiter-service", "--daemon")
    try:
        during = belongings(director)
        assert during.cards == {**before.cards, address: (dpdk_driver, [])}
        assert during.huge_pages > before.huge_pages
        assert during.macs == {name: m for name, m in before.macs.items() if name != interface} | {"jupiter0": mac}
        serve(director, lab)
    finally:
        director.run("jupiter-ctl", "stop")
        wait_until(lambda: director.run("test", "-e", PID_FILE, check=False).returncode, f"{PID_FILE} to go", 60)
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


def configure(director: Machine, address: str) -> None:
    """The file that comes with jupiter, as it is but for the card: it fits the laboratory's addresses."""
    sample = ROOT / "etc/jupiter.cfg"
    director.run("mkdir", "-p", "/etc/jupiter")
    director.run("rm", "-rf", "/var/lib/jupiter")  # what was set by hand beside the last card
    director.run("sh", "-c", f"sed 's/^pci = .*/pci = {address}/' {sample} >/etc/jupiter/jupiter.cfg")
    director.run("jupiter-service", "--check")


def serve(director: Machine, lab: Laboratory) -> None:
    """The operator's lines; a download through each server is whole, and the director's own address answers."""
    service = (f"{VIP}:8888", "tcp")
    director.run("jupiter-ctl", "vs/add", *service, "rr")
    for server in lab.servers:
        director.run("jupiter-ctl", "rs/add", *service, f"{server.address}:80")
    for host in (lab.client, *lab.servers):  # the last card's MAC
        host.run("ip", "neighbour", "flush", "all")
    for _ in lab.servers:
        done = lab.client.run("sh", "-c", f"curl -sS --max-time 90 http://{VIP}:8888/file | sha256sum")
        assert done.stdout.split()[0] == hashlib.sha256(FILE).hexdigest(), done.stderr
    for server in lab.servers:
        stats = json.loads(director.run("jupiter-ctl", "rs/stats", *service, f"{server.address}:80", "--json").stdout)
        assert stats["history-conns"] == 1, stats
    lab.client.run("ping", "-c1", "-W10", "1.1.1.2")
