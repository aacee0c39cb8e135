# Publishing: services, local addresses and next hops, swapped under running workers. Part of engine.pyx.

cdef be32 be32_of(address) except? 0:
    cdef be32 x
    need(isinstance(address, bytes) and len(address) == 4, f"address {address!r}: 4 bytes expected.")
    memcpy(&x, <const char *>address, 4)
    return x


cdef uint16_t be16_of(port):
    return (port >> 8) | (port & 0xFF) << 8


cdef synchronize():
    """Wait until every worker has finished the turn in which it could see the old state."""
    with nogil:
        rte_rcu_qsbr_synchronize(S.rcu, RTE_QSBR_THRID_INVALID)


cdef check_service(s):
    """What would make a worker read where nothing is; everything else the control plane has judged."""
    within(s.id, 0, MAX_SERVICES - 1, "service id")
    within(s.port, 0, 65535, f"service {s.id}: port")
    need(s.protocol in (TCP, UDP), f"service {s.id}: protocol {s.protocol!r}: expected 6 or 17.")
    within(s.scheduler, 0, N_SCHEDULERS - 1, f"service {s.id}: scheduler")
    within(s.established_timeout, 0, MAX_TIMEOUT, f"service {s.id}: established timeout")
    within(len(s.servers), 0, MAX_SERVICE_SERVERS, f"service {s.id}: number of servers")
    within(s.limits.connections, 0, 0xFFFFFFFF, f"service {s.id}: connections")
    within(s.limits.rate, 0, MAX_RATE, f"service {s.id}: rate")
    within(s.limits.client_rate, 0, MAX_RATE, f"service {s.id}: rate of a client")
    within(s.persistence.seconds, 0, MAX_TIMEOUT, f"service {s.id}: persistence")
    within(s.mss, 0, 65535, f"service {s.id}: mss")
    for address, rate in s.limits.clients:
        be32_of(address)
        within(rate, 0, MAX_RATE, f"service {s.id}: rate of client {'.'.join(map(str, address))}")
    be32_of(s.address)


cdef take_members(s, member *members):
    """There may be a million: a text is made only of what is wrong."""
    cdef member *m = members
    for id, address, port, weight, max_connections, backup in s.servers:
        if not (isinstance(id, int) and 0 <= id < MAX_SERVERS):
            raise EngineError(f"service {s.id}: server id {id!r}: expected 0 to {MAX_SERVERS - 1}.")
        if not (isinstance(port, int) and 0 <= port <= 65535):
            raise EngineError(f"server {id}: port {port!r}: expected 0 to 65535.")
        if not (isinstance(weight, int) and 0 <= weight <= 65535):
            raise EngineError(f"server {id}: weight {weight!r}: expected 0 to 65535.")
        if not (isinstance(max_connections, int) and 0 <= max_connections <= 0xFFFFFFFF):
            raise EngineError(f"server {id}: connections {max_connections!r}: expected 0 to {0xFFFFFFFF}.")
        m.id, m.weight, m.max_connections, m.backup = id, weight, max_connections, backup
        m.identity = <uint64_t>rte_be_to_cpu_32(be32_of(address)) << 16 | <uint64_t>port
        m += 1
    need(len({each[0] for each in s.servers}) == len(s.servers), f"service {s.id}: a server id stands in it twice.")


cdef take_limits(s, service *block):
    """What the service sets beside its servers."""
    cdef client_limit *limit
    block.max_connections = share_out(s.limits.connections, S.n_workers)
    block.rate = share_out(s.limits.rate, S.n_workers)
    block.client_rate = s.limits.client_rate
    block.persistence, block.whole_address = s.persistence.seconds * 1000, s.persistence.whole_address
    block.mss = s.mss
    rates = {int.from_bytes(address, "big"): rate for address, rate in s.limits.clients}
    limit = block.clients = <client_limit *>malloc((len(rates) + 1) * sizeof(client_limit))
    need(limit != NULL, f"No memory for the limits of {len(rates)} clients.")
    block.n_clients = <uint32_t>len(rates)
    for address in sorted(rates):
        limit.address, limit.rate = address, rates[address]
        limit += 1
    block.asks = ((LIMITS_SERVICE if s.limits.connections or s.limits.rate else 0)
                  | (LIMITS_SERVERS if any([server.max_connections for server in s.servers]) else 0)
                  | (LIMITS_CLIENTS if s.limits.client_rate or rates else 0)
                  | (REMEMBERS if block.persistence else 0))


cdef class Prepared:
    """A change that is judged and built, and waits for commit(); after that it owns what was there before."""
    cdef service **blocks   # one for each service, then room for the removed ones
    cdef member **members   # of each block, in its order
    cdef uint32_t *ids      # of services
    cdef uint32_t n, n_removed
    cdef object reset
    cdef bint committed

    def __cinit__(self, services, removed, reset):
        self.n, self.n_removed = len(services), len(removed)
        self.reset = reset
        total = self.n + self.n_removed + 1
        self.blocks = <service **>calloc(total, sizeof(void *))
        self.members = <member **>calloc(total, sizeof(void *))
        self.ids = <uint32_t *>calloc(total, sizeof(uint32_t))
        need(self.blocks != NULL and self.members != NULL and self.ids != NULL, f"No memory to publish {total} services.")
        for i, s in enumerate(services):
            self.build(i, s)
        for i, id in enumerate(removed):
            self.ids[self.n + <uint32_t>i] = id

    def __dealloc__(self):
        cdef uint32_t i
        for i in range(self.n + self.n_removed):
            if self.blocks != NULL:
                block_free(self.blocks[i])
            if self.members != NULL:
                free(self.members[i])
        free(self.blocks)
        free(self.members)
        free(self.ids)

    cdef build(self, uint32_t i, s):
        cdef uint32_t n = len(s.servers)
        cdef service *block = <service *>calloc(1, sizeof(service))
        cdef member *members = <member *>malloc((n + 1) * sizeof(member))
        cdef int rc
        self.blocks[i], self.members[i], self.ids[i] = block, members, s.id
        need(block != NULL and members != NULL, f"No memory to publish a service with {n} servers.")
        take_members(s, members)
        block.id, block.vaddr, block.vport = s.id, be32_of(s.address), be16_of(s.port)
        block.protocol, block.scheduler = s.protocol, s.scheduler
        block.established_timeout = s.established_timeout * 1000
        take_limits(s, block)
        with nogil:
            rc = block_fill(block, members, n, S.n_workers)
        need(rc == 0, f"No memory to publish a service with {n} servers.")


def prepare(services, removed=(), reset=()):
    started()
    for id in removed:
        within(id, 0, MAX_SERVICES - 1, "removed service id")
    for id in reset:
        within(id, 0, MAX_SERVERS - 1, "server id to reset")
    for s in services:
        check_service(s)
    ids = [s.id for s in services] + list(removed)
    need(len(set(ids)) == len(ids), "A service id stands twice in one change.")
    keys = {(s.address, s.port, s.protocol) for s in services}
    need(len(keys) == len(services), "Two services of one change have the same address, port and protocol.")
    return Prepared(services, removed, reset)


def commit(Prepared change):
    """New blocks, then the map that leads to them, then the old ones go: a worker sees one or the other, never neither."""
    cdef service_map *former = S.map
    cdef service_map *fresh = NULL
    need(not change.committed, "A change is committed once.")
    judge_keys(change)
    judge_reset(change)
    if not map_has_room(S.map, 2 * change.n):
        fresh = new_map(n_services + change.n, local_now)
    change.committed = True  # nothing fails from here on
    swap_blocks(change)
    if concerns_loads(change):
        list_weighed()
        weigh()
    if fresh != NULL:
        fill_map(fresh, local_now)
        store_pointer(&S.map, fresh)
    else:
        change_map(change)
    mark_servers(change)
    synchronize()
    if fresh != NULL:
        free(former)


def publish(services, removed=(), reset=()):
    commit(prepare(services, removed, reset))


cdef judge_keys(Prepared change):
    """A key keeps its id, and an id its key, as long as it is published: a worker may be between the two."""
    cdef uint32_t i, published
    for i in range(change.n):
        s = change.blocks[i]
        published = s.id
        if map_find(S.map, map_key(s.vaddr, s.vport, s.protocol), &published) != ADDRESS_SERVICE:
            need(S.services[s.id] == NULL, f"service {s.id}: is published with another address, port or protocol.")
        need(published == s.id, f"service {s.id}: its address, port and protocol are published as service {published}.")


cdef judge_reset(Prepared change):
    """Only servers that have left, or leave by this change, can be reset."""
    cdef uint32_t i, k
    ids = {change.ids[i] for i in range(change.n + change.n_removed)}
    staying = {change.members[i][k].id for i in range(change.n if change.reset else 0)
               for k in range(change.blocks[i].n_servers)}
    wrong = [id for id in change.reset if not S.servers[<uint32_t>id].removed and (
        id in staying or not S.servers[<uint32_t>id].raddr or S.servers[<uint32_t>id].service not in ids)]
    need(not wrong, f"reset: server ids {wrong} do not leave with this change.")


cdef swap_blocks(Prepared change):
    """Each block into its service's place, and the former one into the change."""
    global n_services, service_ids
    cdef service *former
    cdef uint32_t i, id
    for i in range(change.n + change.n_removed):
        id = change.ids[i]
        former = S.services[id]
        if i < change.n:
            place_servers(change.blocks[i], change.members[i])
            service_ids = max(service_ids, id + 1)
        n_services += (i < change.n) - (former != NULL)
        store_pointer(&S.services[id], change.blocks[i])
        change.blocks[i] = former


cdef void place_servers(const service *block, const member *members) noexcept:
    """Addresses of servers that are new under their id; a server that stays keeps its next hop."""
    cdef server *record
    cdef uint32_t i
    for i in range(block.n_servers):
        record = &S.servers[members[i].id]
        record.raddr = rte_cpu_to_be_32(<uint32_t>(members[i].identity >> 16))
        record.rport = rte_cpu_to_be_16(<uint16_t>members[i].identity)
        record.protocol = block.protocol
        record.service = block.id
        record.removed = SERVER_PRESENT
        record.eligible = members[i].eligible
        record.weight = <uint16_t>members[i].weight
        record.max_connections = share_out(members[i].max_connections, S.n_workers)
        record.backup = members[i].backup


cdef bint concerns_loads(Prepared change):
    """Whether a service that goes by load comes, changes or goes: `blocks` holds the former ones now."""
    cdef uint32_t i
    for i in range(change.n + change.n_removed):
        if change.blocks[i] != NULL and by_load(change.blocks[i].scheduler):
            return True
        if i < change.n and by_load(S.services[change.ids[i]].scheduler):
            return True
    return False


cdef change_map(Prepared change):
    cdef uint32_t i
    for i in range(change.n):
        map_put_service(S.map, S.services[change.ids[i]])
    for i in range(change.n, change.n + change.n_removed):
        if change.blocks[i] != NULL:
            map_drop_service(S.map, change.blocks[i])


cdef mark_servers(Prepared change):
    """Those that were in a former block and are in none of this change's have left: so, or to be reset."""
    cdef const service *former
    cdef uint32_t i, k
    for i in range(change.n):
        for k in range(S.services[change.ids[i]].n_servers):
            stays[change.members[i][k].id] = 1
    for i in range(change.n + change.n_removed):
        former = change.blocks[i]
        for k in range(former.n_servers if former != NULL else 0):
            if not stays[former.servers[k]]:
                S.servers[former.servers[k]].removed = SERVER_REMOVED
    for id in change.reset:
        if S.servers[<uint32_t>id].removed:
            S.servers[<uint32_t>id].removed = SERVER_RESET
    for i in range(change.n):
        for k in range(S.services[change.ids[i]].n_servers):
            stays[change.members[i][k].id] = 0


cdef service_map *new_map(uint32_t services, local) except NULL:
    cdef service_map *m = map_new(2 * services + <uint32_t>sum([len(addresses) for addresses in local.values()]))
    need(m != NULL, f"No memory for the map of {services} services.")
    return m


cdef fill_map(service_map *m, local):
    """All services that there are, and the local addresses (no address is both: Model.role_of)."""
    cdef uint32_t id
    for id in range(service_ids):
        if S.services[id] != NULL:
            map_put_service(m, S.services[id])
    for port, addresses in local.items():
        for i, address in enumerate(addresses):
            map_put(m, map_key(be32_of(address), 0, 0), ADDRESS_LOCAL, <uint32_t>port | <uint32_t>(i % S.n_workers) << 16)


cdef local_pool *build_pool(addresses) except? NULL:
    """NULL where there are no addresses."""
    cdef local_pool *pool
    if not addresses:
        return NULL
    pool = pool_new(<uint32_t>len(addresses))
    need(pool != NULL, f"No memory for {len(addresses)} local addresses.")
    for i, address in enumerate(addresses):
        (&pool.addresses[0])[i] = be32_of(address)
    return pool


def set_local_addresses(port, addresses):
    cdef service_map *fresh
    cdef service_map *old_map
    cdef local_pool *pool
    cdef local_pool *old_pool = port_at(port).pool
    within(len(addresses), 0, 65536, f"port {port}: number of local addresses")
    need(port not in flow_rules or port not in local_now, f"port {port}: its local addresses stand in the card's rules.")
    after = {**local_now, port: tuple(addresses)}
    for address in addresses:
        be32_of(address)  # judged before anything changes
    fresh = new_map(n_services, after)
    pool = build_pool(addresses)
    fill_map(fresh, after)
    local_now.update(after)
    old_map = S.map
    store_pointer(&S.map, fresh)  # first: whose an address is must be known when one is chosen
    store_pointer(&port_at(port).pool, pool)
    synchronize()
    free(old_map)
    free(old_pool)


def set_policy(refuse=True, reset_unknown=False):
    started()
    S.refuses, S.resets_unknown = bool(refuse), bool(reset_unknown)


def set_next_hop(server, port, mac):
    global servers_end
    cdef uint64_t id = server_id(server)
    cdef uint64_t hop = S.servers[id].hop & <uint64_t>0xFF << 48  # its connections are still of that port
    if mac is not None:
        port_at(port)
        need(isinstance(mac, bytes) and len(mac) == 6, f"MAC address {mac!r}: 6 bytes expected.")
        hop = int.from_bytes(mac, "little") | <uint64_t>port << 48 | <uint64_t>HOP_RESOLVED << 56
    store_word(&S.servers[id].hop, hop)
    full_fence()
    wake_workers()  # for what is parked
    servers_end = max(servers_end, id + 1)
