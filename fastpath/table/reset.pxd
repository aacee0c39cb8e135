"""Resetting both ends of a connection whose server was taken away with that wish (B26)."""

from libc.stdint cimport uint32_t, uint64_t

from fastpath.dpdk.mbuf cimport rte_mbuf, rte_pktmbuf_alloc, rte_pktmbuf_append
from fastpath.layout cimport INBOUND, NO_MBUF, OUTBOUND, SAID_RESET, connection, flow, worker
from fastpath.net.ethernet cimport write_ethernet
from fastpath.net.frame cimport frame_at
from fastpath.net.headers cimport PROTO_TCP
from fastpath.net.tcp cimport RESET_LEN, write_reset
from fastpath.table.connection cimport flow_ports
from fastpath.table.next_hop cimport client_hop, hop_port, is_resolved
from fastpath.table.tcp_state cimport STATE_HELD, STATE_RESET, SYN_RECV, SYN_SENT, TIME_WAIT
from fastpath.table.timer cimport change_state, retire
from fastpath.table.tx cimport tx_add


cdef inline void send_reset(worker *w, const connection *c, uint32_t direction, uint64_t hop) noexcept nogil:
    """A RST of this direction, as the far end would send it: its sequence number is what the near end said last that it
    expects, in its own numbers, whatever is translated on the way. One with more data on its way answers with a challenge
    ACK (RFC 5961 3.2), which STATE_RESET answers in turn."""
    cdef const flow *other = &c.flow[direction ^ 1]
    cdef uint32_t ports = <uint32_t>flow_ports(other, 0)
    cdef uint32_t port = hop_port(hop)
    cdef rte_mbuf *m = rte_pktmbuf_alloc(w.pool)
    if m == NULL:
        w.drops[NO_MBUF] += 1
        return
    w.said[SAID_RESET] += 1
    rte_pktmbuf_append(m, RESET_LEN)
    write_ethernet(frame_at(m, 0), hop, w.shared.ports[port].mac)
    write_reset(frame_at(m, 0), other.daddr, other.saddr, ports << 16 | ports >> 16, c.next_seq[direction], 0, 0)
    tx_add(w, port, m)


cdef inline void reset_connection(worker *w, uint32_t index) noexcept nogil:
    """Both ends hear of it, and a TCP entry stays for the short timeout, to answer what is still on its way (schedule). The
    server's next hop may be unknown; before the handshake's last packet nothing is known of what the client expects; and
    before the server's first one there is nobody to tell: the client's next SYN finds another server. Nor is there one after
    both have closed, and a RST into TIME_WAIT does harm (RFC 1337)."""
    cdef connection *c = &w.table.connections[index]
    cdef uint64_t hop = w.shared.servers[c.server].hop
    if c.protocol != PROTO_TCP or c.state in (SYN_SENT, TIME_WAIT, STATE_HELD):
        retire(w, index)
        return
    if is_resolved(hop):
        send_reset(w, c, INBOUND, hop)
    if c.state != SYN_RECV:
        send_reset(w, c, OUTBOUND, client_hop(c))
    c.last_seen = w.now
    change_state(w, index, STATE_RESET)
