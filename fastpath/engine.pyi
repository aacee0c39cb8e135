"""The Python face of the data plane: one EAL, one shared object, one process.

Addresses are network-order bytes (4 for IPv4), MAC addresses 6 bytes, ports and ids plain integers,
times seconds, lengths bytes. Every function raises EngineError with a text fit for an operator.
Nothing here is thread-safe but kernel_loop(), progress() and prepare(): one control thread calls everything else.
"""

from collections.abc import Sequence
from typing import Final, Generic, Literal, NamedTuple, TypeVar

_Answer = TypeVar("_Answer")

class EngineError(Exception): ...

TCP: Final = 6
UDP: Final = 17
SCHEDULERS: Final[dict[str, int]]
"""Scheduler name -> number: rr, wrr, ipport, iponly, lc, wlc."""
DROP_REASONS: Final[dict[str, str]]
"""Drop reason -> one sentence for people; the keys of drops()."""
MAX_SERVICES: Final[int]
MAX_SERVERS: Final[int]
MAX_PORTS: Final[int]
MAX_MATCHES: Final[int]
"""Conditions of one find()."""
CLIENT: Final = 1
VIRTUAL: Final = 2
LOCAL: Final = 4
REAL: Final = 8
"""Ends of a connection: bits of Match.ends."""
ARP: Final = 0x806
NO_PROTOCOL: Final = 0xFFFF
"""Protocols of Seen beside those of IPv4: a frame that is neither IPv4 nor ARP has none."""
MAX_SNAP: Final[int]
"""Bytes of a frame that Seen holds at most."""
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
    bytes; ticks of the TSC in a second."""

    main_lcore: int
    worker_lcores: tuple[int, ...]
    region_pages: str
    region_bytes: int
    tsc_hz: int

class Port(NamedTuple):
    """A configured DPDK port: number, its EAL device name, PMD, MAC and link speed (Mb/s, 0 unknown)."""

    number: int
    name: str
    driver: str
    mac: bytes
    rx_queues: int
    tx_queues: int

class Server(NamedTuple):
    """One real server of a published service. id is stable, and of that service, while any connection counts for it
    (server_busy)."""

    id: int
    address: bytes
    port: int
    weight: int
    """0: gets no new connection (drained, down or disabled)."""
    max_connections: int = 0
    """At once, counted and shared as Limits.connections; a new one then goes to another server. 0: no limit."""
    backup: bool = False
    """Gets new connections only while no server without this mark is eligible."""

class Limits(NamedTuple):
    """What touches new connections only, 0: no limit. connections: at once, each counting from its first SYN to the
    first FIN or RST (UDP: until it is forgotten); rate: a second, with as many in a burst; client_rate: a second, of
    each client address, with as many in a burst; clients: addresses with another rate than that, 0: none at all. Each
    worker has its part of the first two, at least 1: a smaller limit than there are workers is worth 1 for each."""

    connections: int = 0
    rate: int = 0
    client_rate: int = 0
    clients: tuple[tuple[bytes, int], ...] = ()

class Persistence(NamedTuple):
    """For so many seconds after a client's last new connection its next one goes to the same server, if that is
    eligible; whole_address: across the services of the address that say so, too (a server is then known by its
    address). 0: no persistence."""

    seconds: int = 0
    whole_address: bool = False

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
    limits: Limits = Limits()
    persistence: Persistence = Persistence()
    mss: int = 0
    """The largest maximum segment size that a SYN or SYN-ACK may offer when it leaves; 0: as it is."""

class ServerCounters(NamedTuple):
    """Summed over workers; bytes of Ethernet frames without FCS. inbound: to the server; outbound: from it."""

    active: int
    total: int
    inbound_packets: int
    inbound_bytes: int
    outbound_packets: int
    outbound_bytes: int
    established: int
    """Of the active connections, those that are no longer opening and not yet closing (UDP: all)."""

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
    strays: int
    """Came to a worker that does not own them, although the port claims to bring them to their owner."""
    mbufs_in_use: int
    mbufs_free: int

class Connection(NamedTuple):
    """flags: 1, its numbers are moved beyond those of whoever had its local port before; 2, both ends have closed; 4,
    the last timestamp that its server saw is known (fastpath/layout.h)."""

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
    """busy_turns, busy_ticks: of turns that carried packets. ticks: of the TSC, spent between start() and stop(); the
    busy share is a difference of busy_ticks over one of ticks. packets: taken through the stages (one that was
    parked: twice). parked: packets that wait now, for a next hop or for the first fragment of their datagram.
    to_kernel_depth, from_kernel_depth: frames that stand in the rings of the worker's kernel interfaces now. handed_in,
    handed_out: packets taken from, and given to other workers; strays: those given away although their port claims to
    bring packets to the owner. handover_depth: packets that wait for this worker now. sleeps: how often it slept, for
    asleep_ticks altogether, which `ticks` include."""

    lcore: int
    turns: int
    busy_turns: int
    packets: int
    connections: int
    half_open: int
    connections_free: int
    ticks: int
    busy_ticks: int
    parked: int
    to_kernel_depth: int
    from_kernel_depth: int
    handed_in: int
    handed_out: int
    strays: int
    handover_depth: int
    sleeps: int
    asleep_ticks: int

class OwnMessages(NamedTuple):
    """Sent by the data plane itself: answers to echo requests, ICMP errors about what it dropped, RSTs; and ICMP errors
    of others that it has translated and sent on."""

    echo_replies: int
    icmp_errors: int
    resets: int
    icmp_relayed: int

class Match(NamedTuple):
    """True of a connection when one of `ends` (a sum of CLIENT, VIRTUAL, LOCAL, REAL) has this address, as far as
    the bits of `mask` go (4 bytes, as address), and this port (0: any)."""

    ends: int
    address: bytes
    mask: bytes
    port: int

class Question(Generic[_Answer]):
    """What a worker was asked. It answers in its own time, a bounded part of it each turn, one question after the
    other (a sweep lets those behind it pass); nothing is lost when the caller lets go of one. stop() has the rest
    answered; a worker that does not run is answered for at once. Made by find(), sweep() and send() alone."""

    def done(self) -> bool:
        """Whether the answer is there: never waits. To be asked now and then, of any question: that also hands the
        worker its next one."""

    def result(self) -> _Answer:
        """The answer; waits for it."""

class Seen(NamedTuple):
    """What a worker has seen, by watch_begin(). ns: since 1970. An end is (address, port), port 0 where there is none.

    kind `passed`: a packet that went through the stages, with its frame as it came in by `port`; came: from that port,
    from another worker, from the parking, where it had waited, or, a fragment, from its home. `left`: a frame given to
    `port`; or, with a reason, one that the port did not take. `ended`: a packet dropped while it waited.
    """

    worker: int
    ns: int
    kind: str
    came: str
    port: int
    length: int
    """Of the whole frame."""
    frame: bytes
    """Its first `snap` bytes."""
    reason: str | None
    """Drop reason. With the verdict `send`, the packet was dropped under it, and what is sent is the answer to it."""
    protocol: int
    """Of IPv4, or ARP, or NO_PROTOCOL."""
    ends: tuple[tuple[bytes, int], tuple[bytes, int]] | None
    """Source and destination; of ARP, sender and target."""
    classified: str | None
    scheduled: str | None
    verdict: str | None
    """What classify and schedule said, and what it was in the end: go_on, send, split (sent in pieces), punt, drop,
    park, hand, note (to another worker, with a note), kept (by a stage). None: it did not come as far."""
    found: int | None
    """The direction of the connection that lookup found: 0 inbound, 1 outbound."""
    client: tuple[bytes, int] | None
    virtual: tuple[bytes, int] | None
    local: tuple[bytes, int] | None
    real: tuple[bytes, int] | None
    """The ends that are known: those of its connection, where it has one, else of the packet."""
    server: int | None
    """Id of the server that its connection goes to, or for which it waits."""
    states: tuple[str, str] | None
    """Of its connection, before and after the burst that the packet was in."""
    hop: tuple[int, bytes] | None
    """Port and MAC that it goes to."""
    left: tuple[tuple[bytes, int], tuple[bytes, int]] | None
    """Source and destination with which it leaves."""
    out: int | None
    """The port for which it is."""
    to: int | None
    """The worker that it is handed to."""

class Usage(NamedTuple):
    """Connections of a worker to servers whose next hop is on this port, and its local ports there.

    local_ports: towards one server (local addresses x 64,512); least_free: of these, what the server that has most
    connections leaves.
    """

    worker: int
    port: int
    tcp: int
    udp: int
    local_ports: int
    least_free: int

class Memory(NamedTuple):
    """EAL's heap on one NUMA socket; sizes in bytes, counts in blocks. free_count: blocks that are free."""

    socket: int
    heap_size: int
    free_size: int
    alloc_size: int
    greatest_free_size: int
    alloc_count: int
    free_count: int

class PortInfo(NamedTuple):
    """What a port is now: queue sizes in descriptors, as its driver took them; speed 0: unknown. steering: how
    packets come to the worker that owns them: none (there is one), rss, flow, or ring (from worker to worker); and
    why it is so. woken_by: what tells a sleeping worker of packets: socket, or timer (it looks after at most 0.7
    ms)."""

    driver: str
    mac: bytes
    rx_queues: int
    tx_queues: int
    rx_size: int
    tx_size: int
    link_up: bool
    link_speed_mbps: int
    steering: str
    steering_reason: str
    woken_by: str

def region_bytes(connections: int) -> int:
    """Bytes of the connection region, a multiple of 2 MB: what to reserve huge pages for, beside EAL's memory."""

def init(
    argv: Sequence[str],
    connections: int = 1 << 20,
    timeouts: Timeouts = ...,
    buffers: int | None = None,
    mtu: int = 1500,
    descriptors: int = 0,
    idle: str = "adaptive",
) -> Environment:
    """Start EAL with argv (no program name), make packet buffers for frames of the largest `mtu`, and lay out a
    worker for each worker lcore, with connection regions for `connections` entries in all, of which each has its
    part.

    buffers: how many, over all NUMA nodes; None: buffers_for() so many `descriptors` a worker. idle: workers without
    packets sleep (adaptive), or never do (poll). The calling thread's CPU affinity is left as it was. Once a process.
    """

def buffers_for(workers: int, descriptors: int) -> int:
    """Packet buffers for so many workers, each with queues of `descriptors` altogether, over all ports."""

def buffer_bytes(workers: int, descriptors: int, mtu: int = 1500, page: int = 2 << 20) -> int:
    """Memory of buffers_for(), on pages of so many bytes: on small ones much is lost at their ends."""

IDLE: Final[tuple[str, ...]]
"""What init() knows of idling: adaptive, poll."""
STEERINGS: Final[tuple[str, ...]]
"""What add_port() can be asked for: auto, ring, rss, flow."""

def add_port(
    name: str,
    rx_size: int = 256,
    tx_size: int = 512,
    mtu: int = 1500,
    addresses: Sequence[bytes] = (),
    steering: str = "auto",
) -> Port:
    """Configure the EAL device called `name` (PCI address or vdev name) with a queue pair for each worker, and start
    it.

    With fewer receive queues some workers get their packets from others only; with fewer transmit queues some send by
    others. addresses: local addresses, as by set_local_addresses(). steering: auto takes rss, else flow (which needs
    an address for each worker), else ring; another wish that the port cannot fulfil is an error. A net_af_packet with
    more queues than there are workers is refused: the kernel would fill those too.
    """

def add_ring_port(
    name: str,
    queues: int | None = None,
    card: tuple[bytes, bytes] | Literal["flow"] | None = None,
    mtu: int | None = None,
) -> Port:
    """A port made of in-memory rings, two for each of so many queues (None: one a worker): what run_once() feeds; the
    benchmark's port too. card: it stands for a card with RSS by this key (40 bytes or more) and RETA (a byte an
    entry), or with a rule for each local address: whoever feeds it does what such a card would do."""

def review_steering() -> list[tuple[int, str]]:
    """Judge the ports that claim to bring packets to their owners by what came since the last time: of those that do
    not, number and reason. They are steered by ring from then on. To be called once a second."""

def set_local_addresses(port: int, addresses: Sequence[bytes]) -> None:
    """Source addresses towards servers whose next hop is on `port`. Replaces the former list."""

def set_port_address(port: int, address: bytes | None) -> None:
    """The director's own address on this port: source of the ICMP errors it sends."""

def set_policy(refuse: bool = True, reset_unknown: bool = False) -> None:
    """refuse: TCP to a port of a virtual address that is not served, or a service without an eligible server, gets a
    RST, UDP an ICMP port unreachable, as often as the limit allows. reset_unknown: so does a TCP packet of a connection
    that is not known, get a RST. Before the first call: neither."""

class Prepared:
    """A change that was judged and built and waits for commit()."""

def prepare(services: Sequence[Service], removed: Sequence[int] = (), reset: Sequence[int] = ()) -> Prepared:
    """Judge and build a change: add or replace `services`, take away the service ids in `removed`. Changes nothing.

    Schedules and Maglev tables are built without the GIL. A key (address, port, protocol) keeps its id, and an id its
    key, as long as it is published. reset: ids of servers that leave with this change, or have left, and whose
    connections are to be reset (see publish).
    """

def commit(change: Prepared) -> None:
    """Publish a prepared change, all or nothing; once. Returns when no worker can see the old state."""

def publish(services: Sequence[Service], removed: Sequence[int] = (), reset: Sequence[int] = ()) -> None:
    """commit(prepare(...)).

    Servers that were in a replaced or removed service and are in none of this change are marked removed: their TCP
    connections live on, their UDP connections go with their next packet. Those in `reset`, which may also have left
    before, are marked for that instead: the next sweep() of each worker ends their connections.
    """

def set_next_hop(server: int, port: int, mac: bytes | None) -> None:
    """The MAC and port towards server id `server`; None: unresolved. A few of its packets then wait for at most a
    second (parking), the others are dropped as parking_full, those that waited in vain as next_hop_unresolved."""

def server_totals(servers: Sequence[int]) -> ServerCounters:
    """Summed over these servers as well."""

def weigh() -> bool:
    """Add up over the workers what the servers of services with lc or wlc have to carry; commit() does too where it
    concerns such services. Between two calls a worker goes by its own part. False: nothing has changed. Takes time in
    proportion to the servers and workers, without the GIL."""

def server_busy(server: int) -> bool:
    """True while some connection still counts for this id: it must not be given to another server yet."""

def release_server(server: int) -> None:
    """Forget counters and next hop of an id that is not busy, so that it can be used again."""

def start() -> None:
    """Launch a poll loop on each worker lcore."""

def stop() -> None:
    """End the poll loops and kernel_loop(), and wait for them. Parked packets are dropped, questions answered."""

def close() -> None:
    """stop(), then close the ports and EAL. The process cannot init() again."""

def attach_kernel_interface(port: int, tap_fd: int) -> None:
    """Exchange frames of `port` that are not a virtual service's with this non-blocking TAP descriptor (IFF_NO_PI).
    The descriptor stays the caller's; it must outlive stop()."""

def kernel_loop() -> None:
    """Carry frames between workers and TAPs until stop(); runs without the GIL: give it a thread of its own."""

def drops(worker: int | None = None) -> dict[str, int]:
    """By reason; of all workers and the kernel loop, or of one worker."""

def own_messages(worker: int | None = None) -> OwnMessages:
    """Of all workers, or of one."""

def server_counters(server: int) -> ServerCounters: ...
def service_counters(service: int) -> ServiceCounters: ...
def port_counters(port: int) -> PortCounters: ...
def port_link(port: int) -> tuple[bool, int]:
    """(up, speed in Mb/s)."""

def port_info(port: int) -> PortInfo: ...
def worker_counters() -> list[WorkerCounters]: ...
def progress() -> list[int]:
    """Turns of each worker so far; before init() none. Any thread may ask: a worker whose number stands still hangs."""

def usage() -> list[Usage]:
    """A row for each worker and port. Takes time in proportion to the highest server id that had a next hop, without
    the GIL."""

def memory() -> list[Memory]:
    """EAL's memory, socket by socket."""

def find(
    worker: int,
    protocol: int = 0,
    matches: Sequence[Match] = (),
    max_idle: float | None = None,
    cursor: int = 0,
    limit: int = 1024,
    entries: int = 1 << 16,
) -> Question[tuple[list[Connection], int | None]]:
    """A page of a worker's connections: those of `protocol` (0: all) for which all of at most MAX_MATCHES `matches`
    hold, and that saw a packet in the last `max_idle` seconds. It ends with `limit` rows, or when `entries` entries
    were looked at, wanted or not: so it may be empty and not the last. The answer: rows, and the cursor of the next
    page (None: that was the last). A connection that lives through all pages is in exactly one of them."""

def sweep(worker: int) -> Question[int]:
    """Reset the connections of servers that publish() marked for it. TCP: both ends get a RST at once, and what they
    still send within Timeouts.tcp_closed is answered by one and dropped as connection_reset, but for a SYN of the
    client, which opens a new connection. UDP and half-open without an answer: forgotten. At most 128 a millisecond,
    lest a transmit queue overflow. The answer: how many it were."""

def send(worker: int, port: int, frames: Sequence[bytes]) -> Question[int]:
    """Transmit whole Ethernet frames on this port, in order. The answer: for how many there was a packet buffer."""

def connections(worker: int, protocol: int, cursor: int = 0, limit: int = 1024) -> tuple[list[Connection], int | None]:
    """find() without conditions, and its answer."""

def watch_begin(
    protocol: int = 0,
    matches: Sequence[Match] = (),
    reason: str | None = None,
    snap: int = ...,
    leaving: bool = True,
) -> None:
    """Have the workers note packets, from now until watch_end(); one such watch at a time.

    A packet matches if it is of this protocol (0: any) and all conditions hold, each for one of its connection's ends.
    As long as that is not known it has two: client and virtual, or, when it is for a local address, real and local.
    reason: only packets dropped under it; "any": under any. snap: 64 to MAX_SNAP. leaving: frames given to ports too;
    else of these only those that no packet of the stages became, and those that a port did not take. Each worker has
    room for 4 MB."""

def watch_read(limit: int = 1024) -> tuple[list[Seen], int]:
    """What was noted since the last time, in the order of time, at most `limit` of each worker; and how many more there
    were for which there was no room."""

def watch_stop() -> None:
    """Returns when no worker notes anything any more; what was noted by then can be read until watch_end()."""

def watch_end() -> None:
    """Returns when no worker notes anything any more; what was not read is gone. Nothing where nobody watches."""

def run_once(
    frames: Sequence[bytes | tuple[int, bytes] | tuple[int, bytes, int]],
    worker: int = 0,
    now: float | None = None,
    kernel: Sequence[tuple[int, bytes]] = (),
) -> list[tuple[int | None, bytes]]:
    """Feed frames (port 0, or (port, frame[, mbuf ol_flags])) and frames from the kernel interface ((port, frame)) to
    a worker that start() did not launch, take turns until all are done, and return what left by its queues: (port,
    frame), or (None, frame) for the kernel. What it hands over waits for the other worker's turn. `now`: seconds of
    the test's own clock, never going back."""

def arrive(port: int, frame: bytes, worker: int = 0) -> None:
    """Put a frame into this worker's queue of a ring port, also while it runs."""

class Handles(NamedTuple):
    """Addresses, for C or Cython that takes turns by itself (tools/bench): the function
    `uint32_t take_turn(struct worker *, uint32_t now_ms)`, the worker, the packet pool, the rings of a ring port."""

    take_turn: int
    worker: int
    pool: int
    rx_ring: int
    tx_ring: int

def handles(worker: int = 0, port: int = 0) -> Handles: ...

class Area(NamedTuple):
    """A piece of memory: bytes from an address on."""

    name: str
    address: int
    length: int

def written_by(worker: int) -> list[Area]:
    """All that this worker writes, but for the one word of each mailbox and flag through which others speak to it."""

def written_by_main() -> list[Area]:
    """What the main thread writes and workers read."""

def fingerprint(areas: Sequence[Area]) -> int:
    """Of their bytes."""
