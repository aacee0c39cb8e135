"""answer: the mailbox. A question from the main thread is answered a few entries a turn, between packets.

Each verb does a part of its work and says whether that was the last; where it stands is in the verb itself.
"""

from libc.stdint cimport uint32_t
from libc.string cimport memcpy

from fastpath.dpdk.mbuf cimport rte_mbuf, rte_pktmbuf_alloc, rte_pktmbuf_append
from fastpath.layout cimport (
    END_CLIENT, END_LOCAL, END_REAL, END_VIRTUAL, INBOUND, NO_MBUF, NONE, OUTBOUND, SERVER_RESET, VERB_FIND, VERB_SWEEP,
    connection, flow, match, verb, worker)
from fastpath.net.frame cimport load32
from fastpath.table.frame_ring cimport load_acquire, store_release
from fastpath.table.match cimport end_matches
from fastpath.table.reset cimport reset_connection
from fastpath.table.tcp_state cimport STATE_DEAD, STATE_RESET
from fastpath.table.tx cimport tx_add

cdef extern from *:
    """
    enum { ANSWER_ENTRIES = 16 }; /* entries looked at a turn: as much memory as half a burst touches */
    static inline struct verb *take_verb(struct verb **box) { return __atomic_load_n(box, __ATOMIC_ACQUIRE); }
    static inline void clear_verb(struct verb **box) { __atomic_store_n(box, NULL, __ATOMIC_RELAXED); }
    """
    enum:
        ANSWER_ENTRIES
    verb *take_verb(verb **box) noexcept nogil
    void clear_verb(verb **box) noexcept nogil


cdef inline bint matches(const verb *v, const connection *c) noexcept nogil:
    """All conditions hold: each for one of its ends."""
    cdef const flow *client = &c.flow[INBOUND]
    cdef const flow *real = &c.flow[OUTBOUND]
    cdef const match *m
    cdef uint32_t i
    for i in range(v.n_matches):
        m = &v.matches[i]
        if not (end_matches(m, END_CLIENT, client.saddr, client.sport)
                or end_matches(m, END_VIRTUAL, client.daddr, client.dport)
                or end_matches(m, END_LOCAL, real.daddr, real.dport)
                or end_matches(m, END_REAL, real.saddr, real.sport)):
            return False
    return True


cdef inline bint is_wanted(const worker *w, const verb *v, const connection *c) noexcept nogil:
    return c.state > STATE_DEAD and (v.protocol == 0 or v.protocol == c.protocol) and (
        v.max_idle == NONE or w.now - c.last_seen <= v.max_idle) and matches(v, c)


cdef inline bint find_connections(worker *w, verb *v) noexcept nogil:
    """Copy those that are wanted, from `cursor` on, until `limit` rows, or `entries` were looked at, or the end (cursor 0)."""
    cdef uint32_t budget = ANSWER_ENTRIES
    cdef const connection *c
    while budget and v.entries and v.n < v.limit and v.cursor < w.table.region.high_water:
        c = &w.table.connections[v.cursor]
        if is_wanted(w, v, c):
            v.rows[v.n] = c[0]
            v.n += 1
        v.cursor += 1
        v.entries -= 1
        budget -= 1
    if v.cursor >= w.table.region.high_water:
        v.cursor = 0
        return True
    return v.entries == 0 or v.n == v.limit


cdef inline bint sweep(worker *w, verb *v) noexcept nogil:
    """Reset the connections of servers that were removed with that wish (cursor 0: all of them), no faster than any transmit
    queue takes the RSTs: an idle end that misses its own hears of nothing."""
    cdef uint32_t budget = ANSWER_ENTRIES
    cdef const connection *c
    if v.now != w.now:
        v.now = w.now
        v.entries = v.limit
    while budget and v.entries and v.cursor < w.table.region.high_water:
        c = &w.table.connections[v.cursor]
        if c.state > STATE_RESET and w.shared.servers[c.server].removed == SERVER_RESET:
            reset_connection(w, v.cursor)
            v.n += 1
            v.entries -= 1
        v.cursor += 1
        budget -= 1
    if v.cursor >= w.table.region.high_water:
        v.cursor = 0
        return True
    return v.entries == 0 and load_acquire(&v.hurry)


cdef inline bint send_frames(worker *w, verb *v) noexcept nogil:
    """Out of a port, as they are."""
    cdef uint32_t budget = ANSWER_ENTRIES
    cdef uint32_t length
    cdef rte_mbuf *m
    while budget and v.entries:
        length = load32(v.frames + v.cursor)
        m = rte_pktmbuf_alloc(w.pool)
        if m == NULL:
            w.drops[NO_MBUF] += 1
        else:
            memcpy(rte_pktmbuf_append(m, <unsigned short>length), v.frames + v.cursor + 4, length)
            tx_add(w, v.port, m)
            v.n += 1
        v.cursor += 4 + length
        v.entries -= 1
        budget -= 1
    return v.entries == 0


cdef inline void answer(worker *w) noexcept nogil:
    cdef verb *v = take_verb(&w.verb)
    cdef bint done
    if v == NULL:
        return
    if v.kind == VERB_FIND:
        done = find_connections(w, v)
    elif v.kind == VERB_SWEEP:
        done = sweep(w, v)
    else:
        done = send_frames(w, v)
    if done:
        v.now = w.now
        clear_verb(&w.verb)
        store_release(&v.done, 1)
