"""What a stage writes about one packet of the burst."""

from libc.stdint cimport uint8_t, uint32_t

from fastpath.layout cimport DROP, SEND, batch, service_count, worker


cdef inline uint8_t drop(batch *b, uint32_t i, uint8_t reason) noexcept nogil:
    b.reason[i] = reason
    return DROP


cdef inline uint8_t drop_for_service(worker *w, uint32_t i, uint8_t reason, uint32_t service,
                                     uint32_t direction) noexcept nogil:
    """A drop that the service's operator will ask about."""
    cdef service_count *count = &w.service_counts[service]
    count.drops[direction] += 1
    count.drop_bytes[direction] += w.batch.pkt[i].pkt_len
    return drop(&w.batch, i, reason)


cdef inline uint8_t send_back(batch *b, uint32_t i) noexcept nogil:
    """The packet has become an answer: out of the port that it came from."""
    b.out[i] = <uint8_t>b.port
    return SEND


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
