"""From an address, or address, port and protocol, to what is served there; and the choice of a server.

Readers: workers, inside an RCU section. Writer: the main thread (face/publish.pxi), which replaces blocks whole; of the map
service_map.pxd tells.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from fastpath.layout cimport (
    ADDRESS_FREE, ADDRESS_SERVICE, NONE, SERVER_PRESENT, be16, be32, flow, server, service, service_count, service_map, shared,
    worker)
from fastpath.net.hash cimport hash2, scale
from fastpath.net.ipv4 cimport cannot_be_a_host
from fastpath.table.limit cimport has_room
from fastpath.table.load cimport lighter_of
from fastpath.table.service_map cimport map_find, map_key

cdef extern from *:
    """
    enum { RR = 0, WRR = 1, IPPORT = 2, IPONLY = 3, LC = 4, WLC = 5, N_SCHEDULERS };
    enum { SLOT_TRIES = 16, SERVER_TRIES = 64 }; /* for a server that is not full */
    """
    enum:
        RR, WRR, IPPORT, IPONLY, LC, WLC, N_SCHEDULERS, SLOT_TRIES, SERVER_TRIES


cdef inline uint8_t address_kind(const service_map *m, be32 addr) noexcept nogil:
    """ADDRESS_VIRTUAL, ADDRESS_LOCAL, or ADDRESS_FREE: not ours."""
    cdef uint32_t ignored
    return map_find(m, map_key(addr, 0, 0), &ignored)


cdef inline bint is_no_client(const service_map *m, be32 addr) noexcept nogil:
    """Whether a source address is forged for sure: nobody's, or one of ours (B10)."""
    return cannot_be_a_host(addr) or address_kind(m, addr) != ADDRESS_FREE


cdef inline const service *service_at(const worker *w, be32 addr, be16 port, uint8_t protocol) noexcept nogil:
    """NULL where none is served, or where it is going just now."""
    cdef uint32_t id
    return w.shared.services[id] if map_find(w.shared.map, map_key(addr, port, protocol), &id) == ADDRESS_SERVICE else NULL


cdef inline uint64_t client_hash(const flow *f, uint8_t scheduler) noexcept nogil:
    """Of (C) or (C, cport), without any key of ours: every director must choose the same server."""
    return hash2(f.saddr, f.sport if scheduler == IPPORT else 0, 0x8BB84B93962EACC9U, 0x4B33A62ED433D4A3U)


cdef inline bint by_load(uint8_t scheduler) noexcept nogil:
    return scheduler == LC or scheduler == WLC


cdef inline uint32_t pick_lighter(worker *w, const service *s, uint64_t hash) noexcept nogil:
    """The better of two servers, drawn as their slots say; where they are equal the first, so that without load shares
    follow the slots. The two differ: when both draws meet the same server, any other one is the second."""
    cdef service_count *count = &w.service_counts[s.id]
    cdef const uint16_t *eligible = s.slots + s.n_slots
    cdef uint64_t drawn = hash2(hash, count.cursor, 0x9FB21C651E98DF25U, 0xC2B2AE3D27D4EB4FU)
    cdef uint16_t first = s.slots[scale(drawn >> 32, s.n_slots)]
    cdef uint16_t second = s.slots[scale(<uint32_t>drawn, s.n_slots)]
    count.cursor += 1  # the same client's next connection meets others
    if s.n_eligible == 1:
        return s.servers[first]
    if second == first:
        second = eligible[scale(<uint32_t>hash2(drawn, 0, 0xD6E8FEB86659FD93U, 0xA0761D6478BD642FU), s.n_eligible - 1)]
        if second == first:
            second = eligible[s.n_eligible - 1]
    return lighter_of(w, s.servers[first], s.servers[second], s.scheduler == WLC)


cdef inline uint32_t pick_server(worker *w, const service *s, const flow *f, uint64_t hash) noexcept nogil:
    """Server id for a new connection of client flow f, or NONE when no server is eligible. hash: keyed, of its packet."""
    cdef service_count *count
    cdef uint32_t slot
    if s.n_slots == 0:
        return NONE
    if by_load(s.scheduler):
        return pick_lighter(w, s, hash)
    if s.scheduler == IPPORT or s.scheduler == IPONLY:
        slot = scale(client_hash(f, s.scheduler) >> 32, s.n_slots)
    else:
        count = &w.service_counts[s.id]
        if count.cursor >= s.n_slots:  # the round became shorter
            count.cursor = 0
        slot = count.cursor + w.id * s.stagger
        if slot >= s.n_slots:
            slot -= s.n_slots
        count.cursor += 1
    return s.servers[s.slots[slot]]


cdef inline bint is_eligible(const shared *all, const service *s, uint32_t id) noexcept nogil:
    """Whether a server that was chosen a while ago still is the service's, and takes new connections."""
    cdef const server *chosen = &all.servers[id]
    return chosen.service == s.id and chosen.removed == SERVER_PRESENT and chosen.eligible


cdef inline uint32_t another_with_room(worker *w, const service *s, const flow *f, uint64_t hash) noexcept nogil:
    """Instead of a full server: as the schedule goes on, consistent hashing to the next slots, so that directors agree as far
    as their servers are full alike; where a few slots lead to none, the servers in their order. Tries are bounded: of more
    than SERVER_TRIES servers some may be passed over."""
    cdef uint64_t client = client_hash(f, s.scheduler)
    cdef bint consistent = s.scheduler == IPPORT or s.scheduler == IPONLY
    cdef uint32_t slot = scale(client >> 32, s.n_slots)
    cdef uint32_t position = scale(<uint32_t>client, s.n_servers)
    cdef uint32_t tries, id
    for tries in range(SLOT_TRIES):
        slot = slot + 1 if slot + 1 < s.n_slots else 0
        id = s.servers[s.slots[slot]] if consistent else pick_server(w, s, f, hash)
        if has_room(w, id):
            return id
    for tries in range(SERVER_TRIES if s.n_servers > SERVER_TRIES else s.n_servers):
        id = s.servers[position]
        if is_eligible(w.shared, s, id) and has_room(w, id):
            return id
        position = position + 1 if position + 1 < s.n_servers else 0
    return NONE


cdef inline uint32_t pick_with_room(worker *w, const service *s, const flow *f, uint64_t hash) noexcept nogil:
    """Server id for a new connection, or NONE when no server is eligible, or none of them has room."""
    cdef uint32_t id = pick_server(w, s, f, hash)
    return id if id == NONE or has_room(w, id) else another_with_room(w, s, f, hash)
