"""The numbers of a TCP header: sequence and acknowledgement, and those in its options, timestamps and SACK blocks, found and
moved; and the largest segment that a SYN offers. Options may stand at odd addresses; what they say of their lengths is
believed as far as the header goes.

Naive oracle: tests/fastpath/test_tcp_options.py.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from fastpath.net.checksum cimport add_to, difference, fold, update
from fastpath.net.frame cimport load16, rte_be_to_cpu_16, rte_cpu_to_be_16, store16
from fastpath.net.headers cimport TCP_ACK, TCP_ACK_FLAG, TCP_CHECKSUM, TCP_FLAGS, TCP_LEN, TCP_OFFSET, TCP_SEQ

cdef extern from *:
    """
    enum {
        OPTION_END = 0, OPTION_NOP = 1, OPTION_LENGTH = 1, /* RFC 9293 3.1 */
        OPTION_MSS = 2, MSS_LEN = 4, /* RFC 9293 3.2 */
        OPTION_SACK = 5, SACK_BLOCKS = 2, SACK_BLOCK = 8, /* RFC 2018 3 */
        OPTION_TIMESTAMPS = 8, TIMESTAMPS_LEN = 10, TSVAL = 2, TSECR = 6, /* RFC 7323 3.2 */
    };
    """
    enum:
        OPTION_END, OPTION_NOP, OPTION_LENGTH, OPTION_MSS, MSS_LEN, OPTION_SACK, SACK_BLOCKS, SACK_BLOCK
        OPTION_TIMESTAMPS, TIMESTAMPS_LEN, TSVAL, TSECR


cdef inline uint32_t header_length(const uint8_t *tcp) noexcept nogil:
    return (tcp[TCP_OFFSET] >> 4) * 4


cdef inline uint32_t option_at(const uint8_t *tcp, uint32_t at, uint32_t end) noexcept nogil:
    """Where the first option with a length stands, at `at` or behind it, wholly before `end`; or `end`: there is none."""
    while at < end and tcp[at] == OPTION_NOP:
        at += 1
    if at + OPTION_LENGTH >= end or tcp[at] == OPTION_END:
        return end
    return at if tcp[at + OPTION_LENGTH] > OPTION_LENGTH and at + tcp[at + OPTION_LENGTH] <= end else end


cdef inline uint32_t timestamps_at(const uint8_t *tcp) noexcept nogil:
    """Where the timestamps option stands in a header, or 0."""
    cdef uint32_t end = header_length(tcp)
    cdef uint32_t at = option_at(tcp, TCP_LEN, end)
    while at < end:
        if tcp[at] == OPTION_TIMESTAMPS and tcp[at + OPTION_LENGTH] == TIMESTAMPS_LEN:
            return at
        at = option_at(tcp, at + tcp[at + OPTION_LENGTH], end)
    return 0


cdef inline uint64_t add_at(uint8_t *tcp, uint32_t at, uint32_t n) noexcept nogil:
    """Add n to the number there; what that adds to the checksum. Moved by one byte, the sum of the same words is the same
    sum with its bytes swapped (RFC 1071 1.2 B)."""
    cdef uint16_t sum = fold(add_to(tcp + at, n))
    return <uint16_t>(sum << 8 | sum >> 8) if at & 1 else sum


cdef inline uint64_t move_sack(uint8_t *tcp, uint32_t option, uint32_t n) noexcept nogil:
    cdef uint64_t delta = 0
    cdef uint32_t at = option + SACK_BLOCKS
    while at + SACK_BLOCK <= option + tcp[option + OPTION_LENGTH]:
        delta += add_at(tcp, at, n) + add_at(tcp, at + 4, n)
        at += SACK_BLOCK
    return delta


cdef inline uint64_t move_numbers(uint8_t *tcp, uint32_t seq, uint32_t ack, uint32_t tsval, uint32_t tsecr) noexcept nogil:
    """Add to the sequence number, the acknowledgement with its SACK blocks, the timestamp and its echo, for as much as the
    segment carries them; what that adds to its checksum. Without the ACK flag it acknowledges nothing and echoes nothing
    (RFC 9293 3.1, RFC 7323 3.2)."""
    cdef uint32_t end = header_length(tcp)
    cdef uint32_t at = option_at(tcp, TCP_LEN, end)
    cdef bint acknowledges = tcp[TCP_FLAGS] & TCP_ACK_FLAG
    cdef uint64_t delta = add_at(tcp, TCP_SEQ, seq)
    if acknowledges:
        delta += add_at(tcp, TCP_ACK, ack)
    while at < end:
        if tcp[at] == OPTION_TIMESTAMPS and tcp[at + OPTION_LENGTH] == TIMESTAMPS_LEN:
            delta += add_at(tcp, at + TSVAL, tsval)
            if acknowledges:
                delta += add_at(tcp, at + TSECR, tsecr)
        elif tcp[at] == OPTION_SACK and acknowledges:
            delta += move_sack(tcp, at, ack)
        at = option_at(tcp, at + tcp[at + OPTION_LENGTH], end)
    return delta


cdef inline uint16_t swapped(uint16_t x) noexcept nogil:
    return <uint16_t>(x << 8 | x >> 8)


cdef inline void lower_mss(uint8_t *tcp, uint32_t at, uint16_t mss) noexcept nogil:
    """The option's value, `at` bytes from the header's start; the checksum follows. Behind an odd number of bytes the two
    halves of the value stand in two words, each in the other place."""
    cdef uint16_t old = load16(tcp + at), new = rte_cpu_to_be_16(mss)
    if rte_be_to_cpu_16(old) <= mss:
        return
    store16(tcp + at, new)
    if at & 1:
        old, new = swapped(old), swapped(new)
    store16(tcp + TCP_CHECKSUM, update(load16(tcp + TCP_CHECKSUM), difference(old, new)))


cdef inline void clamp_mss(uint8_t *tcp, uint16_t mss) noexcept nogil:
    """A segment whose header is there as a whole offers no larger segments than this (RFC 9293 3.7.1). Without the option it
    stays as it is: that means 536 bytes."""
    cdef uint32_t end = header_length(tcp)
    cdef uint32_t at = option_at(tcp, TCP_LEN, end)
    while at < end:
        if tcp[at] == OPTION_MSS and tcp[at + OPTION_LENGTH] == MSS_LEN:
            lower_mss(tcp, at + 2, mss)
        at = option_at(tcp, at + tcp[at + OPTION_LENGTH], end)
