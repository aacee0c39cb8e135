# One turn by hand: what tests and the benchmark drive. Part of engine.pyx.

cdef feed(worker *w, uint32_t port, bytes frame, uint64_t flags):
    """Into the worker's queue of a ring port."""
    cdef rte_mbuf *m
    cdef char *room
    need(is_ring(port), f"port {port} is not made of rings.")
    need(w.id < S.ports[port].rx_queues, f"port {port} has no queue for worker {w.id}.")
    m = rte_pktmbuf_alloc(w.pool)
    need(m != NULL, "No packet buffer left.")
    room = rte_pktmbuf_append(m, <uint16_t>len(frame))
    need(room != NULL, f"A frame of {len(frame)} bytes does not fit a packet buffer.")
    memcpy(room, <const char *>frame, len(frame))
    m.ol_flags |= flags
    need(rte_ring_enqueue(<rte_ring *><size_t>rings[port][w.id][0], m) == 0, f"port {port}: its ring is full.")


def arrive(port, frame, worker=0):
    feed(worker_at(worker), port, frame, 0)


cdef list drain(uint32_t port, uint32_t worker):
    """What left through a ring port, and what went to its kernel interface."""
    cdef rte_mbuf *m
    cdef uint32_t length
    cdef frame_ring *r = S.ports[port].to_kernel[worker]
    cdef uint8_t *frame
    out = []
    while worker < S.ports[port].tx_queues and rte_ring_dequeue(
            <rte_ring *><size_t>rings[port][worker][1], <void **>&m) == 0:
        out.append((port, PyBytes_FromStringAndSize(<char *>frame_at(m, 0), m.pkt_len)))
        rte_pktmbuf_free(m)
    while not ring_is_empty(r):
        frame = ring_front(r, &length)
        out.append((None, PyBytes_FromStringAndSize(<char *>frame, length)))
        ring_release(r)
    return out


cdef bint is_ring(port):
    return isinstance(port, int) and 0 <= port < len(rings) and rings[port] is not None


cdef bint is_idle(worker *w):
    """Whether a turn at the same time would find nothing to do."""
    cdef uint32_t port
    for port in range(S.n_ports):
        if is_ring(port) and w.id < S.ports[port].rx_queues and rte_ring_count(
                <rte_ring *><size_t>rings[port][w.id][0]):
            return False
    return not has_work(w)


cdef uint32_t take_turn(worker *w, uint32_t now) noexcept nogil:
    return worker_turn(w, now)


def handles(worker=0, port=0):
    cdef layout_worker *w = worker_at(worker)
    need(is_ring(port), f"port {port} is not made of rings.")
    return Handles(<size_t>&take_turn, <size_t>w, <size_t>w.pool, *rings[port][w.id])


def run_once(frames, worker=0, now=None, kernel=()):
    cdef uint32_t ms = <uint32_t>(int((time.monotonic() if now is None else now) * 1000) & 0xFFFFFFFF)
    cdef layout_worker *w = worker_at(worker)
    cdef frame_ring *ring
    need(not running, "run_once() takes the turns itself: start() must not have been called.")
    for item in frames:
        port, frame, *flags = (0, item) if isinstance(item, bytes) else item
        feed(w, port, frame, flags[0] if flags else 0)
    for port, frame in kernel:
        ring = port_at(port).from_kernel[w.id]
        within(len(frame), 14, ring.frame_max, "length of a frame from the kernel")
        need(ring_write(ring, frame, len(frame)), "The kernel ring is full.")
    take_turn(w, ms)
    while not is_idle(w):
        take_turn(w, ms)
    return [item for port in range(S.n_ports) if is_ring(port) for item in drain(port, w.id)]


# Whose memory is whose, for the test that says so.

cdef list ring_areas(worker *w):
    cdef frame_ring *r
    cdef hand_ring *h
    found = []
    for other in range(S.n_workers):
        if other != w.id:
            h = w.hand_to[other]
            found += [Area("hand_to.head", <size_t>&h.head, LINE), Area("hand_to.slots", <size_t>&h.slots, sizeof(h.slots))]
            found.append(Area("hand_from.tail", <size_t>&w.hand_from[other].tail, LINE))
    for port in range(S.n_ports):
        if S.ports[port].started:
            r = S.ports[port].to_kernel[w.id]
            found.append(Area("to_kernel.head", <size_t>&r.head, LINE))
            found.append(Area("to_kernel.data", <size_t>r.data, <size_t>r.stride * FRAME_SLOTS))
            found.append(Area("from_kernel.tail", <size_t>&S.ports[port].from_kernel[w.id].tail, LINE))
    return found


def written_by(worker):
    cdef layout_worker *w = worker_at(worker)
    return [
        Area("worker", <size_t>w, sizeof(layout_worker)),
        Area("gather", <size_t>w.gather, sizeof(gather)),
        Area("region", <size_t>w.table.region, w.table.region.bytes),
        Area("server_counts", <size_t>w.server_counts, <size_t>max(servers_end, 1) * sizeof(server_count)),
        Area("service_counts", <size_t>w.service_counts, <size_t>max(service_ids, 1) * sizeof(service_count)),
        Area("clients", <size_t>w.clients, <size_t>w.n_client_sets * sizeof(client_set)),
        Area("quiescent", <size_t>&S.rcu.qsbr_cnt[w.id], LINE),
        *ring_areas(w)]


def written_by_main():
    services = [id for id in range(service_ids) if S.services[id] != NULL]
    return [
        Area("shared", <size_t>S, sizeof(shared)),
        Area("map", <size_t>S.map, sizeof(service_map) + (<size_t>S.map.mask + 1) * sizeof(map_slot)),
        Area("services", <size_t>S.services, <size_t>max(service_ids, 1) * sizeof(void *)),
        Area("servers", <size_t>S.servers, <size_t>max(servers_end, 1) * sizeof(server)),
        *[Area("service", <size_t>S.services[<uint32_t>id], sizeof(service)) for id in services],
        *[Area("pool", <size_t>S.ports[p].pool, sizeof(local_pool)) for p in range(S.n_ports) if S.ports[p].pool != NULL]]


def fingerprint(areas):
    cdef uint64_t sum = 0
    cdef const uint8_t *at
    cdef size_t length, i
    for _, address, n in areas:
        at, length = <const uint8_t *><size_t>address, n
        with nogil:
            for i in range(length):
                sum = (sum ^ at[i]) * 0x100000001B3U  # FNV-1a, each byte once
    return sum
