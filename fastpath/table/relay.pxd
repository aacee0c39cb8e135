"""An ICMP error about a packet of a connection goes on to the end that sent that packet, translated as the packet was
(RFC 5508 section 4, RFC 5597): B31, B32. It makes no state, refreshes none, and is never answered (B34).

From the server's side it comes from the VIP, as LVS has it, whichever router sent it: that one's address may mean nothing where
the client is. From the client's side it comes from the local address: the server has no route to others.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fastpath.layout cimport (
    ICMP_BAD_CHECKSUM, ICMP_NO_CONNECTION, INBOUND, NEXT_HOP_UNRESOLVED, NONE, SAID_RELAYED, SEND, SPOOFED_SOURCE, TTL_EXCEEDED,
    be32, connection, flow, worker)
from fastpath.net.checksum cimport compute, difference, update
from fastpath.net.frame cimport frame_at, load16, load32, store16, store64
from fastpath.net.headers cimport ETH_LEN, ICMP_CHECKSUM, IPV4_CHECKSUM, IPV4_DST, IPV4_SRC, IPV4_TTL
from fastpath.net.icmp cimport quoted_end, translate_quoted
from fastpath.net.ipv4 cimport lower_ttl, trim_padding
from fastpath.table.batch cimport drop
from fastpath.table.connection cimport find, flow_addrs, flow_ports
from fastpath.table.next_hop cimport address_frame, client_hop, hop_port, is_resolved
from fastpath.table.service cimport is_no_client
from fastpath.table.tcp_state cimport STATE_HELD

cdef extern from *:
    """
    static inline uint8_t __pyx_f_8fastpath_5table_5relay_relay_error(struct worker *, uint32_t, uint8_t *, uint32_t, uint32_t,
                                                                      uint64_t, uint64_t, uint64_t) APART;
    """


cdef inline void translate_error(const connection *c, uint32_t direction, uint8_t *ip, uint8_t *icmp, uint32_t l4,
                                 uint32_t length) noexcept nogil:
    """direction: of the error. What it quotes went the other way, and was what that flow's sender made of it."""
    cdef const flow *other = &c.flow[direction ^ 1]
    cdef uint64_t addrs = flow_addrs(other)
    cdef uint64_t outer = addrs << 32 | addrs >> 32
    cdef uint64_t old = load32(ip + IPV4_SRC) | <uint64_t>load32(ip + IPV4_DST) << 32
    translate_quoted(icmp, l4, quoted_end(icmp, length), addrs, <uint32_t>flow_ports(other, 0),
                     0 - c.seq_delta[direction ^ 1], c.seq_delta[direction])
    store16(icmp + ICMP_CHECKSUM, 0)
    store16(icmp + ICMP_CHECKSUM, compute(icmp, length))
    lower_ttl(ip)
    store16(ip + IPV4_CHECKSUM, update(load16(ip + IPV4_CHECKSUM), difference(old, outer)))
    store64(ip + IPV4_SRC, outer)


cdef inline uint8_t relay_error(worker *w, uint32_t i, uint8_t *icmp, uint32_t l4, uint32_t length, uint64_t addrs,
                                uint64_t ports, uint64_t hash) noexcept nogil:
    """Packet i, an ICMP error of `length` bytes; l4, addrs and ports are quoted_l4()'s and quoted_flow()'s, hash theirs."""
    cdef uint8_t *ip = frame_at(w.batch.pkt[i], ETH_LEN)
    cdef uint32_t entry = find(&w.table, addrs, ports, hash)
    cdef const connection *c = &w.table.connections[entry >> 1]
    cdef uint64_t hop
    if entry == NONE or c.state <= STATE_HELD or load32(ip + IPV4_DST) != <be32>(addrs >> 32):
        return drop(&w.batch, i, ICMP_NO_CONNECTION)
    if compute(icmp, length) != 0:  # what it quotes is changed below: the error must be whole, not made whole
        return drop(&w.batch, i, ICMP_BAD_CHECKSUM)
    if is_no_client(w.shared.map, load32(ip + IPV4_SRC)):
        return drop(&w.batch, i, SPOOFED_SOURCE)
    if ip[IPV4_TTL] <= 1:
        return drop(&w.batch, i, TTL_EXCEEDED)
    hop = w.shared.servers[c.server].hop if entry & 1 == INBOUND else client_hop(c)
    if entry & 1 == INBOUND and not is_resolved(hop):
        return drop(&w.batch, i, NEXT_HOP_UNRESOLVED)
    trim_padding(w.batch.pkt[i])
    translate_error(c, entry & 1, ip, icmp, l4, length)
    address_frame(w, ip - ETH_LEN, hop)
    w.said[SAID_RELAYED] += 1
    w.batch.out[i] = hop_port(hop)
    return SEND
