"""schedule: which connection, and where to. A tuple without one opens it, if its service lets it; one that ended makes
room for the next (B16). Whatever leaves this stage with GO_ON can be sent: `entry` and `hop` are known."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memset

from fastpath.dpdk.eal cimport unlikely
from fastpath.layout cimport (
    ADDRESS_FREE, ADDRESS_LOCAL, BRINGS_ALL, BURST, CONNECTION_RESET, CONNECTIONS_EXHAUSTED, GO_ON, HAND, INBOUND,
    LIST_HALF_OPEN, LIST_HEADS, NO_CONNECTION, NO_LOCAL_PORT, NO_SERVER, NO_SERVICE, NONE, OUTBOUND, PUNT, SAID_RESET,
    SPOOFED_SOURCE, batch, connection, flow, local_pool, port, server, service, table, worker)
from fastpath.net.frame cimport frame_at, load16, rte_be_to_cpu_16, rte_cpu_to_be_16
from fastpath.net.headers cimport ETH_LEN, IPV4_DONT, IPV4_FRAGMENT, IPV4_TOTAL_LENGTH, IPV4_TTL, PROTO_TCP
from fastpath.net.tcp cimport TCP_HAS_ACK, answer_segment
from fastpath.table.admit cimport admit, follow_first
from fastpath.table.batch cimport count_for_service, drop, drop_for_service
from fastpath.table.connection cimport connection_give, connection_index, connection_take, find, flow_of
from fastpath.table.limit cimport count_new
from fastpath.table.load cimport count_opened
from fastpath.table.local_port cimport choose_local
from fastpath.table.next_hop cimport client_hop, hop_port, is_resolved
from fastpath.table.owner cimport is_anothers
from fastpath.table.parking cimport park, park_behind
from fastpath.table.service cimport address_kind, is_eligible, is_no_client, pick_server, service_at
from fastpath.table.takeover cimport take_over
from fastpath.table.tell cimport drop_and_answer, mtu_exceeded, refuse, ttl_exceeded
from fastpath.table.tcp_state cimport (
    EVENT_RST, EVENT_SYN, STATE_HELD, STATE_UDP, SYN_SENT, TIME_WAIT, reopens)
from fastpath.table.timer cimport hold, retire, timer_set

cdef extern from *:
    """
    static inline uint8_t __pyx_f_8fastpath_5stage_8schedule_schedule_new(struct worker *, uint32_t) APART COMMON;
    static inline uint8_t __pyx_f_8fastpath_5stage_8schedule_schedule_reset(struct worker *, uint32_t, uint32_t) APART RARE;
    static inline uint8_t __pyx_f_8fastpath_5stage_8schedule_long_packet(struct worker *, uint32_t) APART RARE;
    """


cdef inline uint8_t long_packet(worker *w, uint32_t i) noexcept nogil:
    """Longer than some port's MTU: if it is its way out's, it is fragmented there, or its sender told not to (B33)."""
    cdef batch *b = &w.batch
    cdef const uint8_t *ip = frame_at(b.pkt[i], ETH_LEN)
    cdef uint32_t mtu = w.shared.ports[hop_port(b.hop[i])].mtu
    if rte_be_to_cpu_16(load16(ip + IPV4_TOTAL_LENGTH)) <= mtu:
        return GO_ON
    if load16(ip + IPV4_FRAGMENT) & rte_cpu_to_be_16(IPV4_DONT):
        return mtu_exceeded(w, i, mtu)
    b.n_long += 1
    return GO_ON


cdef inline uint8_t direct(worker *w, uint32_t i, uint32_t entry) noexcept nogil:
    """The packet belongs to this entry: find its next hop."""
    cdef batch *b = &w.batch
    cdef connection *c = &w.table.connections[entry >> 1]
    cdef server *s = &w.shared.servers[c.server]
    b.entry[i] = entry
    if frame_at(b.pkt[i], ETH_LEN)[IPV4_TTL] <= 1:
        return ttl_exceeded(w, i)
    if entry & 1 == INBOUND:
        b.hop[i] = s.hop
        if unlikely(not is_resolved(b.hop[i])):  # read once: the main thread may change it at any time
            return park(w, i, c.server, s.service)
    else:
        b.hop[i] = client_hop(c)
    if unlikely(b.pkt[i].pkt_len > w.shared.least_mtu + ETH_LEN):
        return long_packet(w, i)
    return GO_ON


cdef inline void make_room(worker *w) noexcept nogil:
    """Half-open connections are bounded, and the first to go when entries run short (B23). What is retired is free at the
    end of the turn, so entries are held back for all that a turn may bring: two batches a port. Never the newest: it was
    just opened."""
    cdef table *t = &w.table
    if t.region.half_open > t.half_open_limit or (
            t.region.half_open > 1 and t.region.in_use + 2 * w.shared.n_ports * BURST > t.capacity):
        retire(w, t.nodes[LIST_HALF_OPEN].next - LIST_HEADS)


cdef inline uint8_t open_connection(worker *w, uint32_t i, const service *s, uint32_t id) noexcept nogil:
    """A new connection of service s to server `id`, whose first packet is packet i."""
    cdef batch *b = &w.batch
    cdef table *t = &w.table
    cdef uint64_t hop = w.shared.servers[id].hop
    cdef const port *p = &w.shared.ports[hop_port(hop)]
    cdef const local_pool *pool = p.pool  # read once: the main thread may change it at any time
    cdef connection *c
    cdef uint32_t index, former
    cdef uint64_t answer_hash
    if unlikely(not is_resolved(hop)):
        return park(w, i, id, s.id)
    if pool == NULL:
        return drop_for_service(w, i, NO_LOCAL_PORT, s.id, INBOUND)
    index = connection_take(t)
    if index == NONE:
        return drop_for_service(w, i, CONNECTIONS_EXHAUSTED, s.id, INBOUND)
    c = &t.connections[index]
    memset(c, 0, sizeof(connection))
    c.flow[INBOUND] = flow_of(b.addrs[i], b.ports[i])
    c.flow[OUTBOUND].saddr = w.shared.servers[id].raddr
    c.flow[OUTBOUND].sport = w.shared.servers[id].rport
    answer_hash = choose_local(w, id, p, pool, &c.flow[OUTBOUND], &former)
    if answer_hash == 0:
        connection_give(t, index)
        return drop_for_service(w, i, NO_LOCAL_PORT, s.id, INBOUND)
    c.protocol = <uint8_t>(b.ports[i] >> 32)
    c.state = SYN_SENT if s.protocol == PROTO_TCP else STATE_UDP
    c.server = id
    c.last_seen = w.now
    if unlikely(former != NONE):
        take_over(w, c, former, frame_at(b.pkt[i], b.l4[i]))
    connection_index(t, index, b.hash[i], answer_hash)
    timer_set(t, w.shared, index)
    count_opened(&w.server_counts[id], c.state)
    count_new(w, s, c)
    make_room(w)
    return direct(w, i, index << 1 | INBOUND)


cdef inline uint32_t server_for(worker *w, uint32_t i, const service *s, const flow *client) noexcept nogil:
    """A packet that was parked opens its connection to the server that it waited for, as long as the service has it and it
    is eligible: the round that chose it has moved on."""
    cdef const batch *b = &w.batch
    if i < b.n_parked and is_eligible(w.shared, s, b.waited_for[i]):
        return b.waited_for[i]
    return pick_server(w, s, client, b.hash[i])


cdef inline uint8_t refuse_for_service(worker *w, uint32_t i, uint8_t reason, uint32_t service, bint told) noexcept nogil:
    """A service's packet that opens nothing. told: its sender hears of it."""
    count_for_service(w, w.batch.pkt[i], service, INBOUND)
    return refuse(w, i, reason) if told else drop(&w.batch, i, reason)


cdef inline uint8_t schedule_unserved(worker *w, uint32_t i, uint8_t kind) noexcept nogil:
    """For no service and no connection. A director that took this one's connections over may get packets of them before it
    gets its services: what is in mid-flow is told nothing but by that policy (B19)."""
    cdef batch *b = &w.batch
    cdef bint opens = <uint8_t>(b.ports[i] >> 32) != PROTO_TCP or b.event[i] == EVENT_SYN
    if kind == ADDRESS_FREE:
        return PUNT
    if kind == ADDRESS_LOCAL:
        return drop(b, i, NO_CONNECTION)
    if w.shared.refuses if opens else w.shared.resets_unknown:
        return refuse(w, i, NO_SERVICE)
    return drop(b, i, NO_SERVICE)


cdef inline uint8_t schedule_later(worker *w, uint32_t i, const flow *client) noexcept nogil:
    """A later fragment that found no connection opens none; but the first one of its datagram may be about to: parked here, or
    on its way to its client's home and back."""
    cdef uint8_t verdict = park_behind(w, i)
    return verdict if verdict != GO_ON else follow_first(w, i, client)


cdef inline uint8_t schedule_new(worker *w, uint32_t i) noexcept nogil:
    """No connection holds this tuple: a service's, the kernel's, or nobody's."""
    cdef batch *b = &w.batch
    cdef flow client = flow_of(b.addrs[i], b.ports[i])
    cdef const service *s
    cdef uint32_t id
    cdef uint8_t verdict = GO_ON
    if b.l4[i] == 0:
        return schedule_later(w, i, &client)
    s = service_at(w, client.daddr, client.dport, <uint8_t>(b.ports[i] >> 32))
    if s == NULL:
        return schedule_unserved(w, i, address_kind(w.shared.map, client.daddr))
    if s.protocol == PROTO_TCP and b.event[i] != EVENT_SYN:
        return refuse_for_service(w, i, NO_CONNECTION, s.id, w.shared.resets_unknown)
    if is_no_client(w.shared.map, client.saddr):
        return drop_for_service(w, i, SPOOFED_SOURCE, s.id, INBOUND)
    if frame_at(b.pkt[i], ETH_LEN)[IPV4_TTL] <= 1:
        return ttl_exceeded(w, i)
    if unlikely(s.asks or b.noted):
        id = admit(w, i, s, &client, &verdict)
        if verdict != GO_ON:
            return verdict
    else:
        id = server_for(w, i, s, &client)
    if id == NONE:
        return refuse_for_service(w, i, NO_SERVER, s.id, w.shared.refuses)
    return open_connection(w, i, s, id)


cdef inline bint has_ended(worker *w, uint32_t i, uint32_t entry) noexcept nogil:
    """Whether this packet of a client asks for a new connection in the place of the one that it found."""
    cdef const connection *c = &w.table.connections[entry >> 1]
    if entry & 1 != INBOUND or frame_at(w.batch.pkt[i], ETH_LEN)[IPV4_TTL] <= 1:
        return False
    if c.state == STATE_UDP:
        return w.shared.servers[c.server].removed != 0
    return w.batch.event[i] == EVENT_SYN and reopens[c.state]


cdef inline uint8_t schedule_reset(worker *w, uint32_t i, uint32_t entry) noexcept nogil:
    """This end has not heard of the reset, or took it for invalid, with data on its way: told again, by what it says itself
    that it expects. A RST is never answered (RFC 9293 3.10.7.1), nor is what no end of a connection would send."""
    cdef batch *b = &w.batch
    cdef uint32_t service = w.shared.servers[w.table.connections[entry >> 1].server].service
    if b.event[i] == EVENT_RST or not b.tcp[i] & TCP_HAS_ACK:
        return drop_for_service(w, i, CONNECTION_RESET, service, entry & 1)
    count_for_service(w, b.pkt[i], service, entry & 1)
    answer_segment(b.pkt[i], b.l4[i], w.shared.ports[b.pkt[i].port].mac)
    return drop_and_answer(w, i, CONNECTION_RESET, SAID_RESET)


cdef inline uint8_t schedule_one(worker *w, uint32_t i) noexcept nogil:
    cdef batch *b = &w.batch
    cdef table *t = &w.table
    cdef uint32_t entry = b.entry[i]
    if unlikely(entry == NONE or t.connections[entry >> 1].state <= STATE_HELD):
        # A packet before this one in the burst may have opened the connection, or ended the one that was found.
        entry = find(t, b.addrs[i], b.ports[i], b.hash[i])
        if unlikely(entry != NONE and t.connections[entry >> 1].state <= STATE_HELD):
            if t.connections[entry >> 1].state == STATE_HELD:
                return drop(b, i, NO_CONNECTION)  # of a server, for whom nobody is there any more
            if not has_ended(w, i, entry):
                return schedule_reset(w, i, entry)
    if not unlikely(entry == NONE):
        if not has_ended(w, i, entry):
            return direct(w, i, entry)
        if t.connections[entry >> 1].state == TIME_WAIT:
            hold(w, entry >> 1)  # its server may still be
        else:
            retire(w, entry >> 1)
    elif is_anothers(w, i, b.addrs[i], b.ports[i], b.hash[i], BRINGS_ALL):
        return HAND  # a NIC need not keep its word: a rule ignored, a header that it cannot read
    return schedule_new(w, i)


cdef inline void schedule(worker *w) noexcept nogil:
    cdef uint32_t i
    for i in range(w.batch.n):
        if w.batch.verdict[i] == GO_ON:
            w.batch.verdict[i] = schedule_one(w, i)
