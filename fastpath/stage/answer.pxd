"""answer: the mailbox. A question from the main thread is answered a few entries a turn, between packets."""

from libc.stdint cimport uint32_t

from fastpath.layout cimport connection, verb, worker
from fastpath.table.frame_ring cimport store_release
from fastpath.table.tcp_state cimport STATE_DEAD

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


cdef inline void answer(worker *w) noexcept nogil:
    """Copy connections of the asked protocol from `cursor` on, until `limit` rows or the end (cursor 0)."""
    cdef verb *v = take_verb(&w.shared.verbs[w.id])
    cdef uint32_t entries = ANSWER_ENTRIES
    cdef connection *c
    if v == NULL:
        return
    while entries and v.n < v.limit and v.cursor < w.table.region.high_water:
        c = &w.table.connections[v.cursor]
        if c.state > STATE_DEAD and c.protocol == v.protocol:
            v.rows[v.n] = c[0]
            v.n += 1
        v.cursor += 1
        entries -= 1
    if v.n < v.limit and v.cursor < w.table.region.high_water:
        return
    if v.cursor >= w.table.region.high_water:
        v.cursor = 0
    clear_verb(&w.shared.verbs[w.id])
    store_release(&v.done, 1)
