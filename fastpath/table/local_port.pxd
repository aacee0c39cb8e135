"""A local address and port towards a server: a cursor walks a keyed permutation of (address, port).

Four bytes of state for each worker and server; a candidate is taken if this worker owns the answer's tuple and the
connection table does not hold it. Nearly longest-free-first, and the order tells an observer nothing (RFC 6056 3.3).
After a row of taken candidates the cursor jumps, so that long-lived connections standing together do not block the walk.

Where the walk comes round before entries expire, nearly every candidate is held by a connection that has ended. Then the
first one met, the longest unused, is taken over if none of the next few is free (B43, table/takeover.pxd).
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fastpath.layout cimport (
    BY_RSS, LOCAL_FREE_TRIES, LOCAL_JUMPS, LOCAL_PORT_MIN, LOCAL_PORTS, LOCAL_TRIES, NONE, flow, local_pool, port, server,
    server_count, worker)
from fastpath.net.frame cimport rte_cpu_to_be_16
from fastpath.net.hash cimport hash2
from fastpath.table.connection cimport find, flow_addrs, flow_ports, tuple_hash
from fastpath.table.owner cimport owner_of
from fastpath.table.rss cimport queue_of, rss_partial, rss_with_address, rss_with_port
from fastpath.table.tcp_state cimport gives_way


cdef inline uint32_t permute(uint32_t x, uint32_t bits, uint64_t key) noexcept nogil:
    """A permutation of [0, 2^bits): odd multiplications and right shifts, each of which can be undone."""
    cdef uint32_t mask = 0xFFFFFFFFU >> (32 - bits)
    cdef uint32_t half = (bits + 1) >> 1
    cdef uint32_t a = <uint32_t>key | 1
    cdef uint32_t b = <uint32_t>(key >> 32) | 1
    x = (x * a + b) & mask
    x ^= x >> half
    x = (x * b) & mask
    x ^= x >> half
    x = (x * a) & mask
    return x ^ (x >> half)


cdef inline bint comes_here(const worker *w, const port *p, uint32_t partial, const flow *answer) noexcept nogil:
    """Whether this worker owns (R, L), as far as can be told without our hash. partial: R's part of the port's hash."""
    return p.owned_by != BY_RSS or queue_of(
        p.rss, rss_with_port(p.rss, rss_with_address(p.rss, partial, answer.daddr), answer.dport)) == w.id


cdef inline uint64_t choose_local(worker *w, uint32_t id, const port *p, const local_pool *pool, flow *answer,
                                  uint32_t *former) noexcept nogil:
    """Complete `answer` = (R, L): its destination becomes a local address and port of this worker, of the port's pool.

    Returns the tuple's hash, or 0 when LOCAL_TRIES candidates in a row were taken or another worker's (0 is no hash of
    a tuple that is handed out: such a candidate is passed over). former: who has to give it up first; NONE: it is free.
    """
    cdef server_count *count = &w.server_counts[id]
    cdef const server *s = &w.shared.servers[id]
    # The id is part of the key: two services may share a real server, and must not walk the same way.
    cdef uint64_t key = hash2(<uint64_t>id << 32 | s.raddr, <uint64_t>s.rport << 16 | s.protocol, w.table.hash_key[1],
                              w.table.hash_key[0])
    cdef uint32_t tries = LOCAL_TRIES * w.shared.n_workers
    # A golden part of the circle, and odd: jumps spread evenly over the walk.
    cdef uint32_t jump = 0x9E3779B9U >> (32 - pool.bits) | 1
    # A card's hash is linear: of a candidate, only its own address and port are left to add.
    cdef uint32_t partial = rss_partial(p.rss, answer.saddr, answer.sport) if p.owned_by == BY_RSS else 0
    cdef uint32_t x, entry, behind = 0
    cdef uint64_t addrs, ports, hash, ended_hash = 0
    cdef flow ended
    cdef uint8_t direction
    former[0] = NONE
    while tries:
        x = permute(count.port_cursor & (0xFFFFFFFFU >> (32 - pool.bits)), pool.bits, key)
        count.port_cursor += 1 if tries > LOCAL_JUMPS * w.shared.n_workers or former[0] != NONE else jump
        if x >= pool.size:  # 2^bits < 2 * size: at most every other candidate on average
            continue
        tries -= 1
        answer.daddr = pool.addresses[x // LOCAL_PORTS]  # a constant: multiplication
        answer.dport = rte_cpu_to_be_16(<unsigned short>(LOCAL_PORT_MIN + x % LOCAL_PORTS))
        if not comes_here(w, p, partial, answer):
            continue
        addrs, ports = flow_addrs(answer), flow_ports(answer, s.protocol)
        hash = tuple_hash(&w.table, addrs, ports)
        if hash == 0 or owner_of(w.shared, addrs, ports, hash, &direction) != w.id:
            continue
        entry = find(&w.table, addrs, ports, hash)
        if entry == NONE:
            former[0] = NONE
            return hash
        if former[0] == NONE and gives_way[w.table.connections[entry >> 1].state]:
            former[0], ended, ended_hash, behind = entry >> 1, answer[0], hash, count.port_cursor
            tries = min(tries, <uint32_t>LOCAL_FREE_TRIES * w.shared.n_workers)
    if former[0] != NONE:
        count.port_cursor = behind  # those passed over since are the longest unused now
        answer[0] = ended
    return ended_hash
