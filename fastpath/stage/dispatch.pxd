"""dispatch: carry out the verdicts. Every packet leaves here: sent, handed to the worker that owns it, freed after its copy
went to the kernel, or dropped under its one reason; unless it waits in the parking, or has gone to another worker with a note."""

from libc.stdint cimport uint32_t

from fastpath.dpdk.mbuf cimport rte_pktmbuf_free
from fastpath.layout cimport DROP, HAND, PARK, SEND, batch, worker
from fastpath.table.batch cimport count_drop
from fastpath.table.hand_ring cimport give, hand_publish
from fastpath.table.tx cimport tx_add, tx_flush


cdef inline void dispatch_one(worker *w, uint32_t i) noexcept nogil:
    """A packet that stays here no longer."""
    cdef batch *b = &w.batch
    if b.verdict[i] == HAND:
        b.verdict[i] = give(w, i)
        if b.verdict[i] == HAND:
            return
    if b.verdict[i] == DROP:
        count_drop(w, b.pkt[i].port, b.reason[i])
    rte_pktmbuf_free(b.pkt[i])


cdef inline void dispatch(worker *w) noexcept nogil:
    cdef batch *b = &w.batch
    cdef uint32_t i
    for i in range(b.n):
        if b.verdict[i] == SEND:
            tx_add(w, b.out[i], b.pkt[i])
        elif b.verdict[i] < PARK:
            dispatch_one(w, i)


cdef inline void flush(worker *w) noexcept nogil:
    cdef uint32_t port
    for port in range(w.shared.n_ports):
        if w.tx[port].n:
            tx_flush(w, port)
    hand_publish(w)
