"""The Ethernet header (IEEE 802.3) of what the director sends itself. MAC addresses: 48 bits, as they stand in memory."""

from libc.stdint cimport uint8_t, uint64_t

from fastpath.net.frame cimport load48, rte_cpu_to_be_16, store16, store48
from fastpath.net.headers cimport ETH_DST, ETH_SRC, ETH_TYPE, ETHERTYPE_IPV4


cdef inline void turn_ethernet(uint8_t *eth, uint64_t mac) noexcept nogil:
    """Back to who sent the frame."""
    store48(eth + ETH_DST, load48(eth + ETH_SRC))
    store48(eth + ETH_SRC, mac)


cdef inline void write_ethernet(uint8_t *eth, uint64_t target, uint64_t source) noexcept nogil:
    """An IPv4 packet's."""
    store48(eth + ETH_DST, target)
    store48(eth + ETH_SRC, source)
    store16(eth + ETH_TYPE, rte_cpu_to_be_16(ETHERTYPE_IPV4))
