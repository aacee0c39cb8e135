"""Building what publish() swaps in: service blocks, the service map, local address pools. Main thread, without the GIL."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc

from fastpath.layout cimport (
    ADDRESS_FREE, LOCAL_PORTS, be16, be32, local_pool, map_slot, service, service_map)
from fastpath.table.rounds cimport lay_maglev, lay_round
from fastpath.table.service cimport IPONLY, IPPORT, RR, map_find

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
        free(s)


cdef inline int block_schedule(service *s, uint32_t *weights, const uint64_t *identities) noexcept nogil:
    """Lay out s.slots for its scheduler; weights are changed. -1: no memory."""
    cdef uint64_t total = 0, divisor
    cdef uint16_t *order
    cdef uint32_t i
    cdef int rc
    if s.scheduler == RR:
        for i in range(s.n_servers):
            weights[i] = weights[i] != 0
    divisor = common_divisor(weights, s.n_servers)
    if divisor == 0:
        return 0  # nobody is eligible: no slots
    for i in range(s.n_servers):
        weights[i] = <uint32_t>(weights[i] // divisor)
        total += weights[i]
    s.n_slots = maglev_size(s.n_servers) if s.scheduler == IPPORT or s.scheduler == IPONLY else <uint32_t>total
    s.slots = <uint16_t *>malloc(<size_t>s.n_slots * 2)
    if s.slots == NULL:
        return -1
    if s.scheduler != IPPORT and s.scheduler != IPONLY:
        return lay_round(weights, s.n_servers, total, s.slots, s.n_slots)
    order = <uint16_t *>malloc(<size_t>s.n_slots * 2)
    rc = -1
    if order != NULL and lay_round(weights, s.n_servers, total, order, s.n_slots) == 0:
        rc = lay_maglev(identities, s.n_servers, order, s.slots, s.n_slots)
    free(order)
    return rc


cdef inline service_map *map_new(uint32_t n) noexcept nogil:
    """An empty map for n keys, at most half full; NULL: no memory."""
    cdef uint32_t size = 16
    cdef service_map *m
    while size < 2 * n:
        size *= 2
    m = <service_map *>calloc(1, sizeof(service_map) + <size_t>size * sizeof(map_slot))
    if m != NULL:
        m.mask = size - 1
    return m


cdef inline void map_add(service_map *m, be32 addr, be16 port, uint8_t protocol, uint8_t kind, uint32_t id) noexcept nogil:
    """A key that is there already keeps its first value."""
    cdef map_slot *slot = <map_slot *>map_find(m, addr, port, protocol)
    if slot.kind == ADDRESS_FREE:
        slot.addr = addr
        slot.port = port
        slot.protocol = protocol
        slot.kind = kind
        slot.service = id
        m.n += 1


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
