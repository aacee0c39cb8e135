"""Drops of which the sender hears, as often as the limits allow: the packet at hand becomes the answer, and is counted as
dropped all the same. Nothing is told about later fragments, nor about ICMP errors, which never come here (RFC 1122 3.2.2);
and nothing to a RST (RFC 9293 3.10.7.1).
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fastpath.layout cimport MTU_EXCEEDED, SAID_ERROR, SAID_RESET, TTL_EXCEEDED, batch, be32, port, tokens, worker
from fastpath.net.frame cimport rte_cpu_to_be_32
from fastpath.net.headers cimport (
    ICMP_FRAGMENTATION_NEEDED, ICMP_PORT_UNREACHABLE, ICMP_TIME_EXCEEDED, ICMP_UNREACHABLE, PROTO_TCP)
from fastpath.net.icmp cimport answer_error
from fastpath.net.tcp cimport answer_segment
from fastpath.table.batch cimport count_drop, drop, send_back
from fastpath.table.service cimport is_no_client
from fastpath.table.tcp_state cimport EVENT_RST

cdef extern from *:
    """
    enum { TELL_BURST = 50 }; /* at once, and one more each ms: Linux's icmp_msgs_burst, icmp_msgs_per_sec */
    static inline uint8_t __pyx_f_8fastpath_5table_4tell_drop_with_error(struct worker *, uint32_t, uint8_t, uint8_t, uint8_t,
                                                                         be32) APART RARE;
    static inline uint8_t __pyx_f_8fastpath_5table_4tell_refuse(struct worker *, uint32_t, uint8_t) APART RARE;
    """
    enum:
        TELL_BURST


cdef inline bint may_tell(const worker *w, tokens *bucket) noexcept nogil:
    """Takes a token, if there is one."""
    cdef uint32_t earned = w.now - bucket.refilled
    bucket.refilled = w.now
    bucket.left = TELL_BURST if earned >= TELL_BURST - bucket.left else bucket.left + earned
    if bucket.left == 0:
        return False
    bucket.left -= 1
    return True


cdef inline uint8_t drop_and_answer(worker *w, uint32_t i, uint8_t reason, uint32_t said) noexcept nogil:
    """The packet is gone under its reason, though its buffer carries the answer: SAID_..."""
    w.said[said] += 1
    count_drop(w, w.batch.pkt[i].port, reason)
    w.batch.reason[i] = reason
    return send_back(&w.batch, i)


cdef inline uint8_t drop_with_error(worker *w, uint32_t i, uint8_t reason, uint8_t type, uint8_t code,
                                    be32 rest) noexcept nogil:
    """An ICMP error of a router's: from the director's own address on the port that the packet came from (RFC 1812 4.3.2.4)."""
    cdef batch *b = &w.batch
    cdef const port *p = &w.shared.ports[b.pkt[i].port]
    if p.address == 0 or b.l4[i] == 0 or not may_tell(w, &w.icmp) or answer_error(
            b.pkt[i], type, code, rest, p.address, p.mac) != 0:
        return drop(b, i, reason)
    return drop_and_answer(w, i, reason, SAID_ERROR)


cdef inline uint8_t ttl_exceeded(worker *w, uint32_t i) noexcept nogil:
    """RFC 1812 5.3.1: the packet ends here (B4)."""
    return drop_with_error(w, i, TTL_EXCEEDED, ICMP_TIME_EXCEEDED, 0, 0)


cdef inline uint8_t mtu_exceeded(worker *w, uint32_t i, uint32_t mtu) noexcept nogil:
    """RFC 1191 section 4: too long for its way out, and not to be fragmented (B33)."""
    return drop_with_error(w, i, MTU_EXCEEDED, ICMP_UNREACHABLE, ICMP_FRAGMENTATION_NEEDED, rte_cpu_to_be_32(mtu))


cdef inline uint8_t refuse(worker *w, uint32_t i, uint8_t reason) noexcept nogil:
    """What a host says of a port on which nobody listens (RFC 9293 3.10.7.1, RFC 1122 4.1.3.1; B9, B27), unless the source is
    forged for sure."""
    cdef batch *b = &w.batch
    cdef uint64_t mac = w.shared.ports[b.pkt[i].port].mac
    if is_no_client(w.shared.map, <be32>b.addrs[i]):
        return drop(b, i, reason)
    if <uint8_t>(b.ports[i] >> 32) == PROTO_TCP:
        if b.event[i] == EVENT_RST or not may_tell(w, &w.resets):
            return drop(b, i, reason)
        answer_segment(b.pkt[i], b.l4[i], mac)
        return drop_and_answer(w, i, reason, SAID_RESET)
    if not may_tell(w, &w.icmp) or answer_error(
            b.pkt[i], ICMP_UNREACHABLE, ICMP_PORT_UNREACHABLE, 0, <be32>(b.addrs[i] >> 32), mac) != 0:
        return drop(b, i, reason)
    return drop_and_answer(w, i, reason, SAID_ERROR)
