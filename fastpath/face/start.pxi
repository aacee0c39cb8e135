# Start and stop: EAL, workers with their memory. Part of engine.pyx.

cdef str eal_error():
    return rte_strerror(rte_errno).decode()


cdef void *lazy_memory(size_t n, int node=-1) except NULL:
    """Zeroed memory that costs nothing until it is touched: arrays over all ids. node: the NUMA node to lie on, -1: that
    of whoever touches it."""
    cdef void *memory = mmap(NULL, n, PROT_READ | PROT_WRITE, ANONYMOUS_LAZY, -1, 0)
    if memory == MAP_FAILED:
        raise EngineError(f"Cannot reserve {n >> 20} MB of address space.")
    prefer_node(memory, n, node)
    return memory


cdef void *aligned_memory(size_t n) except NULL:
    cdef void *memory = NULL
    if posix_memalign(&memory, 128, n) != 0:
        raise EngineError(f"Cannot allocate {n >> 10} kB of memory.")
    memset(memory, 0, n)
    return memory


cdef start_eal(argv):
    """rte_eal_init, without what it would do to the process: exit on --help, pin the calling thread."""
    cdef char *args[128]
    cdef int rc
    words = [b"jupiter", *(word.encode() for word in argv)]
    if len(words) > 127:
        raise EngineError(f"EAL arguments: {len(words)} words, at most 127.")
    for word in argv:
        if word in ("-h", "--help", "-v", "--version"):
            raise EngineError(f"EAL argument {word}: asks for text only, not for a running data plane.")
    for i, word in enumerate(words):
        args[i] = word
    affinity = os.sched_getaffinity(0)
    rc = rte_eal_init(<int>len(words), args)
    os.sched_setaffinity(0, affinity)
    if rc < 0:
        raise EngineError(f"EAL did not start with `{' '.join(argv)}`: {eal_error()}.")


cdef list worker_lcores():
    cdef unsigned int lcore = rte_get_next_lcore(<unsigned int>-1, 1, 0)
    found = []
    while lcore < RTE_MAX_LCORE:
        found.append(lcore)
        lcore = rte_get_next_lcore(lcore, 1, 0)
    if not found:
        raise EngineError(f"At least one worker lcore is needed beside the main one: EAL has lcore "
                          f"{rte_get_main_lcore()} alone; give two, such as `-l 0,1` or `--lcores 0@0,1@0`.")
    return found


cdef uint32_t note_offset() except 0:
    """Eight bytes of every packet buffer are the note's (table/note.pxd)."""
    cdef rte_mbuf_dynfield field
    cdef int offset
    memset(&field, 0, sizeof(field))
    memcpy(field.name, b"jupiter_note", 12)
    field.size = field.align = sizeof(uint64_t)
    offset = rte_mbuf_dynfield_register(&field)
    need(offset > 0, f"No room for a note in the packet buffers: {eal_error()}.")
    return <uint32_t>offset


cdef int make_bell() except -1:
    cdef int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)
    need(fd >= 0, "No file descriptor left for an eventfd.")
    return fd


cdef make_shared(timeouts, uint32_t mtu, uint32_t n_workers, bint adaptive):
    global S, stays
    stays = <uint8_t *>lazy_memory(MAX_SERVERS)
    S = <shared *>aligned_memory(sizeof(shared))
    S.services = <service **>lazy_memory(MAX_SERVICES * sizeof(void *))
    S.servers = <server *>lazy_memory(MAX_SERVERS * sizeof(server))
    S.loads = <uint64_t *>lazy_memory(MAX_SERVERS * sizeof(uint64_t))
    S.map = map_new(0)
    S.n_workers = n_workers
    S.all_by_hash = 1
    S.note_at = note_offset()
    S.kernel_bell.fd = make_bell()
    S.idle_adaptive = adaptive
    for i, seconds in enumerate(timeouts):
        S.timeouts[i] = <uint32_t>(seconds * 1000)
    S.mtu = mtu
    for i in range(MAX_PORTS):
        S.ports[i].kernel_fd = -1
    S.rcu = <rte_rcu_qsbr *>aligned_memory(rte_rcu_qsbr_get_memsize(n_workers))
    rte_rcu_qsbr_init(S.rcu, n_workers)


cdef uint32_t room_of(uint32_t mtu):
    """Bytes of a packet buffer: Ethernet and one VLAN tag around the MTU; 2,048 is what every PMD expects at least."""
    return max(2048, mtu + 22) + RTE_PKTMBUF_HEADROOM


def buffers_for(workers, descriptors):
    within(workers, 1, MAX_WORKERS, "workers")
    within(descriptors, 0, 1 << 20, "descriptors")
    # What each worker may hold: the queues of its ports, its batch and transmit buffers, its cache of the pool, its parking;
    # fragments that wait, and as many that are about to be received again; and, handed over to it, two full rings: more only
    # stand there when it is too slow anyway.
    held = descriptors + BURST * (1 + MAX_PORTS) + 2 * MBUF_CACHE + PARKING + 2 * HELD + (2 * HAND_SLOTS if workers > 1 else 0)
    return max(MIN_BUFFERS, workers * held)


def buffer_bytes(workers, descriptors, mtu=1500, page=2 << 20):
    # A mempool lets no buffer cross a page that has room for it. Two lines: its header, and what spreads the memory channels.
    size = room_of(mtu) + sizeof(rte_mbuf) + 2 * LINE
    a_page = page // size
    n = buffers_for(workers, descriptors)
    return (-(-n // a_page) if a_page else n * -(-size // page)) * page


cdef make_pools(lcores, uint32_t buffers, uint32_t mtu):
    """Packet buffers: each NUMA node that has workers gets its share."""
    cdef rte_mempool *pool
    nodes = [int(rte_lcore_to_socket_id(lcore)) for lcore in lcores]
    for node in sorted(set(nodes)):
        n = max(512, buffers * nodes.count(node) // len(nodes))
        pool = rte_pktmbuf_pool_create(f"packets-{node}".encode(), n, MBUF_CACHE, 0, <uint16_t>room_of(mtu), node)
        if pool == NULL:
            raise EngineError(f"No memory for {n} packet buffers of {room_of(mtu)} bytes ({n * room_of(mtu) >> 20} MB) on "
                              f"NUMA node {node}: {eal_error()}.")
        pools[node] = <size_t>pool


cdef region *make_region(uint32_t connections, int node, hash_key, bint *huge) except NULL:
    cdef region plan
    cdef region *r
    region_plan(&plan, connections)
    r = region_map(plan.bytes, node, huge)
    if r == NULL:
        raise EngineError(f"No memory for {connections} connections ({plan.bytes >> 20} MB).")
    region_init(r, connections, hash_key[0], hash_key[1])
    return r


cdef str make_worker(uint32_t id, uint32_t lcore, uint32_t connections, hash_key):
    """Lay out one worker with its connection region on its NUMA node; returns the kind of pages that the region lies on."""
    cdef int node = <int>rte_lcore_to_socket_id(lcore)
    cdef worker *w = <worker *>lazy_memory(sizeof(worker), node)
    cdef bint huge
    table_open(&w.table, make_region(connections, node, hash_key, &huge))
    w.shared = S
    w.id = id
    w.lcore = lcore
    w.pool = <rte_mempool *><size_t>pools[node]
    w.server_counts = <server_count *>lazy_memory(MAX_SERVERS * sizeof(server_count), node)
    w.service_counts = <service_count *>lazy_memory(MAX_SERVICES * sizeof(service_count), node)
    w.gather = <gather *>lazy_memory(sizeof(gather), node)
    for i in range(DATAGRAMS):
        w.gather.chains[i] = DATAGRAMS
    w.n_client_sets = w.table.capacity // CLIENT_WAYS  # as many clients as connections
    w.clients = <client_set *>lazy_memory(<size_t>w.n_client_sets * sizeof(client_set), node)
    for port in range(MAX_PORTS):
        w.tx[port].via = id
        w.wait_fds[port] = NO_WAIT
    w.bell.fd = make_bell()
    w.spin_ticks = rte_get_tsc_hz() * SPIN_US // 1_000_000
    w.tsc_zero = rte_rdtsc()
    w.ms_per_tick = <uint64_t>((1000 << 64) // rte_get_tsc_hz())
    rte_rcu_qsbr_thread_register(S.rcu, id)
    questions.append(deque())
    W[id] = w
    return "huge pages" if huge else "normal pages"


cdef connect_workers():
    """A ring from each worker to each other one, on the node of the one that reads it."""
    cdef hand_ring *ring
    for target in range(S.n_workers):
        for source in range(S.n_workers):
            if source != target:
                ring = <hand_ring *>lazy_memory(sizeof(hand_ring), <int>rte_lcore_to_socket_id(W[target].lcore))
                ring.bell = &W[target].bell
                W[source].hand_to[target] = W[target].hand_from[source] = ring


def region_bytes(connections):
    """Bytes of the region for this many connections, a multiple of 2 MB: what to reserve huge pages for."""
    cdef region plan
    region_plan(&plan, connections)
    return plan.bytes


def init(argv, connections=1 << 20, timeouts=Timeouts(), buffers=None, mtu=1500, descriptors=0, idle="adaptive"):
    global initialised
    if initialised:
        raise EngineError("The data plane was started before: one EAL a process.")
    within(connections, 1024, 1 << 30, "connections")
    if buffers is not None:
        within(buffers, 512, 1 << 24, "buffers")
    within(mtu, 68, 9600, "mtu")
    need(idle in IDLE, f"idle {idle!r}: expected {' or '.join(IDLE)}.")
    for name, seconds in timeouts._asdict().items():
        within(seconds, 1, MAX_TIMEOUT, f"timeout {name}")
    initialised = True
    start_eal(argv)
    lcores = worker_lcores()
    n = len(lcores)
    need(n <= MAX_WORKERS, f"EAL has {n} worker lcores, at most {MAX_WORKERS} are used.")
    make_shared(timeouts, mtu, n, idle == "adaptive")
    make_pools(lcores, buffers_for(n, descriptors) if buffers is None else buffers, mtu)
    # All workers hash alike: the hash says whose a tuple is.
    hash_key = [int.from_bytes(os.urandom(8), "little") for _ in range(2)]
    for i, lcore in enumerate(lcores):
        pages = make_worker(i, lcore, max(1024, connections // n), hash_key)
    connect_workers()
    return Environment(rte_get_main_lcore(), tuple(lcores), pages, W[0].table.region.bytes * n, rte_get_tsc_hz())


def start():
    global running
    started()
    need(not running, "The workers are running already.")
    S.stopping = 0
    running = True
    for i in range(S.n_workers):
        if rte_eal_remote_launch(worker_main, W[i], W[i].lcore) != 0:
            stop()
            raise EngineError(f"Worker lcore {W[i].lcore} is busy.")


cdef wake_workers():
    """Those that sleep; after a full fence."""
    for i in range(S.n_workers):
        if W[i] != NULL:
            ring_bell(&W[i].bell)


def stop():
    global running
    if S == NULL:
        return
    store_release(&S.stopping, 1)
    full_fence()
    ring_bell(&S.kernel_bell)
    wake_workers()
    for i in range(S.n_workers):
        if running:
            lcore = W[i].lcore
            wait_lcore(lcore)
    running = False
    for i in range(S.n_workers):
        if W[i] != NULL:
            empty_parking(W[i])
            empty_gather(W[i])
            deliver(i)
    for i in range(S.n_workers):
        if W[i] != NULL:
            empty_rings(W[i])  # what deliver() has sent by other workers, too
    while kernel_looping:
        time.sleep(0.001)


cdef wait_lcore(unsigned int lcore):
    with nogil:
        rte_eal_wait_lcore(lcore)


cdef empty_rings(worker *w):
    """What only was to be sent still is; what was to be received is gone, under the reason of what comes too fast."""
    cdef size_t slots[32]
    cdef rte_mbuf *m
    cdef uint32_t n
    for source in range(S.n_workers):
        n = w.hand_from[source] != NULL  # its own; or all, where init() has failed
        while n:
            n = hand_take(w.hand_from[source], slots, 32)
            for i in range(n):
                m = <rte_mbuf *>(slots[i] & ~<size_t>HAND_FLAGS)
                if slots[i] & HAND_SEND:
                    tx_add(w, m.port, m)
                    continue
                count_drop(w, m.port, HANDOVER_FULL)
                rte_pktmbuf_free(m)
    flush(w)


def close():
    global closed
    cdef rte_eth_dev_info info
    if S == NULL or closed:
        return
    stop()
    closed = True
    for port in reversed([p for p in range(S.n_ports) if S.ports[p].started]):  # a bond before its members
        info.device = NULL
        rte_eth_dev_info_get(port, &info)
        rte_eth_promiscuous_disable(port)  # net_af_packet sets it on the interface, where it would stay
        rte_eth_dev_stop(port)
        rte_eth_dev_close(port)
        if info.device != NULL:
            rte_dev_remove(info.device)  # rte_eal_cleanup leaves vfio's descriptor open: the card could not be unbound
    rte_eal_cleanup()
