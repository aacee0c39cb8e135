"""What a stage writes about one packet of the burst."""

from libc.stdint cimport uint8_t, uint32_t

from fastpath.dpdk.mbuf cimport rte_mbuf
from fastpath.layout cimport DROP, SEND, batch, service_count, worker


cdef inline void count_drop(worker *w, uint32_t port, uint8_t reason) noexcept nogil:
    """A packet that came in by this port ends here."""
    w.drops[reason] += 1
    w.ports[port].rx_dropped += 1


cdef inline void count_for_service(worker *w, const rte_mbuf *m, uint32_t service, uint32_t direction) noexcept nogil:
    cdef service_count *count = &w.service_counts[service]
    count.drops[direction] += 1
    count.drop_bytes[direction] += m.pkt_len


cdef inline uint8_t drop(batch *b, uint32_t i, uint8_t reason) noexcept nogil:
    b.reason[i] = reason
    return DROP


cdef inline uint8_t drop_for_service(worker *w, uint32_t i, uint8_t reason, uint32_t service,
                                     uint32_t direction) noexcept nogil:
    """A drop that the service's operator will ask about."""
    count_for_service(w, w.batch.pkt[i], service, direction)
    return drop(&w.batch, i, reason)


cdef inline uint8_t send_back(batch *b, uint32_t i) noexcept nogil:
    """The packet has become an answer: out of the port that it came from."""
    b.out[i] = <uint8_t>b.pkt[i].port
    return SEND
