"""rx: packets into the batch: those of one port, or those that were here before: parked, or handed over by another worker. The
first line of every frame is on its way when classify begins."""

from libc.stdint cimport uint16_t, uint32_t

from fastpath.dpdk.eal cimport rte_prefetch0, unlikely
from fastpath.dpdk.ethdev cimport rte_eth_rx_burst
from fastpath.dpdk.mbuf cimport rte_mbuf
from fastpath.layout cimport BRINGS_ALL, BURST, HAND_FLAGS, HAND_SEND, batch, worker
from fastpath.net.frame cimport frame_at
from fastpath.table.gather cimport take_again
from fastpath.table.hand_ring cimport hand_take
from fastpath.table.parking cimport leave_parking, parking_is_due
from fastpath.table.tx cimport tx_add


cdef inline void collect_from(worker *w, uint32_t source) noexcept nogil:
    """What one other worker has handed over, as much as the batch holds; what is only to be sent goes on at once."""
    cdef batch *b = &w.batch
    cdef size_t slots[32]  # BURST
    cdef rte_mbuf *m
    cdef uint32_t i, n = hand_take(w.hand_from[source], slots, BURST - b.n)
    w.handed_in += n
    for i in range(n):
        m = <rte_mbuf *>(slots[i] & ~<size_t>HAND_FLAGS)
        if unlikely(slots[i] & HAND_FLAGS):
            if slots[i] & HAND_SEND:
                tx_add(w, m.port, m)
                continue
            b.noted |= <uint32_t>1 << b.n
        b.pkt[b.n] = m
        b.n += 1


cdef inline void collect_fragments(worker *w) noexcept nogil:
    """Those that waited for their first one, as many as the batch holds."""
    cdef batch *b = &w.batch
    cdef uint32_t i, n = take_again(w, &b.pkt[b.n], BURST - b.n)
    for i in range(b.n, b.n + n):
        b.noted |= <uint32_t>1 << i
    b.n += n


cdef inline uint32_t next_source(const worker *w, uint32_t source) noexcept nogil:
    """The next of the other workers, in a circle."""
    source = source + 1 if source + 1 < w.shared.n_workers else 0
    if source != w.id:
        return source
    return source + 1 if source + 1 < w.shared.n_workers else 0


cdef inline uint32_t collect(worker *w) noexcept nogil:
    """The batch of packets that were received before. All other workers are looked at, each time another one first."""
    cdef batch *b = &w.batch
    cdef uint32_t i
    b.noted = 0
    b.n = b.n_parked = leave_parking(w) if unlikely(w.n_parked) else 0
    if unlikely(w.gather.again != NULL):
        collect_fragments(w)
    for i in range(1, w.shared.n_workers):
        w.first_source = next_source(w, w.first_source)
        if b.n < BURST:
            collect_from(w, w.first_source)
    w.first_source = next_source(w, w.first_source)
    b.fresh = False
    b.brings = BRINGS_ALL
    return b.n


cdef inline uint32_t receive(worker *w, uint32_t port) noexcept nogil:
    """The batch of what comes in by this port. A bond, and rings, leave mbuf.port as it was: we say whose it is."""
    cdef batch *b = &w.batch
    cdef uint32_t i
    if unlikely(w.n_parked) and parking_is_due(w):
        return 0  # what waited goes first, and there is more of it than a batch holds
    b.n_parked = b.noted = 0
    b.fresh = True
    b.brings = w.shared.ports[port].brings
    b.n = rte_eth_rx_burst(<uint16_t>port, <uint16_t>w.id, b.pkt, BURST)
    for i in range(b.n):
        b.pkt[i].port = <uint16_t>port
        rte_prefetch0(frame_at(b.pkt[i], 0))
    return b.n
