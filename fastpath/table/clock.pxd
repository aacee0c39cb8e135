"""The worker's clock: milliseconds since it was laid out, modulo 2^32, from the TSC by one multiplication a turn."""

from libc.stdint cimport uint32_t, uint64_t

from fastpath.layout cimport worker


cdef extern from *:
    """
    static inline uint64_t multiply_high(uint64_t a, uint64_t b) { return (uint64_t)(((unsigned __int128)a * b) >> 64); }
    """
    uint64_t multiply_high(uint64_t a, uint64_t b) noexcept nogil


cdef inline uint32_t clock_ms(const worker *w, uint64_t tsc) noexcept nogil:
    return <uint32_t>multiply_high(tsc - w.tsc_zero, w.ms_per_tick)
