"""The mirror of routes and neighbours, against the kernel itself: a director on a wire with the hosts of a network."""

import asyncio
import errno
import time
from collections.abc import Awaitable, Callable, Iterator
from ipaddress import IPv4Address, IPv4Interface

import pytest

from jupiter.host import mirror as mirror_module
from jupiter.host.interfaces import Interface
from jupiter.host.mirror import Mirror
from jupiter.host.netlink import Hop, Netlink

from .namespace import Namespace
from .waiting import until_async

SERVER, SECOND, GATEWAY = (IPv4Address(f"1.1.1.{host}") for host in (3, 4, 254))
LAN1 = IPv4Address("1.1.2.254")
FAR = IPv4Address("172.16.5.5")
NOBODY = IPv4Address("1.1.1.77")
LAN_MAC, NEW_MAC, LAN2_MAC = (bytes.fromhex(f"0200000000{number}") for number in ("01", "02", "03"))

# the neighbour state machine of the kernel, some thirty times faster than it comes
QUICK = {
    "base_reachable_time_ms": 200,
    "delay_first_probe_time": 0,
    "retrans_time_ms": 30,
    "ucast_solicit": 2,
    "mcast_solicit": 2,
    "interval_probe_time_ms": 100,
}


class Recorder:
    """What a data path would know from the callbacks, and the order in which it came."""

    def __init__(self) -> None:
        self.hops: dict[IPv4Address, tuple[int, bytes | None]] = {}
        self.addresses: dict[int, IPv4Interface | None] = {}
        self.calls: list[tuple[IPv4Address, int, bytes | None]] = []

    def on_next_hop(self, address: IPv4Address, port: int, mac: bytes | None) -> None:
        self.hops[address] = port, mac
        self.calls.append((address, port, mac))

    def on_address(self, port: int, address: IPv4Interface | None) -> None:
        self.addresses[port] = address

    async def hears(self, address: IPv4Address, port: int, mac: bytes | None) -> None:
        assert await until_async(lambda: self.hops.get(address) == (port, mac)), self.calls


class Bench:
    """director: jupiter0 (port 0, 1.1.1.2), jupiter1 (port 1, 1.1.2.2); network: lan0, lan1 opposite, with hosts."""

    def __init__(self, director: Namespace, network: Namespace) -> None:
        self.director, self.network = director, network
        director.connect("jupiter0", network, "lan0")
        director.connect("jupiter1", network, "lan1")
        network.run(
            f"ip link set dev lan0 address {LAN_MAC.hex(':')}",
            f"ip link set dev lan1 address {LAN2_MAC.hex(':')}",
            *(f"ip addr add {host}/24 dev lan0" for host in (SERVER, SECOND, GATEWAY)),
            f"ip addr add {LAN1}/24 dev lan1",
        )
        network.set("ipv4/conf/lan0/arp_notify", 1)
        director.run("ip addr add 1.1.1.2/24 dev jupiter0", "ip addr add 1.1.2.2/24 dev jupiter1")
        for key, value in QUICK.items():
            for interface in ("jupiter0", "jupiter1"):
                director.set(f"ipv4/neigh/{interface}/{key}", value)
        with director, Netlink() as kernel:
            self.interfaces = {
                kernel.link("jupiter0").index: Interface(0, GATEWAY),
                kernel.link("jupiter1").index: Interface(1),
            }

    def neighbour(self, address: IPv4Address) -> str:
        return self.director.run(f"ip neigh show {address}")

    def mirror(
        self, scenario: Callable[[Mirror, Recorder], Awaitable[None]], receive_buffer: int = 4 << 20
    ) -> Recorder:
        """Run the scenario with a started mirror and stop it, whatever happens; nothing may fail unseen in the loop."""
        recorder = Recorder()
        failures: list[object] = []

        async def run() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda loop, context: failures.append(context))
            mirror = Mirror(self.interfaces, recorder.on_next_hop, recorder.on_address, receive_buffer)
            await mirror.start()
            try:
                await scenario(mirror, recorder)
            finally:
                await mirror.stop()

        asyncio.run(run())
        assert failures == []
        return recorder


@pytest.fixture
def bench(director: Namespace, network: Namespace) -> Iterator[Bench]:
    return Bench(director, network)


def test_directly_connected(bench: Bench) -> None:
    """B1: a server on the link is found by its own MAC, asked for without a packet of ours, and told once."""

    async def scenario(mirror: Mirror, heard: Recorder) -> None:
        mirror.watch(SERVER)
        mirror.watch(SERVER)
        await heard.hears(SERVER, 0, LAN_MAC)
        told = len(heard.calls)
        assert await until_async(lambda: "REACHABLE" in bench.neighbour(SERVER))
        assert told == len(heard.calls) == len(set(heard.calls))

    bench.mirror(scenario)


def test_behind_a_gateway(bench: Bench) -> None:
    """B1: an address beyond the link is reached through its gateway's MAC; two addresses share one neighbour."""
    bench.director.run(f"ip route add 172.16.0.0/16 via {GATEWAY}")

    async def scenario(mirror: Mirror, heard: Recorder) -> None:
        mirror.watch(FAR)
        mirror.watch(FAR + 1)
        await heard.hears(FAR, 0, LAN_MAC)
        await heard.hears(FAR + 1, 0, LAN_MAC)
        assert [n.address for n in mirror.neighbours()] == [GATEWAY]

    bench.mirror(scenario)


def test_watched_before_start(bench: Bench) -> None:
    """Addresses may be watched before the mirror runs."""
    recorder = Recorder()

    async def run() -> None:
        mirror = Mirror(bench.interfaces, recorder.on_next_hop, recorder.on_address)
        mirror.watch(SERVER)
        await mirror.start()
        await recorder.hears(SERVER, 0, LAN_MAC)
        await mirror.stop()

    asyncio.run(run())


def test_announced_mac_change(bench: Bench) -> None:
    """B1: a server that comes up with another NIC and announces it (gratuitous ARP) is followed at once."""

    async def scenario(mirror: Mirror, heard: Recorder) -> None:
        mirror.watch(SERVER)
        await heard.hears(SERVER, 0, LAN_MAC)
        bench.network.run(f"ip link set dev lan0 address {NEW_MAC.hex(':')}")
        await heard.hears(SERVER, 0, NEW_MAC)

    bench.mirror(scenario)


def test_silent_changes(bench: Bench) -> None:
    """Without traffic or announcement: a new MAC is found, a dead host becomes unresolved, and is found again."""
    bench.network.set("ipv4/conf/lan0/arp_notify", 0)  # the rest is up to the kernel, which looks after its managed
    # neighbours each 5 s (net.ipv4.neigh.default.interval_probe_time_ms of the host, not of a namespace): a slow test

    async def scenario(mirror: Mirror, heard: Recorder) -> None:
        mirror.watch(SERVER)
        mirror.watch(LAN1)
        await heard.hears(SERVER, 0, LAN_MAC)
        await heard.hears(LAN1, 1, LAN2_MAC)
        bench.network.run(f"ip link set dev lan0 address {NEW_MAC.hex(':')}", f"ip addr del {LAN1}/24 dev lan1")
        await heard.hears(SERVER, 0, NEW_MAC)
        await heard.hears(LAN1, 1, None)
        bench.network.run(f"ip addr add {LAN1}/24 dev lan1")
        await heard.hears(LAN1, 1, LAN2_MAC)

    bench.mirror(scenario)


def test_nobody_there(bench: Bench) -> None:
    """An address that no host has is told as unresolved, once, and shown as such in arp/list."""

    async def scenario(mirror: Mirror, heard: Recorder) -> None:
        mirror.watch(NOBODY)
        await heard.hears(NOBODY, 0, None)
        assert await until_async(lambda: "FAILED" in bench.neighbour(NOBODY))
        assert await until_async(
            lambda: [(n.address, n.mac, n.state) for n in mirror.neighbours()] == [(NOBODY, None, "FAILED")]
        )
        assert heard.calls == [(NOBODY, 0, None)]

    bench.mirror(scenario)


def test_route_change_moves_to_the_other_port(bench: Bench) -> None:
    """A more specific route, its removal, and the removal of all routes are followed, port and MAC together."""
    bench.director.run(f"ip route add 172.16.0.0/16 via {GATEWAY}")

    async def scenario(mirror: Mirror, heard: Recorder) -> None:
        mirror.watch(FAR)
        await heard.hears(FAR, 0, LAN_MAC)
        bench.director.run(f"ip route add 172.16.5.0/24 via {LAN1}")
        await heard.hears(FAR, 1, LAN2_MAC)
        assert await until_async(lambda: "managed" not in bench.neighbour(GATEWAY)), "the former gateway is let go"
        bench.director.run("ip route del 172.16.5.0/24")
        await heard.hears(FAR, 0, LAN_MAC)
        bench.director.run("ip route del 172.16.0.0/16")
        await heard.hears(FAR, 0, None)
        bench.director.run(f"ip route add default via {LAN1}")
        await heard.hears(FAR, 1, LAN2_MAC)
        bench.director.run("ip route add blackhole 172.16.5.5/32")
        await heard.hears(FAR, 1, None)

    bench.mirror(scenario)


def test_policy_rule_is_followed(bench: Bench) -> None:
    """A routing rule that an operator adds counts like a route."""
    bench.director.run(f"ip route add default via {GATEWAY}", f"ip route add default via {LAN1} table 77")

    async def scenario(mirror: Mirror, heard: Recorder) -> None:
        mirror.watch(FAR)
        await heard.hears(FAR, 0, LAN_MAC)
        bench.director.run(f"ip rule add to {FAR} lookup 77")
        await heard.hears(FAR, 1, LAN2_MAC)

    bench.mirror(scenario)


def test_no_way_for_the_data_path(bench: Bench) -> None:
    """What the host reaches through another interface, and its own address have no next hop."""
    bench.director.connect("eth0", bench.network, "mgmt0")
    bench.director.run("ip addr add 10.9.9.2/24 dev eth0")
    bench.network.run("ip addr add 10.9.9.1/24 dev mgmt0")

    async def scenario(mirror: Mirror, heard: Recorder) -> None:
        mirror.watch(IPv4Address("10.9.9.1"))
        mirror.watch(IPv4Address("1.1.1.2"))
        await heard.hears(IPv4Address("10.9.9.1"), 0, None)
        await heard.hears(IPv4Address("1.1.1.2"), 0, None)
        bench.director.run("ping -c 1 10.9.9.1")
        assert mirror.neighbours() == []
        assert "managed" not in bench.director.run("ip neigh"), "the host's own neighbours are no business of ours"
        mirror.watch(SERVER)
        await heard.hears(SERVER, 0, LAN_MAC)
        assert [mac for address, (_, mac) in heard.hops.items() if address != SERVER] == [None] * 2

    bench.mirror(scenario)


def test_interface_down_and_up(bench: Bench) -> None:
    """With the interface down its routes are gone, though the kernel does not say so; up again, all comes back."""

    async def scenario(mirror: Mirror, heard: Recorder) -> None:
        mirror.watch(SERVER)
        await heard.hears(SERVER, 0, LAN_MAC)
        bench.director.run("ip link set dev jupiter0 down")
        await heard.hears(SERVER, 0, None)
        bench.director.run("ip link set dev jupiter0 up")
        await heard.hears(SERVER, 0, LAN_MAC)

    bench.mirror(scenario)


def test_interface_made_anew(bench: Bench) -> None:
    """An interface that is deleted and made again under its name, with another index, is the same port."""

    async def scenario(mirror: Mirror, heard: Recorder) -> None:
        mirror.watch(SERVER)
        await heard.hears(SERVER, 0, LAN_MAC)
        bench.director.run("ip link del dev jupiter0")
        await heard.hears(SERVER, 0, None)
        bench.director.connect("jupiter0", bench.network, "lan0")
        bench.network.run(f"ip link set dev lan0 address {NEW_MAC.hex(':')}", f"ip addr add {SERVER}/24 dev lan0")
        bench.director.run("ip addr add 1.1.1.2/24 dev jupiter0")
        await heard.hears(SERVER, 0, NEW_MAC)

    bench.mirror(scenario)


def test_address_of_the_interface(bench: Bench) -> None:
    """The primary address is told at the start and whenever an operator changes it; secondary ones are not."""

    async def scenario(mirror: Mirror, heard: Recorder) -> None:
        assert await until_async(
            lambda: heard.addresses == {0: IPv4Interface("1.1.1.2/24"), 1: IPv4Interface("1.1.2.2/24")}
        )
        bench.director.run("ip addr add 1.1.1.9/24 dev jupiter0", "ip addr add 1.1.3.2/24 dev jupiter1")
        bench.director.run("ip addr flush dev jupiter1")
        assert await until_async(lambda: heard.addresses == {0: IPv4Interface("1.1.1.2/24"), 1: None})
        bench.director.run("ip addr flush dev jupiter0", "ip addr add 1.1.4.7/16 dev jupiter0")
        assert await until_async(lambda: heard.addresses[0] == IPv4Interface("1.1.4.7/16"))

    bench.mirror(scenario)


def test_unwatched_is_let_go(bench: Bench) -> None:
    """The neighbour of an unwatched address is managed no longer, its changes are not told; it may be watched again."""

    async def scenario(mirror: Mirror, heard: Recorder) -> None:
        mirror.watch(SERVER)
        await heard.hears(SERVER, 0, LAN_MAC)
        assert await until_async(lambda: "managed" in bench.neighbour(SERVER))
        mirror.unwatch(SERVER)
        mirror.unwatch(SERVER)
        assert "managed" not in bench.neighbour(SERVER)
        heard.calls.clear()
        mirror.watch(SECOND)
        bench.director.run(f"ip neigh del {SERVER} dev jupiter0")
        await heard.hears(SECOND, 0, LAN_MAC)
        assert SERVER not in {address for address, _, _ in heard.calls}
        bench.director.run(f"ping -c 1 {SERVER}")
        assert await until_async(lambda: [n.mac for n in mirror.neighbours()] == [LAN_MAC, LAN_MAC])
        heard.hops.clear()
        mirror.watch(SERVER)
        await heard.hears(SERVER, 0, LAN_MAC)

    bench.mirror(scenario)


def test_unwatched_before_it_was_looked_up(bench: Bench) -> None:
    """An address that comes and goes within a turn of the loop is not told at all."""

    async def scenario(mirror: Mirror, heard: Recorder) -> None:
        mirror.watch(NOBODY)
        mirror.unwatch(NOBODY)
        mirror.watch(SERVER)
        await heard.hears(SERVER, 0, LAN_MAC)
        assert NOBODY not in heard.hops

    bench.mirror(scenario)


def test_stop_leaves_nothing_managed(bench: Bench) -> None:
    """After stop() the kernel's neighbours are ordinary ones."""

    async def scenario(mirror: Mirror, heard: Recorder) -> None:
        mirror.watch(SERVER)
        mirror.watch(SECOND)
        await heard.hears(SERVER, 0, LAN_MAC)
        await heard.hears(SECOND, 0, LAN_MAC)
        assert await until_async(lambda: bench.director.run("ip neigh").count("managed") == 2)

    bench.mirror(scenario)
    assert "managed" not in bench.director.run("ip neigh")


def test_stop_before_the_kernel_has_announced_anything(bench: Bench) -> None:
    """A neighbour that was made managed a moment ago is let go too."""

    async def scenario(mirror: Mirror, heard: Recorder) -> None:
        mirror.watch(SERVER)
        await asyncio.sleep(0)  # one turn of the loop: asked for, its announcement not read yet
        assert "managed" in bench.neighbour(SERVER)

    bench.mirror(scenario)
    assert "managed" not in bench.neighbour(SERVER)


def test_neighbour_that_an_operator_deletes_or_pins(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """`ip neigh flush` is repaired at once; a permanent entry is used as it is and stays permanent."""
    monkeypatch.setattr(mirror_module, "REFRESH_SECONDS", 3600)
    bench.director.run(f"ip neigh add {SECOND} lladdr {NEW_MAC.hex(':')} nud permanent dev jupiter0")

    async def scenario(mirror: Mirror, heard: Recorder) -> None:
        mirror.watch(SERVER)
        mirror.watch(SECOND)
        await heard.hears(SERVER, 0, LAN_MAC)
        await heard.hears(SECOND, 0, NEW_MAC)
        assert "PERMANENT" in bench.neighbour(SECOND)
        bench.director.run(f"ip neigh del {SERVER} dev jupiter0")
        assert await until_async(lambda: "managed" in bench.neighbour(SERVER))
        await heard.hears(SERVER, 0, LAN_MAC)

    bench.mirror(scenario)


def test_kernel_without_managed_neighbours(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before Linux 5.16 the neighbours are asked for again at intervals: a change of MAC is followed all the same."""
    monkeypatch.setattr("jupiter.host.netlink.NTF_EXT_MANAGED", 0)
    monkeypatch.setattr(mirror_module, "REFRESH_SECONDS", 0.1)
    bench.network.set("ipv4/conf/lan0/arp_notify", 0)

    async def scenario(mirror: Mirror, heard: Recorder) -> None:
        mirror.watch(SERVER)
        await heard.hears(SERVER, 0, LAN_MAC)
        assert "managed" not in bench.neighbour(SERVER)
        bench.network.run(f"ip link set dev lan0 address {NEW_MAC.hex(':')}")
        await heard.hears(SERVER, 0, NEW_MAC)

    bench.mirror(scenario)


def test_neighbours_that_the_kernel_refuses(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A neighbour that the kernel has no room for is reported, all of them in a line, and asked for until it has."""
    monkeypatch.setattr(mirror_module, "REFRESH_SECONDS", 0.1)
    solicit = Netlink.solicit

    def table_full(self: Netlink, hop: Hop, managed: bool) -> None:
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


def test_lost_announcements_cause_a_resync(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """ENOBUFS: what changed while announcements were lost is found, and later changes are followed again."""
    bench.director.run(f"ip route add 172.16.0.0/16 via {GATEWAY}")

    async def scenario(mirror: Mirror, heard: Recorder) -> None:
        mirror.watch(FAR)
        mirror.watch(SERVER)
        await heard.hears(FAR, 0, LAN_MAC)
        await heard.hears(SERVER, 0, LAN_MAC)
        # the loop stands still meanwhile: far more than a buffer of 4 KB holds
        bench.director.run(*["ip addr add 10.1.1.1/32 dev lo", "ip addr del 10.1.1.1/32 dev lo"] * 20)
        bench.director.run("ip route replace 172.16.0.0/16 via 1.1.2.254", "ip addr add 1.1.9.9/24 dev lo")
        await heard.hears(FAR, 1, LAN2_MAC)
        assert "lost announcements" in caplog.text
        bench.network.run(f"ip link set dev lan0 address {NEW_MAC.hex(':')}")
        await heard.hears(SERVER, 0, NEW_MAC)

    bench.mirror(scenario, receive_buffer=4096)


def test_many_addresses_behind_one_gateway(bench: Bench) -> None:
    """10,000 addresses are looked up in slices, so that the loop turns; one neighbour's change reaches all of them."""
    many = [IPv4Address("172.16.0.0") + number for number in range(10_000)]
    bench.director.run(f"ip route add 172.16.0.0/16 via {GATEWAY}")

    async def scenario(mirror: Mirror, heard: Recorder) -> None:
        turns = 0
        for address in many:
            mirror.watch(address)
        while len(heard.hops) < len(many):
            turns += 1
            await asyncio.sleep(0)
        assert turns >= len(many) / mirror_module.SLICE
        for address in many:
            await heard.hears(address, 0, LAN_MAC)
        bench.network.run(f"ip link set dev lan0 address {NEW_MAC.hex(':')}")
        for address in many:
            await heard.hears(address, 0, NEW_MAC)

    bench.mirror(scenario)


def test_a_failing_listener_does_not_blind_the_mirror(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An exception in a callback is logged; other addresses behind that neighbour are told, and the next change."""
    bench.director.run(f"ip route add 172.16.0.0/16 via {GATEWAY}")
    others = [FAR + number for number in range(1, 9)]
    on_next_hop = Recorder.on_next_hop

    def failing(self: Recorder, address: IPv4Address, port: int, mac: bytes | None) -> None:
        if address == FAR:
            raise RuntimeError("no such server")
        on_next_hop(self, address, port, mac)

    monkeypatch.setattr(Recorder, "on_next_hop", failing)

    async def scenario(mirror: Mirror, heard: Recorder) -> None:
        for address in [FAR, *others]:
            mirror.watch(address)
        for address in others:
            await heard.hears(address, 0, LAN_MAC)
        assert "no such server" in caplog.text
        bench.network.run(f"ip link set dev lan0 address {NEW_MAC.hex(':')}")
        for address in others:
            await heard.hears(address, 0, NEW_MAC)

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


def test_age_of_a_neighbour(bench: Bench) -> None:
    """The age counts from before the mirror began: the kernel makes a new entry twice base_reachable_time old."""
    began = time.monotonic()
    bench.director.run(f"ip neigh add {NOBODY} lladdr {NEW_MAC.hex(':')} nud stale dev jupiter0")

    async def scenario(mirror: Mirror, heard: Recorder) -> None:
        (listed,) = mirror.neighbours()
        assert 0.4 <= round(listed.age_seconds, 1) <= 0.5 + time.monotonic() - began

    bench.mirror(scenario)
