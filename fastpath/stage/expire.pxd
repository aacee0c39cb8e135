"""expire: a bounded number of timer visits a turn, and the entries that this turn's packets retired."""

from libc.stdint cimport int32_t, uint32_t

from fastpath.dpdk.eal cimport unlikely
from fastpath.layout cimport (
    LIST_DEAD, LIST_HALF_OPEN, LIST_HEADS, WHEEL_SHIFT, WHEEL_SLOTS, table, worker)
from fastpath.table.connection cimport connection_give
from fastpath.table.gather cimport forget_due, oldest_is_due
from fastpath.table.node cimport list_is_empty, list_pop
from fastpath.table.timer cimport is_due, retire, timer_set, timer_unset

cdef extern from *:
    """enum { VISITS = 8, EMPTY_SLOTS = 256 /* a turn, after a pause of the machine */ };"""
    enum:
        VISITS, EMPTY_SLOTS


cdef inline void visit(worker *w, uint32_t index) noexcept nogil:
    if is_due(w.shared, &w.table.connections[index], w.now):
        retire(w, index)
    else:
        timer_unset(&w.table, index)
        timer_set(&w.table, w.shared, index)


cdef inline bint wheel_is_behind(const worker *w) noexcept nogil:
    """Slots count modulo 2^22 (32 bits of milliseconds over 1,024): shifting the difference up keeps its sign."""
    return <int32_t>(((w.now >> WHEEL_SHIFT) - w.table.region.wheel_time) << WHEEL_SHIFT) >= 0


cdef inline bint half_open_is_due(worker *w) noexcept nogil:
    cdef uint32_t first = w.table.nodes[LIST_HALF_OPEN].next
    return first != LIST_HALF_OPEN and is_due(w.shared, &w.table.connections[first - LIST_HEADS], w.now)


cdef inline void free_dead(worker *w) noexcept nogil:
    cdef table *t = &w.table
    cdef uint32_t index
    while not list_is_empty(t.nodes, LIST_DEAD):
        index = list_pop(t.nodes, LIST_DEAD) - LIST_HEADS
        w.server_counts[t.connections[index].server].active -= 1
        connection_give(t, index)


cdef inline void expire(worker *w, uint32_t packets) noexcept nogil:
    """A few visits a turn, and one more for each packet: however fast connections are opened, they expire as fast."""
    cdef table *t = &w.table
    cdef uint32_t budget = VISITS + packets
    cdef uint32_t slots = EMPTY_SLOTS
    cdef uint32_t slot
    while budget and slots and wheel_is_behind(w):
        slot = t.region.wheel_time & (WHEEL_SLOTS - 1)
        if list_is_empty(t.nodes, slot):
            t.region.wheel_time += 1
            slots -= 1
        else:
            visit(w, t.nodes[slot].next - LIST_HEADS)
            budget -= 1
    while budget and half_open_is_due(w):
        retire(w, t.nodes[LIST_HALF_OPEN].next - LIST_HEADS)
        budget -= 1
    free_dead(w)
    if unlikely(oldest_is_due(w)):
        forget_due(w)
