"""rewrite: one translation for both directions: a packet leaves with the reverse of its connection's other flow.

Checksums follow by RFC 1624 from the words that change; the payload is not read (B2). Where a connection is marked, numbers
of the TCP header and its options change too (B43).
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from fastpath.dpdk.eal cimport unlikely
from fastpath.layout cimport GO_ON, SEND, batch, connection, flow, worker
from fastpath.net.checksum cimport difference, update
from fastpath.net.frame cimport frame_at, load16, store16, store32, store64
from fastpath.net.headers cimport (
    ETH_LEN, IPV4_CHECKSUM, IPV4_PROTOCOL, IPV4_SRC, IPV4_TTL, L4_SPORT, PROTO_TCP, TCP_CHECKSUM, UDP_CHECKSUM)
from fastpath.net.ipv4 cimport trim_padding
from fastpath.table.connection cimport flow_addrs, flow_ports
from fastpath.table.next_hop cimport address_frame, hop_port
from fastpath.table.takeover cimport translate_marked

cdef extern from *:
    """
    /* TTL is the low byte of its word in memory (x86-64): one less is -1, 0xfffe in one's complement. */
    enum { ONE_TTL_LESS = 0xfffe };
    """
    enum:
        ONE_TTL_LESS


cdef inline void rewrite_l4(uint8_t *l4, uint8_t protocol, uint32_t ports, uint64_t delta) noexcept nogil:
    cdef uint16_t checksum
    store32(l4 + L4_SPORT, ports)
    if protocol == PROTO_TCP:
        store16(l4 + TCP_CHECKSUM, update(load16(l4 + TCP_CHECKSUM), delta))
    elif load16(l4 + UDP_CHECKSUM) != 0:  # 0: the sender made none (RFC 768, B3)
        checksum = update(load16(l4 + UDP_CHECKSUM), delta)
        store16(l4 + UDP_CHECKSUM, checksum if checksum != 0 else 0xFFFF)


cdef inline void rewrite_one(worker *w, uint32_t i) noexcept nogil:
    cdef batch *b = &w.batch
    cdef connection *c = &w.table.connections[b.entry[i] >> 1]
    cdef const flow *other = &c.flow[b.entry[i] & 1 ^ 1]
    cdef uint64_t addrs = flow_addrs(other)
    cdef uint32_t ports = <uint32_t>flow_ports(other, 0)
    cdef uint64_t addrs_delta = difference(b.addrs[i], addrs)
    cdef uint8_t *eth = frame_at(b.pkt[i], 0)
    cdef uint8_t *ip = eth + ETH_LEN
    cdef uint64_t delta
    trim_padding(b.pkt[i])
    ip[IPV4_TTL] -= 1
    store16(ip + IPV4_CHECKSUM, update(load16(ip + IPV4_CHECKSUM), addrs_delta + ONE_TTL_LESS))
    store64(ip + IPV4_SRC, addrs << 32 | addrs >> 32)
    if b.l4[i] != 0:  # else a later fragment
        delta = addrs_delta + difference(<uint32_t>b.ports[i], ports)
        if unlikely(c.flags):
            delta += translate_marked(c, b.entry[i] & 1, eth + b.l4[i])
        rewrite_l4(eth + b.l4[i], ip[IPV4_PROTOCOL], ports << 16 | ports >> 16, delta)
    b.out[i] = hop_port(b.hop[i])
    address_frame(w, eth, b.hop[i])
    b.verdict[i] = SEND


cdef inline void rewrite(worker *w) noexcept nogil:
    cdef uint32_t i
    for i in range(w.batch.n):
        if w.batch.verdict[i] == GO_ON:
            rewrite_one(w, i)
