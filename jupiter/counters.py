"""What the data plane can be asked, and the values it answers with. Pure."""

from collections.abc import Awaitable, Sequence
from ipaddress import IPv4Address
from typing import NamedTuple, Protocol

from jupiter.model import Change, Model, ServerKey, ServiceKey
from jupiter.terms import Search, Wanted


class ServerTraffic(NamedTuple):
    """One real server's counters, summed over workers; bytes are Ethernet frames without FCS.

    inbound: sent to the server. outbound: received from it and sent to clients. established: of the active ones, those
    that are no longer opening and not yet closing; UDP: all.
    """

    active: int = 0
    total: int = 0
    inbound_packets: int = 0
    inbound_bytes: int = 0
    outbound_packets: int = 0
    outbound_bytes: int = 0
    established: int = 0

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


class DeviceHardware(NamedTuple):
    """speed: megabits a second, 0 where the driver does not know it. steering, why: how packets come to their worker.
    woken_by: what tells a sleeping worker of packets."""

    device: str
    name: str
    driver: str
    mac: bytes
    rx_queues: int
    tx_queues: int
    rx_size: int
    tx_size: int
    up: bool
    speed: int
    steering: str
    why: str
    woken_by: str


class OwnMessages(NamedTuple):
    """What the data plane has sent of its own account since start: echo replies, ICMP errors and RSTs about packets
    that it dropped; and ICMP errors of others that it has translated and sent on."""

    echo_replies: int
    icmp_errors: int
    resets: int
    icmp_relayed: int


class Drop(NamedTuple):
    """rate: packets of the last second or so."""

    reason: str
    packets: int
    rate: int
    description: str


class WorkerTraffic(NamedTuple):
    """What a worker did in the last second or so, and what it holds. busy, asleep: percent of its time; in the rest it
    polled in vain. per_turn: packets of a turn that had some. handed_in, handed_out: packets a second from and to other
    workers; strays: of those, since the start, the ones that a card should have brought elsewhere; handover: those that
    wait. least_ports: free local ports towards the server that has least (None: no server is in use)."""

    lcore: int
    busy: float
    asleep: float
    sleeps: int
    turns: int
    packets: int
    per_turn: float
    handed_in: int
    handed_out: int
    strays: int
    handover: int
    connections: int
    half_open: int
    connections_free: int
    least_ports: int | None
    to_kernel: int
    from_kernel: int
    parked: int


class LocalPorts(NamedTuple):
    """A worker's connections through a device. ports: local ones towards each server; least_free as WorkerTraffic's."""

    device: str
    lcore: int
    tcp: int
    udp: int
    ports: int
    least_free: int


class Heap(NamedTuple):
    """DPDK's heap on one NUMA node; bytes."""

    socket: int
    heap_size: int
    free_size: int
    alloc_size: int
    greatest_free_size: int
    alloc_count: int
    free_count: int


class Connection(NamedTuple):
    """One connection; its four ends are (dotted address, port), idle and timeout seconds."""

    protocol: int
    client: tuple[str, int]
    virtual: tuple[str, int]
    local: tuple[str, int]
    real: tuple[str, int]
    flags: int
    state: str
    idle: float
    timeout: int


class Seen(NamedTuple):
    """What became of a packet that is watched. ns: since 1970. Ends are ADDRESS:PORT, or ADDRESS without a port.

    kind: passed (through the stages; with the frame as it came in by `device`; came: port, worker, parking or home),
    left (a frame given to `device`, or, with a reason, not taken), ended (dropped while it waited). Verdicts of
    classify, of schedule, and the last one: go_on, send, split, punt, drop, park, hand, note, kept; None: it did not
    come as far. found: the direction, inbound or outbound. hop: device and MAC. left: source and destination with
    which it leaves.
    """

    lcore: int
    ns: int
    kind: str
    device: str
    length: int
    frame: bytes
    came: str = "port"
    reason: str | None = None
    reason_text: str = ""
    protocol: str = ""
    ends: tuple[str, str] | None = None
    classified: str | None = None
    scheduled: str | None = None
    verdict: str | None = None
    found: str | None = None
    client: str | None = None
    virtual: str | None = None
    local: str | None = None
    real: str | None = None
    states: tuple[str, str] | None = None
    hop: tuple[str, str] | None = None
    left: tuple[str, str] | None = None
    out: str | None = None
    to: int | None = None


class Watch(Protocol):
    """Packets are watched until stop(); what was seen by then can be read until end()."""

    def read(self, limit: int) -> tuple[Sequence[Seen], int]:
        """What was seen since the last time, about so many at most; and how many were lost, for nobody read them."""

    def stop(self) -> None: ...
    def end(self) -> None: ...


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

    def local_addresses_of(self, device: str) -> Sequence[Sequence[IPv4Address]]:
        """For each worker those that it draws from."""

    def interface_name(self, device: str) -> str:
        """What a device's kernel interface is called now: somebody may have renamed it."""

    def device_hardware(self) -> Sequence[DeviceHardware]: ...

    def worker_lcores(self) -> Sequence[int]: ...

    def worker_traffic(self) -> Sequence[WorkerTraffic]: ...

    def local_ports(self) -> Sequence[LocalPorts]: ...

    def heaps(self) -> Sequence[Heap]: ...

    def drops(self) -> Sequence[Drop]:
        """Every reason there is, since start."""

    def own_messages(self) -> OwnMessages: ...

    def neighbours(self) -> Sequence[Neighbour]: ...

    def connections(self, search: Search, cursor: str) -> Awaitable[tuple[Sequence[Connection], str | None]]:
        """One page, which may be empty, and where the next begins (None: that was the last). The first begins at ""."""

    def watch(self, wanted: Wanted, snaplen: int, leaving: bool) -> Watch:
        """Raises JupiterError: "watch-busy" where somebody watches. leaving: with all frames on their way out."""

    def count_devices_from_zero(self) -> None: ...


class Published(View, Protocol):
    """A view whose model can be changed, by one at a time."""

    async def publish(self, change: Change) -> None:
        """Carry the change out, or raise JupiterError and change nothing."""
