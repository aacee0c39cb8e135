"""Keyed 64-bit hash of a tuple: one 64 x 64 -> 128 bit multiplication, folded, then mixed once more.

CRC32 would be as fast, but it is linear: whoever finds one collision has them for every key. Keys are drawn at start.
"""

from libc.stdint cimport uint32_t, uint64_t


cdef extern from *:
    """
    static inline uint64_t jupiter_fold_multiply(uint64_t a, uint64_t b) {
        unsigned __int128 m = (unsigned __int128)a * b;
        return (uint64_t)m ^ (uint64_t)(m >> 64);
    }
    """
    uint64_t jupiter_fold_multiply(uint64_t a, uint64_t b) noexcept nogil


cdef inline uint64_t hash2(uint64_t a, uint64_t b, uint64_t key0, uint64_t key1) noexcept nogil:
    # An odd constant of full length (2^64 / golden ratio): the second product spreads the low bits of the first.
    cdef uint64_t golden = 0x9E3779B97F4A7C15U
    return jupiter_fold_multiply(jupiter_fold_multiply(a ^ key0, b ^ key1), golden)


cdef inline uint32_t scale(uint64_t x32, uint32_t n) noexcept nogil:
    """Map 32 random bits to [0, n) by multiplication instead of division."""
    return <uint32_t>((x32 * n) >> 32)
