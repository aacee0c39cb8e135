# Counters: what workers and ports have counted, added up. Part of engine.pyx.

cdef list over_workers(rows):
    """Each column's sum over the workers' rows."""
    return [sum(column) for column in zip(*rows)]


cdef list_weighed():
    """Which services go by load, after a change of them: a walk over all, which weigh() is spared."""
    global n_weighed
    cdef uint32_t id
    n_weighed = 0
    for id in range(service_ids):
        if S.services[id] != NULL and by_load(S.services[id].scheduler):
            weighed[n_weighed] = id
            n_weighed += 1


cdef bint add_up_loads() noexcept nogil:
    """Of the servers of services that go by load. Whether any has changed."""
    cdef const service *s
    cdef uint32_t i, k, id
    cdef uint64_t load
    cdef bint changed = False
    for i in range(n_weighed):
        s = S.services[weighed[i]]
        for id in s.servers[:s.n_servers]:
            load = 0
            for k in range(S.n_workers):
                load += W[k].server_counts[id].load
            if load != S.loads[id]:
                store_word(&S.loads[id], load)
                changed = True
    store_release(&S.load_epoch, S.load_epoch + 1)
    return changed


def weigh():
    cdef bint changed
    started()
    with nogil:
        changed = add_up_loads()
    return changed


cdef void add_counts(uint64_t id, uint64_t *total) noexcept:
    """A server's counters over all workers, in the order of ServerCounters, on top of what is there."""
    cdef server_count *c
    cdef uint32_t k
    for k in range(S.n_workers):
        c = &W[k].server_counts[id]
        total[0] += c.active
        total[1] += c.total
        total[2] += c.packets[INBOUND]
        total[3] += c.bytes[INBOUND]
        total[4] += c.packets[OUTBOUND]
        total[5] += c.bytes[OUTBOUND]
        total[6] += c.established


cdef list server_sums(server):
    """Since the engine began, whoever had the id."""
    cdef uint64_t total[7]
    memset(total, 0, sizeof(total))
    add_counts(server_id(server), total)
    return [total[k] for k in range(7)]


def server_counters(server):
    return server_totals((server,))


def server_totals(servers):
    """A service may have thousands: their counters are added up in C."""
    cdef uint64_t total[7]
    cdef uint32_t k
    memset(total, 0, sizeof(total))
    for each in servers:
        add_counts(server_id(each), total)
        base = server_base.get(each)
        if base is not None:
            for k in range(7):
                total[k] -= <uint64_t>base[k]
    return ServerCounters(total[0], total[1], total[2], total[3], total[4], total[5], total[6])


def server_busy(server):
    return server_sums(server)[0] != 0


def release_server(server):
    cdef uint64_t id = server_id(server)
    need(not server_busy(server), f"server id {server}: connections still count for it.")
    need(S.servers[id].removed or not S.servers[id].raddr, f"server id {server}: a published service has it.")
    server_base[server] = server_sums(server)
    store_word(&S.servers[id].hop, 0)


def service_counters(service):
    cdef service_count *c
    cdef uint64_t id
    started()
    id = within(service, 0, MAX_SERVICES - 1, "service id")
    rows = []
    for i in range(S.n_workers):
        c = &W[i].service_counts[id]
        rows.append((c.drops[INBOUND], c.drop_bytes[INBOUND], c.drops[OUTBOUND], c.drop_bytes[OUTBOUND]))
    return ServiceCounters(*over_workers(rows))


def drops(worker=None):
    started()
    counts = dict.fromkeys(DROP_REASONS, 0)
    for i in range(S.n_workers) if worker is None else [worker_at(worker).id]:
        for reason in range(N_DROP_REASONS):
            counts[drop_keys[reason].decode()] += W[<uint32_t>i].drops[reason]
    if worker is not None:
        return counts
    counts[drop_keys[KERNEL_REFUSED].decode()] = sum([S.ports[p].kernel_refused for p in range(S.n_ports)])
    return counts


def own_messages(worker=None):
    started()
    return OwnMessages(*over_workers([[W[<uint32_t>i].said[k] for k in range(N_SAID)] for i in (
        range(S.n_workers) if worker is None else [worker_at(worker).id])]))


def port_counters(port):
    cdef rte_eth_stats stats
    cdef port_count *c
    port_at(port)
    rte_eth_stats_get(port, &stats)
    rows = []
    for i in range(S.n_workers):
        c = &W[i].ports[<uint32_t>port]
        rows.append((c.rx_dropped, c.tx_dropped, c.kernel_rx, c.kernel_tx, c.strays))
    rx_dropped, tx_dropped, kernel_rx, kernel_tx, strays = over_workers(rows)
    return PortCounters(
        stats.ipackets, stats.ibytes, stats.ierrors, stats.rx_nombuf, stats.imissed, rx_dropped, stats.opackets,
        stats.obytes, stats.oerrors, tx_dropped, kernel_rx, kernel_tx, strays,
        sum([rte_mempool_in_use_count(<rte_mempool *><size_t>pool) for pool in pools.values()]),
        sum([rte_mempool_avail_count(<rte_mempool *><size_t>pool) for pool in pools.values()]))


def port_link(port):
    cdef rte_eth_link link
    port_at(port)
    rte_eth_link_get_nowait(port, &link)
    return link.link_status == RTE_ETH_LINK_UP, 0 if link.link_speed == 0xFFFFFFFF else link.link_speed


def port_info(port):
    cdef rte_eth_dev_info info
    port_at(port)
    need(rte_eth_dev_info_get(port, &info) == 0, f"port {port}: cannot be asked for its abilities.")
    return PortInfo(info.driver_name.decode(), (<uint64_t>S.ports[<uint32_t>port].mac).to_bytes(6, "little"),
                    info.nb_rx_queues, info.nb_tx_queues, *ring_sizes[port], *port_link(port), *steering_of[port],
                    woken_by(port))


cdef tuple kernel_depths(worker *w):
    """Frames that stand in the rings to and from the kernel."""
    ports = [p for p in range(S.n_ports) if S.ports[p].started]
    return (sum([ring_depth(S.ports[p].to_kernel[w.id]) for p in ports]),
            sum([ring_depth(S.ports[p].from_kernel[w.id]) for p in ports]))


cdef worker_row(worker *w):
    cdef region *r = w.table.region
    return WorkerCounters(
        w.lcore, w.turns, w.busy_turns, w.packets, r.in_use, r.half_open, w.table.capacity - r.in_use, w.ticks,
        w.busy_ticks, w.n_parked + w.gather.n_held, *kernel_depths(w), w.handed_in, w.handed_out,
        sum([w.ports[p].strays for p in range(S.n_ports)]),
        sum([hand_depth(w.hand_from[source]) for source in range(S.n_workers) if source != w.id]), w.sleeps,
        w.asleep_ticks)


def worker_counters():
    started()
    return [worker_row(W[i]) for i in range(S.n_workers)]


def progress():
    return [W[i].turns for i in range(S.n_workers if S != NULL else 0) if W[i] != NULL]


cdef struct port_usage:
    uint64_t tcp, udp, most


cdef void add_up_usage(worker *w, uint32_t end, port_usage *rows) noexcept nogil:
    """Connections by the port of their server's next hop; `most`: those of the server that has most."""
    cdef uint64_t active
    cdef uint32_t id
    cdef port_usage *row
    for id in range(end):
        active = w.server_counts[id].active
        if active == 0:
            continue
        row = &rows[S.servers[id].hop >> 48 & 0xFF]
        if S.servers[id].protocol == PROTO_TCP:
            row.tcp += active
        else:
            row.udp += active
        row.most = max(row.most, active)


cdef uint64_t own_ports(const port *p, uint32_t worker):
    """Local ports towards one server that a worker may use: its part of all tuples, or those of its own addresses."""
    if p.pool == NULL:
        return 0
    if p.owned_by == BY_FLOW:
        return <uint64_t>LOCAL_PORTS * len(range(worker, p.pool.n, S.n_workers))
    return p.pool.size // S.n_workers


def usage():
    cdef port_usage rows[16]  # MAX_PORTS
    started()
    found = []
    for i in range(S.n_workers):
        memset(rows, 0, sizeof(rows))
        with nogil:
            add_up_usage(W[<uint32_t>i], servers_end, rows)
        for p in range(S.n_ports):
            if S.ports[p].started:
                size = own_ports(&S.ports[p], i)
                found.append(Usage(i, p, rows[p].tcp, rows[p].udp, size, max(0, size - rows[p].most)))
    return found


def memory():
    cdef rte_malloc_socket_stats stats
    cdef int socket
    started()
    found = []
    for i in range(rte_socket_count()):
        socket = rte_socket_id_by_idx(i)
        if rte_malloc_get_socket_stats(socket, &stats) == 0:
            found.append(Memory(socket, stats.heap_totalsz_bytes, stats.heap_freesz_bytes, stats.heap_allocsz_bytes,
                                stats.greatest_free_size, stats.alloc_count, stats.free_count))
    return found
