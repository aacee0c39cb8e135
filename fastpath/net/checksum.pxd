"""The Internet checksum (RFC 1071) and its incremental update (RFC 1624, equation 3).

Sums are of 16-bit words as they stand in memory: one's complement addition does not mind the byte order (RFC 1071 1.2 B).
Naive oracle: tests/fastpath/test_checksum.py.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from fastpath.net.frame cimport load16, load32, rte_be_to_cpu_32, rte_cpu_to_be_32, store32


cdef inline uint16_t fold(uint64_t sum) noexcept nogil:
    """One's complement sum of a value's four 16-bit words; 0 only for 0.

    Adding a value to itself with its halves swapped leaves their end-around sum in the upper half.
    """
    cdef uint32_t half = <uint32_t>((sum + (sum << 32 | sum >> 32)) >> 32)
    return <uint16_t>((half + (half << 16 | half >> 16)) >> 16)


cdef inline uint64_t difference(uint64_t old, uint64_t new) noexcept nogil:
    """~m + m' of RFC 1624 for two 32-bit words at once: what replacing `old` by `new` adds, to be folded by update().

    0xffffffff is zero in one's complement of 16 bits: taking old's words from it is their complement.
    """
    return (new & 0xFFFFFFFFU) + (new >> 32) + 2 * <uint64_t>0xFFFFFFFFU - (old & 0xFFFFFFFFU) - (old >> 32)


cdef inline uint64_t add_to(uint8_t *word, uint32_t amount) noexcept nogil:
    """Add to a 32-bit number in network byte order, at an even distance from what the checksum begins with; the difference."""
    cdef uint32_t old = load32(word)
    cdef uint32_t new = rte_cpu_to_be_32(rte_be_to_cpu_32(old) + amount)
    store32(word, new)
    return difference(old, new)


cdef inline uint16_t update(uint16_t checksum, uint64_t delta) noexcept nogil:
    """HC' = ~(~HC + ~m + m'), `delta` a sum of differences. Never 0xffff for a header that holds a non-zero word."""
    return <uint16_t>~fold(<uint64_t>(<uint16_t>~checksum) + delta)


cdef inline uint16_t compute(const uint8_t *p, uint32_t n) noexcept nogil:
    """Checksum of n bytes: for messages that we write ourselves; forwarded payload is never read."""
    cdef uint64_t sum = 0
    cdef uint32_t i = 0
    while i + 2 <= n:
        sum += load16(p + i)
        i += 2
    if i < n:
        sum += p[i]  # the odd byte, padded with a zero behind it (RFC 1071)
    return <uint16_t>~fold(sum)
