"""What a server has to carry, as lc and wlc see it (B24).

Each worker counts its own; the main thread adds them up now and then (engine.weigh). Between two sums a worker takes its
own change since the last one for everybody's: what it sends somewhere counts at once, and many times, so that nobody
herds onto the server that was the idlest at the last sum. A worker that meets a new sum half written counts its own
change twice, for as long as the adding up takes.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from fastpath.layout cimport server, server_count, worker
from fastpath.table.frame_ring cimport load_acquire
from fastpath.table.limit cimport has_room
from fastpath.table.next_hop cimport is_resolved
from fastpath.table.tcp_state cimport STATE_DEAD, state_established, state_load

cdef extern from *:
    """
    static inline uint64_t load_word(const uint64_t *p) { return __atomic_load_n(p, __ATOMIC_RELAXED); }
    #define UNREACHABLE (1ull << 47) /* more than any load, and times a weight still below 2^64 */
    """
    uint64_t load_word(const uint64_t *p) noexcept nogil
    uint64_t UNREACHABLE


cdef inline void count_state(server_count *count, uint8_t former, uint8_t state) noexcept nogil:
    """A connection of this server goes from one state to another."""
    count.established += state_established[state] - state_established[former]
    count.load += state_load[state] - state_load[former]


cdef inline void count_opened(server_count *count, uint8_t state) noexcept nogil:
    count.active += 1
    count.total += 1
    count_state(count, STATE_DEAD, state)


cdef inline uint64_t load_of(worker *w, uint32_t id) noexcept nogil:
    """A server that cannot be reached has no connections, and is no better for it; one that is full cannot be chosen."""
    cdef server_count *count = &w.server_counts[id]
    cdef uint32_t epoch = load_acquire(&w.shared.load_epoch)
    cdef int64_t load
    if not is_resolved(w.shared.servers[id].hop) or not has_room(w, id):
        return UNREACHABLE
    if count.load_epoch != epoch:
        count.load_epoch = epoch
        count.load_base = count.load
    load = <int64_t>load_word(&w.shared.loads[id]) + <int32_t>(count.load - count.load_base) * <int64_t>w.shared.n_workers
    return <uint64_t>load if load > 0 else 0


cdef inline uint32_t lighter_of(worker *w, uint32_t first, uint32_t second, bint weighted) noexcept nogil:
    """The server with less load, for its weight if they have any; the first of equals. Products instead of quotients."""
    cdef const server *servers = w.shared.servers
    cdef uint64_t a = load_of(w, first), b = load_of(w, second)
    if weighted:
        a *= servers[second].weight
        b *= servers[first].weight
    return second if b < a else first
