"""Identifications of packets that are fragments (RFC 6864): no two workers give the same one at a time."""

from libc.stdint cimport uint16_t

from fastpath.layout cimport be16, worker
from fastpath.net.frame cimport rte_cpu_to_be_16


cdef inline be16 next_ip_id(worker *w) noexcept nogil:
    """Each worker counts in steps of their number."""
    w.ip_id += <uint16_t>w.shared.n_workers
    return rte_cpu_to_be_16(<uint16_t>(w.ip_id + w.id))
