"""The Python face of the data plane; engine.pyi is its contract. Start-up, publishing, counters, and one turn by hand."""

import os
import time
from collections import deque, namedtuple
from types import GenericAlias

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

from fastpath.dpdk.eal cimport *
from fastpath.dpdk.ethdev cimport *
from fastpath.dpdk.mbuf cimport *
from fastpath.kernel_loop cimport carry_frames
from fastpath.layout cimport *
from fastpath.layout cimport worker as layout_worker  # where a parameter is called worker
from fastpath.net.frame cimport frame_at, load48, rte_be_to_cpu_32, rte_cpu_to_be_16, rte_cpu_to_be_32
from fastpath.net.headers cimport PROTO_TCP
from fastpath.stage.answer cimport answer as answer_verb
from fastpath.stage.dispatch cimport flush
from fastpath.stage.expire cimport free_dead, half_open_is_due, wheel_is_behind
from fastpath.table.block cimport block_fill, block_free, member, pool_new
from fastpath.table.frame_ring cimport (
    load_acquire, ring_depth, ring_front, ring_is_empty, ring_release, ring_write, store_release)
from fastpath.table.parking cimport empty_parking, parking_is_due
from fastpath.table.region cimport MAP_FAILED, mmap, region_init, region_map, region_plan, table_open
from fastpath.table.service cimport IPONLY, IPPORT, N_SCHEDULERS, RR, WRR
from fastpath.table.service_map cimport (
    map_drop_service, map_find, map_has_room, map_key, map_new, map_put, map_put_service)
from fastpath.table.tcp_state cimport state_names, timeout_of
from fastpath.worker cimport worker_main, worker_turn


cdef extern from *:
    """
    #include <sys/eventfd.h>
    #define store_pointer(place, value) __atomic_store_n(place, value, __ATOMIC_RELEASE)
    #define store_word(place, value) __atomic_store_n(place, value, __ATOMIC_RELEASE)
    enum { ANONYMOUS_LAZY = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE };
    """
    enum:
        EFD_NONBLOCK, EFD_CLOEXEC, ANONYMOUS_LAZY, PROT_READ, PROT_WRITE
    int eventfd(unsigned int initial, int flags) noexcept nogil
    void store_pointer(void *place, void *value) noexcept nogil
    void store_word(uint64_t *place, uint64_t value) noexcept nogil

cdef extern from "<stdlib.h>" nogil:
    int posix_memalign(void **memory, size_t alignment, size_t n)

cdef extern from "<unistd.h>" nogil:
    int usleep(unsigned int microseconds)
    ssize_t write(int fd, const void *buffer, size_t n)


class EngineError(Exception):
    """What the data plane cannot do, and why, in words for an operator."""


TCP = 6
UDP = 17
SCHEDULERS = {"rr": RR, "wrr": WRR, "ipport": IPPORT, "iponly": IPONLY}
DROP_REASONS = dict([(drop_keys[i].decode(), drop_texts[i].decode()) for i in range(N_DROP_REASONS)])

Timeouts = namedtuple("Timeouts", "tcp_established tcp_transitory tcp_closed udp", defaults=(7440, 240, 10, 300))
Environment = namedtuple("Environment", "main_lcore worker_lcores region_pages region_bytes tsc_hz")
Port = namedtuple("Port", "number name driver mac rx_queues tx_queues")
Server = namedtuple("Server", "id address port weight")
Service = namedtuple("Service", "id address port protocol scheduler established_timeout servers")
ServerCounters = namedtuple(
    "ServerCounters", "active total inbound_packets inbound_bytes outbound_packets outbound_bytes")
ServiceCounters = namedtuple(
    "ServiceCounters", "inbound_drops inbound_drop_bytes outbound_drops outbound_drop_bytes")
PortCounters = namedtuple(
    "PortCounters", "rx_packets rx_bytes rx_errors rx_nombuf rx_missed rx_dropped tx_packets tx_bytes tx_errors "
    "tx_dropped kernel_rx_packets kernel_tx_packets mbufs_in_use mbufs_free")
Connection = namedtuple(
    "Connection", "worker protocol client virtual local real flags state idle timeout server")
WorkerCounters = namedtuple(
    "WorkerCounters", "lcore turns busy_turns packets connections half_open connections_free ticks busy_ticks parked "
    "to_kernel_depth from_kernel_depth")
Match = namedtuple("Match", "ends address mask port")
Usage = namedtuple("Usage", "worker port tcp udp local_ports least_free")
Memory = namedtuple("Memory", "socket heap_size free_size alloc_size greatest_free_size alloc_count free_count")
PortInfo = namedtuple("PortInfo", "driver mac rx_queues tx_queues rx_size tx_size link_up link_speed_mbps")
Handles = namedtuple("Handles", "take_turn worker pool rx_ring tx_ring")

globals().update(MAX_SERVICES=MAX_SERVICES, MAX_SERVERS=MAX_SERVERS, MAX_PORTS=MAX_PORTS, MAX_WRR_SLOTS=MAX_WRR_SLOTS)
globals().update(CLIENT=END_CLIENT, VIRTUAL=END_VIRTUAL, LOCAL=END_LOCAL, REAL=END_REAL, MAX_MATCHES=MAX_MATCHES)

# Workers: one until packets can be handed from the worker that got them to the one that owns them.
cdef enum:
    N_WORKERS = 1
cdef enum:
    RING_PORT_SLOTS = 4096
cdef enum:
    MAX_TIMEOUT = 2_000_000  # seconds: the clock compares milliseconds within 2^31
cdef enum:
    MBUF_CACHE = 250

cdef shared *S = NULL
cdef worker *W[N_WORKERS]
cdef bint initialised = False, running = False, closed = False, kernel_looping = False
cdef uint32_t n_services = 0    # published now
cdef uint32_t service_ids = 0   # above every service id ever published
cdef uint8_t *stays = NULL      # by server id: publish() marks here those that keep their service; all 0 in between
cdef dict local_now = {}        # port -> tuple of addresses
cdef dict server_base = {}      # id -> what its counters stood at when the id was last released
cdef list rings = []            # ring port number -> (rx, tx) as integers
cdef dict ring_sizes = {}       # port -> descriptors of its receive and transmit queues
cdef uint32_t servers_end = 0   # ids from here on never had a next hop, hence no connection
cdef list questions = [deque() for _ in range(N_WORKERS)]  # of each worker; it has the first


cdef need(bint condition, str text):
    if not condition:
        raise EngineError(text)


cdef started():
    need(S != NULL, "The data plane is not started: init() comes first.")


cdef uint64_t within(value, uint64_t low, uint64_t high, str what) except? 0xFFFFFFFFFFFFFFFFU:
    """A caller's integer, within bounds: what is below trusts it."""
    need(isinstance(value, int) and low <= value <= high, f"{what} {value!r}: expected {low} to {high}.")
    return value


cdef uint64_t server_id(value) except? 0xFFFFFFFFFFFFFFFFU:
    started()
    return within(value, 0, MAX_SERVERS - 1, "server id")


cdef port *port_at(value) except NULL:
    """An added port by its number."""
    cdef uint64_t i
    started()
    i = within(value, 0, MAX_PORTS - 1, "port")
    need(S.ports[i].started, f"port {value}: was not added.")
    return &S.ports[i]


# ---- start and stop ------------------------------------------------------------------------------------------------

cdef str eal_error():
    return rte_strerror(rte_errno).decode()


cdef void *lazy_memory(size_t n) except NULL:
    """Zeroed memory that costs nothing until it is touched: arrays over all ids."""
    cdef void *memory = mmap(NULL, n, PROT_READ | PROT_WRITE, ANONYMOUS_LAZY, -1, 0)
    if memory == MAP_FAILED:
        raise EngineError(f"Cannot reserve {n >> 20} MB of address space.")
    return memory


cdef void *aligned_memory(size_t n) except NULL:
    cdef void *memory = NULL
    if posix_memalign(&memory, 128, n) != 0:
        raise EngineError(f"Cannot allocate {n >> 10} kB of memory.")
    memset(memory, 0, n)
    return memory


cdef start_eal(argv):
    """rte_eal_init, without what it would do to the process: exit on --help, pin the calling thread."""
    cdef char *args[128]
    cdef int rc
    words = [b"jupiter", *(word.encode() for word in argv)]
    if len(words) > 127:
        raise EngineError(f"EAL arguments: {len(words)} words, at most 127.")
    for word in argv:
        if word in ("-h", "--help", "-v", "--version"):
            raise EngineError(f"EAL argument {word}: asks for text only, not for a running data plane.")
    for i, word in enumerate(words):
        args[i] = word
    affinity = os.sched_getaffinity(0)
    rc = rte_eal_init(<int>len(words), args)
    os.sched_setaffinity(0, affinity)
    if rc < 0:
        raise EngineError(f"EAL did not start with `{' '.join(argv)}`: {eal_error()}.")


cdef list worker_lcores():
    cdef unsigned int lcore = rte_get_next_lcore(<unsigned int>-1, 1, 0)
    found = []
    while lcore < RTE_MAX_LCORE:
        found.append(lcore)
        lcore = rte_get_next_lcore(lcore, 1, 0)
    if not found:
        raise EngineError(f"At least one worker lcore is needed beside the main one: EAL has lcore "
                          f"{rte_get_main_lcore()} alone; give two, such as `-l 0,1` or `--lcores 0@0,1@0`.")
    return found


cdef make_shared(timeouts, unsigned int buffers, unsigned int mtu):
    global S, stays
    stays = <uint8_t *>lazy_memory(MAX_SERVERS)
    S = <shared *>aligned_memory(sizeof(shared))
    S.services = <service **>lazy_memory(MAX_SERVICES * sizeof(void *))
    S.servers = <server *>lazy_memory(MAX_SERVERS * sizeof(server))
    S.map = map_new(0)
    S.n_workers = N_WORKERS
    S.kernel_wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)
    for i, seconds in enumerate(timeouts):
        S.timeouts[i] = <uint32_t>(seconds * 1000)
    S.mtu = mtu
    for i in range(MAX_PORTS):
        S.ports[i].kernel_fd = -1
    S.rcu = <rte_rcu_qsbr *>aligned_memory(rte_rcu_qsbr_get_memsize(N_WORKERS))
    rte_rcu_qsbr_init(S.rcu, N_WORKERS)
    # Ethernet and one VLAN tag around the MTU; 2,048 bytes is what every PMD expects at least.
    room = max(2048, mtu + 22) + RTE_PKTMBUF_HEADROOM
    S.pool = rte_pktmbuf_pool_create(b"packets", buffers, MBUF_CACHE, 0, <uint16_t>room, -1)
    if S.pool == NULL:
        raise EngineError(f"No memory for {buffers} packet buffers of {room} bytes ({buffers * room >> 20} MB): "
                          f"{eal_error()}.")


cdef str make_worker(uint32_t id, uint32_t lcore, uint32_t connections):
    """Lay out one worker with its connection region; returns the kind of pages that it lies on."""
    cdef worker *w = <worker *>aligned_memory(sizeof(worker))
    cdef region plan
    cdef region *r
    cdef bint huge
    region_plan(&plan, connections)
    r = region_map(plan.bytes, &huge)
    if r == NULL:
        raise EngineError(f"No memory for {connections} connections ({plan.bytes >> 20} MB).")
    region_init(r, connections, int.from_bytes(os.urandom(8), "little"), int.from_bytes(os.urandom(8), "little"))
    table_open(&w.table, r)
    w.shared = S
    w.id = id
    w.lcore = lcore
    w.server_counts = <server_count *>lazy_memory(MAX_SERVERS * sizeof(server_count))
    w.service_counts = <service_count *>lazy_memory(MAX_SERVICES * sizeof(service_count))
    w.tsc_zero = rte_rdtsc()
    w.ms_per_tick = <uint64_t>((1000 << 64) // rte_get_tsc_hz())
    rte_rcu_qsbr_thread_register(S.rcu, id)
    W[id] = w
    return "huge pages" if huge else "normal pages"


def region_bytes(connections):
    """Bytes of the region for this many connections, a multiple of 2 MB: what to reserve huge pages for."""
    cdef region plan
    region_plan(&plan, connections)
    return plan.bytes


def init(argv, connections=1 << 20, timeouts=Timeouts(), buffers=16384, mtu=1500):
    global initialised
    if initialised:
        raise EngineError("The data plane was started before: one EAL a process.")
    within(connections, 1024, 1 << 30, "connections")
    within(buffers, 512, 1 << 24, "buffers")
    within(mtu, 68, 9600, "mtu")
    for name, seconds in timeouts._asdict().items():
        within(seconds, 1, MAX_TIMEOUT, f"timeout {name}")
    initialised = True
    start_eal(argv)
    lcores = worker_lcores()[:N_WORKERS]
    make_shared(timeouts, buffers, mtu)
    for i, lcore in enumerate(lcores):
        pages = make_worker(i, lcore, connections // N_WORKERS)
    return Environment(rte_get_main_lcore(), tuple(lcores), pages, W[0].table.region.bytes * N_WORKERS,
                       rte_get_tsc_hz())


def start():
    global running
    started()
    need(not running, "The workers are running already.")
    S.stopping = 0
    for i in range(N_WORKERS):
        if rte_eal_remote_launch(worker_main, W[i], W[i].lcore) != 0:
            raise EngineError(f"Worker lcore {W[i].lcore} is busy.")
    running = True


def stop():
    global running
    cdef uint64_t one = 1
    if S == NULL:
        return
    store_release(&S.stopping, 1)
    write(S.kernel_wake, &one, 8)
    for i in range(N_WORKERS):
        if running:
            lcore = W[i].lcore
            wait_lcore(lcore)
    running = False
    for i in range(N_WORKERS):
        if W[i] != NULL:
            empty_parking(W[i])
            deliver(i)
    while kernel_looping:
        time.sleep(0.001)


cdef wait_lcore(unsigned int lcore):
    with nogil:
        rte_eal_wait_lcore(lcore)


def close():
    global closed
    cdef rte_eth_dev_info info
    if S == NULL or closed:
        return
    stop()
    closed = True
    for port in reversed([p for p in range(S.n_ports) if S.ports[p].started]):  # a bond before its members
        info.device = NULL
        rte_eth_dev_info_get(port, &info)
        rte_eth_promiscuous_disable(port)  # net_af_packet sets it on the interface, where it would stay
        rte_eth_dev_stop(port)
        rte_eth_dev_close(port)
        if info.device != NULL:
            rte_dev_remove(info.device)  # rte_eal_cleanup leaves vfio's descriptor open: the card could not be unbound
    rte_eal_cleanup()


# ---- ports ---------------------------------------------------------------------------------------------------------

cdef frame_ring *make_frame_ring(uint32_t frame_max) except NULL:
    cdef frame_ring *r = <frame_ring *>aligned_memory(sizeof(frame_ring))
    r.frame_max = frame_max
    r.stride = (4 + frame_max + LINE - 1) // LINE * LINE
    r.data = <uint8_t *>lazy_memory(<size_t>r.stride * FRAME_SLOTS)
    return r


cdef check(int rc, str name, str what):
    if rc < 0:
        raise EngineError(f"Port {name}: {what}: {rte_strerror(-rc).decode()}.")


cdef tuple configure(uint16_t number, str name, uint16_t rx_size, uint16_t tx_size, uint32_t mtu):
    """One queue pair a worker, started; takes what is for its MAC address, and multicast. Returns the sizes it has got."""
    cdef rte_eth_conf conf
    cdef rte_eth_dev_info info
    cdef uint16_t queue
    check(rte_eth_dev_info_get(number, &info), name, "cannot be asked for its abilities")
    memset(&conf, 0, sizeof(conf))
    conf.rxmode.mtu = mtu
    conf.rxmode.offloads = info.rx_offload_capa & RTE_ETH_RX_OFFLOAD_IPV4_CKSUM
    need(info.max_rx_queues >= N_WORKERS and info.max_tx_queues >= N_WORKERS,
         f"Port {name}: {info.max_rx_queues} receive and {info.max_tx_queues} transmit queues, {N_WORKERS} of each needed.")
    check(rte_eth_dev_configure(number, N_WORKERS, N_WORKERS, &conf), name, "cannot be configured")
    check(rte_eth_dev_adjust_nb_rx_tx_desc(number, &rx_size, &tx_size), name, "ring sizes")
    for queue in range(N_WORKERS):
        socket = max(rte_eth_dev_socket_id(number), 0)
        check(rte_eth_rx_queue_setup(number, queue, rx_size, socket, NULL, S.pool), name, "receive queue")
        check(rte_eth_tx_queue_setup(number, queue, tx_size, socket, NULL), name, "transmit queue")
    check(rte_eth_dev_start(number), name, "does not start")
    # The kernel's protocols (OSPF, VRRP, ND) come by multicast; a PMD that cannot filter so much has to take all.
    if rte_eth_allmulticast_enable(number) != 0:
        rte_eth_promiscuous_enable(number)
    return rx_size, tx_size


cdef open_port(uint16_t number, str name, uint32_t mtu, uint64_t mac):
    """Everything of ours about a configured port."""
    cdef rte_eth_dev_info info
    cdef port *p = &S.ports[number]
    need(number < MAX_PORTS, f"Port {name}: at most {MAX_PORTS} ports.")
    rte_eth_dev_info_get(number, &info)
    p.mac = mac
    p.mtu = mtu
    p.kernel_fd = -1
    for i in range(N_WORKERS):
        p.to_kernel[i] = make_frame_ring(mtu + 22)
        p.from_kernel[i] = make_frame_ring(mtu + 22)
    p.started = 1
    S.n_ports = max(S.n_ports, number + 1)
    return Port(number, name, info.driver_name.decode(), mac.to_bytes(6, "little"), N_WORKERS, N_WORKERS)


def add_port(name, rx_size=256, tx_size=512, mtu=1500):
    cdef uint16_t number
    cdef rte_ether_addr mac
    started()
    need(not running, "Ports are added between init() and start().")
    within(mtu, 68, S.mtu, f"Port {name}: mtu")
    within(rx_size, 1, 65535, f"Port {name}: rx_size")
    within(tx_size, 1, 65535, f"Port {name}: tx_size")
    if rte_eth_dev_get_port_by_name(name.encode(), &number) != 0:
        raise EngineError(f"Port {name}: EAL found no such device, or did not take it; its lines in the log say why.")
    ring_sizes[number] = configure(number, name, rx_size, tx_size, mtu)
    rte_eth_macaddr_get(number, &mac)
    return open_port(number, name, mtu, load48(mac.addr_bytes))


def add_ring_port(name):
    cdef rte_ring *rx
    cdef rte_ring *tx
    started()
    need(not running, "Ports are added between init() and start().")
    rx = rte_ring_create(f"{name}-rx".encode(), RING_PORT_SLOTS, 0, RING_F_SP_ENQ | RING_F_SC_DEQ)
    tx = rte_ring_create(f"{name}-tx".encode(), RING_PORT_SLOTS, 0, RING_F_SP_ENQ | RING_F_SC_DEQ)
    need(rx != NULL and tx != NULL, f"Port {name}: no memory for its rings: {eal_error()}.")
    number = rte_eth_from_rings(name.encode(), &rx, 1, &tx, 1, 0)
    need(number >= 0, f"Port {name}: cannot be made: {eal_error()}.")
    ring_sizes[number] = configure(number, name, 1024, 1024, S.mtu)
    rings.extend([None] * (number + 1 - len(rings)))
    rings[number] = (<size_t>rx, <size_t>tx)
    made = open_port(number, name, S.mtu, int.from_bytes(bytes([2, 0, 0, 0, 0, number + 1]), "little"))
    S.ports[number].kernel_attached = 1
    return made


def set_port_address(port, address):
    port_at(port).address = 0 if address is None else be32_of(address)


def attach_kernel_interface(port, int tap_fd):
    need(not running, "Kernel interfaces are attached before start().")
    port_at(port).kernel_fd = tap_fd
    port_at(port).kernel_attached = 1


def kernel_loop():
    global kernel_looping
    started()
    kernel_looping = True
    try:
        with nogil:
            carry_frames(S)
    finally:
        kernel_looping = False


# ---- publishing ----------------------------------------------------------------------------------------------------

cdef be32 be32_of(address) except? 0:
    cdef be32 x
    need(isinstance(address, bytes) and len(address) == 4, f"address {address!r}: 4 bytes expected.")
    memcpy(&x, <const char *>address, 4)
    return x


cdef uint16_t be16_of(port):
    return (port >> 8) | (port & 0xFF) << 8


cdef synchronize():
    """Wait until every worker has finished the turn in which it could see the old state."""
    with nogil:
        rte_rcu_qsbr_synchronize(S.rcu, RTE_QSBR_THRID_INVALID)


cdef check_service(s):
    """What would make a worker read where nothing is; everything else the control plane has judged."""
    within(s.id, 0, MAX_SERVICES - 1, "service id")
    within(s.port, 0, 65535, f"service {s.id}: port")
    need(s.protocol in (TCP, UDP), f"service {s.id}: protocol {s.protocol!r}: expected 6 or 17.")
    within(s.scheduler, 0, N_SCHEDULERS - 1, f"service {s.id}: scheduler")
    within(s.established_timeout, 0, MAX_TIMEOUT, f"service {s.id}: established timeout")
    within(len(s.servers), 0, MAX_SERVICE_SERVERS, f"service {s.id}: number of servers")
    be32_of(s.address)


cdef take_members(s, member *members):
    """There may be a million: a text is made only of what is wrong."""
    cdef member *m = members
    for id, address, port, weight in s.servers:
        if not (isinstance(id, int) and 0 <= id < MAX_SERVERS):
            raise EngineError(f"service {s.id}: server id {id!r}: expected 0 to {MAX_SERVERS - 1}.")
        if not (isinstance(port, int) and 0 <= port <= 65535):
            raise EngineError(f"server {id}: port {port!r}: expected 0 to 65535.")
        if not (isinstance(weight, int) and 0 <= weight <= 65535):
            raise EngineError(f"server {id}: weight {weight!r}: expected 0 to 65535.")
        m.id, m.weight = id, weight
        m.identity = <uint64_t>rte_be_to_cpu_32(be32_of(address)) << 16 | <uint64_t>port
        m += 1
    need(len({each[0] for each in s.servers}) == len(s.servers), f"service {s.id}: a server id stands in it twice.")


cdef class Prepared:
    """A change that is judged and built, and waits for commit(); after that it owns what was there before."""
    cdef service **blocks   # one for each service, then room for the removed ones
    cdef member **members   # of each block, in its order
    cdef uint32_t *ids      # of services
    cdef uint32_t n, n_removed
    cdef object reset
    cdef bint committed

    def __cinit__(self, services, removed, reset):
        self.n, self.n_removed = len(services), len(removed)
        self.reset = reset
        total = self.n + self.n_removed + 1
        self.blocks = <service **>calloc(total, sizeof(void *))
        self.members = <member **>calloc(total, sizeof(void *))
        self.ids = <uint32_t *>calloc(total, sizeof(uint32_t))
        need(self.blocks != NULL and self.members != NULL and self.ids != NULL, f"No memory to publish {total} services.")
        for i, s in enumerate(services):
            self.build(i, s)
        for i, id in enumerate(removed):
            self.ids[self.n + <uint32_t>i] = id

    def __dealloc__(self):
        cdef uint32_t i
        for i in range(self.n + self.n_removed):
            if self.blocks != NULL:
                block_free(self.blocks[i])
            if self.members != NULL:
                free(self.members[i])
        free(self.blocks)
        free(self.members)
        free(self.ids)

    cdef build(self, uint32_t i, s):
        cdef uint32_t n = len(s.servers)
        cdef service *block = <service *>calloc(1, sizeof(service))
        cdef member *members = <member *>malloc((n + 1) * sizeof(member))
        cdef int rc
        self.blocks[i], self.members[i], self.ids[i] = block, members, s.id
        need(block != NULL and members != NULL, f"No memory to publish a service with {n} servers.")
        take_members(s, members)
        block.id, block.vaddr, block.vport = s.id, be32_of(s.address), be16_of(s.port)
        block.protocol, block.scheduler = s.protocol, s.scheduler
        block.established_timeout = s.established_timeout * 1000
        with nogil:
            rc = block_fill(block, members, n, S.n_workers)
        need(rc == 0, f"No memory to publish a service with {n} servers.")


def prepare(services, removed=(), reset=()):
    started()
    for id in removed:
        within(id, 0, MAX_SERVICES - 1, "removed service id")
    for id in reset:
        within(id, 0, MAX_SERVERS - 1, "server id to reset")
    for s in services:
        check_service(s)
    ids = [s.id for s in services] + list(removed)
    need(len(set(ids)) == len(ids), "A service id stands twice in one change.")
    keys = {(s.address, s.port, s.protocol) for s in services}
    need(len(keys) == len(services), "Two services of one change have the same address, port and protocol.")
    return Prepared(services, removed, reset)


def commit(Prepared change):
    """New blocks, then the map that leads to them, then the old ones go: a worker sees one or the other, never neither."""
    cdef service_map *former = S.map
    cdef service_map *fresh = NULL
    need(not change.committed, "A change is committed once.")
    judge_keys(change)
    judge_reset(change)
    if not map_has_room(S.map, 2 * change.n):
        fresh = new_map(n_services + change.n, local_now)
    change.committed = True  # nothing fails from here on
    swap_blocks(change)
    if fresh != NULL:
        fill_map(fresh, local_now)
        store_pointer(&S.map, fresh)
    else:
        change_map(change)
    mark_servers(change)
    synchronize()
    if fresh != NULL:
        free(former)


def publish(services, removed=(), reset=()):
    commit(prepare(services, removed, reset))


cdef judge_keys(Prepared change):
    """A key keeps its id, and an id its key, as long as it is published: a worker may be between the two."""
    cdef uint32_t i, published
    for i in range(change.n):
        s = change.blocks[i]
        published = s.id
        if map_find(S.map, map_key(s.vaddr, s.vport, s.protocol), &published) != ADDRESS_SERVICE:
            need(S.services[s.id] == NULL, f"service {s.id}: is published with another address, port or protocol.")
        need(published == s.id, f"service {s.id}: its address, port and protocol are published as service {published}.")


cdef judge_reset(Prepared change):
    """Only servers that have left, or leave by this change, can be reset."""
    cdef uint32_t i, k
    ids = {change.ids[i] for i in range(change.n + change.n_removed)}
    staying = {change.members[i][k].id for i in range(change.n if change.reset else 0)
               for k in range(change.blocks[i].n_servers)}
    wrong = [id for id in change.reset if not S.servers[<uint32_t>id].removed and (
        id in staying or not S.servers[<uint32_t>id].raddr or S.servers[<uint32_t>id].service not in ids)]
    need(not wrong, f"reset: server ids {wrong} do not leave with this change.")


cdef swap_blocks(Prepared change):
    """Each block into its service's place, and the former one into the change."""
    global n_services, service_ids
    cdef service *former
    cdef uint32_t i, id
    for i in range(change.n + change.n_removed):
        id = change.ids[i]
        former = S.services[id]
        if i < change.n:
            place_servers(change.blocks[i], change.members[i])
            service_ids = max(service_ids, id + 1)
        n_services += (i < change.n) - (former != NULL)
        store_pointer(&S.services[id], change.blocks[i])
        change.blocks[i] = former


cdef void place_servers(const service *block, const member *members) noexcept:
    """Addresses of servers that are new under their id; a server that stays keeps its next hop."""
    cdef server *record
    cdef uint32_t i
    for i in range(block.n_servers):
        record = &S.servers[members[i].id]
        record.raddr = rte_cpu_to_be_32(<uint32_t>(members[i].identity >> 16))
        record.rport = rte_cpu_to_be_16(<uint16_t>members[i].identity)
        record.protocol = block.protocol
        record.service = block.id
        record.removed = SERVER_PRESENT
        record.eligible = members[i].weight != 0


cdef change_map(Prepared change):
    cdef uint32_t i
    for i in range(change.n):
        map_put_service(S.map, S.services[change.ids[i]])
    for i in range(change.n, change.n + change.n_removed):
        if change.blocks[i] != NULL:
            map_drop_service(S.map, change.blocks[i])


cdef mark_servers(Prepared change):
    """Those that were in a former block and are in none of this change's have left: so, or to be reset."""
    cdef const service *former
    cdef uint32_t i, k
    for i in range(change.n):
        for k in range(S.services[change.ids[i]].n_servers):
            stays[change.members[i][k].id] = 1
    for i in range(change.n + change.n_removed):
        former = change.blocks[i]
        for k in range(former.n_servers if former != NULL else 0):
            if not stays[former.servers[k]]:
                S.servers[former.servers[k]].removed = SERVER_REMOVED
    for id in change.reset:
        if S.servers[<uint32_t>id].removed:
            S.servers[<uint32_t>id].removed = SERVER_RESET
    for i in range(change.n):
        for k in range(S.services[change.ids[i]].n_servers):
            stays[change.members[i][k].id] = 0


cdef service_map *new_map(uint32_t services, local) except NULL:
    cdef service_map *m = map_new(2 * services + <uint32_t>sum([len(addresses) for addresses in local.values()]))
    need(m != NULL, f"No memory for the map of {services} services.")
    return m


cdef fill_map(service_map *m, local):
    """All services that there are, and the local addresses (no address is both: Model.role_of)."""
    cdef uint32_t id
    for id in range(service_ids):
        if S.services[id] != NULL:
            map_put_service(m, S.services[id])
    for addresses in local.values():
        for address in addresses:
            map_put(m, map_key(be32_of(address), 0, 0), ADDRESS_LOCAL, 0)


cdef local_pool *build_pool(addresses) except? NULL:
    """NULL where there are no addresses."""
    cdef local_pool *pool
    if not addresses:
        return NULL
    pool = pool_new(<uint32_t>len(addresses))
    need(pool != NULL, f"No memory for {len(addresses)} local addresses.")
    for i, address in enumerate(addresses):
        (&pool.addresses[0])[i] = be32_of(address)
    return pool


def set_local_addresses(port, addresses):
    cdef service_map *fresh
    cdef service_map *old_map
    cdef local_pool *pool
    cdef local_pool *old_pool = port_at(port).pool
    within(len(addresses), 0, 65536, f"port {port}: number of local addresses")
    after = {**local_now, port: tuple(addresses)}
    for address in addresses:
        be32_of(address)  # judged before anything changes
    fresh = new_map(n_services, after)
    pool = build_pool(addresses)
    fill_map(fresh, after)
    local_now.update(after)
    old_map = S.map
    store_pointer(&port_at(port).pool, pool)
    store_pointer(&S.map, fresh)
    synchronize()
    free(old_map)
    free(old_pool)


def set_next_hop(server, port, mac):
    global servers_end
    cdef uint64_t id = server_id(server)
    cdef uint64_t hop = S.servers[id].hop & <uint64_t>0xFF << 48  # its connections are still of that port
    if mac is not None:
        port_at(port)
        need(isinstance(mac, bytes) and len(mac) == 6, f"MAC address {mac!r}: 6 bytes expected.")
        hop = int.from_bytes(mac, "little") | <uint64_t>port << 48 | <uint64_t>HOP_RESOLVED << 56
    store_word(&S.servers[id].hop, hop)
    servers_end = max(servers_end, id + 1)


# ---- counters ------------------------------------------------------------------------------------------------------

cdef list over_workers(rows):
    """Each column's sum over the workers' rows."""
    return [sum(column) for column in zip(*rows)]


cdef void add_counts(uint64_t id, uint64_t *total) noexcept:
    """A server's counters over all workers, in the order of ServerCounters, on top of what is there."""
    cdef server_count *c
    cdef uint32_t k
    for k in range(N_WORKERS):
        c = &W[k].server_counts[id]
        total[0] += c.active
        total[1] += c.total
        total[2] += c.packets[INBOUND]
        total[3] += c.bytes[INBOUND]
        total[4] += c.packets[OUTBOUND]
        total[5] += c.bytes[OUTBOUND]


cdef list server_sums(server):
    """Since the engine began, whoever had the id."""
    cdef uint64_t total[6]
    memset(total, 0, sizeof(total))
    add_counts(server_id(server), total)
    return [total[k] for k in range(6)]


def server_counters(server):
    return server_totals((server,))


def server_totals(servers):
    """A service may have thousands: their counters are added up in C."""
    cdef uint64_t total[6]
    cdef uint32_t k
    memset(total, 0, sizeof(total))
    for each in servers:
        add_counts(server_id(each), total)
        base = server_base.get(each)
        if base is not None:
            for k in range(6):
                total[k] -= <uint64_t>base[k]
    return ServerCounters(total[0], total[1], total[2], total[3], total[4], total[5])


def server_busy(server):
    return server_sums(server)[0] != 0


def release_server(server):
    cdef uint64_t id = server_id(server)
    need(not server_busy(server), f"server id {server}: connections still count for it.")
    need(S.servers[id].removed or not S.servers[id].raddr, f"server id {server}: a published service has it.")
    server_base[server] = server_sums(server)
    store_word(&S.servers[id].hop, 0)


def service_counters(service):
    cdef service_count *c
    cdef uint64_t id
    started()
    id = within(service, 0, MAX_SERVICES - 1, "service id")
    rows = []
    for i in range(N_WORKERS):
        c = &W[i].service_counts[id]
        rows.append((c.drops[INBOUND], c.drop_bytes[INBOUND], c.drops[OUTBOUND], c.drop_bytes[OUTBOUND]))
    return ServiceCounters(*over_workers(rows))


def drops():
    started()
    counts = dict.fromkeys(DROP_REASONS, 0)
    for i in range(N_WORKERS):
        for reason in range(N_DROP_REASONS):
            counts[drop_keys[reason].decode()] += W[i].drops[reason]
    counts[drop_keys[KERNEL_REFUSED].decode()] = sum([S.ports[p].kernel_refused for p in range(S.n_ports)])
    return counts


def port_counters(port):
    cdef rte_eth_stats stats
    cdef port_count *c
    port_at(port)
    rte_eth_stats_get(port, &stats)
    rows = []
    for i in range(N_WORKERS):
        c = &W[i].ports[<uint32_t>port]
        rows.append((c.rx_dropped, c.tx_dropped, c.kernel_rx, c.kernel_tx))
    rx_dropped, tx_dropped, kernel_rx, kernel_tx = over_workers(rows)
    return PortCounters(
        stats.ipackets, stats.ibytes, stats.ierrors, stats.rx_nombuf, stats.imissed, rx_dropped, stats.opackets,
        stats.obytes, stats.oerrors, tx_dropped, kernel_rx, kernel_tx,
        rte_mempool_in_use_count(S.pool), rte_mempool_avail_count(S.pool))


def port_link(port):
    cdef rte_eth_link link
    port_at(port)
    rte_eth_link_get_nowait(port, &link)
    return link.link_status == RTE_ETH_LINK_UP, 0 if link.link_speed == 0xFFFFFFFF else link.link_speed


def port_info(port):
    cdef rte_eth_dev_info info
    port_at(port)
    need(rte_eth_dev_info_get(port, &info) == 0, f"port {port}: cannot be asked for its abilities.")
    return PortInfo(info.driver_name.decode(), (<uint64_t>S.ports[<uint32_t>port].mac).to_bytes(6, "little"),
                    info.nb_rx_queues, info.nb_tx_queues, *ring_sizes[port], *port_link(port))


cdef tuple kernel_depths(worker *w):
    """Frames that stand in the rings to and from the kernel."""
    ports = [p for p in range(S.n_ports) if S.ports[p].started]
    return (sum([ring_depth(S.ports[p].to_kernel[w.id]) for p in ports]),
            sum([ring_depth(S.ports[p].from_kernel[w.id]) for p in ports]))


def worker_counters():
    started()
    return [WorkerCounters(
        W[i].lcore, W[i].turns, W[i].busy_turns, W[i].packets, W[i].table.region.in_use, W[i].table.region.half_open,
        W[i].table.capacity - W[i].table.region.in_use, W[i].ticks, W[i].busy_ticks, W[i].n_parked,
        *kernel_depths(W[i])) for i in range(N_WORKERS)]


def progress():
    return [W[i].turns for i in range(N_WORKERS) if W[i] != NULL]


cdef struct port_usage:
    uint64_t tcp, udp, most


cdef void add_up_usage(worker *w, uint32_t end, port_usage *rows) noexcept nogil:
    """Connections by the port of their server's next hop; `most`: those of the server that has most."""
    cdef uint64_t active
    cdef uint32_t id
    cdef port_usage *row
    for id in range(end):
        active = w.server_counts[id].active
        if active == 0:
            continue
        row = &rows[S.servers[id].hop >> 48 & 0xFF]
        if S.servers[id].protocol == PROTO_TCP:
            row.tcp += active
        else:
            row.udp += active
        row.most = max(row.most, active)


def usage():
    cdef port_usage rows[16]  # MAX_PORTS
    cdef local_pool *pool
    started()
    found = []
    for i in range(N_WORKERS):
        memset(rows, 0, sizeof(rows))
        with nogil:
            add_up_usage(W[<uint32_t>i], servers_end, rows)
        for p in range(S.n_ports):
            if S.ports[p].started:
                pool = S.ports[p].pool
                size = 0 if pool == NULL else pool.size
                found.append(Usage(i, p, rows[p].tcp, rows[p].udp, size, max(0, size - rows[p].most)))
    return found


def memory():
    cdef rte_malloc_socket_stats stats
    cdef int socket
    started()
    found = []
    for i in range(rte_socket_count()):
        socket = rte_socket_id_by_idx(i)
        if rte_malloc_get_socket_stats(socket, &stats) == 0:
            found.append(Memory(socket, stats.heap_totalsz_bytes, stats.heap_freesz_bytes, stats.heap_allocsz_bytes,
                                stats.greatest_free_size, stats.alloc_count, stats.free_count))
    return found


# ---- questions -----------------------------------------------------------------------------------------------------

cdef class Question:
    """What a worker is asked. `verb` is the worker's from the moment that it is posted until it is done; the queue that
    the question stands in meanwhile keeps it alive, whoever lets go of it."""

    cdef verb verb
    cdef uint32_t worker
    cdef bint posted, answered

    __class_getitem__ = classmethod(GenericAlias)

    def __dealloc__(self):
        free(self.verb.rows)
        free(self.verb.frames)

    def done(self):
        deliver(self.worker)
        return self.answered

    def result(self):
        while not self.done():
            with nogil:
                usleep(20)
        if self.verb.kind != VERB_FIND:
            return self.verb.n
        return [describe(self, &self.verb.rows[i]) for i in range(self.verb.n)], self.verb.cursor or None


cdef Question ask(worker *w, Question q, uint8_t kind):
    need(not closed, "The data plane is closed.")
    q.worker = w.id
    q.verb.kind = kind
    questions[w.id].append(q)
    deliver(w.id)
    return q


cdef deliver(uint32_t worker):
    """Take what a worker has answered out of its queue and give it the next; one that does not run is answered for."""
    cdef Question first
    cdef layout_worker *w = W[worker]
    queue = questions[worker]
    while queue:
        first = queue[0]
        if not first.posted:
            first.posted = True
            store_pointer(&S.verbs[worker], &first.verb)
        while not running and not load_acquire(&first.verb.done):
            first.verb.now = w.now - 1  # its clock stands, and no turn is to wait for the next millisecond
            answer_verb(w)
            flush(w)
            free_dead(w)
        if not load_acquire(&first.verb.done):
            store_release(&first.verb.hurry, len(queue) > 1)
            return
        queue.popleft()
        first.answered = first.verb.kind != VERB_SWEEP or first.verb.cursor == 0
        if not first.answered:  # a sweep that made room for others
            first.verb.done = first.verb.hurry = first.posted = 0
            queue.append(first)


cdef worker *worker_at(value) except NULL:
    started()
    return W[within(value, 0, N_WORKERS - 1, "worker")]


cdef take_matches(Question q, matches):
    cdef match *m
    within(len(matches), 0, MAX_MATCHES, "number of matches")
    for i, (ends, address, mask, port) in enumerate(matches):
        m = &q.verb.matches[i]
        m.ends = <uint8_t>within(ends, 1, ALL_ENDS, "ends")
        m.address, m.mask = be32_of(address), be32_of(mask)
        m.port = be16_of(within(port, 0, 65535, "port"))
    q.verb.n_matches = len(matches)


def find(worker, protocol=0, matches=(), max_idle=None, cursor=0, limit=1024, entries=1 << 16):
    cdef Question q = Question()
    cdef layout_worker *w = worker_at(worker)
    need(protocol in (0, TCP, UDP), f"protocol {protocol!r}: expected 0, 6 or 17.")
    take_matches(q, matches)
    q.verb.protocol = protocol
    q.verb.max_idle = NONE if max_idle is None else <uint32_t>within(int(max_idle * 1000), 0, NONE - 1, "max_idle (ms)")
    q.verb.cursor = <uint32_t>within(cursor, 0, 0xFFFFFFFF, "cursor")
    q.verb.limit = <uint32_t>within(limit, 1, 1 << 20, "limit")
    q.verb.entries = <uint32_t>within(entries, 1, 0xFFFFFFFF, "entries")
    q.verb.rows = <connection *>malloc(limit * sizeof(connection))
    need(q.verb.rows != NULL, f"No memory for {limit} connections.")
    return ask(w, q, VERB_FIND)


def sweep(worker):
    cdef Question q = Question()
    cdef layout_worker *w = worker_at(worker)
    q.verb.limit = RESETS_MS
    return ask(w, q, VERB_SWEEP)


def send(worker, port, frames):
    cdef Question q = Question()
    cdef layout_worker *w = worker_at(worker)
    cdef uint32_t longest = port_at(port).to_kernel[0].frame_max
    for frame in frames:
        need(isinstance(frame, bytes), f"frame {frame!r}: bytes expected.")
        within(len(frame), 14, longest, "length of a frame")
    packed = b"".join([len(frame).to_bytes(4, "little") + frame for frame in frames])
    q.verb.port = port
    q.verb.entries = len(frames)
    q.verb.frames = <uint8_t *>malloc(len(packed) + 1)
    need(q.verb.frames != NULL, f"No memory for {len(frames)} frames.")
    memcpy(q.verb.frames, <const char *>packed, len(packed))
    return ask(w, q, VERB_SEND)


def connections(worker, protocol, cursor=0, limit=1024):
    need(protocol in (TCP, UDP), f"protocol {protocol!r}: expected 6 or 17.")
    return find(worker, protocol, cursor=cursor, limit=limit, entries=0xFFFFFFFF).result()


cdef address_bytes(const void *address):
    return PyBytes_FromStringAndSize(<const char *>address, 4)


cdef describe(Question q, connection *c):
    return Connection(
        q.worker, c.protocol,
        (address_bytes(&c.flow[INBOUND].saddr), be16_of(c.flow[INBOUND].sport)),
        (address_bytes(&c.flow[INBOUND].daddr), be16_of(c.flow[INBOUND].dport)),
        (address_bytes(&c.flow[OUTBOUND].daddr), be16_of(c.flow[OUTBOUND].dport)),
        (address_bytes(&c.flow[OUTBOUND].saddr), be16_of(c.flow[OUTBOUND].sport)),
        c.flags, state_names[c.state].decode(), <uint32_t>(q.verb.now - c.last_seen) / 1000.0, timeout_of(S, c) // 1000,
        c.server)


# ---- one turn by hand ----------------------------------------------------------------------------------------------

cdef feed(uint32_t port, bytes frame, uint64_t flags):
    cdef rte_mbuf *m
    cdef char *room
    need(is_ring(port), f"port {port} is not made of rings.")
    m = rte_pktmbuf_alloc(S.pool)
    need(m != NULL, "No packet buffer left.")
    room = rte_pktmbuf_append(m, <uint16_t>len(frame))
    need(room != NULL, f"A frame of {len(frame)} bytes does not fit a packet buffer.")
    memcpy(room, <const char *>frame, len(frame))
    m.ol_flags |= flags
    need(rte_ring_enqueue(<rte_ring *><size_t>rings[port][0], m) == 0, f"port {port}: its ring is full.")


cdef list drain(uint32_t port, uint32_t worker):
    """What left through a ring port, and what went to its kernel interface."""
    cdef rte_mbuf *m
    cdef uint32_t length
    cdef frame_ring *r = S.ports[port].to_kernel[worker]
    cdef uint8_t *frame
    out = []
    while rte_ring_dequeue(<rte_ring *><size_t>rings[port][1], <void **>&m) == 0:
        out.append((port, PyBytes_FromStringAndSize(<char *>frame_at(m, 0), m.pkt_len)))
        rte_pktmbuf_free(m)
    while not ring_is_empty(r):
        frame = ring_front(r, &length)
        out.append((None, PyBytes_FromStringAndSize(<char *>frame, length)))
        ring_release(r)
    return out


cdef bint is_ring(port):
    return isinstance(port, int) and 0 <= port < len(rings) and rings[port] is not None


cdef bint is_idle(worker *w):
    """Whether a turn at the same time would find nothing to do."""
    cdef uint32_t port
    for port in range(S.n_ports):
        if S.ports[port].started and not ring_is_empty(S.ports[port].from_kernel[w.id]):
            return False
        if is_ring(port) and rte_ring_count(<rte_ring *><size_t>rings[port][0]):
            return False
    return not parking_is_due(w) and not wheel_is_behind(w) and not half_open_is_due(w)


cdef uint32_t take_turn(worker *w, uint32_t now) noexcept nogil:
    return worker_turn(w, now)


def handles(worker=0, port=0):
    cdef layout_worker *w = worker_at(worker)
    need(is_ring(port), f"port {port} is not made of rings.")
    return Handles(<size_t>&take_turn, <size_t>w, <size_t>S.pool, *rings[port])


def run_once(frames, worker=0, now=None, kernel=()):
    cdef uint32_t ms = <uint32_t>(int((time.monotonic() if now is None else now) * 1000) & 0xFFFFFFFF)
    cdef layout_worker *w = worker_at(worker)
    cdef frame_ring *ring
    need(not running, "run_once() takes the turns itself: start() must not have been called.")
    for item in frames:
        port, frame, *flags = (0, item) if isinstance(item, bytes) else item
        feed(port, frame, flags[0] if flags else 0)
    for port, frame in kernel:
        ring = port_at(port).from_kernel[w.id]
        within(len(frame), 14, ring.frame_max, "length of a frame from the kernel")
        need(ring_write(ring, frame, len(frame)), "The kernel ring is full.")
    take_turn(w, ms)
    while not is_idle(w):
        take_turn(w, ms)
    return [item for port in range(S.n_ports) if is_ring(port) for item in drain(port, w.id)]
