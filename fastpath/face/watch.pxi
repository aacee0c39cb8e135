# Following packets: what workers note of them while somebody watches (table/watch.pxd). Part of engine.pyx.

VERDICTS = {GO_ON: "go_on", SEND: "send", SPLIT: "split", PUNT: "punt", DROP: "drop", PARK: "park", HAND: "hand",
            GONE: "note", KEPT: "kept"}
SEEN_KINDS = {SEEN_PASSED: "passed", SEEN_LEFT: "left", SEEN_ENDED: "ended"}
CAME_FROM = {CAME_FROM_PORT: "port", CAME_FROM_WORKER: "worker", CAME_FROM_PARKING: "parking",
             CAME_FROM_HOME: "home"}

cdef struct_watch *watching = NULL
cdef uint32_t lost_before[64]  # MAX_WORKERS


cdef size_t log_bytes(uint32_t stride):
    return sizeof(watch_log) + <size_t>BURST * stride + LOG_BYTES


cdef watch_log *make_log(worker *w, uint32_t stride) except NULL:
    """On the worker's node."""
    cdef watch_log *log = <watch_log *>lazy_memory(log_bytes(stride), <int>rte_lcore_to_socket_id(w.lcore))
    log.frames = <uint8_t *>(log + 1)
    log.data = log.frames + <size_t>BURST * stride
    return log


cdef uint8_t reason_number(reason) except? 253:
    if reason is None:
        return NO_REASON
    if reason == "any":
        return ANY_REASON
    names = list(DROP_REASONS)
    need(reason in names, f"drop reason {reason!r}: not one of those that drops() has.")
    return <uint8_t>names.index(reason)


def watch_begin(protocol=0, matches=(), reason=None, snap=MAX_SNAP, leaving=True):
    global watching
    cdef struct_watch *x
    started()
    need(watching == NULL, "Packets are being watched already: one watch at a time.")
    x = <struct_watch *>aligned_memory(sizeof(struct_watch))
    try:
        x.protocol = <uint16_t>within(protocol, 0, 0xFFFF, "protocol")
        x.reason = reason_number(reason)
        x.all_leaving = bool(leaving)
        x.snap = <uint32_t>within(snap, 64, MAX_SNAP, "snap")
        x.stride = (x.snap + 63) & ~63
        x.n_matches = take_matches(x.matches, matches)
        for i in range(S.n_workers):
            x.logs[i] = make_log(W[i], x.stride)
    except BaseException:
        free_watch(x)
        raise
    memset(lost_before, 0, sizeof(lost_before))
    watching = x
    store_pointer(&S.watch, x)


cdef free_watch(struct_watch *x):
    for i in range(S.n_workers):
        if x.logs[i] != NULL:
            munmap(x.logs[i], log_bytes(x.stride))
    free(x)


def watch_stop():
    need(watching != NULL, "Nobody watches packets.")
    store_pointer(&S.watch, NULL)
    synchronize()


def watch_end():
    """Nothing where nobody watches."""
    global watching
    cdef struct_watch *x = watching
    if x == NULL:
        return
    watching = NULL
    store_pointer(&S.watch, NULL)
    synchronize()
    free_watch(x)


def watch_read(limit=1024):
    cdef uint32_t lost = 0, now
    within(limit, 1, 1 << 20, "limit")
    need(watching != NULL, "Nobody watches packets.")
    found = []
    for i in range(S.n_workers):
        now = load_acquire(&watching.logs[i].lost)
        lost += now - lost_before[<uint32_t>i]
        lost_before[<uint32_t>i] = now
        take_log(W[i], watching.logs[i], limit, found)
    found.sort(key=lambda seen: seen.ns)
    return found, lost


cdef take_log(worker *w, watch_log *log, uint32_t limit, list found):
    """At most so many records out of a worker's log."""
    cdef uint32_t head = load_acquire(&log.head), tail = log.tail, n = 0
    cdef seen *s
    while tail != head and n < limit:
        s = <seen *>(log.data + (tail & (LOG_BYTES - 1)))
        if s.size == 0:
            tail += LOG_BYTES - (tail & (LOG_BYTES - 1))
            continue
        found.append(describe_seen(w.id, s))
        n += 1
        tail += s.size
    store_release(&log.tail, tail)


cdef tuple two_ends(const view *v):
    """(source, destination), each (address, port)."""
    if v.knows == KNOWS_NOTHING:
        return None
    return ((address_bytes(&v.addrs), be16_of(<be16>v.ports)),
            (address_bytes(<const char *>&v.addrs + 4), be16_of(<be16>(v.ports >> 16))))


cdef tuple end_of(const ends *e, uint32_t n):
    return (address_bytes(&e.address[n]), be16_of(e.port[n])) if e.known >> n & 1 else None


cdef describe_seen(uint32_t worker, seen *s):
    cdef bint sent = s.verdict == SEND or s.verdict == SPLIT
    return Seen(
        worker, s.ns, SEEN_KINDS[s.kind], CAME_FROM[s.came], s.port, s.length,
        PyBytes_FromStringAndSize(<const char *>(s + 1), s.stored),
        None if s.reason == NO_REASON else drop_keys[s.reason].decode(), s.view.protocol, two_ends(&s.view),
        *[VERDICTS.get(verdict) for verdict in (s.classified, s.scheduled, s.verdict)], s.found - 1 if s.found else None,
        *[end_of(&s.ends, n) for n in range(4)], None if s.server == NONE else s.server,
        (state_names[s.state].decode(), state_names[s.state_after].decode()) if s.has_connection else None,
        (s.hop >> 48 & 0xFF, <bytes>s.hop.to_bytes(8, "little")[:6]) if s.hop else None,
        two_ends(&s.left) if sent else None, s.out if sent else None, None if s.to == NONE else s.to)
