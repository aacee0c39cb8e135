"""Which worker owns a tuple: one pure function, the same for the port allocator, dispatch and tests."""

from libc.stdint cimport uint32_t, uint64_t


cdef inline uint32_t owner(uint64_t hash, uint32_t n_workers) noexcept nogil:
    """Worker of a tuple by its hash, as it stands in a packet of either direction (steering `ring`).

    Bits 16..31 of the hash: bits 0..15 are the tag, 32..63 choose the bucket, so that one worker's share fills its
    own buckets and tags evenly.
    """
    return <uint32_t>(((hash >> 16 & 0xFFFF) * n_workers) >> 16)
