"""track: what the packet tells about its connection: last seen, state, where the client is, counters. Nothing fails here."""

from libc.stdint cimport uint8_t, uint32_t

from fastpath.dpdk.eal cimport unlikely
from fastpath.layout cimport CONNECTION_ENDED, CONNECTION_TRANSLATED, GO_ON, INBOUND, batch, connection, server_count, worker
from fastpath.net.frame cimport frame_at, load32, load48, rte_be_to_cpu_32, store48
from fastpath.net.headers cimport ETH_SRC, TCP_SEQ
from fastpath.net.tcp cimport TCP_HAS_ACK
from fastpath.table.tcp_state cimport EVENT_RST, STATE_UDP, SYN_SENT, TIME_WAIT, half_open, tcp_next
from fastpath.table.timer cimport change_state

cdef extern from *:
    """
    /* How far a RST may lie beyond what its receiver has acknowledged. The windows are not kept; this is Linux's usual one of a
       bulk transfer, and leaves one guess in 4,096. */
    enum { RESET_WINDOW = 1 << 20 };
    """
    enum:
        RESET_WINDOW


cdef inline bint refreshes(worker *w, const connection *c, uint8_t state, uint32_t direction) noexcept nogil:
    """Whether a packet that leads to `state` proves the connection alive. Half-open ones live from their first SYN on,
    whatever is sent again; a removed UDP server keeps nothing alive (B23, B26)."""
    return not half_open[state] and (
        state != STATE_UDP or direction == INBOUND or not w.shared.servers[c.server].removed)


cdef inline bint is_believed(worker *w, uint32_t i, const connection *c, uint32_t direction) noexcept nogil:
    """Whether a RST says something that its receiver may believe (RFC 5961 3.2), as far as can be told: while the connection
    opens, an end that has said nothing expects nothing that is known here. Others go on all the same: the end will judge."""
    cdef uint32_t seq
    if half_open[c.state] and (c.state == SYN_SENT or direction != INBOUND):
        return True
    seq = rte_be_to_cpu_32(load32(frame_at(w.batch.pkt[i], w.batch.l4[i] + TCP_SEQ))) + c.seq_delta[direction]
    return seq - rte_be_to_cpu_32(c.next_seq[direction]) < RESET_WINDOW


cdef inline void progress(worker *w, uint32_t index, uint8_t state) noexcept nogil:
    """To another state. When both ends have closed, what the server saw last is worth remembering (table/takeover.pxd),
    until a SYN in the burst of the last FIN opens the connection again."""
    cdef connection *c = &w.table.connections[index]
    change_state(w, index, state)
    if state == TIME_WAIT:
        c.flags |= CONNECTION_ENDED
    elif state == SYN_SENT:
        c.flags &= CONNECTION_TRANSLATED


cdef inline void track_one(worker *w, uint32_t i) noexcept nogil:
    cdef batch *b = &w.batch
    cdef uint32_t direction = b.entry[i] & 1
    cdef connection *c = &w.table.connections[b.entry[i] >> 1]
    cdef server_count *count = &w.server_counts[c.server]
    cdef uint8_t state = tcp_next[direction][b.event[i]][c.state]
    count.packets[direction] += 1
    count.bytes[direction] += b.pkt[i].pkt_len
    if refreshes(w, c, state, direction):
        c.last_seen = w.now
    if b.tcp[i] & TCP_HAS_ACK:
        c.next_seq[direction ^ 1] = <uint32_t>b.tcp[i]
    if direction == INBOUND:  # the way back is where this came from (DESIGN: next hops)
        store48(c.client_mac, load48(frame_at(b.pkt[i], ETH_SRC)))
        c.client_port = <uint8_t>b.pkt[i].port
    if unlikely(state != c.state) and (b.event[i] != EVENT_RST or is_believed(w, i, c, direction)):
        progress(w, b.entry[i] >> 1, state)


cdef inline void track(worker *w) noexcept nogil:
    cdef uint32_t i
    for i in range(w.batch.n):
        if w.batch.verdict[i] == GO_ON:
            track_one(w, i)
