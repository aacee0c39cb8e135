"""TCP segments that the director sends itself (RFC 9293): resets."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from fastpath.dpdk.mbuf cimport rte_mbuf, rte_pktmbuf_trim
from fastpath.layout cimport be32
from fastpath.net.checksum cimport compute, fold
from fastpath.net.ethernet cimport write_ethernet
from fastpath.net.frame cimport frame_at, load32, load48, rte_cpu_to_be_16, store16, store32
from fastpath.net.headers cimport (
    ETH_LEN, ETH_SRC, IPV4_DST, IPV4_LEN, IPV4_SRC, L4_SPORT, PROTO_TCP, TCP_CHECKSUM, TCP_FLAGS, TCP_LEN, TCP_OFFSET,
    TCP_RST, TCP_SEQ)
from fastpath.net.ipv4 cimport write_ipv4

cdef extern from *:
    """
    enum { RESET_LEN = 14 + 20 + 20 /* Ethernet, IPv4 and TCP, without options */ };
    #define TCP_HAS_ACK (1ULL << 44) /* in batch.tcp: the ACK flag, bit 4 of the sixth byte */
    """
    enum:
        RESET_LEN
    uint64_t TCP_HAS_ACK


cdef inline uint16_t tcp_checksum(const uint8_t *ip, uint32_t length) noexcept nogil:
    """Of `length` bytes of TCP behind an IPv4 header without options, and the pseudo header (RFC 9293 3.1)."""
    return <uint16_t>~fold(<uint64_t>load32(ip + IPV4_SRC) + load32(ip + IPV4_DST) + rte_cpu_to_be_16(PROTO_TCP)
                           + rte_cpu_to_be_16(<uint16_t>length) + <uint16_t>~compute(ip + IPV4_LEN, length))


cdef inline void write_reset(uint8_t *eth, be32 source, be32 target, uint32_t ports, be32 seq) noexcept nogil:
    """<SEQ=seq><CTL=RST> behind an Ethernet header; ports: both, as they stand in memory."""
    cdef uint8_t *ip = eth + ETH_LEN
    cdef uint8_t *tcp = ip + IPV4_LEN
    write_ipv4(ip, 0, TCP_LEN, PROTO_TCP, source, target)
    memset(tcp, 0, TCP_LEN)
    store32(tcp + L4_SPORT, ports)
    store32(tcp + TCP_SEQ, seq)
    tcp[TCP_OFFSET] = TCP_LEN // 4 << 4
    tcp[TCP_FLAGS] = TCP_RST
    store16(tcp + TCP_CHECKSUM, tcp_checksum(ip, TCP_LEN))


cdef inline void answer_segment(rte_mbuf *m, uint64_t addrs, uint32_t ports, be32 ack, uint64_t mac) noexcept nogil:
    """Turn a whole segment with an acknowledgement into the RST that answers it (RFC 9293 3.10.7.1): its addresses and
    ports turned round, SEQ its acknowledgement, so that its sender takes it for valid (RFC 5961 3.2)."""
    cdef uint8_t *eth = frame_at(m, 0)
    rte_pktmbuf_trim(m, <uint16_t>(m.data_len - RESET_LEN))
    write_ethernet(eth, load48(eth + ETH_SRC), mac)
    write_reset(eth, <be32>(addrs >> 32), <be32>addrs, ports << 16 | ports >> 16, ack)
