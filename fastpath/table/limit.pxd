"""Limits of a service and of its servers: so many connections at once, so many new ones a second (B29).

They touch new connections only. Each worker has its part of a limit, at least 1 (struct share), and counts its own connections:
no worker asks another one. A TCP connection counts from its first SYN to the first FIN or RST, a UDP flow until it is
forgotten: what lc and wlc count in full (state_load). What is closing holds no place, so short connections come and go as
fast as they like under a limit. The rate is a bucket of one second's worth, so that a burst of so many may follow a pause; a
token goes when a connection is opened, hence what is refused, for whatever reason, costs nothing.
"""

from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t

from fastpath.layout cimport (
    CONNECTION_RATE, N_DROP_REASONS, SERVICE_FULL, connection, server_count, service, service_count, share, worker)
from fastpath.table.tcp_state cimport state_load

cdef extern from *:
    """
    #define lives(state) (state_load[state] >> 8) /* 256: 1; 1, 0: 0 */
    enum { TOKEN = 1000 }; /* thousandths: a rate a second is as many of them a millisecond */
    """
    uint32_t lives(uint8_t state) noexcept nogil
    enum:
        TOKEN


cdef inline uint32_t part_of(const share *limit, uint32_t worker_id) noexcept nogil:
    return limit.each + (worker_id < limit.more)


cdef inline void count_living(worker *w, const connection *c, uint8_t state) noexcept nogil:
    """A connection is about to become `state`."""
    w.service_counts[w.shared.servers[c.server].service].living += lives(state) - lives(c.state)


cdef inline void count_new(worker *w, const service *s, const connection *c) noexcept nogil:
    """A connection of this service has just been opened."""
    cdef service_count *count = &w.service_counts[s.id]
    count.living += lives(c.state)
    if s.rate.each:
        count.tokens -= TOKEN


cdef inline uint32_t living_of(const server_count *count) noexcept nogil:
    """Connections of a server that count against its limit, from what is counted anyway: with a of them, b that are closing
    and d that were retired in this turn, load is 256 a + b and active a + b + d. Exact as long as d < 255."""
    cdef int32_t sum = <int32_t>(count.load - count.active + 254)
    return <uint32_t>sum // 255 if sum > 0 else 0


cdef inline bint has_room(const worker *w, uint32_t id) noexcept nogil:
    """Whether a server takes one connection more."""
    cdef const share *limit = &w.shared.servers[id].max_connections
    return limit.each == 0 or living_of(&w.server_counts[id]) < part_of(limit, w.id)


cdef inline void fill_bucket(service_count *count, uint64_t rate, uint64_t now) noexcept nogil:
    """With what the rate has earned since the last time; no more than a second's worth stays, also where it became smaller."""
    cdef uint64_t passed = now - count.filled if now > count.filled else 0
    count.tokens += rate * (passed if passed < 1000 else 1000)
    if count.tokens > rate * TOKEN:
        count.tokens = rate * TOKEN
    count.filled = now


cdef inline uint8_t why_not(worker *w, const service *s) noexcept nogil:
    """The reason for which the service takes no new connection now, N_DROP_REASONS: it does."""
    cdef service_count *count = &w.service_counts[s.id]
    if s.max_connections.each and count.living >= part_of(&s.max_connections, w.id):
        return SERVICE_FULL
    if s.rate.each:
        fill_bucket(count, part_of(&s.rate, w.id), w.time)
        if count.tokens < TOKEN:
            return CONNECTION_RATE
    return N_DROP_REASONS
