"""rx: a burst of one port into the batch, what was parked before what is new; the first line of every frame is on its way
when classify begins."""

from libc.stdint cimport uint16_t, uint32_t

from fastpath.dpdk.eal cimport rte_prefetch0, unlikely
from fastpath.dpdk.ethdev cimport rte_eth_rx_burst
from fastpath.layout cimport BURST, batch, worker
from fastpath.net.frame cimport frame_at
from fastpath.table.parking cimport leave_parking


cdef inline uint32_t receive(worker *w, uint32_t port) noexcept nogil:
    cdef batch *b = &w.batch
    cdef uint32_t i
    b.port = port
    b.n_parked = leave_parking(w, port) if unlikely(w.n_parked) else 0
    b.n = b.n_parked
    if b.n < BURST:
        b.n += rte_eth_rx_burst(<uint16_t>port, <uint16_t>w.id, &b.pkt[b.n], <uint16_t>(BURST - b.n))
    for i in range(b.n):
        rte_prefetch0(frame_at(b.pkt[i], 0))
    return b.n
