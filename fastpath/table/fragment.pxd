"""What becomes of a fragment for a virtual or local address (B35): at its home (table/gather.pxd) it waits, or goes to
the owner of the connection, with a note of the ports; there it gets its columns like any other packet. Of a later
fragment the payload is never taken for an L4 header: batch.l4 is 0.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from fastpath.dpdk.eal cimport rte_prefetch0
from fastpath.dpdk.mbuf cimport rte_mbuf, rte_pktmbuf_free
from fastpath.layout cimport (
    DATAGRAM_CONDEMNED, DATAGRAM_ECHO, DATAGRAM_KNOWN, DATAGRAM_WAITS, FRAGMENT_FULL, FRAGMENT_MALFORMED,
    FRAGMENT_OVERLAP, GO_ON, GONE, HAND, HANDOVER_FULL, ICMP_NOT_HANDLED, PARK, PROTOCOL_NOT_SERVED, SAID_ECHO,
    SPOOFED_SOURCE, batch, datagram, worker)
from fastpath.net.frame cimport frame_at, load16, load32, load64, rte_be_to_cpu_16, rte_cpu_to_be_16
from fastpath.net.headers cimport (
    ETH_LEN, ICMP_ECHO, ICMP_LEN, ICMP_TYPE, IPV4_FRAGMENT, IPV4_ID, IPV4_MORE, IPV4_OFFSET_MASK, IPV4_PROTOCOL, IPV4_SRC,
    L4_SPORT, PROTO_ICMP, PROTO_TCP, PROTO_UDP, TCP_ACK, TCP_LEN, TCP_OFFSET, UDP_LEN)
from fastpath.net.icmp cimport answer_echo, turn_packet
from fastpath.net.ipv4 cimport trim_padding
from fastpath.table.batch cimport count_drop, drop, send_back
from fastpath.table.connection cimport home_of, tuple_hash
from fastpath.table.gather cimport (
    ALL_THERE, NOTHING_THERE, condemn, datagram_of, hold, next_waiting, receive_again, rename, take_place)
from fastpath.table.note cimport NOTE_PORTS, hand_noted, note_says, write_note
from fastpath.table.owner cimport fragment_home, owner_of
from fastpath.table.service cimport is_no_client
from fastpath.table.tcp_state cimport EVENT_ACK, tcp_event
from fastpath.table.tx cimport tx_add
from fastpath.table.watch cimport observe_drop

cdef extern from *:
    """
    static inline uint8_t __pyx_f_8fastpath_5table_8fragment_classify_fragment(struct worker *, uint32_t, uint8_t *, uint32_t,
                                                                               uint32_t) APART;
    """


cdef inline uint32_t l4_needed(uint8_t protocol) noexcept nogil:
    """Bytes of the L4 header that the first fragment must have; 0: not a protocol that we serve."""
    if protocol == PROTO_TCP:
        return TCP_LEN
    return UDP_LEN if protocol == PROTO_UDP else ICMP_LEN if protocol == PROTO_ICMP else 0


cdef inline bint is_malformed(const uint8_t *ip, uint32_t header, uint32_t length) noexcept nogil:
    """Whether no host sends such a fragment: `length` bytes behind `header`. RFC 791 3.2; RFC 1858, RFC 3128: one that is too
    small to hold the header that decides, or overwrites it, is an attack."""
    cdef uint32_t place = rte_be_to_cpu_16(load16(ip + IPV4_FRAGMENT))
    cdef uint32_t offset = (place & IPV4_OFFSET_MASK) * 8
    cdef uint32_t needed = l4_needed(ip[IPV4_PROTOCOL]), l4_length
    if length == 0 or (place & IPV4_MORE and length & 7) or header + offset + length > 0xFFFF:
        return True
    if offset:
        return offset < needed
    if length < needed:
        return True
    if ip[IPV4_PROTOCOL] != PROTO_TCP:
        return False
    l4_length = ((ip + header)[TCP_OFFSET] >> 4) * 4
    return l4_length < TCP_LEN or l4_length > length


cdef inline uint8_t classify_known(worker *w, uint32_t i, const uint8_t *ip, uint32_t header, uint32_t ports) noexcept nogil:
    """The columns of a fragment at the owner of its connection."""
    cdef batch *b = &w.batch
    b.addrs[i] = load64(ip + IPV4_SRC)
    b.ports[i] = ports | <uint64_t>ip[IPV4_PROTOCOL] << 32
    b.hash[i] = tuple_hash(&w.table, b.addrs[i], b.ports[i])
    b.tcp[i] = 0
    b.event[i] = EVENT_ACK
    b.l4[i] = 0
    if not load16(ip + IPV4_FRAGMENT) & rte_cpu_to_be_16(IPV4_OFFSET_MASK):
        b.l4[i] = <uint16_t>(ETH_LEN + header)
        if ip[IPV4_PROTOCOL] == PROTO_TCP:
            b.tcp[i] = load64(ip + header + TCP_ACK)
            b.event[i] = tcp_event(<uint8_t>(b.tcp[i] >> 40))
    rte_prefetch0(&w.table.buckets[home_of(&w.table, b.hash[i])])
    return GO_ON


cdef inline uint32_t owner_of_ports(const worker *w, uint64_t addrs, uint64_t ports) noexcept nogil:
    cdef uint8_t direction
    return owner_of(w.shared, addrs, ports, tuple_hash(&w.table, addrs, ports), &direction)


cdef inline void release(worker *w, datagram *d, uint32_t owner) noexcept nogil:
    """The ports are known: what waited for them goes to the owner, behind the first fragment."""
    cdef rte_mbuf *m = next_waiting(w, d)
    while m != NULL:
        rename(d, frame_at(m, ETH_LEN))
        if owner == w.id:
            write_note(w, m, NOTE_PORTS, d.ports)
            receive_again(w, m)
        elif not hand_noted(w, m, owner, NOTE_PORTS, d.ports):
            observe_drop(w, m, False, HANDOVER_FULL)
            count_drop(w, m.port, HANDOVER_FULL)
            rte_pktmbuf_free(m)
        m = next_waiting(w, d)


cdef inline uint8_t gather_l4(worker *w, uint32_t i, datagram *d, uint8_t *ip, uint32_t header, bint first) noexcept nogil:
    """A TCP or UDP fragment at its home: to the owner, or to wait."""
    cdef batch *b = &w.batch
    cdef uint32_t owner
    if first:
        d.ports = load32(ip + header + L4_SPORT)
        d.state = DATAGRAM_KNOWN
    elif d.state == DATAGRAM_WAITS:
        return PARK if hold(w, d, b.pkt[i]) else drop(b, i, FRAGMENT_FULL)
    owner = owner_of_ports(w, d.addrs, d.ports | <uint64_t>d.protocol << 32)
    rename(d, ip)
    if owner == w.id:
        if first:
            release(w, d, owner)
        else:
            write_note(w, b.pkt[i], NOTE_PORTS, d.ports)  # in case that it has to wait for a next hop
        return classify_known(w, i, ip, header, d.ports)
    if not hand_noted(w, b.pkt[i], owner, NOTE_PORTS, d.ports):
        return drop(b, i, HANDOVER_FULL)
    if first:
        release(w, d, owner)
    return GONE


cdef inline uint8_t gather_echo(worker *w, uint32_t i, datagram *d, uint8_t *ip, uint32_t header, bint first) noexcept nogil:
    """A fragment of an ICMP message at its home. Of an echo request each one is answered by itself: the reply's checksum
    follows from the type alone (B30)."""
    cdef batch *b = &w.batch
    cdef uint64_t mac = w.shared.ports[b.pkt[i].port].mac
    cdef rte_mbuf *m
    if first:
        if load16(ip + header + ICMP_TYPE) != rte_cpu_to_be_16(ICMP_ECHO << 8):
            condemn(w, d, ICMP_NOT_HANDLED)
            return drop(b, i, ICMP_NOT_HANDLED)
        d.state = DATAGRAM_ECHO
        w.said[SAID_ECHO] += 1
    elif d.state == DATAGRAM_WAITS:
        return PARK if hold(w, d, b.pkt[i]) else drop(b, i, FRAGMENT_FULL)
    trim_padding(b.pkt[i])
    if first:
        answer_echo(b.pkt[i], ip + header, 0, mac)
        m = next_waiting(w, d)
        while m != NULL:
            trim_padding(m)
            turn_packet(m, w.shared.ports[m.port].mac)
            tx_add(w, m.port, m)
            m = next_waiting(w, d)
    else:
        turn_packet(b.pkt[i], mac)
    return send_back(b, i)


cdef inline uint8_t gather_fragment(worker *w, uint32_t i, uint8_t *ip, uint32_t header, uint32_t length) noexcept nogil:
    """A fragment at its home."""
    cdef batch *b = &w.batch
    cdef uint32_t offset = rte_be_to_cpu_16(load16(ip + IPV4_FRAGMENT)) & IPV4_OFFSET_MASK
    cdef uint32_t there
    cdef datagram *d
    if l4_needed(ip[IPV4_PROTOCOL]) == 0:
        return drop(b, i, PROTOCOL_NOT_SERVED)
    if is_malformed(ip, header, length):
        return drop(b, i, FRAGMENT_MALFORMED)
    if is_no_client(w.shared.map, load32(ip + IPV4_SRC)):
        return drop(b, i, SPOOFED_SOURCE)
    d = datagram_of(w, ip)
    if d.state == DATAGRAM_CONDEMNED:
        return drop(b, i, FRAGMENT_OVERLAP)
    there = take_place(d, offset, offset + ((length + 7) >> 3))
    if there != NOTHING_THERE:
        if there != ALL_THERE:
            condemn(w, d, FRAGMENT_OVERLAP)
        return drop(b, i, FRAGMENT_OVERLAP)
    if ip[IPV4_PROTOCOL] == PROTO_ICMP:
        return gather_echo(w, i, d, ip, header, offset == 0)
    return gather_l4(w, i, d, ip, header, offset == 0)


cdef inline uint8_t classify_fragment(worker *w, uint32_t i, uint8_t *ip, uint32_t header, uint32_t length) noexcept nogil:
    """`length` bytes behind the IPv4 header. What has a note, or was parked, has been at its home."""
    cdef batch *b = &w.batch
    if b.noted >> i & 1 or i < b.n_parked:
        return classify_known(w, i, ip, header, load32(ip + header + L4_SPORT) if not load16(
            ip + IPV4_FRAGMENT) & rte_cpu_to_be_16(IPV4_OFFSET_MASK) else <uint32_t>note_says(w, i))
    b.entry[i] = fragment_home(w.shared, load64(ip + IPV4_SRC), load16(ip + IPV4_ID), ip[IPV4_PROTOCOL],
                               w.table.hash_key[0], w.table.hash_key[1])
    if b.fresh and b.entry[i] != w.id:
        return HAND
    return gather_fragment(w, i, ip, header, length)
