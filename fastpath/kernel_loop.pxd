"""The kernel's side of the exception path: one thread of its own, without the GIL, that touches no port and no mempool.

Frames go from each worker's ring to the TAP of their port, and from the TAP to the ring of the worker that sends for that
port. With nothing to do it sleeps in poll(2), having said so (table/bell.pxd) before its last look at the rings.
"""

from libc.errno cimport errno
from libc.stdint cimport uint8_t, uint32_t

from fastpath.layout cimport BURST, MAX_PORTS, frame_ring, port, shared
from fastpath.table.bell cimport get_up, lie_down, read, ring_bell, write
from fastpath.table.frame_ring cimport (
    full_fence, load_acquire, ring_commit, ring_front, ring_is_empty, ring_release, ring_room)

cdef extern from *:
    """
    #include <errno.h>
    #include <poll.h>
    #include <unistd.h>
    enum { IDLE_MS = 100, FULL_MS = 1 };
    """
    enum:
        IDLE_MS, FULL_MS, POLLIN, EBADFD
    struct pollfd:
        int fd
        short events
        short revents
    int poll(pollfd *fds, unsigned long n, int timeout) noexcept nogil


cdef inline uint32_t to_kernel(port *p, frame_ring *r) noexcept nogil:
    """Whatever the worker has put in; returns the frames taken out."""
    cdef uint32_t n = 0, length
    cdef uint8_t *frame
    while not ring_is_empty(r):
        frame = ring_front(r, &length)
        if write(p.kernel_fd, frame, length) < 0:
            p.kernel_refused += 1
        ring_release(r)
        n += 1
    return n


cdef inline uint32_t from_kernel(port *p, frame_ring *r, bint *full) noexcept nogil:
    """At most a burst from the TAP; `full`: the worker must take some first."""
    cdef uint32_t n = 0
    cdef ssize_t length
    cdef uint8_t *room
    while n < BURST:
        room = ring_room(r)
        if room == NULL:
            full[0] = True
            break
        length = read(p.kernel_fd, room, r.frame_max)
        if length <= 0:
            p.kernel_gone = length < 0 and errno == EBADFD
            break
        ring_commit(r, <uint32_t>length)
        n += 1
    if n:
        full_fence()
        ring_bell(r.bell)
    return n


cdef inline bint rings_are_empty(shared *s) noexcept nogil:
    cdef uint32_t p, w
    for p in range(s.n_ports):
        for w in range(s.n_workers):
            if s.ports[p].kernel_fd >= 0 and not ring_is_empty(s.ports[p].to_kernel[w]):
                return False
    return True


cdef inline void sleep_until_needed(shared *s, bint full) noexcept nogil:
    cdef pollfd fds[17]  # MAX_PORTS and the wake-up
    cdef uint32_t p, n = 1
    fds[0].fd = s.kernel_bell.fd
    fds[0].events = POLLIN
    for p in range(s.n_ports):
        if s.ports[p].kernel_fd >= 0 and not full and not s.ports[p].kernel_gone:  # whose poll(2) would return at once
            fds[n].fd = s.ports[p].kernel_fd
            fds[n].events = POLLIN
            n += 1
    lie_down(&s.kernel_bell)
    if rings_are_empty(s) and not load_acquire(&s.stopping):
        poll(fds, n, FULL_MS if full else IDLE_MS)
    get_up(&s.kernel_bell)


cdef inline void carry_frames(shared *s) noexcept nogil:
    cdef uint32_t p, w, moved
    cdef bint full
    while not load_acquire(&s.stopping):
        moved = 0
        full = False
        for p in range(s.n_ports):
            if s.ports[p].kernel_fd < 0:
                continue
            for w in range(s.n_workers):
                moved += to_kernel(&s.ports[p], s.ports[p].to_kernel[w])
            moved += from_kernel(&s.ports[p], s.ports[p].from_kernel[p % s.n_workers], &full)
        if moved == 0:
            sleep_until_needed(s, full)
