"""Brings changes of the model down to the data plane, and the counters of services up; it and gauges import fastpath.

Owner: the main thread and its asyncio loop, all of it; a large change is planned in a thread meanwhile. Ids of the data
plane are given out here: a service's for its life, a real server's until no connection counts for it any more. Nothing
else of jupiter knows them.
"""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Interface
from itertools import chain
from time import thread_time
from typing import NamedTuple
from typing import Protocol as Interface

from fastpath import engine
from jupiter.arp import announcement
from jupiter.counters import Neighbour, ServerTraffic, ServiceTraffic
from jupiter.errors import JupiterError
from jupiter.gauges import Gauges, PublishedPort, answered, engine_errors
from jupiter.ids import Ids
from jupiter.model import BY_LOAD, MAX_CONNS, Change, Device, Model, Policy, ServerKey, ServiceKey, VirtualService

LARGE = 1000
"""Servers in a change from which on it is planned in a thread: some milliseconds of work."""
ANNOUNCEMENTS = 2
"""Of each new address, a second or so apart (RFC 5227, section 2.3)."""
WEIGH_SECONDS = 0.02
"""Between two looks at what servers have to carry, while that changes, and at most ..."""
WEIGH_IDLE_SECONDS = 0.64
"""... so long while it does not."""
WEIGH_SHARE = 0.02
"""Of a core, that the looking takes at most."""
SLICE = 1000
"""Servers that are looked after in one turn of the loop."""


class NextHops(Interface):
    """Who keeps next hops resolved and calls Datapath.set_next_hop(): jupiter.host.mirror.Mirror."""

    def watch(self, address: IPv4Address) -> None: ...
    def unwatch(self, address: IPv4Address) -> None: ...
    def neighbours(self) -> Sequence[Neighbour]: ...
    def names(self) -> Mapping[int, str]: ...


@dataclass(slots=True)
class PublishedService:
    """baseline: what its id counted for a former owner. servers: ids of the servers that it has.

    leaving: ids of removed servers for which connections still count. folded: what was counted under ids given back.
    """

    id: int
    baseline: engine.ServiceCounters
    servers: dict[ServerKey, int] = field(default_factory=dict)
    leaving: set[int] = field(default_factory=set)
    folded: ServerTraffic = field(default_factory=ServerTraffic)


class Plan(NamedTuple):
    """A change on its way: ids of the services and their servers, servers that are new, the engine's blocks."""

    change: Change
    ids: dict[ServiceKey, int]
    servers: dict[ServiceKey, dict[ServerKey, int]]
    fresh: list[tuple[int, IPv4Address]]
    reset: list[int]
    prepared: engine.Prepared


class Datapath(Gauges):
    """The data plane and the model that it works by. Once a process, for EAL is so."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model
        self._service_ids = Ids("virt service", engine.MAX_SERVICES)
        self._server_ids = Ids("real server", engine.MAX_SERVERS)
        self._services: dict[ServiceKey, PublishedService] = {}
        self._removed: list[PublishedService] = []
        """Services that are gone but for the last connections of their servers."""
        self._addresses: dict[int, IPv4Address] = {}
        """Server id in use -> its address; the next line is its inverse."""
        self._ids_at: dict[IPv4Address, set[int]] = {}
        self._next_hops: dict[IPv4Address, tuple[int, bytes | None]] = {}
        self._sweeps: set[asyncio.Task[None]] = set()
        self._unannounced: dict[IPv4Address, int] = {}
        """Addresses that are new here -> how often the links are still to hear of them."""
        self._mirror: NextHops | None = None
        self._by_load: set[ServiceKey] = set()
        self._weighing = asyncio.Event()
        """Set while there are such services."""
        self._kernel_thread = threading.Thread(target=engine.kernel_loop, name="kernel_loop")

    # The engine's life

    @staticmethod
    def region_bytes(capacity: int, workers: int) -> int:
        """Memory for so many connections, beside EAL's: each worker has a region for its part."""
        return workers * engine.region_bytes(max(1024, capacity // workers))

    @staticmethod
    def buffer_bytes(workers: int, descriptors: int, mtu: int, page: int) -> int:
        """Of EAL's memory, what packet buffers take on pages of that many bytes; descriptors: of one worker's queues,
        over all ports."""
        return engine.buffer_bytes(workers, descriptors, mtu, page)

    def open(
        self, argv: Sequence[str], mtu: int, descriptors: int, idle: str, capacity: int, **timeouts: int
    ) -> engine.Environment:
        """Start EAL. mtu: the largest of all devices; descriptors: as buffer_bytes(); capacity: connections; timeouts:
        seconds, as engine.Timeouts."""
        with engine_errors("engine-failed"):
            return engine.init(argv, capacity, engine.Timeouts(**timeouts), mtu=mtu, descriptors=descriptors, idle=idle)

    def add_port(
        self,
        device: Device,
        local_addresses: Sequence[IPv4Address],
        name: str,
        rx_size: int,
        tx_size: int,
        steering: str,
    ) -> engine.Port:
        """Open the EAL device `name` as the port of `device`; sizes in descriptors; steering: as engine.STEERINGS."""
        with engine_errors("port-failed"):
            port = engine.add_port(name, rx_size, tx_size, device.mtu, [a.packed for a in local_addresses], steering)
        base = engine.port_counters(port.number)
        by_address = engine.port_info(port.number).steering == "flow"  # whatever the card is found out to do later
        self._ports.append(PublishedPort(port.number, port.name, device.name, port.mac, by_address, base))
        self.set_address(port.number, device.address)
        self._announce_soon(local_addresses)
        return port

    def set_policy(self, refuse: bool, reset_unknown: bool) -> None:
        """Whether clients are told what is not served; whether unknown TCP packets get a RST (engine.set_policy)."""
        engine.set_policy(refuse, reset_unknown)

    def attach(self, port: int, tap_fd: int) -> None:
        """Give the port its kernel interface; the descriptor must outlive stop()."""
        with engine_errors("port-failed"):
            engine.attach_kernel_interface(port, tap_fd)

    def start(self) -> None:
        with engine_errors("engine-failed"):
            engine.start()
        self.sample()
        self._kernel_thread.start()

    def stop(self) -> None:
        engine.stop()
        self._kernel_thread.join()

    def close(self) -> None:
        engine.close()

    # Down: configuration

    async def publish(self, change: Change) -> None:
        """Carry the change out, all or nothing; JupiterError when the data plane refuses. One at a time.

        `model` changes in the moment in which the packets follow. Nobody waits for a large change but who asked for it.
        """
        large = sum(1 + len(service.servers) for service in change.put) >= LARGE
        plan = await asyncio.to_thread(self._plan, change) if large else self._plan(change)
        await in_slices(self._set_known_hop, plan.fresh)
        self._commit(plan)
        await in_slices(self._enter_address, plan.fresh)
        if large:
            gc.freeze()  # what lives for long is not to be looked at in every full collection: a second for a million
        await self.announce()
        if plan.reset:
            sweeping = asyncio.create_task(self._sweep())
            self._sweeps.add(sweeping)
            sweeping.add_done_callback(self._sweeps.discard)

    def _plan(self, change: Change) -> Plan:
        """Ids for what is new, and the blocks. Nothing is different afterwards, but for ids that are taken."""
        with ExitStack() as undo:
            ids: dict[ServiceKey, int] = {}
            servers: dict[ServiceKey, dict[ServerKey, int]] = {}
            fresh: list[tuple[int, IPv4Address]] = []
            for service in change.put:
                former = self._services.get(service.key)
                ids[service.key] = former.id if former else _take(self._service_ids, undo)
                known = former.servers if former else {}
                servers[service.key] = ours = {key: known.get(key, -1) for key in service.servers}
                for key in ours.keys() - known.keys():
                    ours[key] = _take(self._server_ids, undo)
                    fresh.append((ours[key], key[0]))
            blocks = [_block(service, ids[service.key], servers[service.key]) for service in change.put]
            removed = [self._services[key].id for key in change.removed]
            reset = [*self._leaving(change, servers)] if change.policy is Policy.RESET else []
            with engine_errors("publish-failed"):
                prepared = engine.prepare(blocks, removed, reset)
            undo.pop_all()
        return Plan(change, ids, servers, fresh, reset, prepared)

    def _leaving(self, change: Change, servers: dict[ServiceKey, dict[ServerKey, int]]) -> Iterator[int]:
        """Ids of the servers that the change takes away, and of those that left a service before that it takes away."""
        for key in servers.keys() & self._services.keys():
            yield from set(self._services[key].servers.values()) - set(servers[key].values())
        for key in change.removed:
            yield from self._services[key].servers.values()
            yield from tuple(self._services[key].leaving)  # tick() may take some out meanwhile

    def _commit(self, plan: Plan) -> None:
        try:
            with engine_errors("publish-failed"):
                engine.commit(plan.prepared)
        except JupiterError:
            for key in plan.ids.keys() - self._services.keys():
                self._service_ids.give_back(plan.ids[key])
            for id, _ in plan.fresh:
                self._forget_server(id)
            raise
        for key, servers in plan.servers.items():
            former = self._services.get(key) or PublishedService(plan.ids[key], engine.service_counters(plan.ids[key]))
            leaving = former.leaving | (set(former.servers.values()) - set(servers.values()))
            self._services[key] = replace(former, servers=servers, leaving=leaving)
        self._announce_soon(key.address for key in plan.ids.keys() - self.model.services.keys())
        for key in plan.change.removed:
            gone = self._services.pop(key)
            self._removed.append(replace(gone, servers={}, leaving=gone.leaving | set(gone.servers.values())))
        self._by_load.difference_update(plan.change.removed, plan.ids)
        self._by_load.update(service.key for service in plan.change.put if service.scheduler in BY_LOAD)
        self._weighing.set() if self._by_load else self._weighing.clear()
        self.model = self.model.after(plan.change)

    async def _sweep(self) -> None:
        """Have connections of servers that are marked for it reset, at the workers' own pace: seconds for a million."""
        for question in [engine.sweep(worker) for worker in range(self.workers())]:
            await answered(question)

    def _announce_soon(self, addresses: Iterable[IPv4Address]) -> None:
        self._unannounced |= dict.fromkeys(addresses, ANNOUNCEMENTS)

    async def announce(self) -> None:
        """Tell the links that addresses on them are here now: gratuitous ARP (B40). To be called once a second."""
        due, self._unannounced = self._unannounced, {a: n - 1 for a, n in self._unannounced.items() if n > 1}
        networks = {device.name: device.address.network for device in self.model.devices if device.address}
        for port in self._ports:
            network = networks.get(port.device)
            frames = [announcement(address, port.mac) for address in due if network and address in network]
            if frames:
                with suppress(engine.EngineError):  # no packet buffer, or the end: the change itself is done
                    await answered(engine.send(0, port.number, frames))

    def set_next_hop(self, address: IPv4Address, port: int, mac: bytes | None) -> None:
        """What the mirror found out of a server's address; mac None: unresolved."""
        self._next_hops[address] = port, mac
        for id in self._ids_at.get(address, ()):
            engine.set_next_hop(id, port, mac)

    def set_address(self, port: int, address: IPv4Interface | None) -> None:
        """The director's own address on a port is now this one."""
        engine.set_port_address(port, address.ip.packed if address else None)
        device = next(p.device for p in self._ports if p.number == port)
        self.model = self.model.with_device_address(device, address)

    def follow(self, mirror: NextHops) -> None:
        """Have this mirror watch the servers' addresses from now on."""
        self._mirror = mirror
        for address in self._ids_at:
            mirror.watch(address)

    def tick(self) -> None:
        """To be called once a second: gives back ids that nothing counts for any more, and samples the ports."""
        for service in chain(self._services.values(), self._removed):
            for id in [id for id in service.leaving if not engine.server_busy(id)]:
                service.leaving.remove(id)
                service.folded = service.folded.plus(_traffic([id])._replace(active=0, established=0))
                self._leave_address(id)
                self._forget_server(id)
        for service in [s for s in self._removed if not s.leaving]:
            self._removed.remove(service)
            self._service_ids.give_back(service.id)
        self.sample()

    async def weigh(self) -> None:
        """Tell workers what servers have to carry, as long as some service goes by that; to be cancelled."""
        pause = WEIGH_SECONDS
        while True:
            await self._weighing.wait()
            begin = thread_time()
            changed = engine.weigh()
            took = thread_time() - begin
            pause = WEIGH_SECONDS if changed else min(2 * pause, WEIGH_IDLE_SECONDS)
            await asyncio.sleep(max(pause, took / WEIGH_SHARE))

    def _forget_server(self, id: int) -> None:
        engine.release_server(id)
        self._server_ids.give_back(id)

    def _set_known_hop(self, id: int, address: IPv4Address) -> None:
        if address in self._next_hops:
            engine.set_next_hop(id, *self._next_hops[address])

    def _enter_address(self, id: int, address: IPv4Address) -> None:
        self._addresses[id] = address
        if address not in self._ids_at:
            self._ids_at[address] = set()
            if self._mirror:
                self._mirror.watch(address)
        self._ids_at[address].add(id)
        self._set_known_hop(id, address)  # it may have changed since the change was planned

    def _leave_address(self, id: int) -> None:
        address = self._addresses.pop(id)
        self._ids_at[address].remove(id)
        if not self._ids_at[address]:
            del self._ids_at[address]
            self._next_hops.pop(address, None)
            if self._mirror:
                self._mirror.unwatch(address)

    # Up: counters (jupiter.counters.View)

    def service_traffic(self, service: ServiceKey) -> ServiceTraffic:
        published = self._services[service]
        counted = engine.service_counters(published.id)
        forwarded = published.folded.plus(_traffic(chain(published.servers.values(), published.leaving)))
        return ServiceTraffic(forwarded, *(now - then for now, then in zip(counted, published.baseline, strict=True)))

    def server_traffic(self, service: ServiceKey, server: ServerKey) -> ServerTraffic:
        return _traffic([self._services[service].servers[server]])

    def local_addresses_of(self, device: str) -> list[list[IPv4Address]]:
        """Where the card steers by address, address i is worker i % n's; else each worker draws from all of them."""
        addresses = [a.address for a in self.model.local_addresses.values() if a.device == device]
        by_address = any(port.by_address for port in self._ports if port.device == device)
        n = self.workers()
        return [addresses[worker::n] if by_address else addresses for worker in range(n)]

    def interface_name(self, device: str) -> str:
        names = self._mirror.names() if self._mirror else {}
        return next((names.get(port.number, device) for port in self._ports if port.device == device), device)

    def neighbours(self) -> Sequence[Neighbour]:
        return self._mirror.neighbours() if self._mirror else []


async def in_slices(work: Callable[..., None], rows: Iterable[tuple[object, ...]]) -> None:
    """Do for each row what takes so long altogether that others would wait: some in each turn of the loop."""
    for n, row in enumerate(rows, 1):
        work(*row)
        if n % SLICE == 0:
            await asyncio.sleep(0)


def _take(ids: Ids, undo: ExitStack) -> int:
    id = ids.take()
    undo.callback(ids.give_back, id)
    return id


def _block(service: VirtualService, id: int, servers: dict[ServerKey, int]) -> engine.Service:
    return engine.Service(
        id,
        service.key.address.packed,
        service.key.port,
        int(service.key.protocol),
        engine.SCHEDULERS[service.scheduler],
        service.est_timeout,
        tuple(
            engine.Server(
                servers[key],
                server.address.packed,
                server.port,
                server.effective_weight,
                _limit(server.max_conns),
                server.backup,
            )
            for key, server in service.servers.items()
        ),
        engine.Limits(
            _limit(service.max_conns),
            service.max_rate,
            service.cql,
            tuple((client.packed, rate) for client, rate in service.cql_clients.items()),
        ),
        engine.Persistence(service.persistence, service.persistence_scope == "address"),
        service.mss,
    )


def _limit(max_conns: int) -> int:
    return 0 if max_conns == MAX_CONNS else max_conns


def _traffic(servers: Iterable[int]) -> ServerTraffic:
    return ServerTraffic(*engine.server_totals(list(servers)))
