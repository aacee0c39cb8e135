"""Models on their way down, counters on their way up; the engine below is a fake."""

import asyncio
import importlib
import sys
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import fastpath
from jupiter.arp import announcement
from jupiter.errors import JupiterError
from jupiter.ids import Ids
from jupiter.model import Change, Protocol, RealServer, ServiceKey, VirtualService
from jupiter.terms import Condition, Search, Wanted, wanted
from tests.fakes import START, FakeEngine, FakeNeighbour, Operator

VIP = ServiceKey(IPv4Address("10.0.1.1"), 80, Protocol.TCP)
VS = {"service": str(VIP)}
R3, R4 = (IPv4Address(f"1.1.1.{n}") for n in (3, 4))
MAC = bytes.fromhex("020000000003")


class FakeMirror:
    """Knows what is watched."""

    def __init__(self) -> None:
        self.watched: list[IPv4Address] = []

    def watch(self, address: IPv4Address) -> None:
        self.watched.append(address)

    def unwatch(self, address: IPv4Address) -> None:
        self.watched.remove(address)

    def neighbours(self) -> list[FakeNeighbour]:
        return []

    def names(self) -> dict[int, str]:
        return {0: "lan0"}


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def mirror() -> FakeMirror:
    return FakeMirror()


@pytest.fixture
def datapath(engine: FakeEngine, mirror: FakeMirror, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A Datapath that has loaded the fake in the engine's place."""
    monkeypatch.setitem(sys.modules, "fastpath.engine", engine)  # type: ignore[arg-type]
    monkeypatch.setattr(fastpath, "engine", engine, raising=False)
    for name in ("jupiter.datapath", "jupiter.gauges"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    module: ModuleType = importlib.import_module("jupiter.datapath")
    datapath = module.Datapath(START)
    datapath.follow(mirror)
    datapath.sample()
    yield datapath
    for name in ("jupiter.datapath", "jupiter.gauges"):
        sys.modules.pop(name, None)


def run(datapath: Any, method: str, **params: Any) -> None:
    Operator(datapath)(method, **params)


def serve(datapath: Any, *servers: str) -> None:
    run(datapath, "vs/add", **VS, scheduler="wrr")
    for server in servers:
        run(datapath, "rs/add", **VS, server=server, weight=7)


def server_ids(engine: FakeEngine) -> dict[bytes, int]:
    (service,) = engine.services.values()
    return {server.address: server.id for server in service.servers}


def test_a_service_goes_down_as_one_block(datapath: Any, engine: FakeEngine) -> None:
    serve(datapath, "1.1.1.3:80", "1.1.1.4:81")
    (block,) = engine.services.values()
    assert (block.address, block.port, block.protocol, block.scheduler) == (VIP.address.packed, 80, 6, 1)
    assert [(s.address, s.port, s.weight) for s in block.servers] == [(R3.packed, 80, 7), (R4.packed, 81, 7)]
    assert engine.published == [([block.id], [])] * 3


def test_limits_persistence_and_segment_size_go_down_with_the_block(datapath: Any, engine: FakeEngine) -> None:
    """B29, B33, B44: what is no limit above is 0 below; one service's are not another's."""
    serve(datapath, "1.1.1.3:80", "1.1.1.4:81")
    run(datapath, "vs/add", service="10.0.1.2:80 tcp")
    first, second = engine.services
    assert engine.services[first][-3:] == (engine.Limits(), engine.Persistence(), 0)
    assert [server[-2:] for server in engine.services[first].servers] == [(0, False)] * 2
    run(datapath, "vs/max_conns", **VS, max_conns=20000)
    run(datapath, "vs/max_rate", **VS, max_rate=5000)
    run(datapath, "vs/cql", **VS, cql=100)
    run(datapath, "vs/cql/add", **VS, client="1.1.1.9", rate=0)
    run(datapath, "vs/persistence", **VS, seconds=300, scope="address")
    run(datapath, "vs/mss", **VS, mss=1400)
    run(datapath, "rs/max_conns", **VS, server="1.1.1.3:80", max_conns=1000)
    run(datapath, "rs/backup", **VS, server="1.1.1.4:81", backup="on")
    limits = engine.Limits(20000, 5000, 100, ((bytes([1, 1, 1, 9]), 0),))
    assert engine.services[first][-3:] == (limits, engine.Persistence(300, whole_address=True), 1400)
    assert [server[-2:] for server in engine.services[first].servers] == [(1000, False), (0, True)]
    assert engine.services[second][-3:] == (engine.Limits(), engine.Persistence(), 0)
    run(datapath, "vs/persistence", **VS, scope="service")
    assert engine.services[first].persistence == engine.Persistence(300, whole_address=False)


def test_a_change_touches_its_own_service_alone(datapath: Any, engine: FakeEngine) -> None:
    """B28: one block for each changed service, none for the others."""
    serve(datapath, "1.1.1.3:80")
    run(datapath, "vs/add", service="10.0.1.2:80 tcp")
    first, second = engine.services
    run(datapath, "rs/weight", **VS, server="1.1.1.3:80", weight=0)
    assert engine.published[-1] == ([first], [])
    assert engine.services[first].servers[0].weight == 0
    run(datapath, "vs/del", **VS)
    assert engine.published[-1] == ([], [first])
    assert list(engine.services) == [second]


def test_ids_stay_while_a_service_changes(datapath: Any, engine: FakeEngine) -> None:
    """B11: connections refer to servers by id."""
    serve(datapath, "1.1.1.3:80", "1.1.1.4:80")
    before = server_ids(engine)
    run(datapath, "rs/del", **VS, server="1.1.1.3:80")
    assert server_ids(engine) == {R4.packed: before[R4.packed]}


def test_a_refusal_changes_nothing(datapath: Any, engine: FakeEngine) -> None:
    """B28: the model, the ids and the next publication are as if nothing had been asked for."""
    serve(datapath, "1.1.1.3:80")
    model, services = datapath.model, engine.services
    engine.refuses = "out of memory"
    for _ in range(2 * engine.MAX_SERVERS):
        with pytest.raises(JupiterError, match="out of memory") as error:
            run(datapath, "rs/add", **VS, server="1.1.1.4:80")
        assert error.value.code == "publish-failed"
    engine.refuses, engine.refuses_to_commit = None, "out of memory"
    for _ in range(2 * engine.MAX_SERVERS):
        with pytest.raises(JupiterError, match="out of memory"):
            run(datapath, "vs/add", service="10.0.1.9:80 tcp")
        with pytest.raises(JupiterError, match="out of memory"):
            run(datapath, "rs/add", **VS, server="1.1.1.4:80")
    assert datapath.model is model
    assert engine.services is services
    engine.refuses_to_commit = None
    run(datapath, "rs/add", **VS, server="1.1.1.4:80")
    assert len(server_ids(engine)) == 2


def test_more_than_the_engine_holds_is_refused_whole(datapath: Any, engine: FakeEngine) -> None:
    serve(datapath, *(f"1.1.1.{n}:80" for n in range(3, 3 + engine.MAX_SERVERS)))
    with pytest.raises(JupiterError, match="Cannot have another real server, expected at most 6") as error:
        run(datapath, "rs/add", **VS, server="1.1.1.99:80")
    assert error.value.code == "too-many"
    for n in range(2, 1 + engine.MAX_SERVICES):
        run(datapath, "vs/add", service=f"10.0.1.{n}:80 tcp")
    with pytest.raises(JupiterError, match="Cannot have another virt service, expected at most 4"):
        run(datapath, "vs/add", service="10.0.1.99:80 tcp")


def test_an_id_is_not_given_again_while_a_connection_counts_for_it(datapath: Any, engine: FakeEngine) -> None:
    """A server that is removed and added again is another one until the last old connection is gone."""
    serve(datapath, "1.1.1.3:80")
    old = server_ids(engine)[R3.packed]
    engine.busy = {old}
    for _ in range(2 * engine.MAX_SERVERS):
        run(datapath, "rs/del", **VS, server="1.1.1.3:80")
        run(datapath, "rs/add", **VS, server="1.1.1.3:80")
        datapath.tick()
        assert server_ids(engine)[R3.packed] != old
    engine.busy = set()
    datapath.tick()
    for n in range(4, 3 + engine.MAX_SERVERS):
        run(datapath, "rs/add", **VS, server=f"1.1.1.{n}:80")
    assert old in server_ids(engine).values()


def test_a_service_id_is_not_given_again_before_its_servers(datapath: Any, engine: FakeEngine) -> None:
    serve(datapath, "1.1.1.3:80")
    (old,) = engine.services
    engine.busy = set(server_ids(engine).values())
    run(datapath, "vs/del", **VS)
    for n in range(2, 1 + engine.MAX_SERVICES):
        datapath.tick()
        run(datapath, "vs/add", service=f"10.0.1.{n}:80 tcp")
    with pytest.raises(JupiterError, match="virt service"):
        run(datapath, "vs/add", **VS)
    engine.busy = set()
    datapath.tick()
    run(datapath, "vs/add", **VS)
    assert old in engine.services


def test_a_services_counters_never_go_backwards(datapath: Any, engine: FakeEngine) -> None:
    """What a removed server counted stays in its service's totals, before and after its id is given back."""
    serve(datapath, "1.1.1.3:80", "1.1.1.4:80")
    ids = server_ids(engine)
    engine.counters = {ids[R3.packed]: (2, 10, 100, 1000, 50, 500, 1), ids[R4.packed]: (1, 1, 1, 1, 1, 1, 1)}
    engine.busy = {ids[R3.packed]}
    total = (3, 11, 101, 1001, 51, 501, 2)
    assert datapath.service_traffic(VIP).forwarded == total
    run(datapath, "rs/del", **VS, server="1.1.1.3:80")
    datapath.tick()
    assert datapath.service_traffic(VIP).forwarded == total
    engine.busy = set()
    engine.counters[ids[R3.packed]] = (0, 10, 100, 1000, 50, 500, 0)
    datapath.tick()
    assert ids[R3.packed] not in engine.counters
    assert datapath.service_traffic(VIP).forwarded == (1, *total[1:-1], 1)


def test_a_new_service_starts_at_zero_under_a_used_id(datapath: Any, engine: FakeEngine) -> None:
    serve(datapath)
    (old,) = engine.services
    engine.service_drops[old] = engine.ServiceCounters(5, 50, 6, 60)
    assert datapath.service_traffic(VIP)[1:] == (5, 50, 6, 60)
    run(datapath, "vs/del", **VS)
    datapath.tick()
    for n in range(2, 2 + engine.MAX_SERVICES):
        run(datapath, "vs/add", service=f"10.0.1.{n}:80 tcp")
    reused = next(s for s in datapath.model.services if engine.services[old].address == s.address.packed)
    assert datapath.service_traffic(reused)[1:] == (0, 0, 0, 0)
    engine.service_drops[old] = engine.ServiceCounters(7, 70, 6, 60)
    assert datapath.service_traffic(reused)[1:] == (2, 20, 0, 0)


def test_loads_are_added_up_while_a_service_goes_by_them(
    datapath: Any, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B24: often while they change, seldom while they do not, never when no service has lc or wlc."""
    module = sys.modules["jupiter.datapath"]
    pauses: list[float] = []
    real_sleep = asyncio.sleep

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        await real_sleep(0)

    async def some_turns() -> None:
        pauses.clear()
        weighing = asyncio.create_task(datapath.weigh())
        for _ in range(20):
            await real_sleep(0)
        weighing.cancel()

    def weigh_for_a_while() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(asyncio, "sleep", sleep)
            asyncio.run(some_turns())

    serve(datapath, "1.1.1.3:80")
    weigh_for_a_while()
    assert engine.weighed == 0
    run(datapath, "vs/scheduler", **VS, scheduler="wlc")
    weigh_for_a_while()
    assert engine.weighed == len(pauses) > 5
    assert set(pauses) == {module.WEIGH_SECONDS}
    engine.loads_change = False
    weigh_for_a_while()
    assert pauses[0] == 2 * module.WEIGH_SECONDS
    assert max(pauses) == pauses[-1] == module.WEIGH_IDLE_SECONDS
    monkeypatch.setattr(module, "thread_time", iter(range(1000)).__next__)
    weigh_for_a_while()
    assert set(pauses) == {1 / module.WEIGH_SHARE}
    run(datapath, "vs/del", **VS)
    seen = engine.weighed
    weigh_for_a_while()
    assert engine.weighed == seen


def test_next_hops_reach_every_server_of_an_address(datapath: Any, engine: FakeEngine) -> None:
    """One address, several servers: those there are, those leaving, and those to come."""
    serve(datapath, "1.1.1.3:80", "1.1.1.3:81", "1.1.1.4:80")
    engine.busy = set(server_ids(engine).values())
    run(datapath, "rs/del", **VS, server="1.1.1.3:80")
    datapath.set_next_hop(R3, 0, MAC)
    assert len(engine.next_hops) == 2
    run(datapath, "rs/add", **VS, server="1.1.1.3:82")
    assert list(engine.next_hops.values()) == [(0, MAC)] * 3
    datapath.set_next_hop(R3, 0, None)
    assert list(engine.next_hops.values()) == [(0, None)] * 3


def test_addresses_are_watched_once_and_as_long_as_needed(
    datapath: Any, engine: FakeEngine, mirror: FakeMirror
) -> None:
    serve(datapath, "1.1.1.3:80", "1.1.1.3:81")
    assert mirror.watched == [R3]
    engine.busy = set(server_ids(engine).values())
    run(datapath, "vs/del", **VS)
    datapath.tick()
    assert mirror.watched == [R3]
    engine.busy = set()
    datapath.tick()
    assert mirror.watched == []


def test_a_mirror_that_comes_later_watches_what_is_there(datapath: Any) -> None:
    serve(datapath, "1.1.1.3:80")
    later = FakeMirror()
    datapath.follow(later)
    assert later.watched == [R3]


def test_the_kernel_interfaces_address_is_followed(datapath: Any, engine: FakeEngine) -> None:
    datapath.add_port(START.devices[0], [IPv4Address("10.0.2.1")], "net_null0", 256, 512, "auto")
    assert (engine.port_address, engine.local_addresses) == (bytes([1, 1, 1, 2]), [bytes([10, 0, 2, 1])])
    datapath.set_address(0, IPv4Interface("1.1.1.9/16"))
    assert engine.port_address == bytes([1, 1, 1, 9])
    assert datapath.model.devices[0].address == IPv4Interface("1.1.1.9/16")
    datapath.set_address(0, None)
    assert engine.port_address is None


def test_rates_come_from_the_last_two_samples(
    datapath: Any, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([10.0, 12.0])
    monkeypatch.setattr("jupiter.gauges.monotonic", lambda: next(times))
    datapath.add_port(START.devices[0], [], "net_null0", 256, 512, "auto")
    datapath.tick()
    engine.port_counts = engine.PortCounters(rx_packets=100, rx_bytes=6400, tx_packets=50, tx_bytes=3200, mbufs_free=9)
    engine.dropped = 8
    engine.worker_counts = engine.WorkerCounters(
        turns=2000,
        busy_turns=10,
        packets=300,
        busy_ticks=50,
        ticks=400,
        parked=3,
        sleeps=8,
        asleep_ticks=100,
        handed_in=20,
        handed_out=40,
        strays=5,
        handover_depth=6,
    )
    datapath.tick()
    traffic = datapath.device_traffic()[0]
    assert (traffic.rx_packets, traffic.mbufs_free) == (100, 9)
    assert (traffic.rx_pps, traffic.tx_pps, traffic.rx_bps, traffic.tx_bps) == (50, 25, 3200, 1600)
    assert datapath.drops() == [("no_service", 8, 4, "no service on this port")]
    assert datapath.own_messages().icmp_relayed == 4
    first, second = datapath.worker_traffic()
    assert (first.busy, first.turns, first.packets, first.per_turn, first.parked) == (12.5, 1000, 150, 30.0, 3)
    assert (first.asleep, first.sleeps) == (25.0, 4)
    assert (first.handed_in, first.handed_out, first.strays, first.handover) == (10, 20, 5, 6)
    assert (first.least_ports, second.least_ports) == (64500, 100)


@pytest.mark.parametrize(("wish", "split"), [("auto", False), ("flow", True)])
def test_local_addresses_are_each_workers_own_where_the_card_steers_by_them(
    datapath: Any, engine: FakeEngine, wish: str, split: bool
) -> None:
    """Address i is worker i % 2's; elsewhere every worker draws from all."""
    local = [*START.local_addresses]
    datapath.add_port(START.devices[0], local, "net_null0", 256, 512, wish)
    assert (engine.local_addresses, engine.wish) == ([a.packed for a in local], wish)
    assert datapath.local_addresses_of("jupiter0") == ([[a] for a in local] if split else [local, local])


def test_each_worker_has_a_region_for_its_part_of_the_connections(datapath: Any, engine: FakeEngine) -> None:
    """What huge pages are reserved for: regions are rounded up one by one, and none is smaller than the smallest."""
    engine.region_bytes = lambda connections: connections + 7
    assert datapath.region_bytes(100_000, 1) == 100_007
    assert datapath.region_bytes(100_000, 8) == 8 * 12_507
    assert datapath.region_bytes(2048, 8) == 8 * 1031


def test_a_card_that_was_found_out_is_named_by_its_device(datapath: Any) -> None:
    datapath.add_port(START.devices[0], [], "net_null0", 256, 512, "auto")
    assert datapath.found_out() == [("jupiter0", "rss found out")]


def test_an_address_that_is_new_on_a_link_is_announced_twice(datapath: Any, engine: FakeEngine) -> None:
    """B40: virtual and local addresses within the network of a device; not again for a second service."""
    local = [IPv4Address("1.1.1.77"), IPv4Address("10.0.2.1")]
    port = datapath.add_port(START.devices[0], local, "net_null0", 256, 512, "auto")
    asyncio.run(datapath.announce())
    assert engine.sent == [(0, announcement(local[0], port.mac))]
    asyncio.run(datapath.announce())
    asyncio.run(datapath.announce())
    assert len(engine.sent) == 2
    run(datapath, "vs/add", service="1.1.1.99:80 tcp")
    run(datapath, "vs/add", service="10.0.1.9:80 tcp")
    assert engine.sent[2:] == [(0, announcement(IPv4Address("1.1.1.99"), port.mac))] * 2
    run(datapath, "rs/add", service="1.1.1.99:80 tcp", server="1.1.1.3:80")
    assert len(engine.sent) == 4


def test_an_interface_that_was_renamed_is_shown_by_its_name(datapath: Any) -> None:
    assert datapath.interface_name("jupiter0") == "jupiter0"
    datapath.add_port(START.devices[0], [], "net_null0", 256, 512, "auto")
    assert datapath.interface_name("jupiter0") == "lan0"


def test_devices_count_from_zero_again(datapath: Any, engine: FakeEngine) -> None:
    """netdev/reset; what is no counter stays."""
    datapath.add_port(START.devices[0], [], "net_null0", 256, 512, "auto")
    datapath.sample()
    datapath.sample()
    engine.port_counts = engine.PortCounters(rx_packets=100, mbufs_in_use=4)
    datapath.count_devices_from_zero()
    engine.port_counts = engine.PortCounters(rx_packets=107, mbufs_in_use=5)
    traffic = datapath.device_traffic()[0]
    assert (traffic.rx_packets, traffic.mbufs_in_use) == (7, 5)


def test_connections_that_are_to_be_reset_are_swept_by_every_worker(datapath: Any, engine: FakeEngine) -> None:
    """B26: of the servers that leave by this change; with a service that goes, also of those that had left before."""
    serve(datapath, "1.1.1.3:80", "1.1.1.4:80", "1.1.1.5:80")
    ids = server_ids(engine)
    engine.busy = set(ids.values())
    run(datapath, "rs/del", **VS, server="1.1.1.3:80")
    assert (engine.reset, engine.swept) == ([], [])
    run(datapath, "rs/del", **VS, server="1.1.1.4:80", policy="reset")
    assert (engine.reset, engine.swept) == ([ids[R4.packed]], [0, 1])
    run(datapath, "vs/del", **VS, policy="reset")
    assert sorted(engine.reset[1:]) == sorted(ids.values())
    assert engine.swept == [0, 1, 0, 1]


def test_a_large_change_is_planned_beside_the_loop(datapath: Any, engine: FakeEngine, mirror: FakeMirror) -> None:
    """Others are served meanwhile; ids that come back meanwhile come back once."""
    datapath._server_ids = Ids("real server", 1 << 20)
    serve(datapath, "1.1.1.3:80")
    old = server_ids(engine)[R3.packed]
    servers = [RealServer(IPv4Address(0x01010200 + n), 80) for n in range(3000)]
    wanted = VirtualService(VIP, "wrr", servers={server.key: server for server in servers})

    async def publish() -> int:
        turns = 0
        publishing = asyncio.create_task(datapath.publish(Change((wanted,))))
        while not publishing.done():
            turns += 1
            datapath.tick()
            await asyncio.sleep(0)
        await publishing
        return turns

    assert asyncio.run(publish()) > 3
    assert datapath.model.services[VIP] == wanted
    datapath.tick()
    assert sorted(mirror.watched) == [server.address for server in servers]
    assert set(server_ids(engine).values()) == set(range(1, 3001))
    assert old == 0


def test_connections_are_asked_of_one_worker_after_the_other(datapath: Any, engine: FakeEngine) -> None:
    """A page may be empty; a cursor is WORKER:POSITION."""
    ends = ("client", "rs")
    search = Search(Protocol.UDP, (Condition(ends, IPv4Network("10.0.0.0/8"), 53), Condition(("vip",), None, 80)), 2.5)
    cursors, cursor = [], ""
    while cursor is not None:
        found, cursor = asyncio.run(datapath.connections(search, cursor))
        cursors.append(cursor)
        assert found == []
    assert cursors == ["0:77", "1:0", None]
    matches = [(1 | 8, bytes([10, 0, 0, 0]), bytes([255, 0, 0, 0]), 53), (2, bytes(4), bytes(4), 80)]
    assert engine.found == [(worker, 17, matches, 2.5, position) for worker, position in ((0, 0), (0, 77), (1, 0))]
    for wrong in ("x", "2:0", "0", "-1:0"):
        with pytest.raises(JupiterError, match="Invalid cursor"):
            asyncio.run(datapath.connections(search, wrong))


SEEN = {
    **{"worker": 1, "ns": 5, "kind": "passed", "came": "port", "port": 0, "length": 60, "frame": b"x"},
    **{"reason": "no_service", "protocol": 6, "ends": ((b"\1\1\1\1", 1000), (b"\x0a\0\1\1", 80))},
    **{"classified": "go_on", "scheduled": "go_on", "verdict": "send", "found": 1},
    **{"client": (b"\1\1\1\1", 1000), "virtual": (b"\x0a\0\1\1", 0), "local": None, "real": None, "server": 3},
    **{"states": ("SYN_SENT", "SYN_RECV"), "hop": (0, MAC), "left": None, "out": 0, "to": 0},
}


def test_what_is_watched_has_names(datapath: Any, engine: FakeEngine) -> None:
    """Devices, lcores, protocols, ends and directions, where the engine has numbers; the end is passed on."""
    datapath.add_port(START.devices[0], [], "net_null0", 256, 512, "auto")
    engine.seen = [SimpleNamespace(**SEEN)]
    watch = datapath.watch(wanted("udp client=1.1.1.0/24:80 drop=no_service"), 100, True)
    match = engine.Match(1, bytes([1, 1, 1, 0]), bytes([255, 255, 255, 0]), 80)
    assert engine.watched == [(17, [match], "no_service", 100, True)]
    (seen,), limit = watch.read(64)
    assert limit == 32  # for each of two workers
    assert (seen.lcore, seen.device, seen.out, seen.to, seen.hop) == (
        1,
        "jupiter0",
        "jupiter0",
        1,
        ("jupiter0", MAC.hex(":")),
    )
    assert (seen.protocol, seen.ends, seen.found) == ("tcp", ("1.1.1.1:1000", "10.0.1.1:80"), "outbound")
    assert (seen.client, seen.virtual, seen.local) == ("1.1.1.1:1000", "10.0.1.1", None)
    assert (seen.reason, seen.reason_text) == ("no_service", "no service on this port")
    with pytest.raises(JupiterError, match="already") as error:
        datapath.watch(Wanted(), 100, True)
    assert error.value.code == "watch-busy"
    watch.end()
    assert engine.watched == []


def test_a_reason_that_is_none_is_refused(datapath: Any, engine: FakeEngine) -> None:
    with pytest.raises(
        JupiterError, match="Unknown drop reason tired, expected any or one of those that `drops` lists"
    ):
        datapath.watch(wanted("drop=tired"), 100, True)
    assert engine.watched == []
