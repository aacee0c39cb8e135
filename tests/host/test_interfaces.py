"""Our kernel interfaces in the hands of an operator: down, up, renamed, readdressed, deleted; next hops survive it."""

from ipaddress import IPv4Address, IPv4Interface

import pytest

from jupiter.host import interfaces as interfaces_module
from jupiter.host import mirror as mirror_module
from jupiter.host.mirror import Mirror

from .bench import FAR, GATEWAY, LAN1, LAN2_MAC, LAN_MAC, NEW_MAC, NOBODY, SECOND, SERVER, Bench, Recorder
from .waiting import until_async

BEHIND = IPv4Address("8.8.8.8")  # behind the configured gateway
SHORT = 0.5


@pytest.fixture
def hasty(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A mirror that waits for routing daemons for an instant only."""
    monkeypatch.setattr(interfaces_module, "GRACE_SECONDS", SHORT)
    monkeypatch.setattr(mirror_module, "GRACE_SECONDS", SHORT)
    return bench


async def settled(mirror: Mirror, heard: Recorder) -> None:
    """SERVER, and BEHIND the configured gateway, are resolved; the next calls are news."""
    mirror.watch(SERVER)
    mirror.watch(BEHIND)
    await heard.hears(SERVER, 0, LAN_MAC)
    await heard.hears(BEHIND, 0, LAN_MAC)
    heard.calls.clear()


def has_default(bench: Bench, interface: str = "jupiter0") -> bool:
    return f"default via {GATEWAY}" in bench.director.run(f"ip route show dev {interface}")


def test_down_and_up(hasty: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """While it is down all next hops stay, which is logged once; up again, the default route is put back; no call."""
    hasty.director.run(f"ip route add default via {GATEWAY}")
    caplog.set_level("INFO")

    async def scenario(mirror: Mirror, heard: Recorder) -> None:
        await settled(mirror, heard)
        hasty.director.run("ip link set dev jupiter0 down")
        assert await until_async(lambda: "jupiter0 is down: its next hops stay as they were" in caplog.text)
        assert {n.address for n in mirror.neighbours()} == {SERVER, GATEWAY}, "what is in use is listed"
        hasty.director.run("ip link set dev jupiter0 up")
        assert await until_async(lambda: has_default(hasty))
        assert await until_async(lambda: "jupiter0 works again" in caplog.text)
        for address in (SERVER, GATEWAY):
            assert await until_async(lambda address=address: "REACHABLE" in hasty.neighbour(address))
        mirror.watch(SECOND)
        await heard.hears(SECOND, 0, LAN_MAC)
        assert {address for address, _, _ in heard.calls} == {SECOND}
        assert caplog.text.count("is down") == 1

    hasty.mirror(scenario)


def test_while_it_is_down(bench: Bench) -> None:
    """Neither another interface's change nor a lost announcement nor a withdrawn route makes next hops be forgotten."""
    bench.director.run(f"ip route add default via {GATEWAY}")

    async def scenario(mirror: Mirror, heard: Recorder) -> None:
        mirror.watch(LAN1)
        await heard.hears(LAN1, 1, LAN2_MAC)
        await settled(mirror, heard)
        bench.director.run("ip link set dev jupiter0 down", f"ip route add 9.9.9.0/24 via {LAN1}")
        bench.director.run("ip route del 9.9.9.0/24", "ip addr add 10.1.1.1/32 dev lo", "ip link set dev lo down")
        bench.director.run(*["ip addr add 10.1.1.2/32 dev lo", "ip addr del 10.1.1.2/32 dev lo"] * 20)
        mirror.watch(FAR)
        await heard.hears(FAR, 0, None)
        assert {address for address, _, _ in heard.calls} == {FAR}

    bench.mirror(scenario, receive_buffer=4096)


def test_a_new_route_while_it_is_down(bench: Bench) -> None:
    """A route that is made elsewhere while the interface is down is followed, and not undone when it is up."""

    async def scenario(mirror: Mirror, heard: Recorder) -> None:
        mirror.watch(SERVER)
        await heard.hears(SERVER, 0, LAN_MAC)
        bench.director.run("ip link set dev jupiter0 down", f"ip route add {SERVER} via {LAN1}")
        await heard.hears(SERVER, 1, LAN2_MAC)
        bench.director.run("ip link set dev jupiter0 up", f"ip route del {SERVER}")
        await heard.hears(SERVER, 0, LAN_MAC)

    bench.mirror(scenario)


def test_route_that_nobody_puts_back(hasty: Bench) -> None:
    """An operator's route that went with the interface holds for the grace time after it is up, then it is over."""
    hasty.director.run(f"ip route add 172.16.0.0/16 via {LAN1}")

    async def scenario(mirror: Mirror, heard: Recorder) -> None:
        mirror.watch(FAR)
        await heard.hears(FAR, 1, LAN2_MAC)
        hasty.director.run("ip link set dev jupiter1 down", "ip link set dev jupiter1 up")
        mirror.watch(LAN1)
        await heard.hears(LAN1, 1, LAN2_MAC)
        assert heard.hops[FAR] == (1, LAN2_MAC)
        await heard.hears(FAR, 1, None)

    hasty.mirror(scenario)


def test_route_deleted_by_hand(bench: Bench) -> None:
    """A route that is deleted on an interface that is up is followed at once, be it just after it came up."""
    bench.director.run(f"ip route add 172.16.0.0/16 via {GATEWAY}")

    async def scenario(mirror: Mirror, heard: Recorder) -> None:
        mirror.watch(FAR)
        await heard.hears(FAR, 0, LAN_MAC)
        bench.director.run("ip link set dev jupiter0 down", "ip link set dev jupiter0 up")
        bench.director.run(f"ip route add 172.16.0.0/16 via {GATEWAY}", "ip route del 172.16.0.0/16")
        await heard.hears(FAR, 0, None)

    bench.mirror(scenario)


def test_default_route_deleted_by_hand_stays_away(bench: Bench) -> None:
    """What an operator deletes on an interface that is up is not put back."""
    bench.director.run(f"ip route add default via {GATEWAY}")

    async def scenario(mirror: Mirror, heard: Recorder) -> None:
        await settled(mirror, heard)
        bench.director.run("ip route del default")
        await heard.hears(BEHIND, 0, None)
        bench.director.run("ip addr add 1.1.1.9/24 dev jupiter0", "ip addr add 1.1.3.9/24 dev jupiter0")
        mirror.watch(IPv4Address("1.1.3.1"))
        await heard.hears(IPv4Address("1.1.3.1"), 0, None)
        assert not has_default(bench)

    bench.mirror(scenario)


def test_another_default_route_is_left_alone(hasty: Bench) -> None:
    """A default route that somebody made before we came to it is not doubled."""

    async def scenario(mirror: Mirror, heard: Recorder) -> None:
        await settled_without_gateway(mirror, heard)
        hasty.director.run("ip link set dev jupiter0 down", "ip link set dev jupiter0 up")
        hasty.director.run(f"ip route add default via {SECOND}")
        mirror.watch(BEHIND)
        await heard.hears(BEHIND, 0, LAN_MAC)
        assert await until_async(lambda: "REACHABLE" in hasty.neighbour(SERVER))
        assert not has_default(hasty)

    hasty.mirror(scenario)


async def settled_without_gateway(mirror: Mirror, heard: Recorder) -> None:
    mirror.watch(SERVER)
    await heard.hears(SERVER, 0, LAN_MAC)


@pytest.mark.parametrize("down", [True, False], ids=["down", "live"])
def test_renamed(bench: Bench, down: bool) -> None:
    """By another name it is the same interface: next hops stay, arp/list has the new name; all later news is heard."""

    async def scenario(mirror: Mirror, heard: Recorder) -> None:
        mirror.watch(SERVER)
        await heard.hears(SERVER, 0, LAN_MAC)
        heard.calls.clear()
        if down:
            bench.director.run("ip link set dev jupiter0 down")
        bench.director.run("ip link set dev jupiter0 name foo0")
        bench.director.run("ip link set dev foo0 up")
        assert await until_async(lambda: mirror.names() == {0: "foo0", 1: "jupiter1"})
        assert [n.interface for n in mirror.neighbours()] == ["foo0"]
        assert heard.calls == []
        bench.network.run(f"ip link set dev lan0 address {NEW_MAC.hex(':')}")
        await heard.hears(SERVER, 0, NEW_MAC)

    bench.mirror(scenario)


def test_names_change_places(bench: Bench) -> None:
    """Another interface that gets the old name is none of ours."""

    async def scenario(mirror: Mirror, heard: Recorder) -> None:
        mirror.watch(SERVER)
        await heard.hears(SERVER, 0, LAN_MAC)
        bench.director.run("ip link set dev jupiter0 name foo0")
        bench.director.connect("jupiter0", bench.network, "lan5")
        bench.director.run("ip addr add 1.1.5.2/24 dev jupiter0")
        mirror.watch(IPv4Address("1.1.5.1"))
        await heard.hears(IPv4Address("1.1.5.1"), 0, None)
        assert heard.hops[SERVER] == (0, LAN_MAC)
        assert heard.addresses[0] == IPv4Interface("1.1.1.2/24")

    bench.mirror(scenario)


def test_deleted(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """An interface that is deleted does not come back: the log says so, and the data path goes on as it was."""

    async def scenario(mirror: Mirror, heard: Recorder) -> None:
        mirror.watch(SERVER)
        await heard.hears(SERVER, 0, LAN_MAC)
        bench.director.run("ip link del dev jupiter0")
        assert await until_async(lambda: heard.addresses[0] is None)
        assert "kernel interface jupiter0 was deleted" in caplog.text
        mirror.watch(LAN1)
        await heard.hears(LAN1, 1, LAN2_MAC)
        assert heard.hops[SERVER] == (0, LAN_MAC)

    bench.mirror(scenario)


@pytest.mark.parametrize("line", ["ifconfig jupiter0 1.1.1.2/24 up", "ifconfig jupiter0 1.1.1.9/24 up"])
@pytest.mark.parametrize("before", ["1.1.1.2/24", "1.1.7.7/24", None])
def test_ifconfig(hasty: Bench, before: str | None, line: str) -> None:
    """The mission's own line, whatever the address was: it is told, the default route is there, next hops are right."""
    hasty.director.run("ip addr flush dev jupiter0")
    if before:
        hasty.director.run(f"ip addr add {before} dev jupiter0")
    if before == "1.1.1.2/24":
        hasty.director.run(f"ip route add default via {GATEWAY}")

    async def scenario(mirror: Mirror, heard: Recorder) -> None:
        mirror.watch(SERVER)
        if before == "1.1.1.2/24":
            await settled(mirror, heard)
        else:
            await heard.hears(SERVER, 0, None)
        hasty.director.run(line)
        assert await until_async(lambda: heard.addresses.get(0) == IPv4Interface(line.split()[2]))
        mirror.watch(BEHIND)
        await heard.hears(SERVER, 0, LAN_MAC)
        await heard.hears(BEHIND, 0, LAN_MAC)
        assert await until_async(lambda: has_default(hasty))
        if before == "1.1.1.2/24":
            assert heard.calls == []

    hasty.mirror(scenario)


def test_address_taken_and_given(hasty: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Without its last address the interface forgets as one that is down does: next hops stay until it has another."""
    hasty.director.run(f"ip route add default via {GATEWAY}")

    async def scenario(mirror: Mirror, heard: Recorder) -> None:
        await settled(mirror, heard)
        hasty.director.run("ip addr del 1.1.1.2/24 dev jupiter0")
        assert await until_async(lambda: heard.addresses[0] is None)
        assert await until_async(lambda: "jupiter0 has no address: its next hops stay" in caplog.text)
        hasty.director.run("ip addr add 1.1.1.8/24 dev jupiter0")
        assert await until_async(lambda: heard.addresses[0] == IPv4Interface("1.1.1.8/24"))
        assert await until_async(lambda: has_default(hasty))
        assert await until_async(lambda: "REACHABLE" in hasty.neighbour(SERVER))
        assert heard.calls == []

    hasty.mirror(scenario)


def test_gateway_out_of_reach(hasty: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """With an address in another network the default route cannot be put back, which is logged; it is, with its own."""
    hasty.director.run(f"ip route add default via {GATEWAY}")

    async def scenario(mirror: Mirror, heard: Recorder) -> None:
        await settled(mirror, heard)
        hasty.director.run("ip addr del 1.1.1.2/24 dev jupiter0", "ip addr add 1.1.7.7/24 dev jupiter0")
        assert await until_async(lambda: f"through {GATEWAY} not put back: Nexthop has invalid gateway" in caplog.text)
        await heard.hears(SERVER, 0, None)
        hasty.director.run("ip addr add 1.1.1.2/24 dev jupiter0")
        await heard.hears(SERVER, 0, LAN_MAC)
        await heard.hears(BEHIND, 0, LAN_MAC)

    hasty.mirror(scenario)


def test_second_address(bench: Bench) -> None:
    """A second address is not told, its network's servers are reached; it takes over when the first one goes."""

    async def scenario(mirror: Mirror, heard: Recorder) -> None:
        mirror.watch(SERVER)
        await heard.hears(SERVER, 0, LAN_MAC)
        other = IPv4Address("1.1.3.3")
        bench.network.run(f"ip addr add {other}/24 dev lan0")
        bench.director.run("ip addr add 1.1.3.2/24 dev jupiter0")
        mirror.watch(other)
        await heard.hears(other, 0, LAN_MAC)
        assert heard.addresses[0] == IPv4Interface("1.1.1.2/24")
        bench.director.run("ip addr del 1.1.1.2/24 dev jupiter0")
        assert await until_async(lambda: heard.addresses[0] == IPv4Interface("1.1.3.2/24"))
        await heard.hears(SERVER, 0, None)
        assert heard.hops[other] == (0, LAN_MAC)

    bench.mirror(scenario)


def test_primary_address(bench: Bench) -> None:
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


def test_unresolved_before_and_after(bench: Bench) -> None:
    """What was unresolved when the interface went down is asked for again when it is up."""

    async def scenario(mirror: Mirror, heard: Recorder) -> None:
        mirror.watch(NOBODY)
        await heard.hears(NOBODY, 0, None)
        bench.director.run("ip link set dev jupiter0 down")
        bench.network.run(f"ip addr add {NOBODY}/24 dev lan0")
        bench.director.run("ip link set dev jupiter0 up")
        await heard.hears(NOBODY, 0, LAN_MAC)

    bench.mirror(scenario)
