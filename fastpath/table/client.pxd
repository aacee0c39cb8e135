"""What is known of single clients: how many connections they may open yet (B29), and which server they went to (B44).

A client's connections belong to many workers; what is known of it, for one virtual address, belongs to one, its home, which
the others ask (table/admit.pxd). Entries stand in sets of four, a line each, at the place that our keyed hash says: nobody can
aim at a set. Whoever is new in a full set takes the place of who was not seen for longest, so a flood of clients costs the
memory of the table and no more; it can make the table forget: a client that is forgotten may open a second's worth at once, and
goes to the server that the scheduler says. Owner: the worker.
"""

from libc.stdint cimport uint32_t, uint64_t

from fastpath.layout cimport (
    CLIENT_SHIFT, CLIENT_WAYS, NONE, be32, client, client_set, server, service, shared, worker)
from fastpath.net.frame cimport rte_be_to_cpu_32
from fastpath.net.hash cimport hash2, scale
from fastpath.table.limit cimport TOKEN
from fastpath.table.owner cimport hash_owner
from fastpath.table.service cimport is_eligible

cdef extern from *:
    """
    /* Scopes: a virtual address as it stands; or an address of 0/8, which no host has: its first byte is the low one. */
    enum { SCOPE_RATE = 1 << 24, SCOPE_SERVER = 2 << 24 };
    #define SECOND (1000 >> CLIENT_SHIFT) /* an entry of a rate is worth nothing after: its bucket is full again */
    #define is_rate(scope) (((scope) & 0xff0000ffu) == SCOPE_RATE)
    enum { ID_BITS = 20 };
    _Static_assert(MAX_SERVERS <= 1 << ID_BITS, "a server's id fits its mark");
    """
    enum:
        SCOPE_RATE, SCOPE_SERVER, ID_BITS
    uint32_t SECOND
    bint is_rate(uint32_t scope) noexcept nogil


cdef inline uint32_t client_home(const worker *w, uint64_t addrs) noexcept nogil:
    """The worker that knows the client; addrs: of its packet, whose destination is the virtual address."""
    return hash_owner(hash2(addrs, 0, w.table.hash_key[0], w.table.hash_key[1]), w.shared.n_workers)


cdef inline uint32_t client_time(const worker *w) noexcept nogil:
    return <uint32_t>(w.time >> CLIENT_SHIFT)


cdef inline uint32_t rate_scope(const service *s) noexcept nogil:
    return SCOPE_RATE | s.id << 8


cdef inline uint32_t server_scope(const service *s) noexcept nogil:
    return s.vaddr if s.whole_address else SCOPE_SERVER | s.id << 8


cdef inline client_set *set_of(worker *w, be32 address, uint32_t scope) noexcept nogil:
    cdef uint64_t hash = hash2(address, scope, w.table.hash_key[0], w.table.hash_key[1])
    return &w.clients[scale(hash >> 32, w.n_client_sets)]


cdef inline client *to_front(client_set *all, uint32_t i) noexcept nogil:
    """Entries stand in the order of their last use: time alone does not tell those of one moment apart."""
    cdef client used = all.ways[i]
    while i > 0:
        all.ways[i] = all.ways[i - 1]
        i -= 1
    all.ways[0] = used
    return &all.ways[0]


cdef inline client *client_in(client_set *all, be32 address, uint32_t scope) noexcept nogil:
    """Or NULL."""
    cdef uint32_t i
    for i in range(CLIENT_WAYS):
        if all.ways[i].address == address and all.ways[i].scope == scope:
            return to_front(all, i)
    return NULL


cdef inline uint64_t staleness(const client *c, uint32_t now) noexcept nogil:
    """What goes first: free places, rates whose bucket is full again, then what was not seen for longest."""
    cdef uint32_t age = now - c.seen
    if c.address == 0:
        return <uint64_t>2 << 32
    return <uint64_t>1 << 32 | age if is_rate(c.scope) and age > SECOND else age


cdef inline client *client_enter(client_set *all, be32 address, uint32_t scope, uint32_t now) noexcept nogil:
    """An entry that was not there."""
    cdef uint32_t i, stalest = 0
    for i in range(1, CLIENT_WAYS):
        if staleness(&all.ways[i], now) >= staleness(&all.ways[stalest], now):
            stalest = i
    all.ways[stalest].address, all.ways[stalest].scope = address, scope
    return to_front(all, stalest)


# ---- how many it may open ------------------------------------------------------------------------------------------

cdef inline uint32_t client_rate(const service *s, be32 address) noexcept nogil:
    """Connections a second; NONE: as many as it likes."""
    cdef uint32_t sought = rte_be_to_cpu_32(address)
    cdef uint32_t low = 0, high = s.n_clients, middle
    while low < high:
        middle = (low + high) >> 1
        if s.clients[middle].address < sought:
            low = middle + 1
        else:
            high = middle
    if low < s.n_clients and s.clients[low].address == sought:
        return s.clients[low].rate
    return s.client_rate if s.client_rate else NONE


cdef inline bint client_may(worker *w, const service *s, be32 address, uint32_t rate) noexcept nogil:
    """Whether it may open one more, which counts at once; NONE: always. A refused one costs nothing. A second's worth at
    most may be opened at once, 4.29 million that is, since an entry holds no more."""
    cdef client_set *all = set_of(w, address, rate_scope(s))
    cdef client *c = client_in(all, address, rate_scope(s))
    cdef uint32_t now = client_time(w), age
    cdef uint64_t full = <uint64_t>rate * TOKEN, tokens
    if rate == NONE:
        return True
    full = full if full < 0xFFFFFFFFU else 0xFFFFFFFFU
    tokens = full
    if c == NULL:
        c = client_enter(all, address, rate_scope(s), now)
    else:
        age = now - c.seen
        tokens = c.value + ((<uint64_t>rate * (age if age <= SECOND else SECOND + 1)) << CLIENT_SHIFT)
        tokens = tokens if tokens < full else full
    c.seen = now
    c.value = <uint32_t>(tokens - TOKEN if tokens >= TOKEN else tokens)
    return tokens >= TOKEN


# ---- where it went -------------------------------------------------------------------------------------------------

cdef inline uint32_t server_mark(const shared *all, uint32_t id) noexcept nogil:
    """A server's id, and what tells it from another one that has the id later."""
    cdef const server *s = &all.servers[id]
    return id | <uint32_t>(hash2(s.raddr, s.rport, 0x8BB84B93962EACC9U, 0x4B33A62ED433D4A3U) >> 52) << ID_BITS


cdef inline uint32_t server_with(const shared *all, const service *s, be32 address) noexcept nogil:
    """The first eligible server of a service at this address, of those sorted by address and port; or NONE."""
    cdef uint32_t sought = rte_be_to_cpu_32(address)
    cdef uint32_t low = 0, high = s.n_servers, middle
    while low < high:
        middle = (low + high) >> 1
        if rte_be_to_cpu_32(all.servers[s.servers[middle]].raddr) < sought:
            low = middle + 1
        else:
            high = middle
    while low < s.n_servers and all.servers[s.servers[low]].raddr == address:
        if is_eligible(all, s, s.servers[low]):
            return s.servers[low]
        low += 1
    return NONE


cdef inline uint32_t recall(worker *w, const service *s, be32 address) noexcept nogil:
    """The server that the client's last connection went to, as long as that counts and it is eligible; or NONE."""
    cdef const client *c = client_in(set_of(w, address, server_scope(s)), address, server_scope(s))
    cdef uint32_t id
    if c == NULL or <uint64_t>(client_time(w) - c.seen) << CLIENT_SHIFT > s.persistence:
        return NONE
    if s.whole_address:
        return server_with(w.shared, s, c.value)
    id = c.value & (((<uint32_t>1) << ID_BITS) - 1)
    return id if is_eligible(w.shared, s, id) and server_mark(w.shared, id) == c.value else NONE


cdef inline void remember(worker *w, const service *s, be32 address, uint32_t id) noexcept nogil:
    """From now on."""
    cdef client_set *all = set_of(w, address, server_scope(s))
    cdef client *c = client_in(all, address, server_scope(s))
    if c == NULL:
        c = client_enter(all, address, server_scope(s), client_time(w))
    c.seen = client_time(w)
    c.value = w.shared.servers[id].raddr if s.whole_address else server_mark(w.shared, id)
