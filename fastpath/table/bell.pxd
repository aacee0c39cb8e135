"""Waking a thread that may sleep: whoever has given it something rings.

The sleeper raises its flag, then looks at everything once more; the giver gives, then looks at the flag: with a full fence
between the two on both sides, one of them sees the other. Awake, a bell costs its readers a load of a line that nobody writes.
"""

from libc.stdint cimport uint32_t, uint64_t

from fastpath.layout cimport bell
from fastpath.table.frame_ring cimport full_fence, load_acquire, store_release

cdef extern from "<unistd.h>" nogil:
    ssize_t write(int fd, const void *buffer, size_t n)
    ssize_t read(int fd, void *buffer, size_t n)


cdef inline void ring_bell(bell *b) noexcept nogil:
    """After the gift, and a full fence."""
    cdef uint64_t one = 1
    if load_acquire(&b.asleep):
        write(b.fd, &one, 8)


cdef inline void lie_down(bell *b) noexcept nogil:
    """From here on whoever gives something rings; what was given before must be looked for."""
    store_release(&b.asleep, 1)
    full_fence()


cdef inline void get_up(bell *b) noexcept nogil:
    cdef uint64_t count
    store_release(&b.asleep, 0)
    read(b.fd, &count, 8)  # non-blocking
