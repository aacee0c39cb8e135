"""Which worker owns a packet: pure functions of what stands in it, the same for whoever asks: classify, schedule, the port
allocator, tests.

The destination says the direction: a virtual address is a client's packet, a local one an answer. What a NIC does with a
packet is no part of this: a port that happens to bring packets to their owner says so in port.brings.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from fastpath.layout cimport (
    ADDRESS_LOCAL, ADDRESS_VIRTUAL, BRINGS_INBOUND, BRINGS_OUTBOUND, BY_FLOW, BY_HASH, BY_RSS, batch, be32, port, shared,
    worker)
from fastpath.net.hash cimport hash2
from fastpath.table.rss cimport rss_queue
from fastpath.table.service_map cimport map_find, map_key


cdef inline uint32_t hash_owner(uint64_t hash, uint32_t n_workers) noexcept nogil:
    """By our own keyed hash of the tuple.

    Bits 16..31: bits 0..15 are the tag, 32..63 choose the bucket, so that one worker's share fills its own buckets and
    tags evenly.
    """
    return <uint32_t>(((hash >> 16 & 0xFFFF) * n_workers) >> 16)


cdef inline uint32_t owner(const shared *s, uint64_t addrs, uint64_t ports, uint64_t hash, uint8_t *direction) noexcept nogil:
    """Of a whole TCP or UDP packet, by its tuple and our hash of it. What goes to no address of ours may be a client's all the
    same, of a service that is gone but for its connections: one function for both. direction: becomes the BRINGS_ bit that
    its port should have, 0 where the address is not ours."""
    cdef uint32_t value = 0
    cdef uint8_t kind = map_find(s.map, map_key(<be32>(addrs >> 32), 0, 0), &value)
    cdef const port *p
    if kind != ADDRESS_LOCAL:
        direction[0] = BRINGS_INBOUND if kind == ADDRESS_VIRTUAL else 0
        return hash_owner(hash, s.n_workers) if s.inbound == NULL else rss_queue(s.inbound, addrs, ports)
    direction[0] = BRINGS_OUTBOUND
    p = &s.ports[value & 0xFFFF]
    if p.owned_by == BY_HASH:
        return hash_owner(hash, s.n_workers)
    return rss_queue(p.rss, addrs, ports) if p.owned_by == BY_RSS else value >> 16


cdef inline uint32_t owner_of(const shared *s, uint64_t addrs, uint64_t ports, uint64_t hash,
                              uint8_t *direction) noexcept nogil:
    """owner(), without a look at the map where our hash decides about everything; direction is then 0."""
    direction[0] = 0
    return hash_owner(hash, s.n_workers) if s.all_by_hash else owner(s, addrs, ports, hash, direction)


cdef inline uint32_t fragment_home(const shared *s, uint64_t addrs, uint16_t id, uint8_t protocol, uint64_t key0,
                                   uint64_t key1) noexcept nogil:
    """Where the fragments of one datagram meet (RFC 791: source, destination, protocol, identification). They have no ports,
    but for the first: their home learns them and knows the owner."""
    return hash_owner(hash2(addrs, <uint64_t>id << 8 | protocol, key0, key1), s.n_workers)


cdef inline bint is_anothers(worker *w, uint32_t i, uint64_t addrs, uint64_t ports, uint64_t hash,
                             uint8_t claimed) noexcept nogil:
    """Whether packet i of the batch belongs to another worker, as what has this tuple does; its id then stands in b.entry[i].

    What has been handed over stays, even if owners have changed meanwhile. claimed: BRINGS_ bits of what its port says that
    it brings to the owner: then it is a stray.
    """
    cdef batch *b = &w.batch
    cdef uint8_t direction
    if w.shared.n_workers == 1 or not b.fresh:
        return False
    b.entry[i] = owner_of(w.shared, addrs, ports, hash, &direction)
    if b.entry[i] == w.id:
        return False
    w.ports[b.pkt[i].port].strays += (claimed & direction) != 0
    return True
