"""The mirror of routes and neighbours, against the kernel itself."""

import asyncio
from ipaddress import IPv4Address

import pytest

from jupiter.host.mirror import Mirror

from .bench import FAR, GATEWAY, LAN1, LAN2_MAC, LAN_MAC, NEW_MAC, NOBODY, SECOND, SERVER, Bench, Recorder, Turns
from .waiting import until_async


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


def test_route_change_moves_to_the_other_port(bench: Bench) -> None:
    """A more specific route, its removal, and the removal of all routes are followed, port and MAC together."""
    bench.director.run(f"ip route add 172.16.0.0/16 via {GATEWAY}")

    async def scenario(mirror: Mirror, heard: Recorder) -> None:
        mirror.watch(FAR)
        await heard.hears(FAR, 0, LAN_MAC)
        bench.director.run(f"ip route add 172.16.5.0/24 via {LAN1}")
        await heard.hears(FAR, 1, LAN2_MAC)
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
        mirror.watch(SERVER)
        await heard.hears(SERVER, 0, LAN_MAC)
        assert [mac for address, (_, mac) in heard.hops.items() if address != SERVER] == [None] * 2

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


def test_each_turn_is_short(bench: Bench) -> None:
    """10,000 addresses behind one gateway: appearing, a changed MAC, a flapping route, a flapping interface; no turn of
    the loop works for longer than 50 ms, and in the end every address is right."""
    many = [IPv4Address("172.16.0.0") + number for number in range(10_000)]
    up, down = f"ip route add 172.16.0.0/16 via {LAN1}", "ip route del 172.16.0.0/16"
    bench.director.run(up)

    async def scenario(mirror: Mirror, heard: Recorder) -> None:
        async def all_hear(mac: bytes | None) -> None:
            await turns.until(
                lambda: len(heard.hops) == len(many)
                and all(heard.hops[address] == (1, mac) for address in (many[0], many[5_000], many[-1]))
            )
            for address in many:
                await heard.hears(address, 1, mac)

        with Turns() as turns:
            for address in many:
                mirror.watch(address)
            await all_hear(LAN2_MAC)
            bench.network.set("ipv4/conf/lan1/arp_notify", 1)
            bench.network.run(f"ip link set dev lan1 address {NEW_MAC.hex(':')}")
            await all_hear(NEW_MAC)
            for _ in range(2):
                bench.director.run(down)
                await all_hear(None)
                bench.director.run(up, down, up, down, up)
                await all_hear(NEW_MAC)
                bench.director.run("ip link set dev jupiter1 down", "ip link set dev jupiter1 up", up)
                await all_hear(NEW_MAC)
        assert max(turns.costs) < 0.05

    bench.mirror(scenario)


def test_storm_of_announcements(bench: Bench) -> None:
    """Thousands of routes and addresses of others: turns stay short, and what matters is heard among them."""
    many = [IPv4Address("172.16.0.0") + number for number in range(10_000)]
    bench.director.run(f"ip route add 172.16.0.0/16 via {GATEWAY}")
    others = [f"10.{number >> 8}.{number & 255}" for number in range(2000)]

    async def scenario(mirror: Mirror, heard: Recorder) -> None:
        for address in many:
            mirror.watch(address)
        assert await until_async(lambda: len(heard.hops) == len(many))
        bench.director.batch(f"route add {net}.0/24 via {SECOND}\naddr add {net}.1/32 dev lo\n" for net in others)
        bench.director.run(f"ip route replace 172.16.0.0/16 via {LAN1}")
        with Turns() as turns:
            await turns.until(lambda: heard.hops[many[-1]] == (1, LAN2_MAC))
        for address in many:
            await heard.hears(address, 1, LAN2_MAC)
        assert max(turns.costs) < 0.05

    bench.mirror(scenario)


def test_nexthop_objects(bench: Bench) -> None:
    """A nexthop object that is replaced is followed, also where the kernel does not announce the routes that use it."""
    bench.director.set("ipv4/nexthop_compat_mode", 0)
    bench.director.run(f"ip nexthop add id 7 via {GATEWAY} dev jupiter0", "ip route add 172.16.0.0/16 nhid 7")

    async def scenario(mirror: Mirror, heard: Recorder) -> None:
        mirror.watch(FAR)
        await heard.hears(FAR, 0, LAN_MAC)
        bench.director.run(f"ip nexthop replace id 7 via {LAN1} dev jupiter1")
        await heard.hears(FAR, 1, LAN2_MAC)
        bench.director.run("ip nexthop del id 7")
        await heard.hears(FAR, 1, None)

    bench.mirror(scenario)


def test_multipath(bench: Bench) -> None:
    """Of a multipath route each address has one path; it keeps it while that exists, and takes another when it goes."""
    both = f"nexthop via {GATEWAY} dev jupiter0 nexthop via {LAN1} dev jupiter1"
    bench.director.run(f"ip route add 172.16.0.0/16 {both}")
    several = [FAR + number for number in range(64)]

    async def scenario(mirror: Mirror, heard: Recorder) -> None:
        for address in several:
            mirror.watch(address)
        for address in several:
            assert await until_async(lambda address=address: heard.hops.get(address) in ((0, LAN_MAC), (1, LAN2_MAC)))
        assert {port for port, _ in heard.hops.values()} == {0, 1}
        chosen = dict(heard.hops)
        bench.director.run("ip route add 9.9.9.0/24 dev jupiter0", f"ip route replace 172.16.0.0/16 {both}")
        mirror.watch(SERVER)
        await heard.hears(SERVER, 0, LAN_MAC)
        assert {address: heard.hops[address] for address in several} == chosen
        bench.director.run(f"ip route replace 172.16.0.0/16 nexthop via {LAN1} dev jupiter1")
        for address in several:
            await heard.hears(address, 1, LAN2_MAC)

    bench.mirror(scenario)


@pytest.mark.parametrize("kind", ["unreachable", "prohibit", "blackhole", "throw"])
def test_holes(bench: Bench, kind: str) -> None:
    """A route that leads nowhere is no next hop; when it goes the former one is back."""
    bench.director.run(f"ip route add 172.16.0.0/16 via {GATEWAY}")

    async def scenario(mirror: Mirror, heard: Recorder) -> None:
        mirror.watch(FAR)
        await heard.hears(FAR, 0, LAN_MAC)
        bench.director.run(f"ip route add {kind} {FAR}")
        await heard.hears(FAR, 0, None)
        bench.director.run(f"ip route del {kind} {FAR}")
        await heard.hears(FAR, 0, LAN_MAC)

    bench.mirror(scenario)


def test_a_server_moves_behind_a_gateway_and_back(bench: Bench) -> None:
    """A host route takes a server of our own network behind a gateway; replaced by another gateway, then deleted."""
    bench.network.run("ip addr add 1.1.2.99/24 dev lan1")

    async def scenario(mirror: Mirror, heard: Recorder) -> None:
        mirror.watch(SERVER)
        await heard.hears(SERVER, 0, LAN_MAC)
        bench.director.run(f"ip route add {SERVER} via {LAN1}")
        await heard.hears(SERVER, 1, LAN2_MAC)
        bench.director.run(f"ip route replace {SERVER} via {SECOND}")
        await heard.hears(SERVER, 0, LAN_MAC)
        bench.director.run(f"ip route replace {SERVER} via 1.1.2.99")
        await heard.hears(SERVER, 1, LAN2_MAC)
        bench.director.run(f"ip route del {SERVER}")
        await heard.hears(SERVER, 0, LAN_MAC)

    bench.mirror(scenario)


def test_the_former_gateway_serves_until_the_new_one_is_found(bench: Bench) -> None:
    """A route that is replaced leads to the new gateway once that has a MAC; one that nobody has is told in the end."""
    bench.director.run(f"ip route add 172.16.0.0/16 via {GATEWAY}")

    async def scenario(mirror: Mirror, heard: Recorder) -> None:
        mirror.watch(FAR)
        await heard.hears(FAR, 0, LAN_MAC)
        heard.calls.clear()
        bench.director.run(f"ip route replace 172.16.0.0/16 via {LAN1}")
        await heard.hears(FAR, 1, LAN2_MAC)
        bench.director.run(f"ip route replace 172.16.0.0/16 via {SECOND}")
        await heard.hears(FAR, 0, LAN_MAC)
        for _ in range(2):  # the second time the kernel remembers that it asked in vain
            bench.director.run(f"ip route replace 172.16.0.0/16 via {NOBODY}")
            await heard.hears(FAR, 0, None)
            bench.director.run(f"ip route replace 172.16.0.0/16 via {GATEWAY}")
            await heard.hears(FAR, 0, LAN_MAC)
        assert [mac for _, _, mac in heard.calls] == [LAN2_MAC, LAN_MAC, None, LAN_MAC, None, LAN_MAC]

    bench.mirror(scenario)


def test_gateway_on_another_interface(bench: Bench) -> None:
    """A gateway that the host reaches without us is no next hop, though a watched address lies behind it."""
    bench.director.connect("eth0", bench.network, "mgmt0")
    bench.director.run("ip addr add 10.9.9.2/24 dev eth0", f"ip route add 172.16.0.0/16 via {GATEWAY}")
    bench.network.run("ip addr add 10.9.9.1/24 dev mgmt0")

    async def scenario(mirror: Mirror, heard: Recorder) -> None:
        mirror.watch(FAR)
        await heard.hears(FAR, 0, LAN_MAC)
        bench.director.run("ip route replace 172.16.0.0/16 via 10.9.9.1")
        await heard.hears(FAR, 0, None)
        bench.director.run(f"ip route add {FAR} via {LAN1}", "ip link set dev eth0 down")
        await heard.hears(FAR, 1, LAN2_MAC)
        assert {n.interface for n in mirror.neighbours()} <= {"jupiter0", "jupiter1"}

    bench.mirror(scenario)
