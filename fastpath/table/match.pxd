"""Whether one end of a connection meets a condition."""

from libc.stdint cimport uint32_t

from fastpath.layout cimport be16, be32, match


cdef inline bint end_matches(const match *m, uint32_t end, be32 address, be16 port) noexcept nogil:
    return m.ends & end and not (address ^ m.address) & m.mask and (m.port == 0 or m.port == port)
