"""Where a frame goes next, as one word: the MAC address in 48 bits as they stand in memory, the port, flags (layout.h)."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fastpath.layout cimport HOP_RESOLVED, connection, worker
from fastpath.net.frame cimport load48, store32, store64
from fastpath.net.headers cimport ETH_DST

cdef extern from *:
    """#define MAC_MASK 0xffffffffffffULL"""
    uint64_t MAC_MASK


cdef inline uint64_t client_hop(const connection *c) noexcept nogil:
    """Where the client's last packet came from."""
    return load48(c.client_mac) | <uint64_t>c.client_port << 48


cdef inline uint8_t hop_port(uint64_t hop) noexcept nogil:
    return <uint8_t>(hop >> 48)


cdef inline bint is_resolved(uint64_t hop) noexcept nogil:
    """Of a server's: whether its MAC address is known."""
    return hop >> 56 & HOP_RESOLVED


cdef inline void address_frame(const worker *w, uint8_t *eth, uint64_t hop) noexcept nogil:
    """Both MAC addresses, in two stores."""
    cdef uint64_t mac = w.shared.ports[hop_port(hop)].mac
    store64(eth + ETH_DST, hop & MAC_MASK | mac << 48)
    store32(eth + ETH_DST + 8, <uint32_t>(mac >> 16))
