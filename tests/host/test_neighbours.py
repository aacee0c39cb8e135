"""Neighbours as next hops: how soon a change is found, what the kernel may forget, and what the asking costs."""

import errno
import select
import socket
import time
from collections import Counter
from ipaddress import IPv4Address

import pytest
from scapy.layers.l2 import ARP, Ether

from jupiter.host import mirror as mirror_module
from jupiter.host import neighbours as neighbours_module
from jupiter.host.mirror import Mirror
from jupiter.host.netlink import Hop, Netlink

from .bench import GATEWAY, LAN1, LAN2_MAC, LAN_MAC, NEW_MAC, NOBODY, SECOND, SERVER, Bench, Recorder
from .waiting import until_async

LINKS = ("jupiter0", "jupiter1")


class Requests:
    """ARP requests that arrive at lan0, from now on."""

    def __init__(self, bench: Bench) -> None:
        with bench.network:
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806))
        self._socket.bind(("lan0", 0x0806))

    def take(self) -> Counter[tuple[IPv4Address, bool]]:
        """How many for each address, by broadcast (True) or to a known MAC, since they were last taken."""
        found: Counter[tuple[IPv4Address, bool]] = Counter()
        while select.select([self._socket], [], [], 0)[0]:
            frame = Ether(self._socket.recv(2048))
            if frame[ARP].op == 1 and frame[ARP].psrc == "1.1.1.2":
                found[IPv4Address(frame[ARP].pdst), frame.dst == "ff:ff:ff:ff:ff:ff"] += 1
        return found


def test_announced_mac_change(bench: Bench) -> None:
    """B1: a server that comes up with another NIC and announces it (gratuitous ARP) is followed at once."""

    async def scenario(mirror: Mirror, heard: Recorder) -> None:
        mirror.watch(SERVER)
        await heard.hears(SERVER, 0, LAN_MAC)
        began = time.monotonic()
        bench.network.run(f"ip link set dev lan0 address {NEW_MAC.hex(':')}")
        await heard.hears(SERVER, 0, NEW_MAC)
        assert time.monotonic() - began < 1

    bench.mirror(scenario)


def test_silent_mac_change(bench: Bench) -> None:
    """A server that changes its MAC and says nothing is found in 6 s with the kernel as it comes; never unresolved."""
    bench.network.set("ipv4/conf/lan0/arp_notify", 0)

    async def scenario(mirror: Mirror, heard: Recorder) -> None:
        mirror.watch(SERVER)
        await heard.hears(SERVER, 0, LAN_MAC)
        began = time.monotonic()
        bench.network.run(f"ip link set dev lan0 address {NEW_MAC.hex(':')}")
        await heard.hears(SERVER, 0, NEW_MAC)
        assert time.monotonic() - began < 6.5
        assert [mac for _, _, mac in heard.calls if mac] == [LAN_MAC, NEW_MAC]
        assert (SERVER, 0, None) not in heard.calls[heard.calls.index((SERVER, 0, LAN_MAC)) :]

    bench.mirror(scenario)


def test_a_host_that_dies_and_returns(bench: Bench) -> None:
    """A host that is gone is unresolved once everybody was asked in vain; when it is back it is found within 2 s."""

    async def scenario(mirror: Mirror, heard: Recorder) -> None:
        mirror.watch(LAN1)
        await heard.hears(LAN1, 1, LAN2_MAC)
        began = time.monotonic()
        bench.network.run(f"ip addr del {LAN1}/24 dev lan1")
        await heard.hears(LAN1, 1, None)
        assert 3 < time.monotonic() - began < 9.5
        began = time.monotonic()
        bench.network.run(f"ip addr add {LAN1}/24 dev lan1")
        await heard.hears(LAN1, 1, LAN2_MAC)
        assert time.monotonic() - began < 2.5

    bench.mirror(scenario)


def test_unreachable_when_added(bench: Bench) -> None:
    """B40: a server that is not there when it is added is found within 2 s of its appearance, silent as it may be."""
    bench.network.set("ipv4/conf/lan0/arp_notify", 0)

    async def scenario(mirror: Mirror, heard: Recorder) -> None:
        mirror.watch(NOBODY)
        await heard.hears(NOBODY, 0, None)
        assert await until_async(lambda: "FAILED" in bench.neighbour(NOBODY))
        assert [(n.address, n.mac, n.state) for n in mirror.neighbours()] == [(NOBODY, None, "FAILED")]
        assert heard.calls == [(NOBODY, 0, None)]
        began = time.monotonic()
        bench.network.run(f"ip addr add {NOBODY}/24 dev lan0")
        await heard.hears(NOBODY, 0, LAN_MAC)
        assert time.monotonic() - began < 2

    bench.mirror(scenario)


def test_what_asking_costs(quick: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """120 unreachable and 60 reachable next hops: a bounded number of requests a second, and nobody is left out."""
    for name, rate in (("SEEKS", 50.0), ("PROBES", 30.0), ("PROBE_SECONDS", 0.5)):
        monkeypatch.setattr(neighbours_module, name, rate)
    quick.director.set("ipv4/neigh/jupiter0/base_reachable_time_ms", 30000)
    quick.director.set("ipv4/neigh/jupiter0/ucast_solicit", 3)
    present, absent = ([IPv4Address("1.1.1.0") + n for n in span] for span in (range(11, 71), range(101, 221)))
    quick.network.run(*(f"ip addr add {address}/24 dev lan0" for address in present))

    async def scenario(mirror: Mirror, heard: Recorder) -> None:
        for address in [*absent, *present]:
            mirror.watch(address)
        for address in present:
            await heard.hears(address, 0, LAN_MAC)
        assert await until_async(lambda: quick.director.run("ip neigh").count("FAILED") >= len(absent))
        requests, end = Requests(quick), time.monotonic() + 3
        asked: Counter[tuple[IPv4Address, bool]] = Counter()
        await until_async(lambda: asked.update(requests.take()) or time.monotonic() > end)
        broadcasts, probes = (Counter({a: n for (a, b), n in asked.items() if b is kind}) for kind in (True, False))
        assert broadcasts.keys() == set(absent)
        assert probes.keys() == set(present)
        assert broadcasts.total() <= 2 * 50 * (3 + 1 + 0.5)  # two for each asking; a second's worth may be in hand
        assert probes.total() <= 30 * (3 + 1 + 0.5)
        assert not [address for address in present if heard.hops[address] != (0, LAN_MAC)]

    quick.mirror(scenario)


def test_deleted_by_hand(bench: Bench) -> None:
    """`ip neigh del`: the MAC stays in use, and the kernel is asked for it again at once."""

    async def scenario(mirror: Mirror, heard: Recorder) -> None:
        mirror.watch(SERVER)
        await heard.hears(SERVER, 0, LAN_MAC)
        heard.calls.clear()
        bench.director.run(f"ip neigh del {SERVER} dev jupiter0")
        assert await until_async(lambda: "REACHABLE" in bench.neighbour(SERVER), 2)
        assert heard.calls == []

    bench.mirror(scenario)


def test_deleted_by_hand_and_gone(quick: Bench) -> None:
    """What was deleted and answers no more becomes unresolved."""

    async def scenario(mirror: Mirror, heard: Recorder) -> None:
        mirror.watch(LAN1)
        await heard.hears(LAN1, 1, LAN2_MAC)
        quick.network.run(f"ip addr del {LAN1}/24 dev lan1")
        quick.director.run(f"ip neigh del {LAN1} dev jupiter1")
        await heard.hears(LAN1, 1, None)

    quick.mirror(scenario)


def test_set_by_hand(bench: Bench) -> None:
    """A MAC that an operator gives is used: permanent and noarp stay as they are; reachable and failed are verified."""

    async def scenario(mirror: Mirror, heard: Recorder) -> None:
        for address in (SERVER, SECOND, GATEWAY):
            mirror.watch(address)
            await heard.hears(address, 0, LAN_MAC)
        bench.director.run(
            f"ip neigh replace {SERVER} lladdr {NEW_MAC.hex(':')} nud permanent dev jupiter0",
            f"ip neigh replace {SECOND} lladdr {NEW_MAC.hex(':')} nud noarp dev jupiter0",
            f"ip neigh replace {GATEWAY} lladdr {NEW_MAC.hex(':')} nud reachable dev jupiter0",
        )
        for address in (SERVER, SECOND, GATEWAY):
            await heard.hears(address, 0, NEW_MAC)
        await heard.hears(GATEWAY, 0, LAN_MAC)
        bench.director.run(f"ip neigh replace {GATEWAY} lladdr {LAN_MAC.hex(':')} nud failed dev jupiter0")
        assert await until_async(lambda: "REACHABLE" in bench.neighbour(GATEWAY), 2)
        assert heard.hops == {SERVER: (0, NEW_MAC), SECOND: (0, NEW_MAC), GATEWAY: (0, LAN_MAC)}
        assert "PERMANENT" in bench.neighbour(SERVER)
        bench.director.run(f"ip neigh del {SERVER} dev jupiter0", f"ip neigh del {SECOND} dev jupiter0")
        await heard.hears(SERVER, 0, LAN_MAC)
        await heard.hears(SECOND, 0, LAN_MAC)

    bench.mirror(scenario)


def test_used_from_the_start(bench: Bench) -> None:
    """What the kernel knew before the mirror began is used: a permanent entry is not asked for."""
    bench.director.run(f"ip neigh add {SECOND} lladdr {NEW_MAC.hex(':')} nud permanent dev jupiter0")

    async def scenario(mirror: Mirror, heard: Recorder) -> None:
        mirror.watch(SECOND)
        mirror.watch(SERVER)
        await heard.hears(SERVER, 0, LAN_MAC)
        await heard.hears(SECOND, 0, NEW_MAC)
        assert "PERMANENT" in bench.neighbour(SECOND)

    bench.mirror(scenario)


def test_unwatched_is_let_go(quick: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody asks for the neighbour of an unwatched address, its changes are not told; it may be watched again."""
    monkeypatch.setattr(neighbours_module, "PROBE_SECONDS", 0.1)

    async def scenario(mirror: Mirror, heard: Recorder) -> None:
        mirror.watch(SERVER)
        await heard.hears(SERVER, 0, LAN_MAC)
        mirror.unwatch(SERVER)
        mirror.unwatch(SERVER)
        heard.calls.clear()
        mirror.watch(SECOND)
        assert await until_async(lambda: "STALE" in quick.neighbour(SERVER))
        requests, probed = Requests(quick), Counter[tuple[IPv4Address, bool]]()
        assert await until_async(lambda: probed.update(requests.take()) or probed[SECOND, False] > 3)
        assert SERVER not in {address for address, _ in probed}
        quick.director.run(f"ip neigh del {SERVER} dev jupiter0")
        quick.director.run(f"ping -c 1 {SERVER}")
        assert await until_async(lambda: [n.mac for n in mirror.neighbours()] == [LAN_MAC, LAN_MAC])
        assert SERVER not in {address for address, _, _ in heard.calls}
        heard.hops.clear()
        mirror.watch(SERVER)
        await heard.hears(SERVER, 0, LAN_MAC)

    quick.mirror(scenario)


def test_refused_by_the_kernel(bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A neighbour that the kernel has no room for is reported, all of them in a line, and asked for until it has."""
    monkeypatch.setattr(mirror_module, "REPORT_SECONDS", 0.1)
    monkeypatch.setattr(neighbours_module, "SEEK_SECONDS", 0.2)
    solicit = Netlink.solicit

    def table_full(self: Netlink, hop: Hop) -> None:
        raise OSError(errno.ENOBUFS, "No buffer space available")

    async def scenario(mirror: Mirror, heard: Recorder) -> None:
        monkeypatch.setattr(Netlink, "solicit", table_full)
        mirror.watch(SERVER)
        mirror.watch(SECOND)
        assert await until_async(lambda: "1 other neighbours: No buffer space available" in caplog.text)
        monkeypatch.setattr(Netlink, "solicit", solicit)
        await heard.hears(SERVER, 0, LAN_MAC)
        await heard.hears(SECOND, 0, LAN_MAC)

    bench.mirror(scenario)


def test_many_that_the_kernel_knows_already(bench: Bench) -> None:
    """Of 400 neighbours that were there before, read in parts, each one is known; what goes meanwhile is forgotten."""
    known = [IPv4Address("1.1.1.0") + n for n in range(20, 220)]
    bench.director.run(
        *(f"ip neigh add {address} lladdr {NEW_MAC.hex(':')} nud permanent dev {i}" for address in known for i in LINKS)
    )

    async def scenario(mirror: Mirror, heard: Recorder) -> None:
        mirror.watch(known[0])
        assert await until_async(lambda: len(mirror.neighbours()) == 400)
        assert {(n.address, n.interface) for n in mirror.neighbours()} == {(a, i) for a in known for i in LINKS}
        assert heard.hops == {known[0]: (0, NEW_MAC)}

    bench.mirror(scenario)


def test_list_of_neighbours(bench: Bench) -> None:
    """arp/list: address, MAC, interface, state and age of the neighbours on our interfaces, by address."""

    async def scenario(mirror: Mirror, heard: Recorder) -> None:
        began = time.monotonic()
        for address in (SECOND, SERVER, LAN1):
            mirror.watch(address)
        assert await until_async(lambda: [n.mac for n in mirror.neighbours()] == [LAN_MAC, LAN_MAC, LAN2_MAC])
        listed = mirror.neighbours()
        assert [(n.address, n.interface) for n in listed] == [
            (SERVER, "jupiter0"),
            (SECOND, "jupiter0"),
            (LAN1, "jupiter1"),
        ]
        assert {n.state for n in listed} <= {"REACHABLE", "STALE", "DELAY", "PROBE"}
        assert all(-0.1 <= n.age_seconds <= time.monotonic() - began + 0.1 for n in listed)

    bench.mirror(scenario)


def test_age_of_a_neighbour(quick: Bench) -> None:
    """The age counts from before the mirror began: the kernel makes a new entry twice base_reachable_time old."""
    began = time.monotonic()
    quick.director.run(f"ip neigh add {NOBODY} lladdr {NEW_MAC.hex(':')} nud stale dev jupiter0")

    async def scenario(mirror: Mirror, heard: Recorder) -> None:
        assert await until_async(mirror.neighbours)
        (listed,) = mirror.neighbours()
        assert 0.4 <= round(listed.age_seconds, 1) <= 0.5 + time.monotonic() - began

    quick.mirror(scenario)
