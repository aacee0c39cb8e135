"""Stand-ins for the data plane, for tests of what is above it."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from ipaddress import IPv4Address, IPv4Interface
from types import SimpleNamespace
from typing import Any, ClassVar, NamedTuple, TypeVar

import pytest

from jupiter.commands import COMMANDS
from jupiter.counters import (
    Connection,
    DeviceHardware,
    DeviceTraffic,
    Drop,
    Heap,
    LocalPorts,
    OwnMessages,
    Seen,
    ServerTraffic,
    ServiceTraffic,
    WorkerTraffic,
)
from jupiter.errors import JupiterError
from jupiter.model import Change, Device, LocalAddress, Model, ServerKey, ServiceKey, Services
from jupiter.running import Running
from jupiter.session import Session
from jupiter.state import StateFile
from jupiter.terms import Search, Wanted

T = TypeVar("T")

START = Model(
    (Device("jupiter0", IPv4Interface("1.1.1.2/24"), IPv4Address("1.1.1.254")),),
    {IPv4Address(a): LocalAddress(IPv4Address(a), "jupiter0") for a in ("10.0.2.1", "10.0.2.2")},
)
"""A director with one device and two local addresses, and no service."""


class FakeNeighbour(NamedTuple):
    address: IPv4Address
    mac: bytes | None
    interface: str
    age_seconds: float


class FakeWatch:
    """Sees what `waiting` holds, which may grow; `lost` is told once."""

    def __init__(self, seen: Sequence[Seen]) -> None:
        self.waiting = list(seen)
        self.lost = 0
        self.stopped = False
        self.ended = False

    def read(self, limit: int) -> tuple[list[Seen], int]:
        assert not self.ended
        taken, self.waiting = self.waiting[:limit], self.waiting[limit:]
        lost, self.lost = self.lost, 0
        return taken, lost

    def stop(self) -> None:
        self.stopped = True

    def end(self) -> None:
        self.ended = True


class FakeDatapath:
    """A data plane that carries nothing: it holds the model and answers with made-up counters, all different."""

    def __init__(self, model: Model = START, connections: int = 3) -> None:
        self.model = model
        self.refuses: str | None = None
        """Why publish() fails, if it does."""
        self.changes: list[Change] = []
        self.searches: list[Search] = []
        self.from_zero = 0
        self.seen: list[Seen] = []
        """What a watch sees at once."""
        self.watched: list[tuple[Wanted, int, bool]] = []
        self.watches: list[FakeWatch] = []
        self.renamed: dict[str, str] = {}
        self._connections = [
            Connection(
                6, ("1.1.1.1", 1024 + n), ("10.0.1.1", 80), ("10.0.2.1", 5000), ("1.1.1.3", 80), 0, "OPEN", 1.5, 60
            )
            for n in range(connections)
        ]

    async def publish(self, change: Change) -> None:
        if self.refuses:
            raise JupiterError("publish-failed", self.refuses)
        self.changes.append(change)
        self.model = self.model.after(change)

    def service_traffic(self, service: ServiceKey) -> ServiceTraffic:
        return ServiceTraffic(ServerTraffic(1, 20, 300, 4000, 50000, 600000, 1), 7, 80, 900, 1000)

    def server_traffic(self, service: ServiceKey, server: ServerKey) -> ServerTraffic:
        return ServerTraffic(1, 20, 300, 4000, 50000, 600000, 1)

    def device_traffic(self) -> list[DeviceTraffic]:
        return [DeviceTraffic(d.name, *range(1, 17)) for d in self.model.devices]

    def local_addresses_of(self, device: str) -> list[list[IPv4Address]]:
        return [[a.address for a in self.model.local_addresses.values() if a.device == device]]

    def interface_name(self, device: str) -> str:
        return self.renamed.get(device, device)

    def device_hardware(self) -> list[DeviceHardware]:
        mac = bytes.fromhex("020000000001")
        return [
            DeviceHardware(
                d.name, "0000:01:00.2", "net_fake", mac, 1, 2, 256, 512, True, 0, "rss", "the card's own", "socket"
            )
            for d in self.model.devices
        ]

    def watch(self, wanted: Wanted, snaplen: int, leaving: bool) -> FakeWatch:
        if self.watches and not self.watches[-1].ended:
            raise JupiterError("watch-busy", "Packets are being watched already.")
        self.watched.append((wanted, snaplen, leaving))
        self.watches.append(FakeWatch(self.seen))
        return self.watches[-1]

    def count_devices_from_zero(self) -> None:
        self.from_zero += 1

    def worker_lcores(self) -> list[int]:
        return [1]

    def worker_traffic(self) -> list[WorkerTraffic]:
        return [WorkerTraffic(1, 12.5, 60.5, 40, 900000, 5000, 3.5, 17, 18, 19, 20, 70, 8, 9000, 64000, 1, 2, 3)]

    def local_ports(self) -> list[LocalPorts]:
        return [LocalPorts("jupiter0", 1, 60, 10, 129024, 129000)]

    def heaps(self) -> list[Heap]:
        return [Heap(0, 1000, 400, 600, 300, 20, 3)]

    def drops(self) -> list[Drop]:
        texts = {"no_service": "no service on this port", "tcp_truncated": "cut short", "icmp_truncated": "cut short"}
        return [Drop(reason, 3 + n, n, text) for n, (reason, text) in enumerate(texts.items())]

    def own_messages(self) -> OwnMessages:
        return OwnMessages(4, 3, 2, 1)

    def neighbours(self) -> list[FakeNeighbour]:
        return [
            FakeNeighbour(IPv4Address("1.1.1.3"), bytes.fromhex("020000000003"), "jupiter0", 1.9),
            FakeNeighbour(IPv4Address("1.1.1.9"), None, "jupiter0", 0.0),
        ]

    async def connections(self, search: Search, cursor: str) -> tuple[Sequence[Connection], str | None]:
        self.searches.append(search)
        start = int(cursor or 0)
        end = start + 1000
        return self._connections[start:end], str(end) if end < len(self._connections) else None


class FakeEngine(SimpleNamespace):
    """fastpath.engine's publishing half without a packet: remembers what it was told, counts what a test sets."""

    class EngineError(Exception):
        pass

    DROP_REASONS: ClassVar = {"no_service": "no service on this port"}
    CLIENT, VIRTUAL, LOCAL, REAL = 1, 2, 4, 8
    TCP, UDP, ARP = 6, 17, 0x806
    SCHEDULERS: ClassVar = {"rr": 0, "wrr": 1, "ipport": 2, "iponly": 3, "lc": 4, "wlc": 5}
    MAX_SERVICES = 4
    MAX_SERVERS = 6

    class ServiceCounters(NamedTuple):
        inbound_drops: int = 0
        inbound_drop_bytes: int = 0
        outbound_drops: int = 0
        outbound_drop_bytes: int = 0

    class PortCounters(NamedTuple):
        rx_packets: int = 0
        rx_bytes: int = 0
        rx_errors: int = 0
        rx_nombuf: int = 0
        rx_missed: int = 0
        rx_dropped: int = 0
        tx_packets: int = 0
        tx_bytes: int = 0
        tx_errors: int = 0
        tx_dropped: int = 0
        kernel_rx_packets: int = 0
        kernel_tx_packets: int = 0
        strays: int = 0
        mbufs_in_use: int = 0
        mbufs_free: int = 0

    class WorkerCounters(NamedTuple):
        lcore: int = 1
        turns: int = 0
        busy_turns: int = 0
        packets: int = 0
        connections: int = 0
        half_open: int = 0
        connections_free: int = 0
        busy_ticks: int = 0
        ticks: int = 0
        to_kernel_depth: int = 0
        from_kernel_depth: int = 0
        parked: int = 0
        handed_in: int = 0
        handed_out: int = 0
        strays: int = 0
        handover_depth: int = 0
        sleeps: int = 0
        asleep_ticks: int = 0

    class Usage(NamedTuple):
        worker: int
        port: int
        tcp: int
        udp: int
        local_ports: int
        least_free: int

    class Match(NamedTuple):
        ends: int
        address: bytes
        mask: bytes
        port: int

    class Prepared(NamedTuple):
        services: tuple["FakeEngine.Service", ...]
        removed: tuple[int, ...]
        reset: tuple[int, ...]

    class Question:
        """Done when it is asked for the second time."""

        def __init__(self, answer: object) -> None:
            self._answer = answer
            self._looks = 0

        def done(self) -> bool:
            self._looks += 1
            return self._looks > 1

        def result(self) -> object:
            return self._answer

    class Server(NamedTuple):
        id: int
        address: bytes
        port: int
        weight: int
        max_connections: int = 0
        backup: bool = False

    class Limits(NamedTuple):
        connections: int = 0
        rate: int = 0
        client_rate: int = 0
        clients: tuple[tuple[bytes, int], ...] = ()

    class Persistence(NamedTuple):
        seconds: int = 0
        whole_address: bool = False

    class Service(NamedTuple):
        id: int
        address: bytes
        port: int
        protocol: int
        scheduler: int
        established_timeout: int
        servers: tuple["FakeEngine.Server", ...]
        limits: "FakeEngine.Limits"
        persistence: "FakeEngine.Persistence"
        mss: int

    def __init__(self) -> None:
        super().__init__()
        self.refuses: str | None = None
        self.refuses_to_commit: str | None = None
        self.reset: list[int] = []
        self.swept: list[int] = []
        self.sent: list[tuple[int, bytes]] = []
        self.found: list[tuple[object, ...]] = []
        self.watched: list[tuple[object, ...]] = []
        self.seen: list[SimpleNamespace] = []
        self.worker_counts = FakeEngine.WorkerCounters()
        self.dropped = 0
        self.services: dict[int, FakeEngine.Service] = {}
        self.published: list[tuple[list[int], list[int]]] = []
        """(ids added or replaced, ids removed) of each publish()."""
        self.next_hops: dict[int, tuple[int, bytes | None]] = {}
        self.counters: dict[int, tuple[int, ...]] = {}
        self.service_drops: dict[int, FakeEngine.ServiceCounters] = {}
        self.port_counts = FakeEngine.PortCounters()
        self.port_address: bytes | None = None
        self.busy: set[int] = set()
        self.weighed = 0
        self.loads_change = True

    def kernel_loop(self) -> None:
        raise AssertionError("no packet passes here")

    def prepare(
        self, services: Sequence["FakeEngine.Service"], removed: Sequence[int] = (), reset: Sequence[int] = ()
    ) -> "FakeEngine.Prepared":
        if self.refuses:
            raise FakeEngine.EngineError(self.refuses)
        return FakeEngine.Prepared(tuple(services), tuple(removed), tuple(reset))

    def commit(self, change: "FakeEngine.Prepared") -> None:
        if self.refuses_to_commit:
            raise FakeEngine.EngineError(self.refuses_to_commit)
        self.published.append(([s.id for s in change.services], list(change.removed)))
        self.reset += change.reset
        kept = {k: s for k, s in self.services.items() if k not in change.removed}
        self.services = kept | {s.id: s for s in change.services}

    def send(self, worker: int, port: int, frames: Sequence[bytes]) -> "FakeEngine.Question":
        self.sent += [(port, frame) for frame in frames]
        return FakeEngine.Question(len(frames))

    def sweep(self, worker: int) -> "FakeEngine.Question":
        self.swept.append(worker)
        return FakeEngine.Question(0)

    def find(
        self,
        worker: int,
        protocol: int = 0,
        matches: Sequence["FakeEngine.Match"] = (),
        max_idle: float | None = None,
        cursor: int = 0,
        limit: int = 1024,
    ) -> "FakeEngine.Question":
        self.found.append((worker, protocol, list(matches), max_idle, cursor))
        return FakeEngine.Question(([], None if worker else 77) if not cursor else ([], None))

    def watch_begin(self, *wishes: object) -> None:
        if self.watched:
            raise FakeEngine.EngineError("Packets are being watched already.")
        self.watched.append(wishes)

    def watch_read(self, limit: int) -> tuple[list[SimpleNamespace], int]:
        return self.seen, limit

    def watch_stop(self) -> None: ...
    def watch_end(self) -> None:
        self.watched.clear()

    def set_next_hop(self, server: int, port: int, mac: bytes | None) -> None:
        self.next_hops[server] = port, mac

    def server_busy(self, server: int) -> bool:
        return server in self.busy

    def release_server(self, server: int) -> None:
        assert server not in self.busy
        self.counters.pop(server, None)
        self.next_hops.pop(server, None)

    def server_totals(self, servers: Sequence[int]) -> tuple[int, ...]:
        rows = [self.counters.get(server, (0,) * 7) for server in servers]
        return tuple(map(sum, zip((0,) * 7, *rows, strict=True)))

    def weigh(self) -> bool:
        self.weighed += 1
        return self.loads_change

    def progress(self) -> list[int]:
        return [0, 0]

    def worker_counters(self) -> list["FakeEngine.WorkerCounters"]:
        return [self.worker_counts, self.worker_counts]

    def drops(self) -> dict[str, int]:
        return {"no_service": self.dropped}

    def own_messages(self) -> tuple[int, int, int, int]:
        return 1, 2, 3, 4

    def usage(self) -> list["FakeEngine.Usage"]:
        return [FakeEngine.Usage(0, 0, 5, 6, 64512, 64500), FakeEngine.Usage(1, 0, 7, 8, 64512, 100)]

    def service_counters(self, service: int) -> "FakeEngine.ServiceCounters":
        return self.service_drops.get(service, FakeEngine.ServiceCounters())

    def add_port(
        self, name: str, rx_size: int, tx_size: int, mtu: int, addresses: Sequence[bytes], steering: str
    ) -> SimpleNamespace:
        self.local_addresses = list(addresses)
        self.wish = steering
        return SimpleNamespace(number=0, name=name, mac=bytes.fromhex("020000000001"))

    def port_info(self, port: int) -> SimpleNamespace:
        return SimpleNamespace(steering="ring" if self.wish == "auto" else self.wish)

    def review_steering(self) -> list[tuple[int, str]]:
        return [(0, "rss found out")]

    def set_port_address(self, port: int, address: bytes | None) -> None:
        self.port_address = address

    def port_counters(self, port: int) -> "FakeEngine.PortCounters":
        return self.port_counts


class Operator:
    """Types commands, one after the other, into what runs on a data plane: as over the wire, without one."""

    def __init__(
        self,
        datapath: Any,
        configured: Callable[[], Services] = dict,
        state: StateFile | None = None,
        *,
        read_only: bool = False,
    ) -> None:
        self.datapath = datapath
        self.session = Session(1, 0, 0, user="root", read_only=read_only)
        self.stopped = 0
        self._loop = asyncio.new_event_loop()
        self.running = Running(datapath, configured, state, self._stop)

    def __call__(self, method: str, **params: Any) -> Any:
        return self.wait(self.running.execute(method, params, self.session))

    def rows(self, method: str, **params: Any) -> list[dict[str, Any]]:
        """All pages of a paged command."""
        found, cursor = [], ""
        while cursor is not None:
            page = self(method, **params, cursor=cursor)
            found += page["rows"]
            cursor = page["cursor"]
        return found

    def file(self, method: str, text: str, **params: Any) -> Any:
        """A command with a file; of a paged one all rows."""
        self.session.add_draft(text)
        call = self.rows if COMMANDS[method].answer.paged else self
        return call(method, file="some.cfg", **params)

    def code(self, method: str, **params: Any) -> str:
        """Of the error that the command ends in; nothing may have changed then."""
        before = self.datapath.model
        with pytest.raises(JupiterError) as error:
            self(method, **params)
        assert self.datapath.model is before
        return error.value.code

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(work)

    def close(self) -> None:
        self.wait(self.running.end())
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    def _stop(self) -> None:
        self.stopped += 1
