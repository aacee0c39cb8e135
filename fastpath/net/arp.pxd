"""ARP for IPv4 over Ethernet (RFC 826)."""

from libc.stdint cimport uint8_t, uint64_t

from fastpath.dpdk.mbuf cimport rte_mbuf
from fastpath.net.frame cimport frame_at, load16, load32, load48, rte_cpu_to_be_16, store16, store32, store48
from fastpath.net.headers cimport (
    ARP_HTYPE, ARP_LENGTHS, ARP_OP, ARP_PTYPE, ARP_REPLY, ARP_SHA, ARP_SPA, ARP_THA, ARP_TPA, ETH_DST, ETH_LEN, ETH_SRC,
    ETHERTYPE_IPV4)


cdef inline bint is_ipv4_over_ethernet(const uint8_t *arp) noexcept nogil:
    """Hardware type 1 with 6-byte addresses, protocol IPv4 with 4-byte addresses."""
    return load16(arp + ARP_HTYPE) == rte_cpu_to_be_16(1) and load16(
        arp + ARP_PTYPE) == rte_cpu_to_be_16(ETHERTYPE_IPV4) and load16(arp + ARP_LENGTHS) == rte_cpu_to_be_16(0x0604)


cdef inline void answer_arp(rte_mbuf *m, uint64_t mac) noexcept nogil:
    """Turn a request into its reply: the target address is at `mac`."""
    cdef uint8_t *eth = frame_at(m, 0)
    cdef uint8_t *arp = eth + ETH_LEN
    cdef uint64_t asker = load48(arp + ARP_SHA)
    cdef unsigned int wanted = load32(arp + ARP_TPA)
    store16(arp + ARP_OP, rte_cpu_to_be_16(ARP_REPLY))
    store48(arp + ARP_THA, asker)
    store32(arp + ARP_TPA, load32(arp + ARP_SPA))
    store48(arp + ARP_SHA, mac)
    store32(arp + ARP_SPA, wanted)
    store48(eth + ETH_DST, asker)
    store48(eth + ETH_SRC, mac)
