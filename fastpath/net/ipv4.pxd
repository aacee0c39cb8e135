"""IPv4 (RFC 791): what is true of a header, apart from any table."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t

from fastpath.dpdk.mbuf cimport rte_mbuf, rte_pktmbuf_trim
from fastpath.layout cimport be32
from fastpath.net.frame cimport frame_at, load16, rte_be_to_cpu_16, rte_be_to_cpu_32
from fastpath.net.headers cimport ETH_LEN, IPV4_TOTAL_LENGTH


cdef inline void trim_padding(rte_mbuf *m) noexcept nogil:
    """Cut what fills a short Ethernet frame up: the IPv4 total length rules (B6)."""
    cdef uint32_t length = ETH_LEN + rte_be_to_cpu_16(load16(frame_at(m, ETH_LEN + IPV4_TOTAL_LENGTH)))
    if m.data_len > length:
        rte_pktmbuf_trim(m, <uint16_t>(m.data_len - length))


cdef inline bint cannot_be_a_host(be32 addr) noexcept nogil:
    """0/8, 127/8, multicast and 240/4: no packet has these as its source (RFC 1122 3.2.1.3, RFC 6890)."""
    cdef uint8_t first = <uint8_t>(rte_be_to_cpu_32(addr) >> 24)
    return first == 0 or first == 127 or first >= 224
