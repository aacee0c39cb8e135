# Start and stop: EAL, workers with their memory. Part of engine.pyx.

cdef str eal_error():
    return rte_strerror(rte_errno).decode()


cdef void *lazy_memory(size_t n) except NULL:
    """Zeroed memory that costs nothing until it is touched: arrays over all ids."""
    cdef void *memory = mmap(NULL, n, PROT_READ | PROT_WRITE, ANONYMOUS_LAZY, -1, 0)
    if memory == MAP_FAILED:
        raise EngineError(f"Cannot reserve {n >> 20} MB of address space.")
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


cdef make_shared(timeouts, unsigned int buffers, unsigned int mtu):
    global S, stays
    stays = <uint8_t *>lazy_memory(MAX_SERVERS)
    S = <shared *>aligned_memory(sizeof(shared))
    S.services = <service **>lazy_memory(MAX_SERVICES * sizeof(void *))
    S.servers = <server *>lazy_memory(MAX_SERVERS * sizeof(server))
    S.loads = <uint64_t *>lazy_memory(MAX_SERVERS * sizeof(uint64_t))
    S.map = map_new(0)
    S.n_workers = N_WORKERS
    S.kernel_wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)
    for i, seconds in enumerate(timeouts):
        S.timeouts[i] = <uint32_t>(seconds * 1000)
    S.mtu = mtu
    for i in range(MAX_PORTS):
        S.ports[i].kernel_fd = -1
    S.rcu = <rte_rcu_qsbr *>aligned_memory(rte_rcu_qsbr_get_memsize(N_WORKERS))
    rte_rcu_qsbr_init(S.rcu, N_WORKERS)
    # Ethernet and one VLAN tag around the MTU; 2,048 bytes is what every PMD expects at least.
    room = max(2048, mtu + 22) + RTE_PKTMBUF_HEADROOM
    S.pool = rte_pktmbuf_pool_create(b"packets", buffers, MBUF_CACHE, 0, <uint16_t>room, -1)
    if S.pool == NULL:
        raise EngineError(f"No memory for {buffers} packet buffers of {room} bytes ({buffers * room >> 20} MB): "
                          f"{eal_error()}.")


cdef str make_worker(uint32_t id, uint32_t lcore, uint32_t connections):
    """Lay out one worker with its connection region; returns the kind of pages that it lies on."""
    cdef worker *w = <worker *>aligned_memory(sizeof(worker))
    cdef region plan
    cdef region *r
    cdef bint huge
    region_plan(&plan, connections)
    r = region_map(plan.bytes, &huge)
    if r == NULL:
        raise EngineError(f"No memory for {connections} connections ({plan.bytes >> 20} MB).")
    region_init(r, connections, int.from_bytes(os.urandom(8), "little"), int.from_bytes(os.urandom(8), "little"))
    table_open(&w.table, r)
    w.shared = S
    w.id = id
    w.lcore = lcore
    w.server_counts = <server_count *>lazy_memory(MAX_SERVERS * sizeof(server_count))
    w.service_counts = <service_count *>lazy_memory(MAX_SERVICES * sizeof(service_count))
    w.tsc_zero = rte_rdtsc()
    w.ms_per_tick = <uint64_t>((1000 << 64) // rte_get_tsc_hz())
    rte_rcu_qsbr_thread_register(S.rcu, id)
    W[id] = w
    return "huge pages" if huge else "normal pages"


def region_bytes(connections):
    """Bytes of the region for this many connections, a multiple of 2 MB: what to reserve huge pages for."""
    cdef region plan
    region_plan(&plan, connections)
    return plan.bytes


def init(argv, connections=1 << 20, timeouts=Timeouts(), buffers=16384, mtu=1500):
    global initialised
    if initialised:
        raise EngineError("The data plane was started before: one EAL a process.")
    within(connections, 1024, 1 << 30, "connections")
    within(buffers, 512, 1 << 24, "buffers")
    within(mtu, 68, 9600, "mtu")
    for name, seconds in timeouts._asdict().items():
        within(seconds, 1, MAX_TIMEOUT, f"timeout {name}")
    initialised = True
    start_eal(argv)
    lcores = worker_lcores()[:N_WORKERS]
    make_shared(timeouts, buffers, mtu)
    for i, lcore in enumerate(lcores):
        pages = make_worker(i, lcore, connections // N_WORKERS)
    return Environment(rte_get_main_lcore(), tuple(lcores), pages, W[0].table.region.bytes * N_WORKERS,
                       rte_get_tsc_hz())


def start():
    global running
    started()
    need(not running, "The workers are running already.")
    S.stopping = 0
    for i in range(N_WORKERS):
        if rte_eal_remote_launch(worker_main, W[i], W[i].lcore) != 0:
            raise EngineError(f"Worker lcore {W[i].lcore} is busy.")
    running = True


def stop():
    global running
    cdef uint64_t one = 1
    if S == NULL:
        return
    store_release(&S.stopping, 1)
    write(S.kernel_wake, &one, 8)
    for i in range(N_WORKERS):
        if running:
            lcore = W[i].lcore
            wait_lcore(lcore)
    running = False
    for i in range(N_WORKERS):
        if W[i] != NULL:
            empty_parking(W[i])
            deliver(i)
    while kernel_looping:
        time.sleep(0.001)


cdef wait_lcore(unsigned int lcore):
    with nogil:
        rte_eal_wait_lcore(lcore)


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
