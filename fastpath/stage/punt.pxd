"""punt: what is not a virtual service's goes to the kernel interface of its port, and what the kernel sends leaves (B9).

Frames cross by copying through a pair of rings (table/frame_ring.pxd), so that the kernel loop touches no mempool and no
port. The worker wakes that loop only when it says that it sleeps.
"""

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy

from fastpath.dpdk.mbuf cimport rte_mbuf, rte_pktmbuf_alloc, rte_pktmbuf_append
from fastpath.layout cimport (
    BURST, KERNEL_RING_FULL, KERNEL_TOO_LONG, NO_KERNEL_INTERFACE, NO_MBUF, PUNT, batch, frame_ring, port, worker)
from fastpath.net.frame cimport frame_at
from fastpath.table.batch cimport drop
from fastpath.table.bell cimport ring_bell
from fastpath.table.frame_ring cimport full_fence, ring_front, ring_is_empty, ring_release, ring_write
from fastpath.table.tx cimport tx_add

cdef inline void punt(worker *w) noexcept nogil:
    cdef batch *b = &w.batch
    cdef port *p
    cdef uint32_t i, copied = 0
    for i in range(b.n):
        if b.verdict[i] != PUNT:
            continue
        p = &w.shared.ports[b.pkt[i].port]
        if not p.kernel_attached:
            b.verdict[i] = drop(b, i, NO_KERNEL_INTERFACE)
        elif b.pkt[i].data_len > p.to_kernel[w.id].frame_max:
            b.verdict[i] = drop(b, i, KERNEL_TOO_LONG)
        elif not ring_write(p.to_kernel[w.id], frame_at(b.pkt[i], 0), b.pkt[i].data_len):
            b.verdict[i] = drop(b, i, KERNEL_RING_FULL)
        else:
            w.ports[b.pkt[i].port].kernel_rx += 1
            copied += 1
    if copied:
        full_fence()
        ring_bell(&w.shared.kernel_bell)


cdef inline void send_for_kernel(worker *w, uint32_t port_number) noexcept nogil:
    """At most a burst a turn of what the kernel sends on this port."""
    cdef frame_ring *r = w.shared.ports[port_number].from_kernel[w.id]
    cdef uint32_t taken = 0, length
    cdef uint8_t *frame
    cdef rte_mbuf *m
    while taken < BURST and not ring_is_empty(r):
        frame = ring_front(r, &length)
        m = rte_pktmbuf_alloc(w.pool)
        if m == NULL:
            w.drops[NO_MBUF] += 1
        else:
            memcpy(rte_pktmbuf_append(m, <unsigned short>length), frame, length)
            tx_add(w, port_number, m)
            w.ports[port_number].kernel_tx += 1
        ring_release(r)
        taken += 1
