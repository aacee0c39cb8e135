"""classify: bytes -> tuple and hash, or a verdict at once. Everything is checked against the frame's own length here;
later stages read only what this one has found to be there (B6, B7, B8). What another worker owns goes there (B21), unless
its port says that it brings packets to their owners: then schedule looks, when no connection is found."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from fastpath.dpdk.eal cimport rte_prefetch0, unlikely
from fastpath.dpdk.mbuf cimport RTE_MBUF_F_RX_IP_CKSUM_BAD, RTE_MBUF_F_RX_IP_CKSUM_MASK, rte_mbuf
from fastpath.layout cimport (
    ADDRESS_FREE, ARP_TRUNCATED, BRINGS_ALL, FRAME_SEGMENTED, FRAME_TRUNCATED, GO_ON, HAND,
    ICMP_NOT_HANDLED, ICMP_TRUNCATED, IPV4_BAD_CHECKSUM, IPV4_BAD_IHL, IPV4_BAD_LENGTH, IPV4_BAD_VERSION,
    IPV4_TRUNCATED, NOT_FOR_US, PROTOCOL_NOT_SERVED, PUNT, SAID_ECHO, SPOOFED_SOURCE, TCP_BAD_OFFSET, TCP_TRUNCATED,
    UDP_BAD_LENGTH, UDP_TRUNCATED, batch, worker)
from fastpath.net.arp cimport answer_arp, is_ipv4_over_ethernet
from fastpath.net.frame cimport frame_at, load16, load32, load48, load64, rte_be_to_cpu_16, rte_cpu_to_be_16
from fastpath.net.ipv4 cimport trim_padding
from fastpath.net.headers cimport (
    ARP_LEN, ARP_OP, ARP_REQUEST, ARP_TPA, ETH_DST, ETH_LEN, ETH_TYPE, ETHERTYPE_ARP,
    ETHERTYPE_IPV4, ICMP_ECHO, ICMP_LEN, ICMP_TYPE, IPV4_DST, IPV4_FRAGMENT, IPV4_FRAGMENT_MASK, IPV4_LEN,
    IPV4_PROTOCOL, IPV4_SRC, IPV4_TOTAL_LENGTH, IPV4_VERSION_IHL, L4_SPORT, PROTO_ICMP, PROTO_TCP,
    PROTO_UDP, TCP_ACK, TCP_LEN, UDP_LEN, UDP_LENGTH)
from fastpath.net.icmp cimport answer_echo, quoted_flow, quoted_l4
from fastpath.table.batch cimport drop, send_back
from fastpath.table.connection cimport home_of, tuple_hash
from fastpath.table.fragment cimport classify_fragment
from fastpath.table.hand_ring cimport give
from fastpath.table.owner cimport is_anothers
from fastpath.table.relay cimport relay_error
from fastpath.table.service cimport address_kind, is_no_client
from fastpath.table.tcp_state cimport EVENT_ACK, tcp_event

cdef extern from *:
    """
    static inline uint8_t __pyx_f_8fastpath_5stage_8classify_classify_arp(struct worker *, uint32_t, uint8_t *, uint32_t) APART;
    static inline uint8_t __pyx_f_8fastpath_5stage_8classify_classify_other(struct worker *, uint32_t, uint8_t *, uint32_t,
                                                                            uint32_t) APART;
    """


cdef inline uint8_t classify_arp(worker *w, uint32_t i, uint8_t *eth, uint32_t length) noexcept nogil:
    """Requests for virtual and local addresses are ours to answer (B40); the rest is the kernel's."""
    cdef uint8_t *arp = eth + ETH_LEN
    cdef uint64_t mac = w.shared.ports[w.batch.pkt[i].port].mac
    if length < ETH_LEN + ARP_LEN or not is_ipv4_over_ethernet(arp):
        return drop(&w.batch, i, ARP_TRUNCATED)
    if load16(arp + ARP_OP) != rte_cpu_to_be_16(ARP_REQUEST) or address_kind(
            w.shared.map, load32(arp + ARP_TPA)) == ADDRESS_FREE:
        return PUNT
    answer_arp(w.batch.pkt[i], mac)
    return send_back(&w.batch, i)


cdef inline uint8_t classify_error(worker *w, uint32_t i, uint8_t *icmp, uint32_t length) noexcept nogil:
    """ICMP other than echo. An error quotes a packet that we have sent; its connection is known by the reverse of that one's
    tuple, and is its owner's to look up."""
    cdef uint64_t addrs, ports, hash
    cdef uint32_t l4 = quoted_l4(icmp, length)
    if l4 == 0:
        return drop(&w.batch, i, ICMP_NOT_HANDLED)
    quoted_flow(icmp, l4, &addrs, &ports)
    hash = tuple_hash(&w.table, addrs, ports)
    if is_anothers(w, i, addrs, ports, hash, 0):
        return HAND
    return relay_error(w, i, icmp, l4, length, addrs, ports, hash)


cdef inline uint8_t classify_icmp(worker *w, uint32_t i, uint8_t *ip, uint8_t *icmp, uint32_t length) noexcept nogil:
    """To a virtual or local address: echo is answered (B30), unless the answer could reach nobody (B10)."""
    if length < ICMP_LEN:
        return drop(&w.batch, i, ICMP_TRUNCATED)
    if load16(icmp + ICMP_TYPE) != rte_cpu_to_be_16(ICMP_ECHO << 8):
        return classify_error(w, i, icmp, length)
    if is_no_client(w.shared.map, load32(ip + IPV4_SRC)):
        return drop(&w.batch, i, SPOOFED_SOURCE)
    w.said[SAID_ECHO] += 1
    trim_padding(w.batch.pkt[i])
    answer_echo(w.batch.pkt[i], icmp, length, w.shared.ports[w.batch.pkt[i].port].mac)
    return send_back(&w.batch, i)


cdef inline uint8_t classify_other(worker *w, uint32_t i, uint8_t *ip, uint32_t header, uint32_t total) noexcept nogil:
    """IPv4 that is not a whole TCP or UDP packet: ours by its address, or the kernel's."""
    if address_kind(w.shared.map, load32(ip + IPV4_DST)) == ADDRESS_FREE:
        return PUNT
    if load16(ip + IPV4_FRAGMENT) & rte_cpu_to_be_16(IPV4_FRAGMENT_MASK):
        return classify_fragment(w, i, ip, header, total - header)
    if ip[IPV4_PROTOCOL] == PROTO_ICMP:
        return classify_icmp(w, i, ip, ip + header, total - header)
    return drop(&w.batch, i, PROTOCOL_NOT_SERVED)


cdef inline uint8_t classify_l4(worker *w, uint32_t i, uint8_t *ip, uint32_t header, uint32_t length) noexcept nogil:
    """A whole TCP or UDP packet with `length` bytes behind the IPv4 header: its columns."""
    cdef batch *b = &w.batch
    cdef uint8_t *l4 = ip + header
    cdef uint32_t offset
    if ip[IPV4_PROTOCOL] == PROTO_TCP:
        if length < TCP_LEN:
            return drop(b, i, TCP_TRUNCATED)
        b.tcp[i] = load64(l4 + TCP_ACK)
        offset = <uint32_t>(b.tcp[i] >> 36 & 15) * 4
        if offset < TCP_LEN or offset > length:
            return drop(b, i, TCP_BAD_OFFSET)
        b.event[i] = tcp_event(<uint8_t>(b.tcp[i] >> 40))
    else:
        if length < UDP_LEN:
            return drop(b, i, UDP_TRUNCATED)
        if rte_be_to_cpu_16(load16(l4 + UDP_LENGTH)) != length:
            return drop(b, i, UDP_BAD_LENGTH)
        b.tcp[i] = 0
        b.event[i] = EVENT_ACK  # changes no state
    b.l4[i] = <uint16_t>(ETH_LEN + header)
    b.addrs[i] = load64(ip + IPV4_SRC)
    b.ports[i] = load32(l4 + L4_SPORT) | <uint64_t>ip[IPV4_PROTOCOL] << 32
    b.hash[i] = tuple_hash(&w.table, b.addrs[i], b.ports[i])
    if unlikely(b.brings != BRINGS_ALL) and is_anothers(w, i, b.addrs[i], b.ports[i], b.hash[i], b.brings):
        return HAND
    rte_prefetch0(&w.table.buckets[home_of(&w.table, b.hash[i])])
    return GO_ON


cdef inline uint8_t classify_ipv4(worker *w, uint32_t i, uint8_t *eth, uint32_t length) noexcept nogil:
    cdef batch *b = &w.batch
    cdef uint8_t *ip = eth + ETH_LEN
    cdef uint32_t header, total
    if length < ETH_LEN + IPV4_LEN:
        return drop(b, i, IPV4_TRUNCATED)
    header = (ip[IPV4_VERSION_IHL] & 15) * 4
    if ip[IPV4_VERSION_IHL] != 0x45:  # no options: nearly always
        if ip[IPV4_VERSION_IHL] >> 4 != 4:
            return drop(b, i, IPV4_BAD_VERSION)
        if header < IPV4_LEN:
            return drop(b, i, IPV4_BAD_IHL)
    total = rte_be_to_cpu_16(load16(ip + IPV4_TOTAL_LENGTH))
    if total < header or total > length - ETH_LEN:
        return drop(b, i, IPV4_BAD_LENGTH)
    if b.pkt[i].ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK == RTE_MBUF_F_RX_IP_CKSUM_BAD:
        return drop(b, i, IPV4_BAD_CHECKSUM)
    if (ip[IPV4_PROTOCOL] != PROTO_TCP and ip[IPV4_PROTOCOL] != PROTO_UDP) or load16(
            ip + IPV4_FRAGMENT) & rte_cpu_to_be_16(IPV4_FRAGMENT_MASK):
        return classify_other(w, i, ip, header, total)
    return classify_l4(w, i, ip, header, total - header)


cdef inline uint8_t classify_one(worker *w, uint32_t i) noexcept nogil:
    cdef batch *b = &w.batch
    cdef rte_mbuf *m = b.pkt[i]
    cdef uint8_t *eth = frame_at(m, 0)
    cdef uint32_t length = m.data_len
    cdef uint16_t ethertype
    if m.nb_segs != 1:
        return drop(b, i, FRAME_SEGMENTED)
    if length < ETH_LEN:
        return drop(b, i, FRAME_TRUNCATED)
    ethertype = load16(eth + ETH_TYPE)
    if load48(eth + ETH_DST) == w.shared.ports[m.port].mac:
        if ethertype == rte_cpu_to_be_16(ETHERTYPE_IPV4):
            return classify_ipv4(w, i, eth, length)
    elif not eth[ETH_DST] & 1:
        return drop(b, i, NOT_FOR_US)
    if ethertype == rte_cpu_to_be_16(ETHERTYPE_ARP):
        return classify_arp(w, i, eth, length)
    return PUNT


cdef inline void classify(worker *w) noexcept nogil:
    """What another worker owns leaves the batch here: whose a packet is cannot be foretold, and each stage that met such a
    gap would pay for a branch that was predicted wrong."""
    cdef batch *b = &w.batch
    cdef uint32_t i, kept = 0
    cdef uint8_t verdict
    for i in range(b.n):
        b.pkt[kept] = b.pkt[i]
        verdict = classify_one(w, kept)
        if unlikely(verdict == HAND):
            verdict = give(w, kept)
            if verdict == HAND:
                continue
        b.verdict[kept] = verdict
        kept += 1
    b.n = kept
