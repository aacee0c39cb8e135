"""Bytes of a frame: unaligned reads and writes, byte order, the headers by their RFC offsets."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from fastpath.dpdk.mbuf cimport rte_mbuf
from fastpath.layout cimport be16, be32


cdef extern from "<rte_byteorder.h>" nogil:
    uint16_t rte_be_to_cpu_16(be16 x)
    be16 rte_cpu_to_be_16(uint16_t x)
    uint32_t rte_be_to_cpu_32(be32 x)
    be32 rte_cpu_to_be_32(uint32_t x)


cdef inline uint8_t *frame_at(rte_mbuf *m, uint32_t offset) noexcept nogil:
    return <uint8_t *>m.buf_addr + m.data_off + offset


# memcpy of a constant size is one load or store, whatever the alignment.
cdef inline uint16_t load16(const uint8_t *p) noexcept nogil:
    cdef uint16_t x
    memcpy(&x, p, 2)
    return x


cdef inline uint32_t load32(const uint8_t *p) noexcept nogil:
    cdef uint32_t x
    memcpy(&x, p, 4)
    return x


cdef inline uint64_t load64(const uint8_t *p) noexcept nogil:
    cdef uint64_t x
    memcpy(&x, p, 8)
    return x


cdef inline uint64_t load48(const uint8_t *p) noexcept nogil:
    return load32(p) | <uint64_t>load16(p + 4) << 32


cdef inline void store16(uint8_t *p, uint16_t x) noexcept nogil:
    memcpy(p, &x, 2)


cdef inline void store32(uint8_t *p, uint32_t x) noexcept nogil:
    memcpy(p, &x, 4)


cdef inline void store64(uint8_t *p, uint64_t x) noexcept nogil:
    memcpy(p, &x, 8)


cdef inline void store48(uint8_t *p, uint64_t x) noexcept nogil:
    memcpy(p, &x, 6)
