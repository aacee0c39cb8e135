"""Transmit buffers: one a port, flushed when a burst is full and at the end of the turn."""

from libc.stdint cimport uint16_t, uint32_t

from fastpath.dpdk.eal cimport unlikely
from fastpath.dpdk.ethdev cimport rte_eth_tx_burst
from fastpath.dpdk.mbuf cimport rte_mbuf, rte_pktmbuf_free
from fastpath.layout cimport BURST, HAND_SEND, HANDOVER_FULL, TX_FULL, tx_queue, worker
from fastpath.table.hand_ring cimport hand_over
from fastpath.table.watch cimport observe_drop, send_watched, watch


cdef extern from *:
    """
    static inline void __pyx_f_8fastpath_5table_2tx_tx_flush(struct worker *, uint32_t) APART;
    """


cdef inline void tx_by_other(worker *w, uint32_t port) noexcept nogil:
    """The port has fewer transmit queues than there are workers, and none is ours: one that has one sends."""
    cdef tx_queue *q = &w.tx[port]
    cdef uint32_t i
    for i in range(q.n):
        q.pkt[i].port = <uint16_t>port
        if not hand_over(w, q.via, q.pkt[i], HAND_SEND):
            observe_drop(w, q.pkt[i], True, HANDOVER_FULL)
            rte_pktmbuf_free(q.pkt[i])
            w.ports[port].tx_dropped += 1
            w.drops[HANDOVER_FULL] += 1
    q.n = 0


cdef inline void tx_flush(worker *w, uint32_t port) noexcept nogil:
    cdef tx_queue *q = &w.tx[port]
    cdef uint32_t sent, i
    if unlikely(q.via != w.id):
        tx_by_other(w, port)
        return
    if unlikely(w.shared.watch != NULL):
        sent = send_watched(w, <const watch *>w.shared.watch, port)
    else:
        sent = rte_eth_tx_burst(<uint16_t>port, <uint16_t>w.id, q.pkt, <uint16_t>q.n)
    for i in range(sent, q.n):
        rte_pktmbuf_free(q.pkt[i])
    w.ports[port].tx_dropped += q.n - sent
    w.drops[TX_FULL] += q.n - sent
    q.n = 0


cdef inline void tx_add(worker *w, uint32_t port, rte_mbuf *m) noexcept nogil:
    cdef tx_queue *q = &w.tx[port]
    q.pkt[q.n] = m
    q.n += 1
    if q.n == BURST:
        tx_flush(w, port)
