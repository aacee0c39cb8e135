"""What the data plane can be asked, and the values it answers with. Pure."""

from collections.abc import Sequence
from ipaddress import IPv4Address
from typing import NamedTuple, Protocol

from jupiter.model import Model, ServerKey, ServiceKey
from jupiter.model import Protocol as IpProtocol


class ServerTraffic(NamedTuple):
    """One real server's counters, summed over workers; bytes are Ethernet frames without FCS.

    inbound: sent to the server. outbound: received from it and sent to clients.
    """

    active: int = 0
    total: int = 0
    inbound_packets: int = 0
    inbound_bytes: int = 0
    outbound_packets: int = 0
    outbound_bytes: int = 0

    def plus(self, other: "ServerTraffic") -> "ServerTraffic":
        return ServerTraffic(*map(sum, zip(self, other, strict=True)))


class ServiceTraffic(NamedTuple):
    """forwarded: summed over the servers that the service has or had. drops: as the packets arrived."""

    forwarded: ServerTraffic
    inbound_drops: int = 0
    inbound_drop_bytes: int = 0
    outbound_drops: int = 0
    outbound_drop_bytes: int = 0


class DeviceTraffic(NamedTuple):
    """A port's counters since start; pps are packets and bps bytes a second over the last second or so."""

    device: str
    rx_packets: int
    rx_bytes: int
    rx_errors: int
    rx_nombuf: int
    rx_missed: int
    rx_dropped: int
    tx_packets: int
    tx_bytes: int
    tx_errors: int
    tx_dropped: int
    rx_pps: int
    tx_pps: int
    rx_bps: int
    tx_bps: int
    mbufs_in_use: int
    mbufs_free: int


class Connection(NamedTuple):
    """One connection; its four ends are (dotted address, port), idle and timeout seconds."""

    client: tuple[str, int]
    virtual: tuple[str, int]
    local: tuple[str, int]
    real: tuple[str, int]
    flags: int
    state: str
    idle: float
    timeout: int


class Neighbour(Protocol):
    """An entry of the kernel's neighbour table. mac: 6 bytes, or None while unresolved."""

    @property
    def address(self) -> IPv4Address: ...
    @property
    def mac(self) -> bytes | None: ...
    @property
    def interface(self) -> str: ...
    @property
    def age_seconds(self) -> float: ...


class View(Protocol):
    """The published model and the questions. Every answer takes at most milliseconds."""

    @property
    def model(self) -> Model: ...

    def service_traffic(self, service: ServiceKey) -> ServiceTraffic: ...

    def server_traffic(self, service: ServiceKey, server: ServerKey) -> ServerTraffic: ...

    def device_traffic(self) -> Sequence[DeviceTraffic]: ...

    def worker_lcores(self) -> Sequence[int]: ...

    def drops(self) -> dict[str, int]:
        """Drop reason -> packets since start."""

    def neighbours(self) -> Sequence[Neighbour]: ...

    def connections(self, protocol: IpProtocol, cursor: str) -> tuple[Sequence[Connection], str | None]:
        """One page, and where the next begins (None: that was the last). The first begins at ""."""


class Published(View, Protocol):
    """A view whose model can be changed."""

    def publish(self, new: Model) -> None:
        """Make `new` the model, or raise JupiterError and change nothing."""
