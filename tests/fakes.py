"""Stand-ins for the data plane, for tests of what is above it."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Interface
from types import SimpleNamespace
from typing import ClassVar, NamedTuple

from jupiter.counters import Connection, DeviceTraffic, ServerTraffic, ServiceTraffic
from jupiter.errors import JupiterError
from jupiter.model import Device, LocalAddress, Model, Protocol, ServerKey, ServiceKey

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


class FakeDatapath:
    """A data plane that carries nothing: it holds the model and answers with made-up counters, all different."""

    def __init__(self, model: Model = START, connections: int = 3) -> None:
        self.model = model
        self.refuses: str | None = None
        """Why publish() fails, if it does."""
        self._connections = [
            Connection(("1.1.1.1", 1024 + n), ("10.0.1.1", 80), ("10.0.2.1", 5000), ("1.1.1.3", 80), 0, "OPEN", 1.5, 60)
            for n in range(connections)
        ]

    def publish(self, new: Model) -> None:
        if self.refuses:
            raise JupiterError("publish-failed", self.refuses)
        self.model = new

    def service_traffic(self, service: ServiceKey) -> ServiceTraffic:
        return ServiceTraffic(ServerTraffic(1, 20, 300, 4000, 50000, 600000), 7, 80, 900, 1000)

    def server_traffic(self, service: ServiceKey, server: ServerKey) -> ServerTraffic:
        return ServerTraffic(1, 20, 300, 4000, 50000, 600000)

    def device_traffic(self) -> list[DeviceTraffic]:
        return [DeviceTraffic(d.name, *range(1, 17)) for d in self.model.devices]

    def worker_lcores(self) -> list[int]:
        return [1]

    def drops(self) -> dict[str, int]:
        return {"no_service": 3}

    def neighbours(self) -> list[FakeNeighbour]:
        return [
            FakeNeighbour(IPv4Address("1.1.1.3"), bytes.fromhex("020000000003"), "jupiter0", 1.9),
            FakeNeighbour(IPv4Address("1.1.1.9"), None, "jupiter0", 0.0),
        ]

    def connections(self, protocol: Protocol, cursor: str) -> tuple[Sequence[Connection], str | None]:
        start = int(cursor or 0)
        end = start + 1000
        return self._connections[start:end], str(end) if end < len(self._connections) else None


class FakeEngine(SimpleNamespace):
    """fastpath.engine's publishing half without a packet: remembers what it was told, counts what a test sets."""

    class EngineError(Exception):
        pass

    SCHEDULERS: ClassVar = {"rr": 0, "wrr": 1, "ipport": 2, "iponly": 3}
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
        mbufs_in_use: int = 0
        mbufs_free: int = 0

    class Server(NamedTuple):
        id: int
        address: bytes
        port: int
        weight: int

    class Service(NamedTuple):
        id: int
        address: bytes
        port: int
        protocol: int
        scheduler: int
        established_timeout: int
        servers: tuple["FakeEngine.Server", ...]

    def __init__(self) -> None:
        super().__init__()
        self.refuses: str | None = None
        self.services: dict[int, FakeEngine.Service] = {}
        self.published: list[tuple[list[int], list[int]]] = []
        """(ids added or replaced, ids removed) of each publish()."""
        self.next_hops: dict[int, tuple[int, bytes | None]] = {}
        self.counters: dict[int, tuple[int, ...]] = {}
        self.service_drops: dict[int, FakeEngine.ServiceCounters] = {}
        self.port_counts = FakeEngine.PortCounters()
        self.port_address: bytes | None = None
        self.busy: set[int] = set()

    def kernel_loop(self) -> None:
        raise AssertionError("no packet passes here")

    def publish(self, services: Sequence["FakeEngine.Service"], removed: Sequence[int] = ()) -> None:
        if self.refuses:
            raise FakeEngine.EngineError(self.refuses)
        self.published.append(([s.id for s in services], list(removed)))
        self.services = {k: s for k, s in self.services.items() if k not in removed} | {s.id: s for s in services}

    def set_next_hop(self, server: int, port: int, mac: bytes | None) -> None:
        self.next_hops[server] = port, mac

    def server_busy(self, server: int) -> bool:
        return server in self.busy

    def release_server(self, server: int) -> None:
        assert server not in self.busy
        self.counters.pop(server, None)
        self.next_hops.pop(server, None)

    def server_counters(self, server: int) -> tuple[int, ...]:
        return self.counters.get(server, (0,) * 6)

    def service_counters(self, service: int) -> "FakeEngine.ServiceCounters":
        return self.service_drops.get(service, FakeEngine.ServiceCounters())

    def add_port(self, name: str, rx_size: int, tx_size: int, mtu: int) -> SimpleNamespace:
        return SimpleNamespace(number=0, name=name)

    def set_local_addresses(self, port: int, addresses: Sequence[bytes]) -> None:
        self.local_addresses = list(addresses)

    def set_port_address(self, port: int, address: bytes | None) -> None:
        self.port_address = address

    def port_counters(self, port: int) -> "FakeEngine.PortCounters":
        return self.port_counts
