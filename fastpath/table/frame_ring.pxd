"""Frames between a worker and the kernel loop: one producer, one consumer, copied, no locks.

`head` and `tail` count frames ever written and read. Only the exception path comes here.
"""

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy

from fastpath.layout cimport FRAME_SLOTS, frame_ring
from fastpath.net.frame cimport load32, store32


cdef extern from *:
    """
    static inline uint32_t load_acquire(const uint32_t *p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
    static inline void store_release(uint32_t *p, uint32_t x) { __atomic_store_n(p, x, __ATOMIC_RELEASE); }
    static inline void full_fence(void) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
    """
    uint32_t load_acquire(const uint32_t *p) noexcept nogil
    void store_release(uint32_t *p, uint32_t x) noexcept nogil
    void full_fence() noexcept nogil


cdef inline uint8_t *ring_slot(const frame_ring *r, uint32_t at) noexcept nogil:
    return r.data + <size_t>(at & (FRAME_SLOTS - 1)) * r.stride


cdef inline bint ring_is_empty(const frame_ring *r) noexcept nogil:
    """The consumer's question."""
    return load_acquire(&r.head) == r.tail


cdef inline uint32_t ring_depth(const frame_ring *r) noexcept nogil:
    """Frames in it, as an onlooker sees it, who may be held up between the two."""
    cdef uint32_t tail = load_acquire(&r.tail)
    cdef uint32_t depth = load_acquire(&r.head) - tail
    return depth if depth < FRAME_SLOTS else FRAME_SLOTS


cdef inline uint8_t *ring_room(const frame_ring *r) noexcept nogil:
    """Where the producer may write frame_max bytes, or NULL when the ring is full; ring_commit() hands them over."""
    if r.head - load_acquire(&r.tail) >= FRAME_SLOTS:
        return NULL
    return ring_slot(r, r.head) + 4


cdef inline void ring_commit(frame_ring *r, uint32_t length) noexcept nogil:
    store32(ring_slot(r, r.head), length)
    store_release(&r.head, r.head + 1)


cdef inline bint ring_write(frame_ring *r, const uint8_t *frame, uint32_t length) noexcept nogil:
    """Copy a frame of at most frame_max bytes in; False: full."""
    cdef uint8_t *room = ring_room(r)
    if room == NULL:
        return False
    memcpy(room, frame, length)
    ring_commit(r, length)
    return True


cdef inline uint8_t *ring_front(const frame_ring *r, uint32_t *length) noexcept nogil:
    """The oldest frame of a ring that is not empty; ring_release() when done with it."""
    length[0] = load32(ring_slot(r, r.tail))
    return ring_slot(r, r.tail) + 4


cdef inline void ring_release(frame_ring *r) noexcept nogil:
    store_release(&r.tail, r.tail + 1)
