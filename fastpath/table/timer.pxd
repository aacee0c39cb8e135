"""When to look at a connection again.

A packet writes `last_seen` and nothing else. The wheel visits a connection when it would be due had it stayed silent, and
moves it to its new due time if it did not: at most one visit a timeout. Half-open connections stand in a list of their
own, oldest first, so that a flood recycles them before it touches anything else. Times are the worker's milliseconds,
modulo 2^32; the wheel's slots divide that evenly.
"""

from libc.stdint cimport int32_t, uint8_t, uint32_t

from fastpath.layout cimport (
    INBOUND, LIST_DEAD, LIST_HALF_OPEN, LIST_HEADS, OUTBOUND, WHEEL_SHIFT, WHEEL_SLOTS, connection, shared, table, worker)
from fastpath.table.connection cimport connection_unindex
from fastpath.table.limit cimport count_living
from fastpath.table.load cimport count_state
from fastpath.table.node cimport list_append, list_unlink
from fastpath.table.tcp_state cimport STATE_DEAD, STATE_HELD, half_open, state_timeout, timeout_of

cdef extern from *:
    """
    static inline void __pyx_f_8fastpath_5table_5timer_change_state(struct worker *, uint32_t, uint8_t) APART;
    static inline void __pyx_f_8fastpath_5table_5timer_retire(struct worker *, uint32_t) APART;
    """


cdef inline uint32_t wheel_slot(const table *t, uint32_t due) noexcept nogil:
    """The slot that is visited once `due` has passed; beyond the horizon, the last one (the visit then moves it on)."""
    cdef uint32_t slot = (due + (1 << WHEEL_SHIFT) - 1) >> WHEEL_SHIFT
    cdef uint32_t ahead = (slot - t.region.wheel_time) & ((1 << (32 - WHEEL_SHIFT)) - 1)
    if ahead >= WHEEL_SLOTS:
        # A due time in the past reads as one far ahead: half the circle tells them apart.
        slot = t.region.wheel_time if ahead >> (31 - WHEEL_SHIFT) else t.region.wheel_time + WHEEL_SLOTS - 1
    return slot & (WHEEL_SLOTS - 1)


cdef inline void timer_set(table *t, const shared *s, uint32_t index) noexcept nogil:
    """Put a connection that is in no list where its state and last_seen say."""
    cdef connection *c = &t.connections[index]
    if half_open[c.state]:
        t.region.half_open += 1
        list_append(t.nodes, LIST_HALF_OPEN, index + LIST_HEADS)
    else:
        list_append(t.nodes, wheel_slot(t, c.last_seen + timeout_of(s, c)), index + LIST_HEADS)


cdef inline void timer_unset(table *t, uint32_t index) noexcept nogil:
    if half_open[t.connections[index].state]:
        t.region.half_open -= 1
    list_unlink(t.nodes, index + LIST_HEADS)


cdef inline void change_state(worker *w, uint32_t index, uint8_t state) noexcept nogil:
    """The timer moves only where the new state has another timeout or another list."""
    cdef table *t = &w.table
    cdef connection *c = &t.connections[index]
    count_state(&w.server_counts[c.server], c.state, state)
    count_living(w, c, state)
    if state_timeout[state] == state_timeout[c.state] and half_open[state] == half_open[c.state]:
        c.state = state
        return
    timer_unset(t, index)
    c.state = state
    timer_set(t, w.shared, index)


cdef inline void retire(worker *w, uint32_t index) noexcept nogil:
    """Out of the index at once; the entry itself is free at the end of the turn, since packets of this burst may hold it."""
    cdef table *t = &w.table
    cdef connection *c = &t.connections[index]
    if c.state != STATE_HELD:
        connection_unindex(t, index, INBOUND)
    connection_unindex(t, index, OUTBOUND)
    timer_unset(t, index)
    count_state(&w.server_counts[c.server], c.state, STATE_DEAD)
    count_living(w, c, STATE_DEAD)
    c.state = STATE_DEAD
    list_append(t.nodes, LIST_DEAD, index + LIST_HEADS)


cdef inline void hold(worker *w, uint32_t index) noexcept nogil:
    """A connection in TIME_WAIT makes way for its client's next one. Its timeout stays as it was."""
    connection_unindex(&w.table, index, INBOUND)
    change_state(w, index, STATE_HELD)


cdef inline bint is_due(const shared *s, const connection *c, uint32_t now) noexcept nogil:
    return <int32_t>(now - c.last_seen - timeout_of(s, c)) >= 0
