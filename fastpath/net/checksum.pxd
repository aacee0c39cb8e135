"""The Internet checksum (RFC 1071) and its incremental update (RFC 1624, equation 3).

Sums are of 16-bit words as they stand in memory: one's complement addition does not mind the byte order (RFC 1071 1.2 B).
Naive oracle: tests/fastpath/test_checksum.py.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from fastpath.net.frame cimport load16


cdef inline uint16_t fold(uint64_t sum) noexcept nogil:
    """One's complement sum in 16 bits of a sum of 16- or 32-bit words; not 0 unless every word was."""
    sum = (sum & 0xFFFFFFFFU) + (sum >> 32)
    sum = (sum & 0xFFFF) + (sum >> 16)
    sum = (sum & 0xFFFF) + (sum >> 16)
    sum = (sum & 0xFFFF) + (sum >> 16)
    return <uint16_t>sum


cdef inline uint64_t difference(uint64_t old, uint64_t new) noexcept nogil:
    """~m + m' of RFC 1624 for two sums of 16- or 32-bit words: what replacing one by the other adds."""
    return <uint64_t>(<uint16_t>~fold(old)) + fold(new)


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
