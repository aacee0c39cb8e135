"""Packets from the worker that got them to the one that owns them: a ring for each pair, one producer, one consumer.

Nothing is copied: whoever takes a packet out owns its buffer. The producer fills slots while its turn lasts and publishes
them at its end (hand_publish), so that the line that both look at moves once a turn. Full: the packet is the producer's still.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fastpath.dpdk.eal cimport rte_prefetch0
from fastpath.dpdk.mbuf cimport rte_mbuf
from fastpath.layout cimport HAND, HAND_FLAGS, HAND_SLOTS, HANDOVER_FULL, hand_ring, worker
from fastpath.table.batch cimport drop
from fastpath.table.bell cimport ring_bell
from fastpath.table.frame_ring cimport full_fence, load_acquire, store_release

cdef extern from *:
    """
    /* Where a frame begins in a buffer of our pools, unless its driver says otherwise: known without a look at the mbuf. */
    #define usual_frame(slot) ((char *)((slot) & ~(uintptr_t)HAND_FLAGS) + sizeof(struct rte_mbuf) + RTE_PKTMBUF_HEADROOM)
    /* Of all x86-64-v3 processors; one that lacks it does nothing. A line to be written comes alone, not shared first. */
    static inline uint8_t __pyx_f_8fastpath_5table_9hand_ring_give(struct worker *, uint32_t) APART;
    static inline void prefetch_to_write(const void *p) { __asm__ volatile("prefetchw %0" : : "m"(*(const char *)p)); }
    """
    const void *usual_frame(size_t slot) nogil
    void prefetch_to_write(const void *p) nogil
    int __builtin_ctzll(unsigned long long x) nogil


cdef inline bint hand_over(worker *w, uint32_t target, rte_mbuf *m, size_t flag) noexcept nogil:
    """Into the ring to another worker; False: full. flag: HAND_SEND, HAND_NOTE, or 0."""
    cdef hand_ring *r = w.hand_to[target]
    if r.filled - r.tail_seen >= HAND_SLOTS:
        r.tail_seen = load_acquire(&r.tail)
        if r.filled - r.tail_seen >= HAND_SLOTS:
            return False
    (&r.slots[0])[r.filled & (HAND_SLOTS - 1)] = <size_t>m | flag
    r.filled += 1
    w.unpublished |= <uint64_t>1 << target
    w.handed_out += 1
    return True


cdef inline uint8_t give(worker *w, uint32_t i) noexcept nogil:
    """Packet i of the batch to the worker that owns it, whose id stands in b.entry[i]: HAND, it is gone; or a drop."""
    return HAND if hand_over(w, w.batch.entry[i], w.batch.pkt[i], 0) else drop(&w.batch, i, HANDOVER_FULL)


cdef inline void hand_publish(worker *w) noexcept nogil:
    """Let the others see what this turn has put into their rings, and wake those that sleep."""
    cdef uint64_t left = w.unpublished
    cdef hand_ring *r
    if left == 0:
        return
    while left:
        r = w.hand_to[__builtin_ctzll(left)]
        store_release(&r.head, r.filled)
        left &= left - 1
    full_fence()
    while w.unpublished:
        ring_bell(w.hand_to[__builtin_ctzll(w.unpublished)].bell)
        w.unpublished &= w.unpublished - 1


cdef inline uint32_t hand_take(hand_ring *r, size_t *slots, uint32_t room) noexcept nogil:
    """Move up to `room` slots out; how many. First lines of mbufs and frames, which another core had, are on the way."""
    cdef uint32_t n = r.head_seen - r.tail
    cdef uint32_t i
    if n == 0:
        r.head_seen = load_acquire(&r.head)
        n = r.head_seen - r.tail
        if n == 0:
            return 0
    n = n if n < room else room
    for i in range(n):
        slots[i] = (&r.slots[0])[(r.tail + i) & (HAND_SLOTS - 1)]
        rte_prefetch0(<void *>(slots[i] & ~<size_t>HAND_FLAGS))
        prefetch_to_write(usual_frame(slots[i]))
    store_release(&r.tail, r.tail + n)
    return n


cdef inline bint hand_is_empty(const hand_ring *r) noexcept nogil:
    """The consumer's question."""
    return load_acquire(&r.head) == r.tail


cdef inline uint32_t hand_depth(const hand_ring *r) noexcept nogil:
    """Packets in it, as an onlooker sees it, who may be held up between the two."""
    cdef uint32_t tail = load_acquire(&r.tail)
    cdef uint32_t depth = load_acquire(&r.head) - tail
    return depth if depth < HAND_SLOTS else HAND_SLOTS
