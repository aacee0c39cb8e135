"""IPv4 (RFC 791): what is true of a header, apart from any table; and the header of what the director sends itself."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memset

from fastpath.dpdk.mbuf cimport rte_mbuf, rte_pktmbuf_trim
from fastpath.layout cimport be32
from fastpath.net.checksum cimport compute, difference, update
from fastpath.net.frame cimport (
    frame_at, load16, rte_be_to_cpu_16, rte_be_to_cpu_32, rte_cpu_to_be_16, store16, store32)
from fastpath.net.headers cimport (
    ETH_LEN, IPV4_CHECKSUM, IPV4_DST, IPV4_FRAGMENT, IPV4_ID, IPV4_LEN, IPV4_PROTOCOL, IPV4_SRC, IPV4_TOS,
    IPV4_TOTAL_LENGTH, IPV4_TTL, IPV4_VERSION_IHL)

cdef extern from *:
    """enum { OWN_TTL = 64 /* RFC 1700 */, IPV4_NOP = 1 };"""
    enum:
        OWN_TTL, IPV4_NOP


cdef inline void trim_padding(rte_mbuf *m) noexcept nogil:
    """Cut what fills a short Ethernet frame up: the IPv4 total length rules (B6)."""
    cdef uint32_t length = ETH_LEN + rte_be_to_cpu_16(load16(frame_at(m, ETH_LEN + IPV4_TOTAL_LENGTH)))
    if m.data_len > length:
        rte_pktmbuf_trim(m, <uint16_t>(m.data_len - length))


cdef inline void lower_ttl(uint8_t *ip) noexcept nogil:
    """One less (RFC 1812 5.3.1), and the checksum with it."""
    cdef uint16_t old = load16(ip + IPV4_TTL)
    ip[IPV4_TTL] -= 1
    store16(ip + IPV4_CHECKSUM, update(load16(ip + IPV4_CHECKSUM), difference(old, load16(ip + IPV4_TTL))))


cdef inline void blank_uncopied(uint8_t *ip, uint32_t header) noexcept nogil:
    """Options without the copied flag stand in the first fragment only (RFC 791 3.1): here no-operations take their place."""
    cdef uint32_t at = IPV4_LEN
    cdef uint32_t length
    while at < header and ip[at] != 0:
        length = 1 if ip[at] == IPV4_NOP or at + 1 >= header else ip[at + 1]
        if ip[at] != IPV4_NOP and (length < 2 or at + length > header):
            return  # not ours to mend
        if not ip[at] & 0x80:
            memset(ip + at, IPV4_NOP, length)
        at += length


cdef inline bint cannot_be_a_host(be32 addr) noexcept nogil:
    """0/8, 127/8, multicast and 240/4: no packet has these as its source (RFC 1122 3.2.1.3, RFC 6890)."""
    cdef uint8_t first = <uint8_t>(rte_be_to_cpu_32(addr) >> 24)
    return first == 0 or first == 127 or first >= 224


cdef inline void write_ipv4(uint8_t *ip, uint8_t tos, uint32_t length, uint8_t protocol, be32 source,
                            be32 target) noexcept nogil:
    """A header without options; `length` bytes follow it."""
    ip[IPV4_VERSION_IHL] = 0x45
    ip[IPV4_TOS] = tos
    store16(ip + IPV4_TOTAL_LENGTH, rte_cpu_to_be_16(<uint16_t>(IPV4_LEN + length)))
    store16(ip + IPV4_ID, 0)  # atomic datagram: DF set, any id is right (RFC 6864 4.1)
    store16(ip + IPV4_FRAGMENT, rte_cpu_to_be_16(0x4000))
    ip[IPV4_TTL] = OWN_TTL
    ip[IPV4_PROTOCOL] = protocol
    store16(ip + IPV4_CHECKSUM, 0)
    store32(ip + IPV4_SRC, source)
    store32(ip + IPV4_DST, target)
    store16(ip + IPV4_CHECKSUM, compute(ip, IPV4_LEN))
