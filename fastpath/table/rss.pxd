"""To which queue a card with receive side scaling gives a tuple: the Toeplitz hash over the addresses and ports as they
stand in the packet, whose low bits choose an entry of the redirection table (RETA).

The hash is linear over XOR: each byte of the tuple contributes by itself, so it is one table look-up a byte (12 KB, in
the second cache), and a tuple of which only the local port changes costs two.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from fastpath.layout cimport RSS_BYTES, be16, be32, rss


cdef extern from *:
    enum:
        RSS_KEY_BYTES "(RSS_BYTES + 4)"  # of the key; a card's has 40 or 52, the rest is for IPv6
    int __builtin_ctz(unsigned int x) nogil


cdef inline void rss_fill(rss *r, const uint8_t *key, const uint8_t *reta, uint32_t reta_size) noexcept nogil:
    """From a key of RSS_KEY_BYTES or more, and a RETA whose size is a power of two up to MAX_RETA."""
    cdef uint32_t i, value
    cdef uint64_t window
    for i in range(RSS_BYTES):
        # Bit k of this byte, from the left, adds the 32 bits of the key that begin at bit 8 * i + k.
        window = <uint64_t>key[i] << 32 | <uint64_t>key[i + 1] << 24 | <uint64_t>key[i + 2] << 16 \
            | <uint64_t>key[i + 3] << 8 | key[i + 4]
        r.table[i][0] = 0
        for value in range(1, 256):
            r.table[i][value] = r.table[i][value & (value - 1)] ^ <uint32_t>(window >> (1 + __builtin_ctz(value)))
    r.mask = reta_size - 1
    memcpy(r.reta, reta, reta_size)


cdef inline uint32_t bytes2(const rss *r, uint32_t i, uint32_t value) noexcept nogil:
    """What two bytes of the tuple from byte i on contribute: a port, or half of an address."""
    return r.table[i][value & 0xFF] ^ r.table[i + 1][value >> 8 & 0xFF]


cdef inline uint32_t rss_partial(const rss *r, be32 saddr, be16 sport) noexcept nogil:
    """The hash of a tuple without destination."""
    return bytes2(r, 0, saddr) ^ bytes2(r, 2, saddr >> 16) ^ bytes2(r, 8, sport)


cdef inline uint32_t rss_with_address(const rss *r, uint32_t hash, be32 daddr) noexcept nogil:
    """... with this destination address, where none was."""
    return hash ^ bytes2(r, 4, daddr) ^ bytes2(r, 6, daddr >> 16)


cdef inline uint32_t rss_with_port(const rss *r, uint32_t hash, be16 dport) noexcept nogil:
    """... with this destination port, where none was."""
    return hash ^ bytes2(r, 10, dport)


cdef inline uint32_t rss_hash(const rss *r, uint64_t addrs, uint64_t ports) noexcept nogil:
    """`addrs` and `ports` as in struct batch; whatever stands above the ports does not count."""
    return rss_with_port(r, rss_with_address(r, rss_partial(r, <be32>addrs, <be16>ports), <be32>(addrs >> 32)),
                         <be16>(ports >> 16))


cdef inline uint32_t queue_of(const rss *r, uint32_t hash) noexcept nogil:
    return r.reta[hash & r.mask]


cdef inline uint32_t rss_queue(const rss *r, uint64_t addrs, uint64_t ports) noexcept nogil:
    return queue_of(r, rss_hash(r, addrs, ports))


cdef inline bint rss_equal(const rss *a, const rss *b) noexcept nogil:
    """Whether two give every tuple to the same queue: the same key, and the smaller RETA repeated is the larger one."""
    cdef uint32_t i
    if memcmp(a.table, b.table, sizeof(a.table)) != 0:
        return False
    for i in range(max(a.mask, b.mask) + 1):
        if a.reta[i & a.mask] != b.reta[i & b.mask]:
            return False
    return True
