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


cdef inline uint8_t drop_and_answer(worker *w, uint32_t i, uint8_t reason) noexcept nogil:
    """The packet is gone under its reason, though its buffer carries the answer."""
    count_drop(w, w.batch.pkt[i].port, reason)
    return send_back(&w.batch, i)


cdef extern from *:
    """enum { ICMP_BURST = 50 }; /* at once, and one more each ms: Linux's icmp_msgs_burst, icmp_msgs_per_sec */"""
    enum:
        ICMP_BURST


cdef inline bint icmp_allowed(worker *w) noexcept nogil:
    """Token bucket of the ICMP errors that this worker may send."""
    cdef uint32_t earned = w.now - w.icmp_refilled
    w.icmp_refilled = w.now
    w.icmp_tokens = ICMP_BURST if earned >= ICMP_BURST - w.icmp_tokens else w.icmp_tokens + earned
    if w.icmp_tokens == 0:
        return False
    w.icmp_tokens -= 1
    return True
