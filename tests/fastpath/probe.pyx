"""The data plane's inline functions as Python sees them: for tests only (JUPITER_DEVELOPMENT=1 in setup.py builds it).

Nothing here decides anything: arguments in, the function under test, results out. Only ports need an EAL.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from fastpath.dpdk.eal cimport rte_errno, rte_strerror
from fastpath.dpdk.ethdev cimport *
from fastpath.dpdk.flow cimport *
from fastpath.dpdk.mbuf cimport rte_mempool, rte_pktmbuf_pool_create
from fastpath.layout cimport (
    ADDRESS_FREE, FRAME_SLOTS, HOP_RESOLVED, INBOUND, LOCAL_PORT_MIN, LOCAL_PORTS, MAX_RETA, NONE, N_TIMEOUTS, OUTBOUND,
    N_DROP_REASONS, SERVER_REMOVED, SERVER_RESET, VERB_FIND, VERB_SWEEP, WHEEL_SHIFT, be16, be32, client_limit, client_set,
    connection, flow, frame_ring, gather, local_pool, node, region, rss, server, server_count, service, service_count,
    service_map, share, shared, table, verb, worker)
from fastpath.net cimport checksum, tcp_options as options
from fastpath.net.frame cimport load32, rte_cpu_to_be_32
from fastpath.net.hash cimport hash2 as net_hash2, scale as net_scale
from fastpath.stage cimport answer as mailbox, expire as expiry
from fastpath.table cimport block, client as clients, connection as entries, frame_ring as frames, limit as limits, load
from fastpath.table cimport local_port, node as lists
from fastpath.table cimport owner as owners, region as regions, rounds, service as serving, service_map as maps
from fastpath.table cimport rss as scaling, tcp_state, timer
from fastpath.table.rss cimport RSS_KEY_BYTES, rss_fill


cdef extern from "<stdlib.h>" nogil:
    int posix_memalign(void **memory, size_t alignment, size_t n)


cdef void *zeroed(size_t n) except NULL:
    cdef void *memory = NULL
    if posix_memalign(&memory, 4096, n) != 0:
        raise MemoryError
    memset(memory, 0, n)
    return memory


# ---- numbers -------------------------------------------------------------------------------------------------------

def fold(uint64_t sum):
    return checksum.fold(sum)


def difference(uint64_t old, uint64_t new):
    return checksum.difference(old, new)


def update(uint16_t sum, uint64_t delta):
    return checksum.update(sum, delta)


def compute(bytes message):
    return checksum.compute(message, len(message))


def move_numbers(bytes header, uint32_t seq, uint32_t ack, uint32_t tsval, uint32_t tsecr):
    """(what that adds to its checksum, a TCP header with these added to its numbers)."""
    moved = bytearray(header)
    return options.move_numbers(<uint8_t *>moved, seq, ack, tsval, tsecr), bytes(moved)


def timestamps_at(bytes header):
    return options.timestamps_at(header)


def hash2(uint64_t a, uint64_t b, uint64_t key0, uint64_t key1):
    return net_hash2(a, b, key0, key1)


def scale(uint64_t x, uint32_t n):
    return net_scale(x, n)


def clamp_mss(bytes header, uint16_t mss):
    """A TCP header, and what becomes of it."""
    cdef uint8_t room[60]
    memcpy(room, <const uint8_t *>header, len(header))
    options.clamp_mss(room, mss)
    return (<char *>room)[:len(header)]


def living_of(uint32_t full, uint32_t closing, uint32_t retired):
    """Of a server with so many connections in each of these conditions."""
    cdef server_count count
    count.load, count.active = 256 * full + closing, full + closing + retired
    return limits.living_of(&count)


def share_out(uint32_t total, uint32_t n_workers):
    """Each worker's part of a limit."""
    cdef share of = block.share_out(total, n_workers)
    return [limits.part_of(&of, i) for i in range(n_workers)]


cdef class Clients:
    """A worker's memory of clients in so many sets, for one service, and its bucket; time is the worker's."""
    cdef worker *w
    cdef shared *s
    cdef service *block

    def __cinit__(self, uint32_t n_sets, uint32_t rate=0, uint32_t seconds=0, rates=(), uint32_t client_rate=0):
        self.s, self.w = <shared *>zeroed(sizeof(shared)), <worker *>zeroed(sizeof(worker))
        self.w.shared, self.s.n_workers = self.s, 1
        self.s.servers = <server *>zeroed(16 * sizeof(server))
        for i in range(16):
            self.s.servers[i].eligible, self.s.servers[i].raddr = 1, i + 1
        self.w.clients, self.w.n_client_sets = <client_set *>zeroed(n_sets * sizeof(client_set)), n_sets
        self.w.service_counts = <service_count *>zeroed(sizeof(service_count))
        self.w.table.hash_key[0], self.w.table.hash_key[1] = 3, 5
        self.block = <service *>calloc(1, sizeof(service))
        self.block.rate.each, self.block.persistence, self.block.client_rate = rate, seconds * 1000, client_rate
        self.block.clients = <client_limit *>calloc(len(rates) + 1, sizeof(client_limit))
        for address, its in sorted(rates):
            self.block.clients[self.block.n_clients].address, self.block.clients[self.block.n_clients].rate = address, its
            self.block.n_clients += 1

    def __dealloc__(self):
        free(self.block.clients)
        free(self.block)
        free(self.w.service_counts)
        free(self.w.clients)
        free(self.s.servers)
        free(self.s)
        free(self.w)

    def at(self, uint64_t time):
        self.w.time = time

    def open(self):
        """Whether the service's rate lets it; then one is opened."""
        cdef connection c
        memset(&c, 0, sizeof(c))
        if limits.why_not(self.w, self.block) != N_DROP_REASONS:
            return False
        limits.count_new(self.w, self.block, &c)
        return True

    def rate_of(self, uint32_t address):
        """address: as a number. None: no limit."""
        rate = clients.client_rate(self.block, rte_cpu_to_be_32(address))
        return None if rate == NONE else rate

    def may(self, be32 address, uint32_t rate):
        return bool(clients.client_may(self.w, self.block, address, rate))

    def recall(self, be32 address):
        cdef uint32_t id = clients.recall(self.w, self.block, address)
        return None if id == NONE else id

    def remember(self, be32 address, uint32_t id):
        clients.remember(self.w, self.block, address, id)

    def set_of(self, be32 address):
        """The number of its set, as far as servers are remembered."""
        return clients.set_of(self.w, address, clients.server_scope(self.block)) - self.w.clients


def permute(uint32_t x, uint32_t bits, uint64_t key):
    return local_port.permute(x, bits, key)


def owner(uint64_t hash, uint32_t n_workers):
    return owners.hash_owner(hash, n_workers)


# ---- receive side scaling ------------------------------------------------------------------------------------------

cdef extern from "<rte_thash.h>" nogil:
    uint32_t rte_softrss(uint32_t *tuple, uint32_t words, const uint8_t *key)


def softrss(bytes key, uint32_t saddr, uint32_t daddr, uint16_t sport, uint16_t dport):
    """DPDK's own Toeplitz hash. It takes the tuple as numbers, the key as it stands."""
    cdef uint32_t words[3]
    words[0], words[1], words[2] = saddr, daddr, <uint32_t>sport << 16 | dport
    return rte_softrss(words, 3, key)


cdef class Rss:
    """A port's key and RETA."""
    cdef rss *r

    def __cinit__(self, bytes key, list reta):
        self.r = <rss *>zeroed(sizeof(rss))
        rss_fill(self.r, key, bytes(reta), len(reta))

    def __dealloc__(self):
        free(self.r)

    def hash(self, uint64_t addrs, uint64_t ports):
        return scaling.rss_hash(self.r, addrs, ports)

    def queue(self, uint64_t addrs, uint64_t ports):
        return scaling.rss_queue(self.r, addrs, ports)

    def stepwise(self, be32 saddr, be16 sport, be32 daddr, be16 dport):
        """The queue as the port allocator comes to it: the server first, then a candidate."""
        cdef uint32_t towards = scaling.rss_partial(self.r, saddr, sport)
        return scaling.queue_of(self.r, scaling.rss_with_port(
            self.r, scaling.rss_with_address(self.r, towards, daddr), dport))

    def equal(self, Rss other):
        return bool(scaling.rss_equal(self.r, other.r))


# ---- ports ---------------------------------------------------------------------------------------------------------

cdef extern from * nogil:
    """
    /* What a test has a card do wrong, between the driver and face/steering.pxi; all 0: nothing. */
    struct faults {
        int update, query, conf;   /* what these calls return instead */
        uint64_t unhashed;         /* missing from the hash functions that it reports */
        uint16_t size;             /* entries of its RETA */
        uint8_t key_size;
        uint16_t at, queue;        /* RETA entry `at` is this queue, when not 0 */
        uint8_t blank;             /* reports a key of zeros */
        uint32_t rules;            /* accepts so many flow rules */
    };
    static struct faults faults;
    static uint32_t rules_now;

    static int faulty_info(uint16_t port, struct rte_eth_dev_info *info) {
        int rc = rte_eth_dev_info_get(port, info);
        if (faults.size) info->reta_size = faults.size;
        if (faults.key_size) info->hash_key_size = faults.key_size;
        return rc;
    }
    static int faulty_update(uint16_t port, struct rte_eth_rss_reta_entry64 *groups, uint16_t size) {
        return faults.update ? faults.update : rte_eth_dev_rss_reta_update(port, groups, size);
    }
    static int faulty_query(uint16_t port, struct rte_eth_rss_reta_entry64 *groups, uint16_t size) {
        int rc = faults.query ? faults.query : rte_eth_dev_rss_reta_query(port, groups, size);
        if (faults.queue) groups[faults.at / 64].reta[faults.at % 64] = faults.queue;
        return rc;
    }
    static int faulty_conf(uint16_t port, struct rte_eth_rss_conf *conf) {
        int rc = faults.conf ? faults.conf : rte_eth_dev_rss_hash_conf_get(port, conf);
        if (faults.blank) memset(conf->rss_key, 0, 40);
        conf->rss_hf &= ~faults.unhashed;
        return rc;
    }
    static struct rte_flow *faulty_rule(uint16_t port, uint32_t address, uint16_t queue, struct rte_flow_error *error) {
        if (rules_now == faults.rules) return flow_to_queue(port, address, queue, error);
        return (struct rte_flow *)(uintptr_t)(++rules_now);
    }
    static int faulty_destroy(uint16_t port, struct rte_flow *rule, struct rte_flow_error *error) {
        (void)port, (void)rule, (void)error;
        rules_now--;
        return 0;
    }
    #define rte_eth_dev_info_get faulty_info
    #define rte_eth_dev_rss_reta_update faulty_update
    #define rte_eth_dev_rss_reta_query faulty_query
    #define rte_eth_dev_rss_hash_conf_get faulty_conf
    #define flow_to_queue faulty_rule
    #define rte_flow_destroy faulty_destroy
    """
    struct faults_t "faults":
        int update, query, conf
        uint64_t unhashed
        uint16_t size, at, queue
        uint8_t key_size, blank
        uint32_t rules
    faults_t faults
    uint32_t rules_now
    int rte_eth_dev_rss_hash_update(uint16_t port, rte_eth_rss_conf *conf)


cdef str eal_error():
    return rte_strerror(rte_errno).decode()


include "../../fastpath/face/steering.pxi"

cdef rte_mempool *pool = NULL


def set_faults(update=0, query=0, conf=0, unhashed=0, size=0, at=0, queue=0, key_size=0, blank=0, rules=0):
    faults.update, faults.query, faults.conf, faults.unhashed = update, query, conf, unhashed
    faults.size, faults.at, faults.queue, faults.key_size = size, at, queue, key_size
    faults.blank, faults.rules = blank, rules


def port_number(str name):
    cdef uint16_t number
    if rte_eth_dev_get_port_by_name(name.encode(), &number) != 0:
        raise LookupError(name)
    return number


def offers_rss(bytes driver, uint16_t queues, uint64_t hashed, uint32_t n_queues):
    """Why a card that describes itself so cannot do RSS; None: it can."""
    cdef rte_eth_dev_info info
    info.driver_name, info.max_rx_queues, info.flow_type_rss_offloads = driver, queues, hashed
    return why_no_rss(&info, n_queues)


def open_port(uint16_t number, uint16_t n_queues):
    """Configure and start it with RSS; None, or why not."""
    global pool
    cdef rte_eth_conf conf
    cdef rte_eth_dev_info info
    cdef uint8_t key[MAX_KEY]
    if pool == NULL:
        pool = rte_pktmbuf_pool_create(b"probe", 511, 0, 0, 2176, -1)
    rte_eth_dev_info_get(number, &info)
    reason = why_no_rss(&info, n_queues)
    if reason is not None:
        return reason
    memset(&conf, 0, sizeof(conf))
    ask_for_rss(&conf, &info, key)
    rte_eth_dev_stop(number)
    rc = rte_eth_dev_configure(number, n_queues, n_queues, &conf)
    for queue in range(n_queues):
        rc = rc or rte_eth_rx_queue_setup(number, queue, 64, 0, NULL, pool)
        rc = rc or rte_eth_tx_queue_setup(number, queue, 64, 0, NULL)
    rc = rc or rte_eth_dev_start(number)
    if rc != 0:
        raise OSError(-rc, rte_strerror(-rc).decode())


def set_key(uint16_t number, bytes key):
    """Behind the back of face/steering.pxi: another key for this port."""
    cdef rte_eth_rss_conf conf
    conf.rss_key, conf.rss_key_len, conf.rss_hf = key, <uint8_t>len(key), RSS_WANTED
    return rte_eth_dev_rss_hash_update(number, &conf)


def card_rss(uint16_t number, uint32_t n_queues):
    """What read_rss() makes of it: an Rss, or the reason."""
    made = Rss(bytes(RSS_KEY_BYTES), [0])
    reason = read_rss(number, n_queues, (<Rss>made).r)
    return made if reason is None else reason


def flow_steering(uint16_t number, list addresses, uint32_t n_queues):
    """(None or the reason, rules that there are now)."""
    return make_flow_rules(number, addresses, n_queues), rules_now


# ---- schedules -----------------------------------------------------------------------------------------------------

SCHEDULERS = {"rr": serving.RR, "wrr": serving.WRR, "ipport": serving.IPPORT, "iponly": serving.IPONLY,
              "lc": serving.LC, "wlc": serving.WLC}


def lay_round(list weights, uint32_t n_slots):
    """The first n_slots turns of the round, as positions in weights."""
    cdef uint32_t n = len(weights)
    cdef uint32_t *given = <uint32_t *>zeroed(4 * n)
    cdef uint16_t *slots = <uint16_t *>zeroed(2 * n_slots)
    for i in range(n):
        given[i] = weights[i]
    try:
        if rounds.lay_round(given, n, sum(weights), slots, n_slots) != 0:
            raise MemoryError
        return [slots[i] for i in range(n_slots)]
    finally:
        free(given)
        free(slots)


def lay_schedule(str scheduler, list weights, list identities):
    """All slots of a service: positions in weights."""
    cdef service *s = <service *>calloc(1, sizeof(service))
    cdef uint32_t n = len(weights)
    cdef uint32_t *given = <uint32_t *>zeroed(4 * n + 4)
    cdef uint64_t *named = <uint64_t *>zeroed(8 * n + 8)
    s.scheduler, s.n_servers = SCHEDULERS[scheduler], n
    for i in range(n):
        given[i], named[i] = weights[i], identities[i]
    try:
        if block.block_schedule(s, given, named) != 0:
            raise MemoryError
        return [s.slots[i] for i in range(s.n_slots)]
    finally:
        block.block_free(s)
        free(given)
        free(named)


cdef class Loads:
    """A service by load, seen by several workers; server ids are positions in weights."""
    cdef shared *s
    cdef worker *w
    cdef service *block
    cdef uint32_t n_workers

    def __cinit__(self, str scheduler, list weights, uint32_t n_workers):
        cdef uint32_t n = len(weights)
        cdef block.member *members = <block.member *>zeroed(sizeof(block.member) * n)
        self.s, self.w = <shared *>zeroed(sizeof(shared)), <worker *>zeroed(n_workers * sizeof(worker))
        self.n_workers = self.s.n_workers = n_workers
        self.s.servers, self.s.loads = <server *>zeroed(n * sizeof(server)), <uint64_t *>zeroed(8 * n)
        self.block = <service *>calloc(1, sizeof(service))
        self.block.scheduler = SCHEDULERS[scheduler]
        for i in range(n):
            members[i].id, members[i].weight, members[i].identity = i, weights[i], i
            self.s.servers[i].weight = weights[i]
            self.reach(i, True)
        for i in range(n_workers):
            self.w[i].shared, self.w[i].id = self.s, i
            self.w[i].server_counts = <server_count *>zeroed(n * sizeof(server_count))
            self.w[i].service_counts = <service_count *>zeroed(sizeof(service_count))
        if block.block_fill(self.block, members, n, n_workers) != 0:
            raise MemoryError
        free(members)

    def __dealloc__(self):
        for i in range(self.n_workers):
            free(self.w[i].server_counts)
            free(self.w[i].service_counts)
        block.block_free(self.block)
        free(self.s.servers)
        free(self.s.loads)
        free(self.s)
        free(self.w)

    def reach(self, uint32_t id, bint reachable):
        self.s.servers[id].hop = <uint64_t>(HOP_RESOLVED if reachable else 0) << 56

    def pick(self, uint32_t by, uint64_t hash):
        """The server for a connection of this hash, which counts at once; None: nobody is eligible."""
        cdef flow f
        cdef uint32_t id
        memset(&f, 0, sizeof(flow))
        id = serving.pick_server(&self.w[by], self.block, &f, hash)
        if id == NONE:
            return None
        load.count_opened(&self.w[by].server_counts[id], tcp_state.ESTABLISHED)
        return id

    def close(self, uint32_t by, uint32_t id, bint lingers=False):
        """A connection ends; lingers: its entry stays for a while."""
        load.count_state(&self.w[by].server_counts[id], tcp_state.ESTABLISHED,
                         tcp_state.TIME_WAIT if lingers else tcp_state.STATE_DEAD)

    def weigh(self):
        for i in range(self.block.n_servers):
            self.s.loads[i] = sum([self.w[k].server_counts[i].load for k in range(self.n_workers)])
        self.s.load_epoch += 1


# ---- tables --------------------------------------------------------------------------------------------------------

cdef class Map:
    """The service map, for n keys."""
    cdef service_map *m

    def __cinit__(self, uint32_t n):
        self.m = maps.map_new(n)

    def __dealloc__(self):
        free(self.m)

    def put(self, be32 addr, be16 port, uint8_t protocol, uint8_t kind, uint32_t value):
        maps.map_put(self.m, maps.map_key(addr, port, protocol), kind, value)

    def serve(self, uint32_t id, be32 addr, be16 port, uint8_t protocol):
        cdef service s = named(id, addr, port, protocol)
        maps.map_put_service(self.m, &s)

    def drop(self, uint32_t id, be32 addr, be16 port, uint8_t protocol):
        cdef service s = named(id, addr, port, protocol)
        maps.map_drop_service(self.m, &s)

    def find(self, be32 addr, be16 port, uint8_t protocol):
        """(kind, service), or None."""
        cdef uint32_t value = 0
        cdef uint8_t kind = maps.map_find(self.m, maps.map_key(addr, port, protocol), &value)
        return None if kind == ADDRESS_FREE else (kind, value)

    def has_room(self, uint32_t keys):
        return maps.map_has_room(self.m, keys)

    @property
    def slots(self):
        return self.m.mask + 1

    @property
    def used(self):
        return self.m.n


cdef service named(uint32_t id, be32 addr, be16 port, uint8_t protocol):
    cdef service s
    memset(&s, 0, sizeof(s))
    s.id, s.vaddr, s.vport, s.protocol = id, addr, port, protocol
    return s


cdef class Ring:
    """A frame ring of 256 slots."""
    cdef frame_ring r

    def __cinit__(self, uint32_t frame_max, uint32_t begin=0):
        """begin: frames that have passed already."""
        memset(&self.r, 0, sizeof(frame_ring))
        self.r.frame_max = frame_max
        self.r.stride = frame_max + 4
        self.r.head = self.r.tail = begin
        self.r.data = <uint8_t *>zeroed(FRAME_SLOTS * self.r.stride)

    def __dealloc__(self):
        free(self.r.data)

    def write(self, bytes frame):
        return bool(frames.ring_write(&self.r, frame, len(frame)))

    def take(self):
        """The oldest frame, or None."""
        cdef uint32_t length
        cdef uint8_t *frame
        if frames.ring_is_empty(&self.r):
            return None
        frame = frames.ring_front(&self.r, &length)
        taken = (<char *>frame)[:length]
        frames.ring_release(&self.r)
        return taken


cdef class Lists:
    """Doubly linked lists: `heads` circles and then `n` nodes."""
    cdef node *nodes

    def __cinit__(self, uint32_t heads, uint32_t n):
        self.nodes = <node *>zeroed((heads + n) * sizeof(node))
        for head in range(heads):
            lists.list_init(self.nodes, head)

    def __dealloc__(self):
        free(self.nodes)

    def push(self, uint32_t head, uint32_t n):
        lists.list_push(self.nodes, head, n)

    def append(self, uint32_t head, uint32_t n):
        lists.list_append(self.nodes, head, n)

    def unlink(self, uint32_t n):
        lists.list_unlink(self.nodes, n)

    def pop(self, uint32_t head):
        return None if lists.list_is_empty(self.nodes, head) else lists.list_pop(self.nodes, head)

    def walk(self, uint32_t head):
        """Node numbers from the first to the last."""
        found, n = [], self.nodes[head].next
        while n != head:
            found.append(n)
            n = self.nodes[n].next
        return found


cdef class Worker:
    """A worker with a connection table, server 0, and time; flows are (saddr, daddr, sport, dport), as they stand."""
    cdef worker *w
    cdef shared *s
    cdef region *r

    def __cinit__(self, uint32_t capacity, uint32_t n_buckets=0, uint64_t key0=1, uint64_t key1=2, timeouts=(0, 0, 0, 0)):
        """n_buckets: fewer than the region's plan, to crowd them. timeouts: ms, in the order of layout.h."""
        cdef region plan
        regions.region_plan(&plan, capacity)
        self.r = <region *>zeroed(plan.bytes)
        regions.region_init(self.r, capacity, key0, key1)
        self.s = <shared *>zeroed(sizeof(shared))
        self.s.servers = <server *>zeroed(4 * sizeof(server))
        self.s.services = <service **>zeroed(4 * sizeof(void *))
        self.s.n_workers = 1
        self.s.all_by_hash = 1
        for i in range(N_TIMEOUTS):
            self.s.timeouts[i] = timeouts[i]
        self.w = <worker *>zeroed(sizeof(worker))
        self.w.shared = self.s
        self.w.gather = <gather *>zeroed(sizeof(gather))
        self.w.server_counts = <server_count *>zeroed(4 * sizeof(server_count))
        self.w.service_counts = <service_count *>zeroed(4 * sizeof(service_count))
        regions.table_open(&self.w.table, self.r)
        if n_buckets:
            self.w.table.n_buckets = n_buckets

    def __dealloc__(self):
        free(self.w.server_counts)
        free(self.w.gather)
        free(self.w.service_counts)
        free(self.s.services)
        free(self.s.servers)
        free(self.s)
        free(self.w)
        free(self.r)

    def open(self, tuple inbound, tuple outbound, uint8_t protocol, uint8_t state=tcp_state.STATE_UDP):
        """Index of a new connection of these two flows, seen now, or None."""
        cdef table *t = &self.w.table
        cdef uint32_t index = entries.connection_take(t)
        cdef connection *c
        if index == NONE:
            return None
        c = &t.connections[index]
        memset(c, 0, sizeof(connection))
        for d, (saddr, daddr, sport, dport) in enumerate((inbound, outbound)):
            c.flow[d].saddr, c.flow[d].daddr, c.flow[d].sport, c.flow[d].dport = saddr, daddr, sport, dport
        c.protocol, c.state, c.last_seen = protocol, state, self.w.now
        entries.connection_index(
            t, index, entries.connection_hash(t, index, INBOUND), entries.connection_hash(t, index, OUTBOUND))
        timer.timer_set(t, self.s, index)
        load.count_opened(&self.w.server_counts[0], state)
        return index

    def find(self, tuple sought, uint8_t protocol):
        """(index, direction), or None."""
        cdef flow f
        cdef uint64_t addrs, ports
        cdef uint32_t entry
        f.saddr, f.daddr, f.sport, f.dport = sought
        addrs, ports = entries.flow_addrs(&f), entries.flow_ports(&f, protocol)
        entry = entries.find(&self.w.table, addrs, ports, entries.tuple_hash(&self.w.table, addrs, ports))
        return None if entry == NONE else (entry >> 1, entry & 1)

    def close(self, uint32_t index):
        """Out of the index now, free at once."""
        timer.retire(self.w, index)
        expiry.free_dead(self.w)

    def end(self, uint32_t index):
        """Both of its ends close."""
        timer.change_state(self.w, index, tcp_state.TIME_WAIT)

    def touch(self, uint32_t index):
        self.w.table.connections[index].last_seen = self.w.now

    def is_open(self, uint32_t index):
        return self.w.table.connections[index].state > tcp_state.STATE_DEAD

    def turn(self, uint32_t now):
        """One turn's expiry."""
        self.w.now = now
        expiry.expire(self.w, 0)

    def answer(self, uint8_t kind, uint32_t limit=1 << 20, uint32_t looks=NONE, uint32_t turns_ms=1, bint hurry=False):
        """Have a question without conditions answered, so many turns a millisecond: where it stood after each turn, and
        what it counted."""
        cdef verb v
        memset(&v, 0, sizeof(v))
        v.kind, v.limit, v.entries, v.max_idle = kind, limit, looks, NONE
        v.hurry = hurry
        v.rows = <connection *>zeroed(self.r.capacity * sizeof(connection))
        self.w.verb = &v
        cursors = []
        while not v.done:
            self.w.now += len(cursors) % turns_ms == 0
            mailbox.answer(self.w)
            cursors.append(v.cursor)
        free(v.rows)
        assert self.w.verb == NULL
        return cursors, v.n

    def remove_server(self, uint8_t how):
        """Server 0, whose all connections are."""
        self.s.servers[0].removed = how

    @property
    def behind(self):
        return bool(expiry.wheel_is_behind(self.w) or expiry.half_open_is_due(self.w))

    @property
    def wheel_time(self):
        return self.r.wheel_time

    @property
    def counts(self):
        """In use, half-open, counted for server 0."""
        return self.r.in_use, self.r.half_open, self.w.server_counts[0].active

    @property
    def spilled(self):
        return sum([self.w.table.buckets[i].spilled for i in range(self.w.table.n_buckets)])

    @property
    def tags(self):
        """Slots in use."""
        return sum([self.w.table.buckets[i].tag[k] != 0 for i in range(self.w.table.n_buckets) for k in range(8)])

    def place(self, tuple sought, uint8_t protocol):
        """Home bucket and tag of a flow."""
        cdef flow f
        cdef uint64_t hashed
        f.saddr, f.daddr, f.sport, f.dport = sought
        hashed = entries.tuple_hash(&self.w.table, entries.flow_addrs(&f), entries.flow_ports(&f, protocol))
        return entries.home_of(&self.w.table, hashed), entries.tag_of(hashed)

    def choose_local(self, tuple real, list addresses, uint32_t client):
        """Open a connection of `client` (any number) to real = (address, port), in the place of an ended one if it must;
        its (laddr, lport), or None."""
        cdef local_pool *pool = block.pool_new(len(addresses))
        cdef flow answer
        cdef uint32_t former
        for i, address in enumerate(addresses):
            (&pool.addresses[0])[i] = address
        self.s.servers[0].raddr, self.s.servers[0].rport = real
        answer.saddr, answer.sport = real
        try:
            if local_port.choose_local(self.w, 0, &self.s.ports[0], pool, &answer, &former) == 0:
                return None
        finally:
            free(pool)
        if former != NONE:
            self.close(former)
        self.open((client, 0, 0, 0), (answer.saddr, answer.daddr, answer.sport, answer.dport), self.s.servers[0].protocol)
        return answer.daddr, (answer.dport >> 8) | (answer.dport & 0xFF) << 8


FIND, SWEEP = VERB_FIND, VERB_SWEEP
REMOVED, RESET = SERVER_REMOVED, SERVER_RESET
STATES = {name: i for i, name in enumerate(
    [tcp_state.state_names[i].decode() for i in range(tcp_state.N_STATES)])}
PORTS = range(LOCAL_PORT_MIN, LOCAL_PORT_MIN + LOCAL_PORTS)
WHEEL_TICK = 1 << WHEEL_SHIFT


def next_state(uint32_t direction, uint32_t event, uint32_t state):
    return tcp_state.tcp_next[direction][event][state]


def tcp_event(uint8_t flags):
    return tcp_state.tcp_event(flags)


def map_region(uint64_t bytes, int numa_node):
    """Memory of regions, mapped for good: its first and its last byte, before and after each is made 1."""
    cdef bint huge
    cdef uint8_t *memory = <uint8_t *>regions.region_map(bytes, numa_node, &huge)
    if memory == NULL:
        raise MemoryError
    fresh = memory[0], memory[bytes - 1]
    memory[0] = memory[bytes - 1] = 1
    return fresh, (memory[0], memory[bytes - 1])
