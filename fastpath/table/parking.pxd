"""Packets towards a server whose MAC address is not known yet wait for it: a few, for at most a second (B40).

Then they go through the stages again as if they had just been received, before what comes later (but for the burst in
which the address becomes known). Once: a packet that finds
no way after that is dropped. Owner: the worker. Oldest first, so that packets keep their order.
"""

from libc.stdint cimport uint8_t, uint32_t

from fastpath.dpdk.mbuf cimport rte_pktmbuf_free
from fastpath.layout cimport (
    BURST, GO_ON, INBOUND, NEXT_HOP_UNRESOLVED, PARK, PARKING, PARKING_FULL, PARKING_MS, PARKING_SERVER, batch,
    parked, worker)
from fastpath.net.frame cimport frame_at, load16, load64
from fastpath.net.headers cimport ETH_LEN, IPV4_ID, IPV4_PROTOCOL, IPV4_SRC
from fastpath.table.batch cimport count_drop, count_for_service, drop_for_service
from fastpath.table.next_hop cimport is_resolved
from fastpath.table.watch cimport observe_drop


cdef extern from *:
    """
    static inline uint8_t __pyx_f_8fastpath_5table_7parking_park(struct worker *, uint32_t, uint32_t, uint32_t) APART;
    """


cdef inline uint32_t parked_for(const worker *w, uint32_t server) noexcept nogil:
    cdef uint32_t i, n = 0
    for i in range(w.n_parked):
        n += w.parked[i].server == server
    return n


cdef inline uint8_t park(worker *w, uint32_t i, uint32_t server, uint32_t service) noexcept nogil:
    """Packet i waits for this server, if there is a place and it has not waited before."""
    cdef batch *b = &w.batch
    cdef parked *p = &w.parked[w.n_parked]
    if i < b.n_parked:
        return drop_for_service(w, i, NEXT_HOP_UNRESOLVED, service, INBOUND)
    if w.n_parked == PARKING or parked_for(w, server) >= PARKING_SERVER:
        return drop_for_service(w, i, PARKING_FULL, service, INBOUND)
    p.pkt = b.pkt[i]
    p.server = server
    p.service = service
    p.since = w.now
    w.n_parked += 1
    return PARK


cdef inline uint8_t park_behind(worker *w, uint32_t i) noexcept nogil:
    """A later fragment waits if the first one of its datagram does; GO_ON: that one does not."""
    cdef const uint8_t *ip = frame_at(w.batch.pkt[i], ETH_LEN)
    cdef const uint8_t *first
    cdef uint32_t at
    for at in range(w.n_parked):
        first = frame_at(w.parked[at].pkt, ETH_LEN)
        if load64(first + IPV4_SRC) == load64(ip + IPV4_SRC) and load16(first + IPV4_ID) == load16(
                ip + IPV4_ID) and first[IPV4_PROTOCOL] == ip[IPV4_PROTOCOL]:
            return park(w, i, w.parked[at].server, w.parked[at].service)
    return GO_ON


cdef inline bint may_leave(const worker *w, const parked *p) noexcept nogil:
    return is_resolved(w.shared.servers[p.server].hop)


cdef inline bint has_waited(const worker *w, const parked *p) noexcept nogil:
    return w.now - p.since >= PARKING_MS  # modulo 2^32, as the clock


cdef inline void give_up(worker *w, parked *p) noexcept nogil:
    observe_drop(w, p.pkt, False, NEXT_HOP_UNRESOLVED)
    count_drop(w, p.pkt.port, NEXT_HOP_UNRESOLVED)
    count_for_service(w, p.pkt, p.service, INBOUND)
    rte_pktmbuf_free(p.pkt)


cdef inline uint32_t leave_parking(worker *w) noexcept nogil:
    """Into the batch with those whose wait has ended well, as many as it holds; returns how many. Those that have waited for
    too long are dropped."""
    cdef batch *b = &w.batch
    cdef parked *p
    cdef uint32_t i, n = 0, kept = 0
    for i in range(w.n_parked):
        p = &w.parked[i]
        if n < BURST and may_leave(w, p):
            b.pkt[n] = p.pkt
            b.waited_for[n] = p.server
            n += 1
        elif not may_leave(w, p) and has_waited(w, p):
            give_up(w, p)
        else:
            if kept != i:
                w.parked[kept] = p[0]
            kept += 1
    w.n_parked = kept
    return n


cdef inline bint parking_is_due(const worker *w) noexcept nogil:
    """Whether leave_parking() would find something to do at this time."""
    cdef uint32_t i
    for i in range(w.n_parked):
        if may_leave(w, &w.parked[i]) or has_waited(w, &w.parked[i]):
            return True
    return False


cdef inline void empty_parking(worker *w) noexcept nogil:
    """Nobody waits any longer: the worker does not run."""
    cdef uint32_t i
    for i in range(w.n_parked):
        give_up(w, &w.parked[i])
    w.n_parked = 0
