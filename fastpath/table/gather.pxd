"""Fragments find their connection (B35): those of one datagram meet at one worker (fragment_home), and what comes before the
first one, which alone has the ports, waits for it: a few, for a bounded time. Nothing is put together: each fragment goes on by
itself, with the ports that were learnt. Their identification is ours from here on: clients behind one local address, and
servers behind one virtual address, choose theirs without knowing of each other (RFC 6864).

Which parts of a datagram have come stands in a map of eight-byte units. What is there already is dropped; what is there in part
condemns the datagram (RFC 5722): its end will never have it whole.

Owner: the worker. Datagrams stand in a ring, oldest first, and in chains by their hash.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from fastpath.dpdk.mbuf cimport rte_mbuf, rte_pktmbuf_free
from fastpath.layout cimport (
    DATAGRAM_CONDEMNED, DATAGRAM_FREE, DATAGRAM_MS, DATAGRAM_WAITS, DATAGRAMS, FRAGMENT_EXPIRED,
    FRAGMENT_FULL, HELD, HELD_DATAGRAM, datagram, gather, worker)
from fastpath.net.checksum cimport difference, update
from fastpath.net.frame cimport load16, load64, store16
from fastpath.net.hash cimport hash2
from fastpath.net.headers cimport IPV4_CHECKSUM, IPV4_ID, IPV4_PROTOCOL, IPV4_SRC, PROTO_ICMP
from fastpath.table.batch cimport count_drop
from fastpath.table.ip_id cimport next_ip_id
from fastpath.table.watch cimport observe_drop

cdef extern from *:
    """
    enum { NOTHING_THERE, ALL_THERE, PART_THERE };
    """
    enum:
        NOTHING_THERE, ALL_THERE, PART_THERE


cdef inline void drop_waiting(worker *w, datagram *d, uint8_t reason) noexcept nogil:
    """Those that wait for the first fragment."""
    cdef rte_mbuf *m = d.waiting
    cdef rte_mbuf *following
    while m != NULL:
        following = m.next
        m.next = NULL
        observe_drop(w, m, False, reason)
        count_drop(w, m.port, reason)
        rte_pktmbuf_free(m)
        m = following
    w.gather.n_held -= d.n_waiting
    d.waiting = d.last_waiting = NULL
    d.n_waiting = 0


cdef inline void condemn(worker *w, datagram *d, uint8_t reason) noexcept nogil:
    """Nothing of this datagram goes on any more."""
    drop_waiting(w, d, reason)
    d.state = DATAGRAM_CONDEMNED


cdef inline void forget(worker *w, datagram *d, uint8_t reason) noexcept nogil:
    """Out of its chain; what still waits is dropped."""
    cdef uint16_t *link = &w.gather.chains[d.chain]
    while &w.gather.datagrams[link[0]] != d:
        link = &w.gather.datagrams[link[0]].following
    link[0] = d.following
    drop_waiting(w, d, reason)
    d.state = DATAGRAM_FREE


cdef inline bint oldest_is_due(const worker *w) noexcept nogil:
    cdef const gather *g = w.gather
    return g.oldest != g.newest and w.now - g.datagrams[g.oldest & (DATAGRAMS - 1)].since >= DATAGRAM_MS


cdef inline void forget_oldest(worker *w, uint8_t reason) noexcept nogil:
    forget(w, &w.gather.datagrams[w.gather.oldest & (DATAGRAMS - 1)], reason)
    w.gather.oldest += 1


cdef inline datagram *datagram_of(worker *w, const uint8_t *ip) noexcept nogil:
    """The one that this fragment belongs to, a new one if none is there: the oldest makes room."""
    cdef gather *g = w.gather
    cdef uint64_t addrs = load64(ip + IPV4_SRC)
    cdef uint16_t id = load16(ip + IPV4_ID)
    cdef uint16_t chain = <uint16_t>(hash2(addrs, <uint64_t>id << 8 | ip[IPV4_PROTOCOL], w.table.hash_key[1],
                                           w.table.hash_key[0]) & (DATAGRAMS - 1))
    cdef uint16_t at = g.chains[chain]
    cdef datagram *d
    while at != DATAGRAMS:
        d = &g.datagrams[at]
        if d.addrs == addrs and d.id == id and d.protocol == ip[IPV4_PROTOCOL]:
            return d
        at = d.following
    if g.newest - g.oldest == DATAGRAMS:
        forget_oldest(w, FRAGMENT_FULL)
    at = g.newest & (DATAGRAMS - 1)
    g.newest += 1
    d = &g.datagrams[at]
    memset(d, 0, sizeof(datagram))
    d.addrs = addrs
    d.id = id
    d.new_id = id if ip[IPV4_PROTOCOL] == PROTO_ICMP else next_ip_id(w)  # its echo is to one that knows its own
    d.protocol = ip[IPV4_PROTOCOL]
    d.state = DATAGRAM_WAITS
    d.since = w.now
    d.chain = chain
    d.following = g.chains[chain]
    g.chains[chain] = at
    return d


cdef inline uint32_t take_place(datagram *d, uint32_t first, uint32_t end) noexcept nogil:
    """Eight-byte units [first, end) of the datagram have come: how much of them had before."""
    cdef uint32_t unit, there = 0
    for unit in range(first, end):
        there += d.seen[unit >> 6] >> (unit & 63) & 1
    if there == 0:
        for unit in range(first, end):
            d.seen[unit >> 6] |= <uint64_t>1 << (unit & 63)
        return NOTHING_THERE
    return ALL_THERE if there == end - first else PART_THERE


cdef inline void rename(const datagram *d, uint8_t *ip) noexcept nogil:
    store16(ip + IPV4_CHECKSUM, update(load16(ip + IPV4_CHECKSUM), difference(d.id, d.new_id)))
    store16(ip + IPV4_ID, d.new_id)


cdef inline bint hold(worker *w, datagram *d, rte_mbuf *m) noexcept nogil:
    """It waits for the first fragment; False: too many do."""
    if w.gather.n_held == HELD or d.n_waiting == HELD_DATAGRAM:
        return False
    if d.waiting == NULL:
        d.waiting = m
    else:
        d.last_waiting.next = m
    d.last_waiting = m
    d.n_waiting += 1
    w.gather.n_held += 1
    return True


cdef inline rte_mbuf *next_waiting(worker *w, datagram *d) noexcept nogil:
    """The first comes first; NULL: none waits any longer."""
    cdef rte_mbuf *m = d.waiting
    if m == NULL:
        return NULL
    d.waiting = m.next
    d.n_waiting -= 1
    w.gather.n_held -= 1
    m.next = NULL
    return m


cdef inline void receive_again(worker *w, rte_mbuf *m) noexcept nogil:
    """With a note: into one of the next batches."""
    if w.gather.again == NULL:
        w.gather.again = m
    else:
        w.gather.last_again.next = m
    w.gather.last_again = m


cdef inline uint32_t take_again(worker *w, rte_mbuf **pkt, uint32_t room) noexcept nogil:
    """At most `room` of those; how many."""
    cdef rte_mbuf *m = w.gather.again
    cdef uint32_t n = 0
    while m != NULL and n < room:
        pkt[n] = m
        m = m.next
        pkt[n].next = NULL
        n += 1
    w.gather.again = m
    return n


cdef inline void forget_due(worker *w) noexcept nogil:
    """A few a turn."""
    cdef uint32_t budget = 8
    while budget and oldest_is_due(w):
        forget_oldest(w, FRAGMENT_EXPIRED)
        budget -= 1


cdef inline void empty_gather(worker *w) noexcept nogil:
    """Nobody waits any longer: the worker does not run."""
    cdef rte_mbuf *m
    while w.gather.oldest != w.gather.newest:
        forget_oldest(w, FRAGMENT_EXPIRED)
    while take_again(w, &m, 1):
        count_drop(w, m.port, FRAGMENT_EXPIRED)
        rte_pktmbuf_free(m)
