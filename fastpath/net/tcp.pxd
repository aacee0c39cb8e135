"""TCP segments that the director sends itself (RFC 9293): resets."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from fastpath.dpdk.mbuf cimport rte_mbuf, rte_pktmbuf_trim
from fastpath.layout cimport be32
from fastpath.net.checksum cimport compute, fold
from fastpath.net.ethernet cimport write_ethernet
from fastpath.net.frame cimport (
    frame_at, load16, load32, load48, rte_be_to_cpu_16, rte_be_to_cpu_32, rte_cpu_to_be_16, rte_cpu_to_be_32, store16, store32)
from fastpath.net.headers cimport (
    ETH_LEN, ETH_SRC, IPV4_DST, IPV4_LEN, IPV4_SRC, IPV4_TOTAL_LENGTH, L4_SPORT, PROTO_TCP, TCP_ACK, TCP_ACK_FLAG,
    TCP_CHECKSUM, TCP_FLAGS, TCP_LEN, TCP_OFFSET, TCP_RST, TCP_SEQ)
from fastpath.net.ipv4 cimport write_ipv4

cdef extern from *:
    """
    enum { RESET_LEN = 14 + 20 + 20 /* Ethernet, IPv4 and TCP, without options */ };
    #define TCP_HAS_ACK (1ULL << 44) /* in batch.tcp: the ACK flag, bit 4 of the sixth byte */
    #define TCP_HAS_SYN (1ULL << 41)
    """
    enum:
        RESET_LEN
    uint64_t TCP_HAS_ACK, TCP_HAS_SYN


cdef inline uint16_t tcp_checksum(const uint8_t *ip, uint32_t length) noexcept nogil:
    """Of `length` bytes of TCP behind an IPv4 header without options, and the pseudo header (RFC 9293 3.1)."""
    return <uint16_t>~fold(<uint64_t>load32(ip + IPV4_SRC) + load32(ip + IPV4_DST) + rte_cpu_to_be_16(PROTO_TCP)
                           + rte_cpu_to_be_16(<uint16_t>length) + <uint16_t>~compute(ip + IPV4_LEN, length))


cdef inline void write_reset(uint8_t *eth, be32 source, be32 target, uint32_t ports, be32 seq, be32 ack,
                             uint8_t flags) noexcept nogil:
    """<SEQ=seq><ACK=ack><CTL=RST and flags> behind an Ethernet header; ports: both, as they stand in memory."""
    cdef uint8_t *ip = eth + ETH_LEN
    cdef uint8_t *tcp = ip + IPV4_LEN
    write_ipv4(ip, 0, TCP_LEN, PROTO_TCP, source, target)
    memset(tcp, 0, TCP_LEN)
    store32(tcp + L4_SPORT, ports)
    store32(tcp + TCP_SEQ, seq)
    store32(tcp + TCP_ACK, ack)
    tcp[TCP_OFFSET] = TCP_LEN // 4 << 4
    tcp[TCP_FLAGS] = TCP_RST | flags
    store16(tcp + TCP_CHECKSUM, tcp_checksum(ip, TCP_LEN))


cdef inline uint32_t segment_length(const uint8_t *ip, const uint8_t *tcp) noexcept nogil:
    """SEG.LEN: what the segment takes of the sequence space (RFC 9293 3.4). Its headers are whole and consistent."""
    cdef uint32_t header = <uint32_t>(tcp - ip) + (tcp[TCP_OFFSET] >> 4) * 4
    return rte_be_to_cpu_16(load16(ip + IPV4_TOTAL_LENGTH)) - header + (tcp[TCP_FLAGS] >> 1 & 1) + (tcp[TCP_FLAGS] & 1)


cdef inline void answer_segment(rte_mbuf *m, uint32_t l4, uint64_t mac) noexcept nogil:
    """Turn a whole segment, its TCP header at `l4`, into the RST that answers it (RFC 9293 3.10.7.1): addresses and ports
    turned round; SEQ is its acknowledgement, so that its sender takes it for valid (RFC 5961 3.2), or else ACK is its end."""
    cdef uint8_t *eth = frame_at(m, 0)
    cdef const uint8_t *ip = eth + ETH_LEN
    cdef const uint8_t *tcp = eth + l4
    cdef uint32_t ports = load32(tcp + L4_SPORT)
    cdef be32 source = load32(ip + IPV4_DST), target = load32(ip + IPV4_SRC)
    cdef be32 seq = 0, ack = 0
    cdef uint8_t flags = 0
    if tcp[TCP_FLAGS] & TCP_ACK_FLAG:
        seq = load32(tcp + TCP_ACK)
    else:
        ack = rte_cpu_to_be_32(rte_be_to_cpu_32(load32(tcp + TCP_SEQ)) + segment_length(ip, tcp))
        flags = TCP_ACK_FLAG
    rte_pktmbuf_trim(m, <uint16_t>(m.data_len - RESET_LEN))
    write_ethernet(eth, load48(eth + ETH_SRC), mac)
    write_reset(eth, source, target, ports << 16 | ports >> 16, seq, ack, flags)
