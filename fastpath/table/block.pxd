"""Building what publish() swaps in: service blocks, local address pools. Without the GIL."""

from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, qsort

from fastpath.layout cimport LOCAL_PORTS, be32, local_pool, service, share
from fastpath.table.rounds cimport lay_maglev, lay_round
from fastpath.table.service cimport IPONLY, IPPORT, LC, RR, by_load

cdef extern from *:
    """
    /* Maglev table sizes, primes: at least 10 slots a server. Few steps, since crossing one moves most clients; it takes
       1,000 servers to meet the first. Removing one of N moves 1/N and, measured for 10 to 2,000, at most 1.7 % more. */
    static const struct { uint32_t servers, slots; } maglev_sizes[] = {{1000, 10007}, {6553, 65537}, {65536, 655357}};
    static inline uint32_t maglev_size(uint32_t servers) {
        uint32_t i = 0;
        while (servers > maglev_sizes[i].servers)
            i++;
        return maglev_sizes[i].slots;
    }
    """
    uint32_t maglev_size(uint32_t servers) noexcept nogil


cdef struct member:
    uint64_t identity  # address in host order << 16 | port: what members are sorted by, and what Maglev hashes
    uint32_t id, weight, max_connections
    bint backup, eligible


cdef inline int by_identity(const void *a, const void *b) noexcept nogil:
    cdef uint64_t x = (<const member *>a).identity
    cdef uint64_t y = (<const member *>b).identity
    return (x > y) - (x < y)


cdef inline uint64_t common_divisor(const uint32_t *weights, uint32_t n) noexcept nogil:
    cdef uint64_t a = 0, b, rest
    cdef uint32_t i
    for i in range(n):
        b = weights[i]
        while b:
            rest = a % b
            a = b
            b = rest
    return a


cdef inline void block_free(service *s) noexcept nogil:
    if s != NULL:
        free(s.slots)
        free(s.servers)
        free(s.clients)
        free(s)


cdef inline uint32_t slots_of(const service *s, uint64_t total) noexcept nogil:
    """total: the sum of the weights, which is what an exact round takes. A draw need not be exact to one in 10,000."""
    cdef uint32_t enough = maglev_size(s.n_servers)
    if s.scheduler == IPPORT or s.scheduler == IPONLY or (by_load(s.scheduler) and total > enough):
        return enough
    return <uint32_t>total


cdef inline void list_eligible(service *s, const uint32_t *weights) noexcept nogil:
    """Behind the slots."""
    cdef uint32_t i
    for i in range(s.n_servers):
        if weights[i]:
            s.slots[s.n_slots + s.n_eligible] = <uint16_t>i
            s.n_eligible += 1


cdef inline int block_schedule(service *s, uint32_t *weights, const uint64_t *identities) noexcept nogil:
    """Lay out s.slots for its scheduler; weights are changed. -1: no memory."""
    cdef uint64_t total = 0, divisor
    cdef uint16_t *order
    cdef uint32_t i, round
    cdef int rc
    if s.scheduler == RR or s.scheduler == LC:
        for i in range(s.n_servers):
            weights[i] = weights[i] != 0
    divisor = common_divisor(weights, s.n_servers)
    if divisor == 0:
        return 0  # nobody is eligible: no slots
    for i in range(s.n_servers):
        weights[i] = <uint32_t>(weights[i] // divisor)
        total += weights[i]
    s.n_slots = slots_of(s, total)
    s.slots = <uint16_t *>malloc((<size_t>s.n_slots + (s.n_servers if by_load(s.scheduler) else 0)) * 2)
    if s.slots == NULL:
        return -1
    if by_load(s.scheduler):
        list_eligible(s, weights)
    if s.scheduler != IPPORT and s.scheduler != IPONLY:
        return lay_round(weights, s.n_servers, total, s.slots, s.n_slots)
    round = <uint32_t>total if total < s.n_slots else s.n_slots  # after `total` turns the round begins again
    order = <uint16_t *>malloc(<size_t>round * 2)
    rc = -1
    if order != NULL and lay_round(weights, s.n_servers, total, order, round) == 0:
        rc = lay_maglev(identities, s.n_servers, order, round, s.slots, s.n_slots)
    free(order)
    return rc


cdef inline void judge(member *members, uint32_t n) noexcept nogil:
    """Who takes new connections: those of some weight that are no backup servers, or if there are none, these."""
    cdef bint needed = True
    cdef uint32_t i
    for i in range(n):
        if members[i].weight and not members[i].backup:
            needed = False
    for i in range(n):
        members[i].eligible = members[i].weight != 0 and (needed or not members[i].backup)


cdef inline share share_out(uint32_t limit, uint32_t n_workers) noexcept nogil:
    """A limit smaller than the number of workers is 1 for each: less would refuse for ever whom a worker of none owns."""
    cdef share of
    of.each = limit // n_workers
    of.more = limit - of.each * n_workers
    if limit and not of.each:
        of.each, of.more = 1, 0
    return of


cdef inline int block_fill(service *s, member *members, uint32_t n, uint32_t n_workers) noexcept nogil:
    """The servers of a block and their schedule, the same whatever order they came in. -1: no memory."""
    cdef uint32_t *weights = <uint32_t *>malloc(<size_t>(n + 1) * 4)
    cdef uint64_t *identities = <uint64_t *>malloc(<size_t>(n + 1) * 8)
    cdef uint32_t i
    cdef int rc = -1
    s.n_servers = n
    s.servers = <uint32_t *>malloc(<size_t>(n + 1) * 4)
    if s.servers != NULL and weights != NULL and identities != NULL:
        qsort(members, n, sizeof(member), &by_identity)
        judge(members, n)
        for i in range(n):
            s.servers[i] = members[i].id
            weights[i] = members[i].weight if members[i].eligible else 0
            identities[i] = members[i].identity
        rc = block_schedule(s, weights, identities)
        s.stagger = s.n_slots // n_workers
    free(weights)
    free(identities)
    return rc


cdef inline local_pool *pool_new(uint32_t n) noexcept nogil:
    """Room for n > 0 addresses; NULL: no memory."""
    cdef local_pool *p = <local_pool *>calloc(1, sizeof(local_pool) + <size_t>n * sizeof(be32))
    if p != NULL:
        p.n = n
        p.size = n * LOCAL_PORTS
        p.bits = 16
        while (<uint64_t>1 << p.bits) < p.size:
            p.bits += 1
    return p
