"""The connection table of one worker: a bucketed index over both directions, and the entries it leads to.

An entry is found by either tuple: slot value = connection << 1 | direction. A full bucket spills into the next one and
counts what it sent on, so that a search knows when it may stop. One writer, no locks. Entries are taken from the free
list, or from above the high-water mark: memory that was never used is never touched.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from fastpath.dpdk.eal cimport rte_prefetch0
from fastpath.layout cimport INBOUND, LIST_FREE, LIST_HEADS, NONE, OUTBOUND, bucket, connection, flow, table
from fastpath.net.frame cimport load32, load64
from fastpath.net.hash cimport hash2, scale
from fastpath.table.node cimport list_is_empty, list_pop, list_push


cdef extern from "<immintrin.h>" nogil:
    ctypedef struct __m128i:
        pass
    __m128i _mm_load_si128(const __m128i *p)
    __m128i _mm_set1_epi16(short x)
    __m128i _mm_cmpeq_epi16(__m128i a, __m128i b)
    __m128i _mm_packs_epi16(__m128i a, __m128i b)
    int _mm_movemask_epi8(__m128i a)

cdef extern from *:
    int __builtin_ctz(unsigned int x) nogil


cdef inline uint32_t slots_with(const bucket *b, uint16_t tag) noexcept nogil:
    """Bit i is set where slot i carries the tag; tag 0 finds the empty slots."""
    cdef __m128i equal = _mm_cmpeq_epi16(_mm_load_si128(<const __m128i *>b.tag), _mm_set1_epi16(<short>tag))
    return <uint32_t>_mm_movemask_epi8(_mm_packs_epi16(equal, equal)) & 0xFF


cdef inline uint16_t tag_of(uint64_t hash) noexcept nogil:
    cdef uint16_t tag = <uint16_t>hash
    return tag if tag != 0 else 1


cdef inline uint32_t home_of(const table *t, uint64_t hash) noexcept nogil:
    return scale(hash >> 32, t.n_buckets)


cdef inline uint64_t flow_addrs(const flow *f) noexcept nogil:
    return load64(<const uint8_t *>f)


cdef inline uint64_t flow_ports(const flow *f, uint8_t protocol) noexcept nogil:
    return load32(<const uint8_t *>f + 8) | <uint64_t>protocol << 32


cdef inline flow flow_of(uint64_t addrs, uint64_t ports) noexcept nogil:
    """The flow whose flow_addrs() and flow_ports() these are."""
    cdef flow f
    memcpy(&f, &addrs, 8)
    memcpy(<uint8_t *>&f + 8, &ports, 4)
    return f


cdef inline uint64_t tuple_hash(const table *t, uint64_t addrs, uint64_t ports) noexcept nogil:
    return hash2(addrs, ports, t.hash_key[0], t.hash_key[1])


cdef inline bint entry_is(const table *t, uint32_t entry, uint64_t addrs, uint64_t ports) noexcept nogil:
    cdef const connection *c = &t.connections[entry >> 1]
    cdef const flow *f = &c.flow[entry & 1]
    return flow_addrs(f) == addrs and flow_ports(f, c.protocol) == ports


cdef inline uint32_t find(const table *t, uint64_t addrs, uint64_t ports, uint64_t hash) noexcept nogil:
    """The entry of a tuple, or NONE."""
    cdef uint32_t home = home_of(t, hash)
    cdef uint16_t tag = tag_of(hash)
    cdef const bucket *b
    cdef uint32_t hits, entry, passed
    for passed in range(t.n_buckets):  # a table under its planned load stops at the first or second
        b = &t.buckets[home]
        hits = slots_with(b, tag)
        while hits:
            entry = b.entry[__builtin_ctz(hits)]
            if entry_is(t, entry, addrs, ports):
                return entry
            hits &= hits - 1
        if b.spilled == 0:
            break
        home = home + 1 if home + 1 < t.n_buckets else 0
    return NONE


cdef inline uint32_t first_candidate(const table *t, uint64_t hash) noexcept nogil:
    """The first entry of the home bucket whose tag fits, unverified: what lookup fetches ahead. NONE: search by find()."""
    cdef const bucket *b = &t.buckets[home_of(t, hash)]
    cdef uint32_t hits = slots_with(b, tag_of(hash))
    return b.entry[__builtin_ctz(hits)] if hits else NONE


cdef inline void index_insert(table *t, uint32_t entry, uint64_t hash) noexcept nogil:
    cdef uint32_t at = home_of(t, hash)
    cdef bucket *b = &t.buckets[at]
    cdef uint32_t free = slots_with(b, 0)
    while not free:  # ends: the index has 10 slots for 8 entries (region sizes)
        b.spilled += 1
        at = at + 1 if at + 1 < t.n_buckets else 0
        b = &t.buckets[at]
        free = slots_with(b, 0)
    at = <uint32_t>__builtin_ctz(free)
    b.entry[at] = entry
    b.tag[at] = tag_of(hash)


cdef inline void index_remove(table *t, uint32_t entry, uint64_t hash) noexcept nogil:
    """Take out what index_insert put in with the same entry and hash."""
    cdef uint32_t at = home_of(t, hash)
    cdef uint16_t tag = tag_of(hash)
    cdef bucket *b
    cdef uint32_t hits, slot
    while True:
        b = &t.buckets[at]
        hits = slots_with(b, tag)
        while hits:
            slot = <uint32_t>__builtin_ctz(hits)
            if b.entry[slot] == entry:
                b.tag[slot] = 0
                return
            hits &= hits - 1
        b.spilled -= 1
        at = at + 1 if at + 1 < t.n_buckets else 0


cdef inline uint64_t connection_hash(const table *t, uint32_t index, uint32_t direction) noexcept nogil:
    cdef const connection *c = &t.connections[index]
    return tuple_hash(t, flow_addrs(&c.flow[direction]), flow_ports(&c.flow[direction], c.protocol))


cdef inline uint32_t connection_take(table *t) noexcept nogil:
    """A free entry, in no list, or NONE."""
    cdef uint32_t index
    if not list_is_empty(t.nodes, LIST_FREE):
        index = list_pop(t.nodes, LIST_FREE) - LIST_HEADS
    elif t.region.high_water < t.capacity:
        index = t.region.high_water
        t.region.high_water += 1
    else:
        return NONE
    t.region.in_use += 1
    return index


cdef inline void connection_give(table *t, uint32_t index) noexcept nogil:
    """Back to the free list: it must have left the index and every other list. Last in, first out: its lines are warm."""
    t.connections[index].state = 0
    t.region.in_use -= 1
    list_push(t.nodes, LIST_FREE, index + LIST_HEADS)


cdef inline void connection_index(table *t, uint32_t index, uint64_t inbound_hash, uint64_t outbound_hash) noexcept nogil:
    index_insert(t, index << 1 | INBOUND, inbound_hash)
    index_insert(t, index << 1 | OUTBOUND, outbound_hash)


cdef inline void connection_unindex(table *t, uint32_t index, uint32_t direction) noexcept nogil:
    index_remove(t, index << 1 | direction, connection_hash(t, index, direction))


cdef inline void prefetch_connection(const table *t, uint32_t entry) noexcept nogil:
    rte_prefetch0(&t.connections[entry >> 1])
