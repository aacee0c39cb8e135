"""track: what the packet tells about its connection: last seen, state, where the client is, counters. Nothing fails here.

And what the largest segment of a SYN becomes: here, since of all packets only those that leave a connection half-open are
looked at, without a test for the others."""

from libc.stdint cimport uint8_t, uint32_t

from fastpath.dpdk.eal cimport unlikely
from fastpath.layout cimport (
    CONNECTION_ENDED, CONNECTION_TRANSLATED, GO_ON, INBOUND, batch, connection, server_count, service, worker)
from fastpath.net.frame cimport frame_at, load32, load48, rte_be_to_cpu_32, store48
from fastpath.net.headers cimport ETH_SRC, TCP_SEQ
from fastpath.net.tcp cimport TCP_HAS_ACK, TCP_HAS_SYN
from fastpath.net.tcp_options cimport clamp_mss
from fastpath.table.tcp_state cimport EVENT_RST, STATE_UDP, SYN_SENT, TIME_WAIT, half_open, tcp_next
from fastpath.table.timer cimport change_state

cdef extern from *:
    """
    /* How far a RST may lie beyond what its receiver has acknowledged. The windows are not kept; this is Linux's usual one of a
       bulk transfer, and leaves one guess in 4,096. */
    enum { RESET_WINDOW = 1 << 20 };
    static inline void __pyx_f_8fastpath_5stage_5track_limit_segments(struct worker *, uint32_t,
                                                                          const struct connection *) APART;
    static inline void __pyx_f_8fastpath_5stage_5track_progress(struct worker *, uint32_t, uint8_t) APART;
    """
    enum:
        RESET_WINDOW


cdef inline bint refreshes(worker *w, const connection *c, uint8_t state, uint32_t direction) noexcept nogil:
    """Whether a packet that leads to `state` proves the connection alive: a removed UDP server keeps nothing alive (B26)."""
    return state != STATE_UDP or direction == INBOUND or not w.shared.servers[c.server].removed


cdef inline void limit_segments(worker *w, uint32_t i, const connection *c) noexcept nogil:
    """Of a SYN or SYN-ACK, as the service wants it (B33)."""
    cdef const batch *b = &w.batch
    cdef const service *s = w.shared.services[w.shared.servers[c.server].service]
    if s != NULL and s.mss and b.tcp[i] & TCP_HAS_SYN:
        clamp_mss(frame_at(b.pkt[i], b.l4[i]), s.mss)


cdef inline uint32_t seq_of(worker *w, uint32_t i, const connection *c, uint32_t direction) noexcept nogil:
    """Where a segment begins, from what its receiver acknowledged last on."""
    return rte_be_to_cpu_32(load32(frame_at(w.batch.pkt[i], w.batch.l4[i] + TCP_SEQ))) + c.seq_delta[
        direction] - rte_be_to_cpu_32(c.next_seq[direction])


cdef inline bint ends_handshake(worker *w, uint32_t i, const connection *c) noexcept nogil:
    """Whether a client's segment may be one that its server takes: it goes on where the SYN has ended, and acknowledges. All
    others the server passes over, or answers without a RST: who forges them could fill the table (B23). One that acknowledges
    what was never sent is answered by a RST."""
    return w.batch.tcp[i] & TCP_HAS_ACK and seq_of(w, i, c, INBOUND) == 0


cdef inline bint is_believed(worker *w, uint32_t i, const connection *c, uint32_t direction) noexcept nogil:
    """Whether a segment that would change the state says something that its receiver may believe. Of a RST (RFC 5961 3.2) as
    far as can be told: while the connection opens, an end that has said nothing expects nothing that is known here. Others go
    on all the same: the end will judge."""
    if w.batch.event[i] != EVENT_RST:
        return direction != INBOUND or not half_open[c.state] or ends_handshake(w, i, c)
    if half_open[c.state] and (c.state == SYN_SENT or direction != INBOUND):
        return True
    return seq_of(w, i, c, direction) < RESET_WINDOW


cdef inline void progress(worker *w, uint32_t i, uint8_t state) noexcept nogil:
    """To another state, if packet i is believed. When both ends have closed, what the server saw last is worth remembering
    (table/takeover.pxd), until a SYN in the burst of the last FIN opens the connection again."""
    cdef uint32_t entry = w.batch.entry[i]
    cdef connection *c = &w.table.connections[entry >> 1]
    if not is_believed(w, i, c, entry & 1):
        return
    if half_open[c.state] and not half_open[state]:
        c.last_seen = w.now
    change_state(w, entry >> 1, state)
    if state == TIME_WAIT:
        c.flags |= CONNECTION_ENDED
    elif state == SYN_SENT:
        c.flags &= CONNECTION_TRANSLATED
        limit_segments(w, i, c)


cdef inline void track_one(worker *w, uint32_t i) noexcept nogil:
    cdef batch *b = &w.batch
    cdef uint32_t direction = b.entry[i] & 1
    cdef connection *c = &w.table.connections[b.entry[i] >> 1]
    cdef server_count *count = &w.server_counts[c.server]
    cdef uint8_t state = tcp_next[direction][b.event[i]][c.state]
    count.packets[direction] += 1
    count.bytes[direction] += b.pkt[i].pkt_len
    if unlikely(half_open[c.state]):  # these live from their first SYN on, whatever is sent again (B23)
        limit_segments(w, i, c)
    elif refreshes(w, c, state, direction):
        c.last_seen = w.now
    if b.tcp[i] & TCP_HAS_ACK:
        c.next_seq[direction ^ 1] = <uint32_t>b.tcp[i]
    if direction == INBOUND:  # the way back is where this came from (DESIGN: next hops)
        store48(c.client_mac, load48(frame_at(b.pkt[i], ETH_SRC)))
        c.client_port = <uint8_t>b.pkt[i].port
    if unlikely(state != c.state):
        progress(w, i, state)


cdef inline void track(worker *w) noexcept nogil:
    cdef uint32_t i
    for i in range(w.batch.n):
        if w.batch.verdict[i] == GO_ON:
            track_one(w, i)
