"""What an operator follows: matching packets, what each stage made of them, and frames on their way out (trace, capture).

While nobody watches, shared.watch is NULL, and all of this costs a test a burst and point. Else the worker looks at its batch
between the stages and keeps notes of its own: stages know nothing of it. A packet is found again by its mbuf, for classify
closes the gaps of those that it hands over. What no longer fits into the log is counted as lost; packets wait for nothing.

Before its connection is known a packet has two ends: of a client and the virtual address, or, when it is for a local address,
of that and the server. Kept is, in the beginning, whatever may still turn out to match.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from fastpath.dpdk.ethdev cimport rte_eth_tx_burst
from fastpath.dpdk.mbuf cimport rte_mbuf
from fastpath.layout cimport (
    ADDRESS_LOCAL, BURST, GO_ON, GONE, HAND, HAND_FLAGS, HAND_SLOTS, INBOUND,
    NONE, OUTBOUND, PARK, PUNT, SEND, TX_FULL, batch, be16, be32, connection, match, parked, server, tx_queue,
    worker)
from fastpath.net.frame cimport frame_at, load16, load32, load64, rte_cpu_to_be_16
from fastpath.net.headers cimport (
    ARP_LEN, ARP_SPA, ARP_TPA, ETH_LEN, ETH_TYPE, ETHERTYPE_ARP, ETHERTYPE_IPV4, IPV4_FRAGMENT, IPV4_LEN, IPV4_OFFSET_MASK,
    IPV4_PROTOCOL, IPV4_SRC, IPV4_VERSION_IHL, PROTO_TCP, PROTO_UDP)
from fastpath.table.connection cimport find, tuple_hash
from fastpath.table.frame_ring cimport load_acquire, store_release
from fastpath.table.match cimport end_matches
from fastpath.table.note cimport NOTE_PORTS, note_kind
from fastpath.table.service cimport address_kind
from fastpath.table.tcp_state cimport STATE_DEAD


cdef extern from "table/watch.h" nogil:
    enum:
        LOG_BYTES, MAX_SNAP, SENT
        ANY_PROTOCOL, PROTOCOL_ARP, PROTOCOL_OTHER
        NO_REASON, ANY_REASON, KEPT, NOT_REACHED
        AT_RECEIVED, AT_FOUND, AT_SCHEDULED, AT_REWRITTEN, AT_DISPATCHED
        SEEN_PASSED, SEEN_LEFT, SEEN_ENDED
        CAME_FROM_PORT, CAME_FROM_WORKER, CAME_FROM_PARKING, CAME_FROM_HOME
        KNOWS_NOTHING, KNOWS_ADDRESSES, KNOWS_PORTS

    struct view:
        uint64_t addrs, ports
        uint16_t protocol
        uint8_t knows

    struct ends:
        be32 address[4]
        be16 port[4]
        uint8_t known

    struct seen:
        uint32_t size, length, stored
        uint8_t kind, came, port, reason
        uint64_t ns
        uint8_t classified, scheduled, verdict, found, has_connection, state, state_after, out
        uint32_t server, to
        view view, left
        ends ends
        uint64_t hop

    struct followed:
        seen seen
        const rte_mbuf *pkt
        uint32_t entry

    struct watch_log:
        uint32_t tail, head, filled, lost, n, n_sent
        uint64_t sent_turn
        const rte_mbuf *sent[1]
        uint32_t given[1]
        followed followed[1]
        uint8_t *frames
        uint8_t *data

    struct watch:
        uint16_t protocol
        uint8_t reason, all_leaving, n_matches
        uint32_t snap, stride
        match matches[4]
        watch_log *logs[1]

cdef extern from *:
    """
    #include <time.h>
    static inline void __pyx_f_8fastpath_5table_5watch_observe(struct worker *, const struct watch *, uint32_t) APART RARE;
    static inline uint32_t __pyx_f_8fastpath_5table_5watch_send_watched(struct worker *, const struct watch *,
                                                                        uint32_t) APART RARE;
    static inline void __pyx_f_8fastpath_5table_5watch_log_end(struct worker *, const struct watch *, struct rte_mbuf *,
                                                               uint8_t, uint8_t) APART RARE;
    static inline uint64_t now_ns(void) {
        struct timespec t;
        clock_gettime(CLOCK_REALTIME, &t);
        return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
    }
    """
    uint64_t now_ns() noexcept nogil


# ---- whether a packet matches --------------------------------------------------------------------------------------

cdef inline view view_of(const uint8_t *eth, uint32_t length) noexcept nogil:
    """What a frame says of itself; the first fragment of a datagram has ports, the others have none."""
    cdef view v
    cdef const uint8_t *ip = eth + ETH_LEN
    cdef uint32_t header
    memset(&v, 0, sizeof(view))
    v.protocol = PROTOCOL_OTHER
    if length >= ETH_LEN + ARP_LEN and load16(eth + ETH_TYPE) == rte_cpu_to_be_16(ETHERTYPE_ARP):
        v.protocol = PROTOCOL_ARP
        v.addrs = load32(ip + ARP_SPA) | <uint64_t>load32(ip + ARP_TPA) << 32
        v.knows = KNOWS_ADDRESSES
    elif length >= ETH_LEN + IPV4_LEN and load16(eth + ETH_TYPE) == rte_cpu_to_be_16(ETHERTYPE_IPV4):
        header = (ip[IPV4_VERSION_IHL] & 15) * 4
        v.protocol = ip[IPV4_PROTOCOL]
        v.addrs = load64(ip + IPV4_SRC)
        v.ports = <uint64_t>v.protocol << 32
        v.knows = KNOWS_ADDRESSES
        if (v.protocol == PROTO_TCP or v.protocol == PROTO_UDP) and header >= IPV4_LEN and (
                length >= ETH_LEN + header + 4) and not load16(ip + IPV4_FRAGMENT) & rte_cpu_to_be_16(IPV4_OFFSET_MASK):
            v.ports |= load32(ip + header)
            v.knows = KNOWS_PORTS
    return v


cdef inline void set_end(ends *e, uint32_t n, uint32_t address, uint32_t port) noexcept nogil:
    e.address[n] = address
    e.port[n] = <be16>port
    e.known |= <uint8_t>(1 << n)


cdef inline ends own_ends(const worker *w, const view *v, bint leaves) noexcept nogil:
    """The two ends that stand in the packet itself."""
    cdef ends e
    cdef uint32_t here = <uint32_t>(v.addrs if leaves else v.addrs >> 32)
    cdef uint32_t there = <uint32_t>(v.addrs >> 32 if leaves else v.addrs)
    cdef uint32_t here_port = <uint16_t>(v.ports if leaves else v.ports >> 16)
    cdef uint32_t there_port = <uint16_t>(v.ports >> 16 if leaves else v.ports)
    memset(&e, 0, sizeof(ends))
    if v.knows == KNOWS_NOTHING:
        return e
    if address_kind(w.shared.map, here) == ADDRESS_LOCAL:
        set_end(&e, 2, here, here_port)
        set_end(&e, 3, there, there_port)
    else:
        set_end(&e, 0, there, there_port)
        set_end(&e, 1, here, here_port)
    return e


cdef inline void connection_ends(ends *e, const connection *c) noexcept nogil:
    set_end(e, 0, c.flow[INBOUND].saddr, c.flow[INBOUND].sport)
    set_end(e, 1, c.flow[INBOUND].daddr, c.flow[INBOUND].dport)
    set_end(e, 2, c.flow[OUTBOUND].daddr, c.flow[OUTBOUND].dport)
    set_end(e, 3, c.flow[OUTBOUND].saddr, c.flow[OUTBOUND].sport)


cdef inline uint32_t entry_of(const worker *w, const view *v, bint leaves) noexcept nogil:
    """Its connection's entry, or NONE. What leaves is found by the tuple of its answer."""
    cdef uint64_t addrs = v.addrs, ports = v.ports
    if v.knows != KNOWS_PORTS:
        return NONE
    if leaves:
        addrs = addrs << 32 | addrs >> 32
        ports = (ports & 0xFFFF00000000U) | (ports & 0xFFFF) << 16 | (ports >> 16 & 0xFFFF)
    return find(&w.table, addrs, ports, tuple_hash(&w.table, addrs, ports))


cdef inline bint meets(const match *m, const ends *e, bint may_be) noexcept nogil:
    cdef uint32_t n
    for n in range(4):
        if e.known >> n & 1:
            if end_matches(m, 1 << n, e.address[n], e.port[n]):
                return True
        elif may_be and m.ends >> n & 1:
            return True
    return False


cdef inline bint is_followed(const watch *x, const view *v, const ends *e, bint may_be) noexcept nogil:
    """All conditions hold; or, `may_be`, may turn out to hold when more ends are known."""
    cdef uint32_t i
    if x.protocol != ANY_PROTOCOL and x.protocol != v.protocol:
        return False
    for i in range(x.n_matches):
        if not meets(&x.matches[i], e, may_be):
            return False
    return True


cdef inline bint is_wanted(const watch *x, uint8_t reason) noexcept nogil:
    return x.reason == NO_REASON or x.reason == reason or (x.reason == ANY_REASON and reason != NO_REASON)


# ---- the log -------------------------------------------------------------------------------------------------------

cdef inline seen *log_add(watch_log *log, const seen *s, const uint8_t *frame) noexcept nogil:
    """A copy of the record and its frame, not yet to be read; NULL: there is no room, and it is lost."""
    cdef uint32_t size = (<uint32_t>sizeof(seen) + s.stored + 7) & ~<uint32_t>7
    cdef uint32_t at = log.filled & (LOG_BYTES - 1)
    cdef uint32_t skipped = 0 if size <= LOG_BYTES - at else LOG_BYTES - at
    cdef seen *to
    if log.filled + skipped + size - load_acquire(&log.tail) > LOG_BYTES:
        log.lost += 1
        return NULL
    if skipped:
        (<seen *>(log.data + at)).size = 0
        at = 0
    to = <seen *>(log.data + at)
    to[0] = s[0]
    to.size = size
    memcpy(to + 1, frame, s.stored)
    log.filled += skipped + size
    return to


cdef inline seen begin_record(const watch *x, uint8_t kind, const rte_mbuf *m, uint32_t port) noexcept nogil:
    cdef seen s
    memset(&s, 0, sizeof(seen))
    s.kind = kind
    s.length = m.pkt_len
    s.stored = min(<uint32_t>m.data_len, x.snap)
    s.port = <uint8_t>port
    s.reason = NO_REASON
    s.classified = s.scheduled = s.verdict = NOT_REACHED
    s.server = s.to = NONE
    s.ns = now_ns()
    return s


# ---- packets in the batch ------------------------------------------------------------------------------------------

cdef inline void follow_received(worker *w, const watch *x, watch_log *log) noexcept nogil:
    """Keep what may match, with its frame as it came: answers are written over it."""
    cdef batch *b = &w.batch
    cdef followed *f
    cdef uint32_t i, entry
    cdef view v
    cdef ends e
    log.n = 0
    if log.sent_turn != w.turns:
        log.sent_turn = w.turns
        log.n_sent = 0
    for i in range(w.shared.n_workers):
        log.given[i] = w.hand_to[i].filled if w.hand_to[i] != NULL else 0
    memset(b.reason, NO_REASON, BURST)
    for i in range(b.n):
        v = view_of(frame_at(b.pkt[i], 0), b.pkt[i].data_len)
        e = own_ends(w, &v, False)
        if x.n_matches:
            entry = entry_of(w, &v, False)
            if entry != NONE:
                connection_ends(&e, &w.table.connections[entry >> 1])
        if not is_followed(x, &v, &e, v.knows == KNOWS_PORTS):
            continue
        f = &(&log.followed[0])[log.n]
        f.seen = begin_record(x, SEEN_PASSED, b.pkt[i], b.pkt[i].port)
        f.seen.came = CAME_FROM_PORT if b.fresh else CAME_FROM_PARKING if i < b.n_parked else CAME_FROM_WORKER
        if note_kind(w, i) == NOTE_PORTS:
            f.seen.came = CAME_FROM_HOME
        f.seen.view = v
        f.seen.ends = own_ends(w, &v, False)
        f.pkt = b.pkt[i]
        f.entry = NONE
        memcpy(log.frames + <size_t>log.n * x.stride, frame_at(b.pkt[i], 0), f.seen.stored)
        log.n += 1


cdef inline uint32_t handed_to(const worker *w, const watch_log *log, const rte_mbuf *pkt) noexcept nogil:
    """The worker into whose ring this packet went since follow_received(), or NONE."""
    cdef uint32_t target, at
    for target in range(w.shared.n_workers):
        if w.hand_to[target] == NULL:
            continue
        at = log.given[target]
        while at != w.hand_to[target].filled:
            if (&w.hand_to[target].slots[0])[at & (HAND_SLOTS - 1)] & ~<size_t>HAND_FLAGS == <size_t>pkt:
                return target
            at += 1
    return NONE


cdef inline void note_gone(worker *w, watch_log *log, followed *f) noexcept nogil:
    """It has left the batch."""
    f.seen.to = handed_to(w, log, f.pkt)
    f.seen.verdict = KEPT if f.seen.to == NONE else HAND
    if f.seen.classified == NOT_REACHED:
        f.seen.classified = f.seen.verdict
    f.pkt = NULL


cdef inline void note_connection(worker *w, followed *f, uint32_t entry) noexcept nogil:
    cdef const connection *c
    if entry == NONE or w.table.connections[entry >> 1].state <= STATE_DEAD:
        return
    c = &w.table.connections[entry >> 1]
    f.entry = entry
    connection_ends(&f.seen.ends, c)
    f.seen.has_connection = 1
    f.seen.state = f.seen.state_after = c.state
    f.seen.server = c.server


cdef inline void note_parked(worker *w, followed *f) noexcept nogil:
    """A packet that is to open its connection waits for the server that the round has chosen for it."""
    cdef const server *s
    cdef uint32_t i
    for i in range(w.n_parked):
        if (&w.parked[0])[i].pkt == f.pkt:
            f.seen.server = (&w.parked[0])[i].server
            s = &w.shared.servers[f.seen.server]
            set_end(&f.seen.ends, 3, s.raddr, s.rport)


cdef inline void note_found(worker *w, followed *f, uint32_t i) noexcept nogil:
    cdef const batch *b = &w.batch
    f.seen.classified = b.verdict[i]
    if b.verdict[i] == GO_ON and b.entry[i] != NONE:
        f.seen.found = <uint8_t>(1 + (b.entry[i] & 1))


cdef inline void note_scheduled(worker *w, followed *f, uint32_t i) noexcept nogil:
    cdef const batch *b = &w.batch
    if f.seen.classified != GO_ON:
        return
    f.seen.scheduled = b.verdict[i]
    if b.verdict[i] != HAND and b.verdict[i] != PUNT and b.verdict[i] != GONE:
        note_connection(w, f, b.entry[i])
    if b.verdict[i] == PARK:
        note_parked(w, f)
    if b.verdict[i] == GO_ON:
        f.seen.hop = b.hop[i]


cdef inline void note_rewritten(worker *w, watch_log *log, followed *f, uint32_t i) noexcept nogil:
    cdef batch *b = &w.batch
    if f.entry != NONE:
        f.seen.state_after = w.table.connections[f.entry >> 1].state
    if b.verdict[i] == SEND:
        f.seen.out = b.out[i]
        f.seen.left = view_of(frame_at(b.pkt[i], 0), b.pkt[i].data_len)
        if log.n_sent < SENT:
            (&log.sent[0])[log.n_sent] = b.pkt[i]
            log.n_sent += 1
    elif b.verdict[i] == HAND:
        f.seen.to = b.entry[i]


cdef inline void write_down(const watch *x, watch_log *log, const followed *f, const uint8_t *frame) noexcept nogil:
    """All that can be known of it is known."""
    if is_wanted(x, f.seen.reason) and is_followed(x, &f.seen.view, &f.seen.ends, False):
        log_add(log, &f.seen, frame)


cdef inline uint32_t place_of(const batch *b, const rte_mbuf *pkt, uint32_t begin) noexcept nogil:
    """Of the packet in the batch, which keeps its order; n: it has left."""
    cdef uint32_t i = begin
    while i < b.n and b.pkt[i] != pkt:
        i += 1
    return i


cdef inline void note(worker *w, watch_log *log, followed *f, uint32_t i, uint32_t point) noexcept nogil:
    """What the stages up to this point have made of packet i of the batch."""
    f.seen.verdict = w.batch.verdict[i]
    f.seen.reason = w.batch.reason[i]
    if f.seen.verdict == GONE and f.seen.to == NONE:
        f.seen.to = handed_to(w, log, f.pkt)
    if point == AT_FOUND:
        note_found(w, f, i)
    elif point == AT_SCHEDULED:
        note_scheduled(w, f, i)
    elif point == AT_REWRITTEN:
        note_rewritten(w, log, f, i)


cdef inline void observe(worker *w, const watch *x, uint32_t point) noexcept nogil:
    cdef watch_log *log = (&x.logs[0])[w.id]
    cdef followed *f
    cdef uint32_t k, i, begin = 0
    if point == AT_RECEIVED:
        follow_received(w, x, log)
        return
    for k in range(log.n):
        f = &(&log.followed[0])[k]
        i = place_of(&w.batch, f.pkt, begin) if f.pkt != NULL else w.batch.n
        if i < w.batch.n:
            begin = i + 1
            note(w, log, f, i, point)
        elif f.pkt != NULL:
            note_gone(w, log, f)
        if point == AT_DISPATCHED:
            write_down(x, log, f, log.frames + <size_t>k * x.stride)
    if point == AT_DISPATCHED:
        store_release(&log.head, log.filled)


# ---- frames outside of it ------------------------------------------------------------------------------------------

cdef inline bint sent_by_stages(worker *w, watch_log *log, const rte_mbuf *m) noexcept nogil:
    """Whether it is one of the packets that were followed; it is asked of each once."""
    cdef const rte_mbuf **sent = &log.sent[0]
    cdef uint32_t i
    if log.sent_turn != w.turns:
        return False
    for i in range(log.n_sent):
        if sent[i] == m:
            log.n_sent -= 1
            sent[i] = sent[log.n_sent]
            return True
    return False


cdef inline seen *log_frame(worker *w, const watch *x, watch_log *log, rte_mbuf *m, uint32_t port, uint8_t kind,
                            uint8_t reason) noexcept nogil:
    """If it matches."""
    cdef bint leaves = kind == SEEN_LEFT
    cdef view v = view_of(frame_at(m, 0), m.data_len)
    cdef ends e = own_ends(w, &v, leaves)
    cdef uint32_t entry = entry_of(w, &v, leaves)
    cdef seen s
    if entry != NONE:
        connection_ends(&e, &w.table.connections[entry >> 1])
    if not is_followed(x, &v, &e, False):
        return NULL
    s = begin_record(x, kind, m, port)
    s.view, s.ends, s.reason = v, e, reason
    return log_add(log, &s, frame_at(m, 0))


cdef inline uint32_t send_watched(worker *w, const watch *x, uint32_t port) noexcept nogil:
    """The transmit buffer of a port to its queue; how many it took. Logged before, for then they are the driver's; what it
    did not take is ours still."""
    cdef watch_log *log = (&x.logs[0])[w.id]
    cdef tx_queue *q = &(&w.tx[0])[port]
    cdef seen *logged[32]  # BURST
    cdef uint32_t i, sent
    for i in range(q.n):
        logged[i] = NULL
        if (not sent_by_stages(w, log, q.pkt[i]) or x.all_leaving) and x.reason == NO_REASON:
            logged[i] = log_frame(w, x, log, q.pkt[i], port, SEEN_LEFT, NO_REASON)
    sent = rte_eth_tx_burst(<uint16_t>port, <uint16_t>w.id, q.pkt, <uint16_t>q.n)
    for i in range(sent, q.n):
        if logged[i] != NULL:
            logged[i].reason = TX_FULL
        elif is_wanted(x, TX_FULL):
            log_frame(w, x, log, q.pkt[i], port, SEEN_LEFT, TX_FULL)
    store_release(&log.head, log.filled)
    return sent


cdef inline void log_end(worker *w, const watch *x, rte_mbuf *m, uint8_t kind, uint8_t reason) noexcept nogil:
    cdef watch_log *log = (&x.logs[0])[w.id]
    if is_wanted(x, reason):
        log_frame(w, x, log, m, m.port, kind, reason)
        store_release(&log.head, log.filled)


cdef inline void observe_drop(worker *w, rte_mbuf *m, bint leaves, uint8_t reason) noexcept nogil:
    """A frame that is dropped outside the batch, by mbuf.port: on its way out, or after it had waited."""
    cdef const watch *x = <const watch *>w.shared.watch
    if x != NULL:
        log_end(w, x, m, SEEN_LEFT if leaves else SEEN_ENDED, reason)
