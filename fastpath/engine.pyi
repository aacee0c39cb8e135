"""The Python face of the data plane: one EAL, one shared object, one process.

Addresses are network-order bytes (4 for IPv4), MAC addresses 6 bytes, ports and ids plain integers,
times seconds, lengths bytes. Every function raises EngineError with a text fit for an operator.
Nothing here is thread-safe but kernel_loop(): one control thread calls everything else.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

class EngineError(Exception): ...

TCP: Final = 6
UDP: Final = 17
SCHEDULERS: Final[dict[str, int]]
"""Scheduler name -> number: rr, wrr, ipport, iponly."""
DROP_REASONS: Final[dict[str, str]]
"""Drop reason -> one sentence for people; the keys of drops()."""
MAX_SERVICES: Final[int]
MAX_SERVERS: Final[int]
MAX_PORTS: Final[int]
MAX_WRR_SLOTS: Final[int]
"""Sum of a service's weights, divided by their greatest common divisor, that one schedule can hold."""

class Timeouts(NamedTuple):
    """Seconds of silence after which a connection is freed (RFC 5382, RFC 4787)."""

    tcp_established: int = 7440
    tcp_transitory: int = 240
    tcp_closed: int = 10
    udp: int = 300

class Environment(NamedTuple):
    """What init() found: main lcore, worker lcores, "huge pages" or "normal pages" under the connection region, its
    bytes."""

    main_lcore: int
    worker_lcores: tuple[int, ...]
    region_pages: str
    region_bytes: int

class Port(NamedTuple):
    """A configured DPDK port: number, its EAL device name, PMD, MAC and link speed (Mb/s, 0 unknown)."""

    number: int
    name: str
    driver: str
    mac: bytes
    rx_queues: int
    tx_queues: int

class Server(NamedTuple):
    """One real server of a published service. id is stable while any connection counts for it (server_busy)."""

    id: int
    address: bytes
    port: int
    weight: int
    """0: gets no new connection (drained, down or disabled)."""

class Service(NamedTuple):
    """One virtual service as published; id is stable for its life."""

    id: int
    address: bytes
    port: int
    protocol: int
    scheduler: int
    established_timeout: int
    """Seconds; 0 means Timeouts' value (udp services: Timeouts.udp). A shorter one reaches a living connection when its
    timer next looks at it: at the latest when the former one would have passed."""
    servers: tuple[Server, ...]

class ServerCounters(NamedTuple):
    """Summed over workers; bytes of Ethernet frames without FCS. inbound: to the server; outbound: from it."""

    active: int
    total: int
    inbound_packets: int
    inbound_bytes: int
    outbound_packets: int
    outbound_bytes: int

class ServiceCounters(NamedTuple):
    """What a service dropped, by the direction it came in (what was forwarded is the sum over its servers)."""

    inbound_drops: int
    inbound_drop_bytes: int
    outbound_drops: int
    outbound_drop_bytes: int

class PortCounters(NamedTuple):
    rx_packets: int
    rx_bytes: int
    rx_errors: int
    rx_nombuf: int
    rx_missed: int
    rx_dropped: int
    """Received and then dropped by jupiter, any reason."""
    tx_packets: int
    tx_bytes: int
    tx_errors: int
    tx_dropped: int
    """Frames that the transmit queue did not take."""
    kernel_rx_packets: int
    """Handed to the kernel interface."""
    kernel_tx_packets: int
    """Taken from the kernel interface and sent."""
    mbufs_in_use: int
    mbufs_free: int

class Connection(NamedTuple):
    worker: int
    protocol: int
    client: tuple[bytes, int]
    virtual: tuple[bytes, int]
    local: tuple[bytes, int]
    real: tuple[bytes, int]
    flags: int
    state: str
    idle: float
    timeout: int
    server: int

class WorkerCounters(NamedTuple):
    lcore: int
    turns: int
    busy_turns: int
    packets: int
    connections: int
    half_open: int
    connections_free: int

def region_bytes(connections: int) -> int:
    """Bytes of the connection region, a multiple of 2 MB: what to reserve huge pages for, beside EAL's memory."""

def init(
    argv: Sequence[str],
    connections: int = 1 << 20,
    timeouts: Timeouts = ...,
    buffers: int = 16384,
    mtu: int = 1500,
) -> Environment:
    """Start EAL with argv (no program name), make `buffers` packet buffers for frames of the largest `mtu`, and lay out
    each worker's connection region for `connections` entries in all. Runs one worker, whatever lcores argv gives.

    The calling thread's CPU affinity is left as it was. Once a process.
    """

def add_port(name: str, rx_size: int = 256, tx_size: int = 512, mtu: int = 1500) -> Port:
    """Configure the EAL device called `name` (PCI address or vdev name) with one queue pair a worker, and start it."""

def add_ring_port(name: str) -> Port:
    """A port made of two in-memory rings: what run_once() feeds; the benchmark's port too."""

def set_local_addresses(port: int, addresses: Sequence[bytes]) -> None:
    """Source addresses towards servers whose next hop is on `port`. Replaces the former list."""

def set_port_address(port: int, address: bytes | None) -> None:
    """The director's own address on this port: source of the ICMP errors it sends."""

class Prepared:
    """A change that was judged and built and waits for commit()."""

def prepare(services: Sequence[Service], removed: Sequence[int] = (), reset: Sequence[int] = ()) -> Prepared:
    """Judge and build a change: add or replace `services`, take away the service ids in `removed`. Changes nothing.

    The one function, beside kernel_loop(), that any thread may call: schedules and Maglev tables are built without the
    GIL. reset: ids of servers that leave with this change and whose connections are to be reset (see publish).
    """

def commit(change: Prepared) -> None:
    """Publish a prepared change, all or nothing; once. Returns when no worker can see the old state."""

def publish(services: Sequence[Service], removed: Sequence[int] = (), reset: Sequence[int] = ()) -> None:
    """commit(prepare(...)).

    Servers that were in a replaced or removed service and are in none of this change are marked removed: their TCP
    connections live on, their UDP connections go with their next packet. Of those in `reset` the mark says so.
    """

def set_next_hop(server: int, port: int, mac: bytes | None) -> None:
    """The MAC and port towards server id `server`; None: unresolved, its packets are dropped as next_hop_unresolved."""

def server_totals(servers: Sequence[int]) -> ServerCounters:
    """Summed over these servers as well."""

def server_busy(server: int) -> bool:
    """True while some connection still counts for this id: it must not be given to another server yet."""

def release_server(server: int) -> None:
    """Forget counters and next hop of an id that is not busy, so that it can be used again."""

def start() -> None:
    """Launch a poll loop on each worker lcore."""

def stop() -> None:
    """End the poll loops and kernel_loop(), and wait for them."""

def close() -> None:
    """stop(), then close the ports and EAL. The process cannot init() again."""

def attach_kernel_interface(port: int, tap_fd: int) -> None:
    """Exchange frames of `port` that are not a virtual service's with this non-blocking TAP descriptor (IFF_NO_PI).
    The descriptor stays the caller's; it must outlive stop()."""

def kernel_loop() -> None:
    """Carry frames between workers and TAPs until stop(); runs without the GIL: give it a thread of its own."""

def drops() -> dict[str, int]: ...
def server_counters(server: int) -> ServerCounters: ...
def service_counters(service: int) -> ServiceCounters: ...
def port_counters(port: int) -> PortCounters: ...
def port_link(port: int) -> tuple[bool, int]:
    """(up, speed in Mb/s)."""

def worker_counters() -> list[WorkerCounters]: ...
def connections(worker: int, protocol: int, cursor: int = 0, limit: int = 1024) -> tuple[list[Connection], int | None]:
    """One page of a worker's connections, and the cursor of the next page (None: that was the last).

    Taken by the worker itself, a bounded number of entries each turn, between packets.
    """

def run_once(
    frames: Sequence[bytes | tuple[int, bytes] | tuple[int, bytes, int]],
    worker: int = 0,
    now: float | None = None,
    kernel: Sequence[tuple[int, bytes]] = (),
) -> list[tuple[int | None, bytes]]:
    """Feed frames (port 0, or (port, frame[, mbuf ol_flags])) and frames from the kernel interface ((port, frame)) to a
    worker that start() did not launch, take turns until all are done, and return what left: (port, frame), or
    (None, frame) for the kernel. `now`: seconds of the test's own clock, never going back."""

class Handles(NamedTuple):
    """Addresses, for C or Cython that takes turns by itself (tools/bench): the function
    `uint32_t take_turn(struct worker *, uint32_t now_ms)`, the worker, the packet pool, the rings of a ring port."""

    take_turn: int
    worker: int
    pool: int
    rx_ring: int
    tx_ring: int

def handles(worker: int = 0, port: int = 0) -> Handles: ...
