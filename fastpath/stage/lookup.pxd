"""lookup: tuple -> connection and direction. Two passes, so that each memory access was asked for a pass earlier."""

from libc.stdint cimport uint32_t

from fastpath.dpdk.eal cimport rte_prefetch0
from fastpath.layout cimport GO_ON, NONE, batch, connection, worker
from fastpath.table.connection cimport entry_is, find, first_candidate, prefetch_connection


cdef inline void guess(worker *w, uint32_t i) noexcept nogil:
    w.batch.entry[i] = first_candidate(&w.table, w.batch.hash[i])
    if w.batch.entry[i] != NONE:
        prefetch_connection(&w.table, w.batch.entry[i])


cdef inline void verify(worker *w, uint32_t i) noexcept nogil:
    cdef batch *b = &w.batch
    cdef const connection *c
    if b.entry[i] == NONE or not entry_is(&w.table, b.entry[i], b.addrs[i], b.ports[i]):
        b.entry[i] = find(&w.table, b.addrs[i], b.ports[i], b.hash[i])
        if b.entry[i] == NONE:
            return
    c = &w.table.connections[b.entry[i] >> 1]
    rte_prefetch0(&w.server_counts[c.server])
    rte_prefetch0(&w.shared.servers[c.server])


cdef inline void lookup(worker *w) noexcept nogil:
    cdef batch *b = &w.batch
    cdef uint32_t i
    for i in range(b.n):
        if b.verdict[i] == GO_ON:
            guess(w, i)
    for i in range(b.n):
        if b.verdict[i] == GO_ON:
            verify(w, i)
