"""The Python face of the data plane; engine.pyi is its contract. Start-up, publishing, counters, and one turn by hand."""

import os
import socket
import time
from collections import deque, namedtuple
from types import GenericAlias

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

from fastpath.dpdk.eal cimport *
from fastpath.dpdk.ethdev cimport *
from fastpath.dpdk.flow cimport *
from fastpath.dpdk.mbuf cimport *
from fastpath.idle cimport SPIN_US, has_work
from fastpath.kernel_loop cimport carry_frames
from fastpath.layout cimport *
from fastpath.layout cimport worker as layout_worker  # where a parameter is called worker
from fastpath.net.frame cimport frame_at, load32, load48, rte_be_to_cpu_32, rte_cpu_to_be_16, rte_cpu_to_be_32
from fastpath.net.headers cimport PROTO_TCP
from fastpath.stage.answer cimport answer as answer_verb
from fastpath.stage.dispatch cimport flush
from fastpath.stage.expire cimport free_dead
from fastpath.table.batch cimport count_drop
from fastpath.table.bell cimport ring_bell
from fastpath.table.block cimport block_fill, block_free, member, pool_new, share_out
from fastpath.table.gather cimport empty_gather
from fastpath.table.hand_ring cimport hand_depth, hand_take
from fastpath.table.frame_ring cimport (
    full_fence, load_acquire, ring_depth, ring_front, ring_is_empty, ring_release, ring_write, store_release)
from fastpath.table.parking cimport empty_parking
from fastpath.table.region cimport MAP_FAILED, mmap, prefer_node, region_init, region_map, region_plan, table_open
from fastpath.table.rss cimport RSS_KEY_BYTES, rss_equal, rss_fill
from fastpath.table.service cimport IPONLY, IPPORT, LC, N_SCHEDULERS, RR, WLC, WRR, by_load
from fastpath.table.service_map cimport (
    map_drop_service, map_find, map_has_room, map_key, map_new, map_put, map_put_service)
from fastpath.table.tcp_state cimport state_names, timeout_of
from fastpath.table.tx cimport tx_add
from fastpath.table.watch cimport (
    ANY_REASON, CAME_FROM_HOME, CAME_FROM_PARKING, CAME_FROM_PORT, CAME_FROM_WORKER, KEPT,
    KNOWS_NOTHING, LOG_BYTES, MAX_SNAP, NO_REASON,
    PROTOCOL_ARP, PROTOCOL_OTHER, SEEN_ENDED, SEEN_LEFT, SEEN_PASSED, ends, seen, view, watch_log)
from fastpath.table.watch cimport watch as struct_watch
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

cdef extern from "<sys/mman.h>" nogil:
    int munmap(void *memory, size_t n)

cdef extern from "<unistd.h>" nogil:
    int usleep(unsigned int microseconds)


class EngineError(Exception):
    """What the data plane cannot do, and why, in words for an operator."""


TCP = 6
UDP = 17
SCHEDULERS = {"rr": RR, "wrr": WRR, "ipport": IPPORT, "iponly": IPONLY, "lc": LC, "wlc": WLC}
DROP_REASONS = dict([(drop_keys[i].decode(), drop_texts[i].decode()) for i in range(N_DROP_REASONS)])

Timeouts = namedtuple("Timeouts", "tcp_established tcp_transitory tcp_closed udp", defaults=(7440, 240, 10, 300))
Environment = namedtuple("Environment", "main_lcore worker_lcores region_pages region_bytes tsc_hz")
Port = namedtuple("Port", "number name driver mac rx_queues tx_queues")
Server = namedtuple("Server", "id address port weight max_connections backup", defaults=(0, False))
Limits = namedtuple("Limits", "connections rate client_rate clients", defaults=(0, 0, 0, ()))
Persistence = namedtuple("Persistence", "seconds whole_address", defaults=(0, False))
Service = namedtuple(
    "Service", "id address port protocol scheduler established_timeout servers limits persistence mss",
    defaults=(Limits(), Persistence(), 0))
ServerCounters = namedtuple(
    "ServerCounters", "active total inbound_packets inbound_bytes outbound_packets outbound_bytes established")
ServiceCounters = namedtuple(
    "ServiceCounters", "inbound_drops inbound_drop_bytes outbound_drops outbound_drop_bytes")
PortCounters = namedtuple(
    "PortCounters", "rx_packets rx_bytes rx_errors rx_nombuf rx_missed rx_dropped tx_packets tx_bytes tx_errors "
    "tx_dropped kernel_rx_packets kernel_tx_packets strays mbufs_in_use mbufs_free")
Connection = namedtuple(
    "Connection", "worker protocol client virtual local real flags state idle timeout server")
OwnMessages = namedtuple("OwnMessages", "echo_replies icmp_errors resets icmp_relayed")
WorkerCounters = namedtuple(
    "WorkerCounters", "lcore turns busy_turns packets connections half_open connections_free ticks busy_ticks parked "
    "to_kernel_depth from_kernel_depth handed_in handed_out strays handover_depth sleeps asleep_ticks")
Match = namedtuple("Match", "ends address mask port")
Usage = namedtuple("Usage", "worker port tcp udp local_ports least_free")
Memory = namedtuple("Memory", "socket heap_size free_size alloc_size greatest_free_size alloc_count free_count")
PortInfo = namedtuple(
    "PortInfo", "driver mac rx_queues tx_queues rx_size tx_size link_up link_speed_mbps steering steering_reason woken_by")
Seen = namedtuple(
    "Seen", "worker ns kind came port length frame reason protocol ends classified scheduled verdict found client virtual "
    "local real server states hop left out to")
Area = namedtuple("Area", "name address length")
Handles = namedtuple("Handles", "take_turn worker pool rx_ring tx_ring")

globals().update(MAX_SERVICES=MAX_SERVICES, MAX_SERVERS=MAX_SERVERS, MAX_PORTS=MAX_PORTS, MAX_WRR_SLOTS=MAX_WRR_SLOTS)
globals().update(CLIENT=END_CLIENT, VIRTUAL=END_VIRTUAL, LOCAL=END_LOCAL, REAL=END_REAL, MAX_MATCHES=MAX_MATCHES)
globals().update(MAX_SNAP=MAX_SNAP, ARP=PROTOCOL_ARP, NO_PROTOCOL=PROTOCOL_OTHER)

cdef enum:
    RING_PORT_SLOTS = 4096
cdef enum:
    MAX_TIMEOUT = 2_000_000  # seconds: the clock compares milliseconds within 2^31
cdef enum:
    MAX_RATE = 1_000_000_000  # connections a second
cdef enum:
    MBUF_CACHE = 250
cdef enum:
    MIN_BUFFERS = 8192

cdef shared *S = NULL
cdef worker *W[64]              # MAX_WORKERS; the first S.n_workers
cdef bint initialised = False, running = False, closed = False, kernel_looping = False
cdef uint32_t n_services = 0    # published now
cdef uint32_t service_ids = 0   # above every service id ever published
cdef uint32_t weighed[1 << 16]  # MAX_SERVICES: ids of the services that go by load, of which there are:
cdef uint32_t n_weighed = 0
cdef uint8_t *stays = NULL      # by server id: publish() marks here those that keep their service; all 0 in between
cdef dict local_now = {}        # port -> tuple of addresses
cdef dict server_base = {}      # id -> what its counters stood at when the id was last released
cdef list rings = []            # ring port number -> of each queue (rx, tx), as integers
cdef dict ring_sizes = {}       # port -> descriptors of its receive and transmit queues
cdef uint32_t servers_end = 0   # ids from here on never had a next hop, hence no connection
cdef list questions = []        # of each worker a queue; it has the first
cdef dict pools = {}            # NUMA socket -> packet pool, as an integer


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


include "face/start.pxi"
include "face/steering.pxi"
include "face/settle.pxi"
include "face/waiting.pxi"
include "face/ports.pxi"
include "face/publish.pxi"
include "face/counters.pxi"
include "face/questions.pxi"
include "face/watch.pxi"
include "face/by_hand.pxi"
