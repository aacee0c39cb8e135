"""Transmit buffers: one a port, flushed when a burst is full and at the end of the turn."""

from libc.stdint cimport uint16_t, uint32_t

from fastpath.dpdk.ethdev cimport rte_eth_tx_burst
from fastpath.dpdk.mbuf cimport rte_mbuf, rte_pktmbuf_free
from fastpath.layout cimport BURST, TX_FULL, tx_queue, worker


cdef inline void tx_flush(worker *w, uint32_t port) noexcept nogil:
    cdef tx_queue *q = &w.tx[port]
    cdef uint32_t sent = rte_eth_tx_burst(<uint16_t>port, <uint16_t>w.id, q.pkt, <uint16_t>q.n)
    cdef uint32_t i
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
