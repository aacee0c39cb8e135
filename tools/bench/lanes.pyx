"""Several workers of the shipped engine at once: a lane is a worker with its own generator, on the worker's own lcore.

A lane feeds its queue of a ring port with a burst, takes a turn, drains what left; the turn alone is timed. Its frames are
written before, all of them, so that a turn meets headers that have left the near caches, as they do when a NIC brings them.
Whoever sends a frame gives it back to nobody: its lane knows its own, and holds a second reference, which a drop leaves.
"""

import array

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from fastpath.dpdk.eal cimport rte_eal_remote_launch, rte_eal_wait_lcore, rte_get_tsc_hz, rte_rdtsc
from fastpath.dpdk.mbuf cimport rte_mbuf, rte_mempool, rte_pktmbuf_alloc, rte_pktmbuf_append, rte_ring
from fastpath.layout cimport BURST, HAND_SLOTS, INBOUND, OUTBOUND, flow, hand_ring, worker
from fastpath.net.frame cimport frame_at, load16, load32, rte_cpu_to_be_16, rte_cpu_to_be_32
from fastpath.net.headers cimport ETH_LEN, IPV4_DST, IPV4_LEN, IPV4_SRC, PROTO_TCP
from fastpath.table.connection cimport flow_addrs, flow_ports, tuple_hash
from fastpath.table.frame_ring cimport load_acquire
from fastpath.table.owner cimport owner_of
from tools.bench.frames cimport (
    ACK, FRAME_BYTES, PSH_ACK, SYN, rte_ring_dequeue_bulk, rte_ring_dequeue_burst, rte_ring_enqueue_bulk, write_tcp)

ctypedef uint32_t (*turn_function)(worker *, uint32_t) noexcept nogil

cdef extern from *:
    """
    #include <rte_mbuf.h>
    #include <rte_pause.h>
    #include <sched.h>
    enum { LANE_FRAMES = 1 << 14, ROWS = 1 << 15, COLUMNS = 4 };
    #define add(place, n) __atomic_add_fetch(place, n, __ATOMIC_ACQ_REL)
    """
    enum:
        LANE_FRAMES, ROWS, COLUMNS
    uint32_t add(uint32_t *place, int n) nogil
    int sched_yield() nogil
    void rte_pause() nogil
    void rte_mbuf_refcnt_set(rte_mbuf *m, uint16_t n) nogil

cdef extern from "<stdlib.h>" nogil:
    void *aligned_alloc(size_t alignment, size_t n)

cdef extern from "<unistd.h>" nogil:
    int usleep(unsigned int microseconds)


cdef struct race:
    turn_function turn
    flow *flows           # of connection i: 2 i inbound, 2 i + 1 outbound
    uint64_t mac, zero, ticks_per_ms
    uint32_t n_workers
    uint32_t depth        # packets that may wait for another worker before a lane feeds no more; 0: any number
    uint32_t feeders      # lanes that have something to feed
    char apart[128]
    uint32_t feeding, arrived, finished  # of the lanes: still feed, have written their frames, have done

cdef struct lane:
    race *all
    worker *w
    rte_mempool *pool
    rte_ring *rx
    rte_ring *tx
    rte_mbuf **frames
    uint32_t *entries     # what frames are drawn from: connection << 1 | direction
    uint32_t n_entries, n_bursts, size, fed, n_lanes
    uint32_t tail_seen[64]
    uint64_t random, left
    uint32_t *rows        # of each turn: ticks, packets, of these taken from others, given to others
    uint32_t n_rows


cdef void lane_write(lane *me) noexcept nogil:
    cdef uint32_t i, e
    for i in range(me.n_bursts * me.size):
        me.random ^= me.random << 13
        me.random ^= me.random >> 7
        me.random ^= me.random << 17
        e = me.entries[(me.random >> 32) * me.n_entries >> 32]
        write_tcp(me.frames[i], me.all.mac, <uint8_t>(1 + (e & 1)), &me.all.flows[e], PSH_ACK)
        rte_mbuf_refcnt_set(me.frames[i], 2)


cdef bint may_feed(lane *me) noexcept nogil:
    """Not while another worker is far behind; asked again only after a while, as its line would move each time."""
    cdef uint32_t other
    cdef hand_ring *r
    if me.fed == me.n_bursts:
        return False
    for other in range(me.all.n_workers if me.all.depth else 0):
        r = me.w.hand_to[other]
        if other == me.w.id or r.filled - me.tail_seen[other] <= me.all.depth:
            continue
        me.tail_seen[other] = load_acquire(&r.tail)
        if r.filled - me.tail_seen[other] > me.all.depth:
            for _ in range(20):
                rte_pause()
            return False
    return True


cdef void lane_row(lane *me, uint64_t ticks, uint32_t packets, uint64_t taken, uint64_t given) noexcept nogil:
    cdef uint32_t *row = me.rows + me.n_rows * COLUMNS
    # Only while all lanes feed: else the others' load would be less than was asked for.
    if packets == 0 or me.n_rows == ROWS or load_acquire(&me.all.feeding) != me.all.feeders:
        return
    row[0], row[1], row[2], row[3] = <uint32_t>ticks, packets, <uint32_t>taken, <uint32_t>given
    me.n_rows += 1


cdef uint32_t lane_step(lane *me) noexcept nogil:
    """Feed, take a turn, drain; how many packets the turn had."""
    cdef void *out[64]
    cdef uint64_t ticks, taken = me.w.handed_in, given = me.w.handed_out
    cdef uint32_t packets, now = <uint32_t>((rte_rdtsc() - me.all.zero) / me.all.ticks_per_ms)
    cdef bint feeds = may_feed(me)
    if feeds:
        rte_ring_enqueue_bulk(me.rx, <void **>(me.frames + me.fed * me.size), me.size, NULL)
        me.fed += 1
    ticks = rte_rdtsc()
    packets = me.all.turn(me.w, now)
    ticks = rte_rdtsc() - ticks
    lane_row(me, ticks, packets, me.w.handed_in - taken, me.w.handed_out - given)
    me.left += rte_ring_dequeue_burst(me.tx, out, 64, NULL)
    if feeds and me.fed == me.n_bursts:
        add(&me.all.feeding, -1)
    return packets


cdef int lane_main(void *argument) noexcept nogil:
    """What an lcore runs."""
    cdef lane *me = <lane *>argument
    cdef bint over = False
    lane_write(me)
    add(&me.all.arrived, 1)
    while load_acquire(&me.all.arrived) < me.n_lanes:
        sched_yield()
    while lane_step(me) or not over:
        over = load_acquire(&me.all.feeding) == 0  # before the turn that finds nothing
    add(&me.all.finished, 1)
    return 0


cdef void take_turns_in_turn(lane **lanes, uint32_t n) noexcept nogil:
    """All lanes on this core, one after the other: what a hand-over costs without a cache line that moves."""
    cdef uint32_t i, packets = 1
    for i in range(n):
        lane_write(lanes[i])
    while packets or lanes[0].all.feeding:
        packets = 0
        for i in range(n):
            packets += lane_step(lanes[i])


cdef class Lanes:
    """Connections of all workers, and races over them. handles: engine.handles() of each worker; lcores: theirs."""

    cdef race *all
    cdef lane *lanes[64]
    cdef list lcores
    cdef uint8_t *owners
    cdef uint32_t n, capacity, tried
    cdef uint32_t vaddr
    cdef uint16_t vport
    cdef readonly uint32_t n_connections
    cdef readonly uint64_t hz

    def __cinit__(self, handles, lcores, bytes mac, bytes vaddr, uint16_t vport, uint32_t capacity):
        self.n, self.lcores, self.capacity = <uint32_t>len(handles), list(lcores), capacity
        self.hz = rte_get_tsc_hz()
        self.vaddr, self.vport = int.from_bytes(vaddr, "little"), rte_cpu_to_be_16(vport)
        self.owners = <uint8_t *>calloc(capacity, 1)
        self.all = <race *>calloc(1, sizeof(race))
        self.all.turn = <turn_function><size_t>handles[0].take_turn
        self.all.flows = <flow *>calloc(2 * capacity, sizeof(flow))
        self.all.mac = int.from_bytes(mac, "little")
        self.all.zero, self.all.ticks_per_ms = rte_rdtsc(), self.hz // 1000
        self.all.n_workers = self.n
        for i, handle in enumerate(handles):
            self.lanes[i] = self.make_lane(handle, i)

    cdef lane *make_lane(self, handle, uint32_t i) except NULL:
        cdef lane *me = <lane *>aligned_alloc(128, (sizeof(lane) + 255) // 128 * 128)
        me.all = self.all
        me.w = <worker *><size_t>handle.worker
        me.pool = <rte_mempool *><size_t>handle.pool
        me.rx = <rte_ring *><size_t>handle.rx_ring
        me.tx = <rte_ring *><size_t>handle.tx_ring
        me.frames = <rte_mbuf **>calloc(LANE_FRAMES, sizeof(void *))
        me.entries = <uint32_t *>calloc(2 * self.capacity, 4)
        me.rows = <uint32_t *>calloc(ROWS * COLUMNS, 4)
        me.random = 0x9E3779B97F4A7C15U * (i + 1)
        me.n_entries = me.n_bursts = me.fed = me.n_rows = 0
        return me

    cdef take_frames(self, lane *me, uint32_t n):
        cdef uint32_t i
        for i in range(n):
            if me.frames[i] == NULL:
                me.frames[i] = rte_pktmbuf_alloc(me.pool)
                if me.frames[i] == NULL:
                    raise RuntimeError("The packet pool is too small.")
                rte_pktmbuf_append(me.frames[i], FRAME_BYTES)

    cdef uint64_t burst(self, lane *me, uint32_t first, int direction, uint8_t flags) except 0:
        """One turn over BURST connections from `first` on, all of this lane; its ticks."""
        cdef uint32_t i
        cdef uint64_t ticks
        for i in range(BURST):
            write_tcp(me.frames[i], self.all.mac, <uint8_t>(1 + direction), &self.all.flows[2 * (first + i) + direction], flags)
        rte_ring_enqueue_bulk(me.rx, <void **>me.frames, BURST, NULL)
        ticks = rte_rdtsc()
        self.all.turn(me.w, <uint32_t>((rte_rdtsc() - self.all.zero) / self.all.ticks_per_ms))
        ticks = rte_rdtsc() - ticks
        if rte_ring_dequeue_bulk(me.tx, <void **>me.frames, BURST, NULL) != BURST:
            raise RuntimeError("The engine did not forward every frame of a burst: see its drops.")
        return ticks

    cdef flow draw_for(self, uint32_t id, bint one_address) noexcept:
        """The next client's tuple that this worker owns."""
        cdef flow f
        cdef worker *w = self.lanes[0].w
        cdef uint64_t addrs, ports
        cdef uint8_t direction
        f.daddr, f.dport = self.vaddr, self.vport
        while True:
            self.tried += 1
            f.saddr = rte_cpu_to_be_32(0x14000000 + (0 if one_address else self.tried >> 3))
            f.sport = rte_cpu_to_be_16(<uint16_t>(1024 + (self.tried if one_address else (self.tried & 7) * 7919)))
            addrs, ports = flow_addrs(&f), flow_ports(&f, PROTO_TCP)
            if owner_of(w.shared, addrs, ports, tuple_hash(&w.table, addrs, ports), &direction) == id:
                return f

    def open(self, uint32_t id, uint32_t n, bint one_address=False):
        """n more connections that worker `id` owns (a multiple of BURST), by whole handshakes; ticks of each burst of SYN."""
        cdef lane *me = self.lanes[id]
        cdef uint32_t first, i, until = self.n_connections + n
        cdef uint8_t *ip
        cdef flow *answer
        out = array.array("Q")
        self.take_frames(me, BURST)
        while self.n_connections < until:
            first = self.n_connections
            for i in range(first, first + BURST):
                self.all.flows[2 * i], self.owners[i] = self.draw_for(id, one_address), <uint8_t>id
            out.append(self.burst(me, first, INBOUND, SYN))
            for i in range(BURST):
                ip, answer = frame_at(me.frames[i], ETH_LEN), &self.all.flows[2 * (first + i) + 1]
                answer.daddr, answer.saddr = load32(ip + IPV4_SRC), load32(ip + IPV4_DST)
                answer.dport, answer.sport = load16(ip + IPV4_LEN), load16(ip + IPV4_LEN + 2)
            self.burst(me, first, OUTBOUND, SYN | ACK)
            self.burst(me, first, INBOUND, ACK)
            self.n_connections += BURST
        return out

    def owner(self, uint32_t connection):
        return self.owners[connection]

    def spread(self, uint32_t n_ports):
        """Of so many clients behind one address: how many each worker owns."""
        cdef flow f
        cdef worker *w = self.lanes[0].w
        cdef uint8_t direction
        cdef uint64_t addrs, ports
        share = [0] * self.n
        f.daddr, f.dport, f.saddr = self.vaddr, self.vport, rte_cpu_to_be_32(0x15000000)
        for i in range(n_ports):
            f.sport = rte_cpu_to_be_16(<uint16_t>(1024 + i))
            addrs, ports = flow_addrs(&f), flow_ports(&f, PROTO_TCP)
            share[owner_of(w.shared, addrs, ports, tuple_hash(&w.table, addrs, ports), &direction)] += 1
        return share

    def feed(self, uint32_t id, entries, uint32_t size=BURST):
        """What this lane's frames are drawn from in the next race, and how many are a burst; nothing: it only takes."""
        cdef lane *me = self.lanes[id]
        if len(entries) > 2 * self.capacity or size > BURST:
            raise ValueError("more than there is room for")
        self.take_frames(me, LANE_FRAMES if entries else 0)
        me.n_entries, me.size = <uint32_t>len(entries), size
        me.n_bursts = LANE_FRAMES // size if entries else 0
        for i, entry in enumerate(entries):
            me.entries[i] = entry

    def race(self, ids, uint32_t depth=HAND_SLOTS // 2, bint threads=True):
        """All of these lanes at once. Of each: its turns as rows of (ticks, packets, of these taken, given), and how many
        frames left by it."""
        cdef lane *lanes[64]
        cdef uint32_t i, n = <uint32_t>len(ids)
        self.all.depth, self.all.arrived, self.all.finished = depth, 0, 0
        self.all.feeders = self.all.feeding = sum(self.lanes[<uint32_t>id].n_bursts > 0 for id in ids)
        for i, id in enumerate(ids):
            lanes[i] = self.lanes[<uint32_t>id]
            lanes[i].fed = lanes[i].n_rows = 0
            lanes[i].left, lanes[i].n_lanes = 0, n
            for other in range(self.n):
                if other != id:
                    lanes[i].tail_seen[other] = lanes[i].w.hand_to[other].tail
        if threads:
            self.launch(lanes, n, [self.lcores[id] for id in ids])
        else:
            with nogil:
                take_turns_in_turn(lanes, n)
        return [(self.rows_of(lanes[i]), lanes[i].left) for i in range(n)]

    cdef launch(self, lane **lanes, uint32_t n, lcores):
        cdef unsigned int lcore
        for i, number in enumerate(lcores):
            lcore = number
            if rte_eal_remote_launch(lane_main, lanes[<uint32_t>i], lcore) != 0:
                raise RuntimeError(f"lcore {lcore} is busy")
        with nogil:
            while load_acquire(&self.all.finished) < n:
                usleep(500)  # rte_eal_wait_lcore() alone would burn what a lane needs
        for number in lcores:
            lcore = number
            rte_eal_wait_lcore(lcore)

    cdef rows_of(self, lane *me):
        return [(me.rows[4 * i], me.rows[4 * i + 1], me.rows[4 * i + 2], me.rows[4 * i + 3]) for i in range(me.n_rows)]

    def __dealloc__(self):
        for i in range(self.n):
            free(self.lanes[i].frames)
            free(self.lanes[i].entries)
            free(self.lanes[i].rows)
            free(self.lanes[i])
        free(self.owners)
        free(self.all.flows)
        free(self.all)
