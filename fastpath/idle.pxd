"""When a worker sleeps, and what wakes it (idle = adaptive).

After a while without packets it lies down (table/bell.pxd), takes one more turn, and if that, too, found nothing, waits in
ppoll(2): for the descriptors of its queues, for its bell, or until something of its own is due. RCU does not wait for one
that sleeps. A queue without a descriptor is looked at again after a sleep that grows, as long as nothing comes. Receive
interrupts of cards are not used: on emulated ones every call succeeds, and some never wake (igb under UIO, e1000 under VFIO).
"""

from libc.stdint cimport uint32_t, uint64_t

from fastpath.dpdk.eal cimport (
    rte_rcu_qsbr_thread_offline, rte_rcu_qsbr_thread_online, rte_rdtsc)
from fastpath.layout cimport NO_WAIT, port, worker
from fastpath.stage.expire cimport half_open_is_due, wheel_is_behind
from fastpath.table.bell cimport get_up, lie_down
from fastpath.table.frame_ring cimport load_acquire, ring_is_empty
from fastpath.table.gather cimport oldest_is_due
from fastpath.table.hand_ring cimport hand_is_empty
from fastpath.table.parking cimport parking_is_due

cdef extern from *:
    """
    #define _GNU_SOURCE 1
    #include <poll.h>
    #include <sys/prctl.h>
    #include <sys/socket.h>
    #include <time.h>
    enum {
        SPIN_US = 50,         /* without packets before a worker lies down: what a wake-up costs */
        SHORT_US = 50, LONG_US = 700, /* sleeps where a queue has no descriptor: first and longest */
        PARKED_US = 1000,     /* while packets wait for a MAC address */
        REST_US = 250000,     /* shorter than a slot of the timer wheel; a second of worker/stats sees its end */
    };
    /* Linux adds up to 50 us to a sleep, lest timers expire one by one: here they are to. */
    static inline void sharpen_timers(void) { prctl(PR_SET_TIMERSLACK, 1); }
    static inline int wait_for(struct pollfd *fds, unsigned n, unsigned us) {
        struct timespec t = {us / 1000000, us % 1000000 * 1000};
        return ppoll(fds, n, &t, NULL);
    }
    /* A socket whose link went down says so for ever, unless asked. */
    static inline void take_error(int fd) {
        int error;
        socklen_t n = sizeof(error);
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n);
    }
    """
    enum:
        SPIN_US, SHORT_US, LONG_US, PARKED_US, REST_US, POLLIN
    struct pollfd:
        int fd
        short events
        short revents
    void sharpen_timers() noexcept nogil
    int wait_for(pollfd *fds, unsigned int n, unsigned int us) noexcept nogil
    void take_error(int fd) noexcept nogil


cdef inline bint has_work(worker *w) noexcept nogil:
    """Whether a turn at this time would find something to do, apart from what stands in the queues of ports."""
    cdef uint32_t i
    for i in range(w.shared.n_ports):
        if w.shared.ports[i].started and not ring_is_empty(w.shared.ports[i].from_kernel[w.id]):
            return True
    for i in range(w.shared.n_workers):
        if i != w.id and not hand_is_empty(w.hand_from[i]):
            return True
    if w.verb != NULL or w.gather.again != NULL:
        return True
    return parking_is_due(w) or oldest_is_due(w) or wheel_is_behind(w) or half_open_is_due(w)


cdef inline uint32_t how_long(worker *w) noexcept nogil:
    """Microseconds to sleep at most."""
    cdef const port *p
    cdef uint32_t i
    for i in range(w.shared.n_ports):
        p = &w.shared.ports[i]
        if p.started and w.id < p.rx_queues and w.wait_fds[i] == NO_WAIT:
            w.nap_us = w.nap_us * 2 if w.nap_us else SHORT_US
            w.nap_us = w.nap_us if w.nap_us < LONG_US else LONG_US
            return w.nap_us
    return PARKED_US if w.n_parked or w.gather.n_held else REST_US


cdef inline void doze(worker *w) noexcept nogil:
    cdef pollfd fds[17]  # the bell, and MAX_PORTS
    cdef uint64_t began = rte_rdtsc()
    cdef uint32_t i, n = 1
    fds[0].fd = w.bell.fd
    fds[0].events = POLLIN
    for i in range(w.shared.n_ports):
        if w.wait_fds[i] != NO_WAIT:
            fds[n].fd = w.wait_fds[i]
            fds[n].events = POLLIN
            n += 1
    rte_rcu_qsbr_thread_offline(w.shared.rcu, w.id)
    wait_for(fds, n, how_long(w))
    rte_rcu_qsbr_thread_online(w.shared.rcu, w.id)
    for i in range(1, n):
        if fds[i].revents & ~POLLIN:
            take_error(fds[i].fd)
    w.sleeps += 1
    w.asleep_ticks += rte_rdtsc() - began


cdef inline void rest(worker *w, uint64_t now) noexcept nogil:
    """After a turn without packets, at `now` (ticks)."""
    if not w.bell.asleep:
        if now - w.idle_since < w.spin_ticks:
            return
        lie_down(&w.bell)
        return  # to one more turn
    if not has_work(w) and not load_acquire(&w.shared.stopping):
        doze(w)
    get_up(&w.bell)


cdef inline void stay_up(worker *w, uint64_t now) noexcept nogil:
    """After a turn with packets."""
    w.idle_since = now
    w.nap_us = 0
    if w.bell.asleep:  # the last look found them
        get_up(&w.bell)
