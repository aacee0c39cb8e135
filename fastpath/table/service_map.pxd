"""(address, port, protocol) -> service, and address -> whose it is.

Readers: workers, inside an RCU section. Writer: the main thread, in place while there is room, else into a new map that
replaces this one. See struct map_slot for what a reader may meet meanwhile.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc

from fastpath.layout cimport (
    ADDRESS_FREE, ADDRESS_GONE, ADDRESS_LOCAL, ADDRESS_SERVICE, ADDRESS_VIRTUAL, be16, be32, map_slot, service, service_map)
from fastpath.net.hash cimport hash2

cdef extern from *:
    """
    #define MAP_KEY_MASK 0x00ffffffffffffffULL
    #define MAP_GONE ((uint64_t)ADDRESS_GONE << 56 | (uint64_t)0xff << 48) /* no packet asks for protocol 255 of no address */
    static inline uint64_t load_key(const uint64_t *p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
    static inline void store_key(uint64_t *p, uint64_t x) { __atomic_store_n(p, x, __ATOMIC_RELEASE); }
    """
    uint64_t MAP_KEY_MASK, MAP_GONE
    uint64_t load_key(const uint64_t *p) noexcept nogil
    void store_key(uint64_t *p, uint64_t x) noexcept nogil


cdef inline uint64_t map_key(be32 addr, be16 port, uint8_t protocol) noexcept nogil:
    """Port and protocol 0: the address itself."""
    return addr | <uint64_t>port << 32 | <uint64_t>protocol << 48


cdef inline uint32_t map_start(const service_map *m, uint64_t key) noexcept nogil:
    return <uint32_t>(hash2(key & 0xFFFFFFFFU, key >> 32, 0x2545F4914F6CDD1DU, 0x9E6C63D0876A9A47U) >> 32) & m.mask


cdef inline uint8_t map_find(const service_map *m, uint64_t key, uint32_t *service) noexcept nogil:
    """What stands under this key, ADDRESS_FREE for nothing; of a service its id."""
    cdef uint32_t i = map_start(m, key)
    cdef uint64_t found = load_key(&m.slots[i].key)
    while found != 0:
        if found & MAP_KEY_MASK == key:
            service[0] = m.slots[i].service
            return <uint8_t>(found >> 56)
        i = (i + 1) & m.mask
        found = load_key(&m.slots[i].key)
    return ADDRESS_FREE


# ---- the writer's half ---------------------------------------------------------------------------------------------

cdef inline service_map *map_new(uint32_t n) noexcept nogil:
    """An empty map for n keys and as many more, at most half full then; NULL: no memory."""
    cdef uint64_t size = 16
    cdef service_map *m
    while size < 4 * <uint64_t>n:
        size *= 2
    m = <service_map *>calloc(1, sizeof(service_map) + size * sizeof(map_slot))
    if m != NULL:
        m.mask = <uint32_t>(size - 1)
    return m


cdef inline bint map_has_room(const service_map *m, uint32_t keys) noexcept nogil:
    return 2 * (<uint64_t>m.n + keys) <= m.mask + 1


cdef inline map_slot *map_place(service_map *m, uint64_t key) noexcept nogil:
    """The slot of this key; where there is none, the first that may become it."""
    cdef uint32_t i = map_start(m, key)
    cdef map_slot *reusable = NULL
    while m.slots[i].key != 0:
        if m.slots[i].key & MAP_KEY_MASK == key:
            return &m.slots[i]
        if m.slots[i].key == MAP_GONE and reusable == NULL:
            reusable = &m.slots[i]
        i = (i + 1) & m.mask
    return reusable if reusable != NULL else &m.slots[i]


cdef inline bint map_put(service_map *m, uint64_t key, uint8_t kind, uint32_t value) noexcept nogil:
    """Enter a key; one of that kind that is there takes the value, one of another kind stays as it is. True: it is new."""
    cdef map_slot *slot = map_place(m, key)
    cdef bint known = slot.key != 0 and slot.key & MAP_KEY_MASK == key
    if known and slot.key >> 56 != kind:
        return False
    m.n += slot.key == 0
    slot.service = value
    store_key(&slot.key, key | <uint64_t>kind << 56)
    return not known


cdef inline void map_put_service(service_map *m, const service *s) noexcept nogil:
    """Its key, and one service more for its address."""
    cdef map_slot *slot
    if not map_put(m, map_key(s.vaddr, s.vport, s.protocol), ADDRESS_SERVICE, s.id):
        return
    slot = map_place(m, map_key(s.vaddr, 0, 0))
    map_put(m, map_key(s.vaddr, 0, 0), ADDRESS_VIRTUAL,
            slot.service + 1 if slot.key >> 56 == ADDRESS_VIRTUAL else 1)


cdef inline void map_drop_service(service_map *m, const service *s) noexcept nogil:
    """Unless the key leads to another service by now. An address goes with its last service."""
    cdef map_slot *slot = map_place(m, map_key(s.vaddr, s.vport, s.protocol))
    if slot.key >> 56 != ADDRESS_SERVICE or slot.service != s.id:
        return
    store_key(&slot.key, MAP_GONE)
    slot = map_place(m, map_key(s.vaddr, 0, 0))
    if slot.key >> 56 == ADDRESS_VIRTUAL:
        slot.service -= 1
        if slot.service == 0:
            store_key(&slot.key, MAP_GONE)
