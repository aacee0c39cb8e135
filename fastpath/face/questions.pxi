# Questions to workers, by their mailboxes (stage/answer.pxd). Part of engine.pyx.

cdef class Question:
    """What a worker is asked. `verb` is the worker's from the moment that it is posted until it is done; the queue that
    the question stands in meanwhile keeps it alive, whoever lets go of it."""

    cdef verb verb
    cdef uint32_t worker
    cdef bint posted, answered

    __class_getitem__ = classmethod(GenericAlias)

    def __dealloc__(self):
        free(self.verb.rows)
        free(self.verb.frames)

    def done(self):
        deliver(self.worker)
        return self.answered

    def result(self):
        while not self.done():
            with nogil:
                usleep(20)
        if self.verb.kind != VERB_FIND:
            return self.verb.n
        return [describe(self, &self.verb.rows[i]) for i in range(self.verb.n)], self.verb.cursor or None


cdef Question ask(worker *w, Question q, uint8_t kind):
    need(not closed, "The data plane is closed.")
    q.worker = w.id
    q.verb.kind = kind
    questions[w.id].append(q)
    deliver(w.id)
    return q


cdef deliver(uint32_t worker):
    """Take what a worker has answered out of its queue and give it the next; one that does not run is answered for."""
    cdef Question first
    cdef layout_worker *w = W[worker]
    queue = questions[worker]
    while queue:
        first = queue[0]
        if not first.posted:
            first.posted = True
            store_pointer(&w.verb, &first.verb)
            full_fence()
            ring_bell(&w.bell)
        while not running and not load_acquire(&first.verb.done):
            first.verb.now = w.now - 1  # its clock stands, and no turn is to wait for the next millisecond
            answer_verb(w)
            flush(w)
            free_dead(w)
        if not load_acquire(&first.verb.done):
            store_release(&first.verb.hurry, len(queue) > 1)
            return
        queue.popleft()
        first.answered = first.verb.kind != VERB_SWEEP or first.verb.cursor == 0
        if not first.answered:  # a sweep that made room for others
            first.verb.done = first.verb.hurry = first.posted = 0
            queue.append(first)


cdef worker *worker_at(value) except NULL:
    started()
    return W[within(value, 0, S.n_workers - 1, "worker")]


cdef uint8_t take_matches(match *to, matches) except 255:
    """How many."""
    cdef match *m
    within(len(matches), 0, MAX_MATCHES, "number of matches")
    for i, (which, address, mask, port) in enumerate(matches):
        m = &to[<uint32_t>i]
        m.ends = <uint8_t>within(which, 1, ALL_ENDS, "ends")
        m.address, m.mask = be32_of(address), be32_of(mask)
        m.port = be16_of(within(port, 0, 65535, "port"))
    return <uint8_t>len(matches)


def find(worker, protocol=0, matches=(), max_idle=None, cursor=0, limit=1024, entries=1 << 16):
    cdef Question q = Question()
    cdef layout_worker *w = worker_at(worker)
    need(protocol in (0, TCP, UDP), f"protocol {protocol!r}: expected 0, 6 or 17.")
    q.verb.n_matches = take_matches(q.verb.matches, matches)
    q.verb.protocol = protocol
    q.verb.max_idle = NONE if max_idle is None else <uint32_t>within(int(max_idle * 1000), 0, NONE - 1, "max_idle (ms)")
    q.verb.cursor = <uint32_t>within(cursor, 0, 0xFFFFFFFF, "cursor")
    q.verb.limit = <uint32_t>within(limit, 1, 1 << 20, "limit")
    q.verb.entries = <uint32_t>within(entries, 1, 0xFFFFFFFF, "entries")
    q.verb.rows = <connection *>malloc(limit * sizeof(connection))
    need(q.verb.rows != NULL, f"No memory for {limit} connections.")
    return ask(w, q, VERB_FIND)


def sweep(worker):
    cdef Question q = Question()
    cdef layout_worker *w = worker_at(worker)
    q.verb.limit = max(1, RESETS_MS // S.n_workers)  # the link is the same for all
    return ask(w, q, VERB_SWEEP)


def send(worker, port, frames):
    cdef Question q = Question()
    cdef layout_worker *w = worker_at(worker)
    cdef uint32_t longest = port_at(port).to_kernel[0].frame_max
    for frame in frames:
        need(isinstance(frame, bytes), f"frame {frame!r}: bytes expected.")
        within(len(frame), 14, longest, "length of a frame")
    packed = b"".join([len(frame).to_bytes(4, "little") + frame for frame in frames])
    q.verb.port = port
    q.verb.entries = len(frames)
    q.verb.frames = <uint8_t *>malloc(len(packed) + 1)
    need(q.verb.frames != NULL, f"No memory for {len(frames)} frames.")
    memcpy(q.verb.frames, <const char *>packed, len(packed))
    return ask(w, q, VERB_SEND)


def connections(worker, protocol, cursor=0, limit=1024):
    need(protocol in (TCP, UDP), f"protocol {protocol!r}: expected 6 or 17.")
    return find(worker, protocol, cursor=cursor, limit=limit, entries=0xFFFFFFFF).result()


cdef address_bytes(const void *address):
    return PyBytes_FromStringAndSize(<const char *>address, 4)


cdef describe(Question q, connection *c):
    return Connection(
        q.worker, c.protocol,
        (address_bytes(&c.flow[INBOUND].saddr), be16_of(c.flow[INBOUND].sport)),
        (address_bytes(&c.flow[INBOUND].daddr), be16_of(c.flow[INBOUND].dport)),
        (address_bytes(&c.flow[OUTBOUND].daddr), be16_of(c.flow[OUTBOUND].dport)),
        (address_bytes(&c.flow[OUTBOUND].saddr), be16_of(c.flow[OUTBOUND].sport)),
        c.flags, state_names[c.state].decode(), <uint32_t>(q.verb.now - c.last_seen) / 1000.0, timeout_of(S, c) // 1000,
        c.server)
