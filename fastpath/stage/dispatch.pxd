"""dispatch: carry out the verdicts. Every packet leaves here: sent, handed to the worker that owns it, freed after its copy
went to the kernel, or dropped under its one reason; unless it waits in the parking, or has gone with a note."""

from libc.stdint cimport uint32_t

from fastpath.dpdk.eal cimport unlikely
from fastpath.dpdk.mbuf cimport rte_pktmbuf_free
from fastpath.layout cimport DROP, HAND, NO_MBUF, PARK, SEND, SPLIT, batch, worker
from fastpath.table.batch cimport count_drop, drop
from fastpath.table.hand_ring cimport give, hand_publish
from fastpath.table.split cimport is_long, split
from fastpath.table.tx cimport tx_add, tx_flush

cdef extern from *:
    """
    static inline void __pyx_f_8fastpath_5stage_8dispatch_dispatch_one(struct worker *, uint32_t) APART;
    static inline void __pyx_f_8fastpath_5stage_8dispatch_mark_long(struct worker *) APART RARE;
    """


cdef inline void dispatch_one(worker *w, uint32_t i) noexcept nogil:
    """A packet that is not simply sent."""
    cdef batch *b = &w.batch
    if b.verdict[i] >= PARK:  # it stays, or has gone
        return
    if b.verdict[i] == HAND:
        b.verdict[i] = give(w, i)
        if b.verdict[i] == HAND:
            return
    if b.verdict[i] == SPLIT and not split(w, i):
        b.verdict[i] = drop(b, i, NO_MBUF)
    if b.verdict[i] == DROP:
        count_drop(w, b.pkt[i].port, b.reason[i])
    rte_pktmbuf_free(b.pkt[i])


cdef inline void mark_long(worker *w) noexcept nogil:
    """The batch has some that are too long for their way out."""
    cdef batch *b = &w.batch
    cdef uint32_t i
    b.n_long = 0
    for i in range(b.n):
        if b.verdict[i] == SEND and is_long(w, i):
            b.verdict[i] = SPLIT


cdef inline void dispatch(worker *w) noexcept nogil:
    cdef batch *b = &w.batch
    cdef uint32_t i
    if unlikely(b.n_long):
        mark_long(w)
    for i in range(b.n):
        if b.verdict[i] == SEND:
            tx_add(w, b.out[i], b.pkt[i])
        else:
            dispatch_one(w, i)


cdef inline void flush(worker *w) noexcept nogil:
    cdef uint32_t port
    for port in range(w.shared.n_ports):
        if w.tx[port].n:
            tx_flush(w, port)
    hand_publish(w)
