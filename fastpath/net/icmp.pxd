"""ICMP (RFC 792, RFC 1812): the messages that the director sends itself, each made of the packet at hand, and what an error
quotes, which a translator has to translate (RFC 5508)."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memmove

from fastpath.dpdk.mbuf cimport rte_mbuf, rte_pktmbuf_prepend, rte_pktmbuf_trim
from fastpath.layout cimport be32
from fastpath.net.checksum cimport add_to, compute, difference, update
from fastpath.net.ethernet cimport turn_ethernet
from fastpath.net.frame cimport frame_at, load16, load32, rte_be_to_cpu_16, rte_cpu_to_be_16, store16, store32
from fastpath.net.headers cimport (
    ETH_LEN, ETH_TYPE, ETHERTYPE_IPV4, ICMP_CHECKSUM, ICMP_CODE, ICMP_ECHO_REPLY, ICMP_LEN, ICMP_REST, ICMP_TYPE,
    ICMP_PARAMETER_PROBLEM, ICMP_QUOTED_WORDS, ICMP_TIME_EXCEEDED, ICMP_UNREACHABLE, IPV4_CHECKSUM, IPV4_DST,
    IPV4_FRAGMENT, IPV4_LEN, IPV4_OFFSET_MASK, IPV4_PROTOCOL, IPV4_SRC, IPV4_TOTAL_LENGTH, IPV4_TTL, IPV4_VERSION_IHL,
    L4_SPORT, PROTO_ICMP, PROTO_TCP, PROTO_UDP, TCP_ACK, TCP_CHECKSUM, TCP_SEQ, UDP_CHECKSUM, UDP_LEN)
from fastpath.net.ipv4 cimport OWN_TTL, write_ipv4

cdef extern from *:
    """enum { MAX_ERROR = 576 /* an ICMP error quotes as much as fits in this, RFC 1812 4.3.2.3 */ };"""
    enum:
        MAX_ERROR


cdef inline void turn_packet(rte_mbuf *m, uint64_t mac) noexcept nogil:
    """Back to who sent it, as if it were our own."""
    cdef uint8_t *eth = frame_at(m, 0)
    cdef uint8_t *ip = eth + ETH_LEN
    cdef uint32_t saddr = load32(ip + IPV4_SRC)
    cdef uint16_t ttl = load16(ip + IPV4_TTL)
    store32(ip + IPV4_SRC, load32(ip + IPV4_DST))  # swapping two words leaves the checksum as it was
    store32(ip + IPV4_DST, saddr)
    ip[IPV4_TTL] = OWN_TTL
    store16(ip + IPV4_CHECKSUM, update(load16(ip + IPV4_CHECKSUM), difference(ttl, load16(ip + IPV4_TTL))))
    turn_ethernet(eth, mac)


cdef inline void answer_echo(rte_mbuf *m, uint8_t *icmp, uint32_t length, uint64_t mac) noexcept nogil:
    """Echo request -> echo reply; id, sequence and payload stay (RFC 792). length: of the message, 0: of a first fragment."""
    cdef uint16_t old = load16(icmp + ICMP_TYPE)
    icmp[ICMP_TYPE] = ICMP_ECHO_REPLY
    store16(icmp + ICMP_CHECKSUM, update(load16(icmp + ICMP_CHECKSUM), difference(old, load16(icmp + ICMP_TYPE))))
    if load16(icmp + ICMP_CHECKSUM) == 0:  # right, unless the whole reply is zeros: an update cannot tell
        store16(icmp + ICMP_CHECKSUM, compute(icmp, length) if length else 0xFFFF)  # which any receiver takes for 0, too
    turn_packet(m, mac)


cdef inline bint is_error(const uint8_t *icmp) noexcept nogil:
    return icmp[ICMP_TYPE] in (ICMP_UNREACHABLE, ICMP_TIME_EXCEEDED, ICMP_PARAMETER_PROBLEM)


cdef inline uint32_t quoted_l4(const uint8_t *icmp, uint32_t length) noexcept nogil:
    """Where the L4 header of the packet that an error quotes begins, from the ICMP header on; 0: no TCP or UDP is to be seen.

    length: of the ICMP message. Eight bytes of the quoted L4 header are enough (RFC 792, RFC 5508 section 4).
    """
    cdef const uint8_t *ip = icmp + ICMP_LEN
    cdef uint32_t header
    if not is_error(icmp) or length < ICMP_LEN + IPV4_LEN:
        return 0
    header = (ip[IPV4_VERSION_IHL] & 15) * 4
    if ip[IPV4_VERSION_IHL] >> 4 != 4 or header < IPV4_LEN or length < ICMP_LEN + header + UDP_LEN:
        return 0
    if ip[IPV4_PROTOCOL] not in (PROTO_TCP, PROTO_UDP) or load16(ip + IPV4_FRAGMENT) & rte_cpu_to_be_16(IPV4_OFFSET_MASK):
        return 0
    return ICMP_LEN + header


cdef inline void quoted_flow(const uint8_t *icmp, uint32_t l4, uint64_t *addrs, uint64_t *ports) noexcept nogil:
    """The reverse of the tuple that an ICMP error quotes: what its receiver knows the connection by. l4: of quoted_l4()."""
    cdef const uint8_t *ip = icmp + ICMP_LEN
    cdef uint32_t both = load32(icmp + l4 + L4_SPORT)
    addrs[0] = load32(ip + IPV4_DST) | <uint64_t>load32(ip + IPV4_SRC) << 32
    ports[0] = (both << 16 | both >> 16) | <uint64_t>ip[IPV4_PROTOCOL] << 32


cdef inline uint32_t quoted_end(const uint8_t *icmp, uint32_t length) noexcept nogil:
    """Where the quoted packet ends, from the ICMP header on: extensions may follow it (RFC 4884 section 4)."""
    cdef uint32_t end = ICMP_LEN + 4 * icmp[ICMP_QUOTED_WORDS]
    return end if end > ICMP_LEN and end < length else length


cdef inline void translate_quoted(uint8_t *icmp, uint32_t l4, uint32_t end, uint64_t addrs, uint32_t ports, uint32_t seq,
                                  uint32_t ack) noexcept nogil:
    """What an error quotes becomes what the packet was before it was translated: addrs are source | destination << 32, ports
    sport | dport << 16, sequence and acknowledgement number so much more. Its own checksums follow, as far as they are quoted,
    but not the error's.

    l4, end: of quoted_l4(), quoted_end().
    """
    cdef uint8_t *ip = icmp + ICMP_LEN
    cdef uint8_t *tcp = icmp + l4
    cdef uint64_t old = load32(ip + IPV4_SRC) | <uint64_t>load32(ip + IPV4_DST) << 32
    cdef uint64_t delta = difference(old, addrs)
    cdef uint32_t checksum = UDP_CHECKSUM
    store16(ip + IPV4_CHECKSUM, update(load16(ip + IPV4_CHECKSUM), delta))
    store32(ip + IPV4_SRC, <uint32_t>addrs)
    store32(ip + IPV4_DST, <uint32_t>(addrs >> 32))
    delta += difference(load32(tcp + L4_SPORT), ports)
    store32(tcp + L4_SPORT, ports)
    if ip[IPV4_PROTOCOL] == PROTO_TCP:
        checksum = TCP_CHECKSUM
        delta += add_to(tcp + TCP_SEQ, seq)
        if l4 + TCP_ACK + 4 <= end:
            delta += add_to(tcp + TCP_ACK, ack)
    elif load16(tcp + UDP_CHECKSUM) == 0:
        return
    if l4 + checksum + 2 <= end:
        store16(tcp + checksum, update(load16(tcp + checksum), delta))


cdef inline int answer_error(rte_mbuf *m, uint8_t type, uint8_t code, be32 rest, be32 source,
                             uint64_t mac) noexcept nogil:
    """Wrap the packet at hand into an ICMP error back to its sender; 0, or -1 without headroom (the packet is as it was).
    rest: the header's last four bytes.

    RFC 1812 4.3.2: TOS 0xc0 (precedence 6), a fresh header, the original one quoted behind it.
    """
    cdef uint8_t *eth
    cdef uint8_t *ip
    cdef uint8_t *icmp
    cdef uint32_t quoted = rte_be_to_cpu_16(load16(frame_at(m, ETH_LEN + IPV4_TOTAL_LENGTH)))
    cdef be32 target = load32(frame_at(m, ETH_LEN + IPV4_SRC))
    if rte_pktmbuf_prepend(m, IPV4_LEN + ICMP_LEN) == NULL:
        return -1
    if quoted > MAX_ERROR - IPV4_LEN - ICMP_LEN:
        quoted = MAX_ERROR - IPV4_LEN - ICMP_LEN
    rte_pktmbuf_trim(m, <uint16_t>(m.pkt_len - (ETH_LEN + IPV4_LEN + ICMP_LEN + quoted)))
    eth = frame_at(m, 0)
    memmove(eth, eth + IPV4_LEN + ICMP_LEN, ETH_LEN)
    turn_ethernet(eth, mac)
    store16(eth + ETH_TYPE, rte_cpu_to_be_16(ETHERTYPE_IPV4))
    ip = eth + ETH_LEN
    write_ipv4(ip, 0xC0, ICMP_LEN + quoted, PROTO_ICMP, source, target)
    icmp = ip + IPV4_LEN
    icmp[ICMP_TYPE] = type
    icmp[ICMP_CODE] = code
    store32(icmp + ICMP_REST, rest)
    store16(icmp + ICMP_CHECKSUM, 0)
    store16(icmp + ICMP_CHECKSUM, compute(icmp, ICMP_LEN + quoted))
    return 0
