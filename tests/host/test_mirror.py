"""The mirror of routes and neighbours, against the kernel itself."""

import asyncio
from ipaddress import IPv4Address

import pytest

from jupiter.host.mirror import Mirror

from .bench import FAR, GATEWAY, LAN1, LAN2_MAC, LAN_MAC, NEW_MAC, NOBODY, SERVER, Bench, Recorder
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
