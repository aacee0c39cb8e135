"""The only importer of fastpath: brings the difference of two models down to the data plane, and its counters up.

Owner: the main thread, all of it. Ids of the data plane are given out here: a service's for its life, a real server's
until no connection counts for it any more. Nothing else of jupiter knows them.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Interface
from itertools import chain
from socket import inet_ntoa
from time import monotonic
from typing import NamedTuple
from typing import Protocol as Interface

from fastpath import engine
from jupiter.counters import Connection, DeviceTraffic, Neighbour, ServerTraffic, ServiceTraffic
from jupiter.errors import JupiterError
from jupiter.ids import Ids
from jupiter.model import Device, Model, Protocol, ServerKey, ServiceKey, VirtualService, diff

PAGE = 1024
"""Connections in one page of a dump."""
_CURSOR = re.compile(r"(\d{1,4}):(\d{1,10})", re.ASCII)


class NextHops(Interface):
    """Who keeps next hops resolved and calls Datapath.set_next_hop(): jupiter.host.mirror.Mirror."""

    def watch(self, address: IPv4Address) -> None: ...
    def unwatch(self, address: IPv4Address) -> None: ...
    def neighbours(self) -> Sequence[Neighbour]: ...


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


class Sample(NamedTuple):
    """A port's counters at a time (seconds)."""

    at: float
    counters: engine.PortCounters


@dataclass(slots=True)
class PublishedPort:
    """samples: the last two, a second or so apart, for rates."""

    number: int
    device: str
    samples: tuple[Sample, Sample]


class Datapath:
    """The data plane and the model that it works by. Once a process, for EAL is so."""

    def __init__(self, model: Model) -> None:
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
        self._mirror: NextHops | None = None
        self._ports: list[PublishedPort] = []
        self._kernel_thread = threading.Thread(target=engine.kernel_loop, name="kernel_loop")

    # The engine's life

    @staticmethod
    def region_bytes(capacity: int) -> int:
        """Memory for so many connections, beside EAL's."""
        return engine.region_bytes(capacity)

    def open(self, argv: Sequence[str], mtu: int, capacity: int, **timeouts: int) -> engine.Environment:
        """Start EAL. mtu: the largest of all devices; capacity: connections; timeouts: seconds, as engine.Timeouts."""
        with _engine_errors("engine-failed"):
            return engine.init(argv, capacity, engine.Timeouts(**timeouts), mtu=mtu)

    def add_port(
        self, device: Device, local_addresses: Sequence[IPv4Address], name: str, rx_size: int, tx_size: int
    ) -> engine.Port:
        """Open the EAL device `name` as the port of `device`; sizes in descriptors."""
        with _engine_errors("port-failed"):
            port = engine.add_port(name, rx_size, tx_size, device.mtu)
            engine.set_local_addresses(port.number, [a.packed for a in local_addresses])
        sample = Sample(monotonic(), engine.port_counters(port.number))
        self._ports.append(PublishedPort(port.number, device.name, (sample, sample)))
        self.set_address(port.number, device.address)
        return port

    def attach(self, port: int, tap_fd: int) -> None:
        """Give the port its kernel interface; the descriptor must outlive stop()."""
        with _engine_errors("port-failed"):
            engine.attach_kernel_interface(port, tap_fd)

    def start(self) -> None:
        with _engine_errors("engine-failed"):
            engine.start()
        self._kernel_thread.start()

    def stop(self) -> None:
        engine.stop()
        self._kernel_thread.join()

    def close(self) -> None:
        engine.close()

    # Down: configuration

    def publish(self, new: Model) -> None:
        """Make `new` the model, all or nothing; JupiterError when the data plane refuses."""
        change = diff(self.model, new)
        changed = [*change.added, *change.replaced]
        with ExitStack() as undo:
            successors = {service.key: self._successor(service, undo) for service in changed}
            blocks = [_block(service, successors[service.key]) for service in changed]
            with _engine_errors("publish-failed"):
                engine.publish(blocks, [self._services[key].id for key in change.removed])
            undo.pop_all()
        self._services |= successors
        for key in change.removed:
            gone = self._services.pop(key)
            self._removed.append(replace(gone, servers={}, leaving=gone.leaving | set(gone.servers.values())))
        for published in successors.values():
            for (address, _), id in published.servers.items():
                self._enter_address(id, address)
        self.model = new

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
                service.folded = service.folded.plus(_server_traffic(id)._replace(active=0))
                self._leave_address(id)
                self._forget_server(id)
        for service in [s for s in self._removed if not s.leaving]:
            self._removed.remove(service)
            self._service_ids.give_back(service.id)
        for port in self._ports:
            port.samples = port.samples[1], Sample(monotonic(), engine.port_counters(port.number))

    def _successor(self, service: VirtualService, undo: ExitStack) -> PublishedService:
        """What the service will be once published, with ids for what is new."""
        former = self._services.get(service.key)
        if former is None:
            id = self._service_ids.take()
            undo.callback(self._service_ids.give_back, id)
            former = PublishedService(id, engine.service_counters(id))
        servers = {}
        for key, server in service.servers.items():
            if key not in former.servers:
                id = self._server_ids.take()
                undo.callback(self._forget_server, id)
                if server.address in self._next_hops:
                    engine.set_next_hop(id, *self._next_hops[server.address])
                servers[key] = id
            else:
                servers[key] = former.servers[key]
        leaving = {id for key, id in former.servers.items() if key not in servers}
        return replace(former, servers=servers, leaving=former.leaving | leaving)

    def _forget_server(self, id: int) -> None:
        engine.release_server(id)
        self._server_ids.give_back(id)

    def _enter_address(self, id: int, address: IPv4Address) -> None:
        if id in self._addresses:
            return
        self._addresses[id] = address
        if address not in self._ids_at and self._mirror:
            self._mirror.watch(address)
        self._ids_at.setdefault(address, set()).add(id)

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
        forwarded = published.folded
        for id in chain(published.servers.values(), published.leaving):
            forwarded = forwarded.plus(_server_traffic(id))
        return ServiceTraffic(forwarded, *(now - then for now, then in zip(counted, published.baseline, strict=True)))

    def server_traffic(self, service: ServiceKey, server: ServerKey) -> ServerTraffic:
        return _server_traffic(self._services[service].servers[server])

    def device_traffic(self) -> list[DeviceTraffic]:
        return [_device_traffic(port, engine.port_counters(port.number)) for port in self._ports]

    def worker_lcores(self) -> list[int]:
        return [worker.lcore for worker in engine.worker_counters()]

    def progress(self) -> list[int]:
        """A number for each worker, in the order of worker_lcores(), that changes every few seconds while it lives.
        From any thread, between start() and stop()."""
        return [worker.turns for worker in engine.worker_counters()]

    def drops(self) -> dict[str, int]:
        return engine.drops()

    def neighbours(self) -> Sequence[Neighbour]:
        return self._mirror.neighbours() if self._mirror else []

    def connections(self, protocol: Protocol, cursor: str) -> tuple[list[Connection], str | None]:
        """A cursor is WORKER:POSITION."""
        workers = len(engine.worker_counters())
        place = _CURSOR.fullmatch(cursor or "0:0")
        if place is None or int(place[1]) >= workers:
            raise JupiterError("invalid-argument", "Invalid cursor, expected that of an earlier answer.")
        worker = int(place[1])
        with _engine_errors("engine-failed"):
            found, position = engine.connections(worker, int(protocol), int(place[2]), PAGE)
        following = (
            f"{worker}:{position}" if position is not None else f"{worker + 1}:0" if worker + 1 < workers else None
        )
        return [_connection(c) for c in found], following


@contextmanager
def _engine_errors(code: str) -> Iterator[None]:
    """The engine's errors under a code of jupiter's, for nobody else can name their class."""
    try:
        yield
    except engine.EngineError as error:
        raise JupiterError(code, str(error)) from error


def _block(service: VirtualService, published: PublishedService) -> engine.Service:
    return engine.Service(
        published.id,
        service.key.address.packed,
        service.key.port,
        int(service.key.protocol),
        engine.SCHEDULERS[service.scheduler],
        service.est_timeout,
        tuple(
            engine.Server(published.servers[key], server.address.packed, server.port, server.effective_weight)
            for key, server in service.servers.items()
        ),
    )


def _server_traffic(id: int) -> ServerTraffic:
    return ServerTraffic(*engine.server_counters(id))


def _device_traffic(port: PublishedPort, counters: engine.PortCounters) -> DeviceTraffic:
    earlier, later = port.samples

    def rate(name: str) -> int:
        seconds = later.at - earlier.at
        return round((getattr(later.counters, name) - getattr(earlier.counters, name)) / seconds) if seconds else 0

    values = counters._asdict()
    del values["kernel_rx_packets"], values["kernel_tx_packets"]
    return DeviceTraffic(
        device=port.device,
        rx_pps=rate("rx_packets"),
        tx_pps=rate("tx_packets"),
        rx_bps=rate("rx_bytes"),
        tx_bps=rate("tx_bytes"),
        **values,
    )


def _connection(c: engine.Connection) -> Connection:
    def end(address: bytes, port: int) -> tuple[str, int]:
        return inet_ntoa(address), port

    return Connection(end(*c.client), end(*c.virtual), end(*c.local), end(*c.real), c.flags, c.state, c.idle, c.timeout)
