"""A machine with two NUMA nodes: each worker's memory lies on its own one.

Not part of `make test`: `make vm-test` runs it.
"""

import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.vm.walk import FILE, PID_FILE, WITHOUT_DIRECTOR, ask, card_of, configure, serve, service
from tools.lab.host import Host
from tools.lab.laboratory import Laboratory
from tools.vm.machine import CARDS, Machine

NODES = (range(0, 2), range(2, 3))
"""The main lcore, 0, and a worker, 1, on node 0; a worker, 2, on node 1."""
MEGABYTE = 1 << 20


@pytest.fixture(scope="module")
def site() -> Iterator[tuple[Laboratory, Machine]]:
    cards = [card for card in CARDS if card.model == "igb"]
    with (
        Laboratory(WITHOUT_DIRECTOR) as lab,
        Machine(Host(lab.pid, "switch"), cards=cards, iommu=False, nodes=NODES) as machine,
    ):
        for module in ("tun", "uio_pci_generic", "igb"):
            machine.run("modprobe", module)
        for server in lab.servers:
            server.offer("file", FILE)
        yield lab, machine


class Area(NamedTuple):
    """A line of /proc/PID/numa_maps. pages: node -> kilobytes there."""

    policy: str
    words: str
    kilobytes: dict[int, int]


def areas(director: Machine) -> list[Area]:
    text = director.run("sh", "-c", f"cat /proc/$(cat {PID_FILE})/numa_maps").stdout
    found = []
    for line in text.splitlines():
        _, policy, *words = line.split()
        rest = " ".join(words)
        size = re.search(r"kernelpagesize_kB=(\d+)", rest)
        if size:
            pages = re.findall(r"\bN(\d+)=(\d+)", rest)
            found.append(Area(policy, rest, {int(node): int(n) * int(size[1]) for node, n in pages}))
    return found


@pytest.mark.parametrize("hugepages", ["auto", "none"])
def test_memory_of_workers(site: tuple[Laboratory, Machine], hugepages: str) -> None:
    """Connections and counters of a worker lie on the worker's node, on huge pages and on normal ones."""
    _, director = site
    # A card needs huge pages, or an IOMMU.
    configure(director, "net_null0,no-rx=1", f"argv = -l 0-2\nhugepages = {hugepages}")
    with service(director):
        seen = areas(director)
    regions = [area for area in seen if "jupiter-connections" in area.words]
    assert sorted((area.policy, *area.kilobytes) for area in regions) == [("prefer:0", 0), ("prefer:1", 1)], regions
    assert all(("huge" in area.words.split()) == (hugepages == "auto") for area in regions), regions
    own = [area for area in seen if area.policy in ("prefer:0", "prefer:1") and area not in regions and area.kilobytes]
    assert {area.policy for area in own} == {"prefer:0", "prefer:1"}, seen
    for area in own:
        assert list(area.kilobytes) == [int(area.policy[-1])], area


def test_memory_of_packets(site: tuple[Laboratory, Machine]) -> None:
    """DPDK's heap of each node has a pool of packets, and its pages lie there."""
    lab, director = site
    configure(director, card_of(director, "igb"), "argv = -l 0-2")
    with service(director):
        serve(director, lab)
        heaps = {heap["Socket"]: heap for heap in ask(director, "memory")}
        seen = areas(director)
    pages: Counter[int] = Counter()
    for area in seen:
        if "huge" in area.words.split() and "jupiter-connections" not in area.words:
            pages.update(area.kilobytes)
    assert set(heaps) == {0, 1}, heaps
    for node, heap in heaps.items():
        assert heap["Alloc_size"] > 4 * MEGABYTE, heaps
        assert pages[node] << 10 == heap["Heap_size"], (pages, heaps)
