"""A local port that is used again while the server may still hold its last connection in TIME_WAIT (B43).

A server in TIME_WAIT takes a SYN only if it is newer than all that it saw on that tuple: its sequence number beyond what the
server expects next (RFC 9293 3.10.7.4), its timestamp, if both connections have them, above the last (RFC 6191, and PAWS,
RFC 7323 5). One client's numbers are; those of many clients who share a tuple have no order. So what the server saw last is
remembered in the line of the connection that ended, for as long as that stays, and the one that takes its place is moved
beyond it: in the server's numbers, with all that it says and is told (net/tcp_options.pxd). Its own end is remembered in the
same numbers, so the next one moves on from there.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fastpath.layout cimport (
    CONNECTION_ENDED, CONNECTION_STAMPED, CONNECTION_TRANSLATED, INBOUND, connection, worker)
from fastpath.net.frame cimport load16, load32, rte_be_to_cpu_16, rte_be_to_cpu_32, rte_cpu_to_be_32
from fastpath.net.headers cimport TCP_SEQ
from fastpath.net.tcp_options cimport TSVAL, move_numbers, timestamps_at
from fastpath.table.timer cimport retire

cdef extern from *:
    """
    /* From what the server has acknowledged to the next sequence number, as Linux chooses its own in TIME_WAIT: more than a
     * window without scaling, for a server whose last acknowledgement did not come past here. */
    enum { SEQ_MARGIN = 65535 + 2 };
    static inline uint64_t __pyx_f_8fastpath_5table_8takeover_translate_marked(struct connection *, uint32_t,
                                                                               uint8_t *) APART RARE;
    """
    enum:
        SEQ_MARGIN


cdef inline void take_over(worker *w, connection *c, uint32_t former, const uint8_t *syn) noexcept nogil:
    """The connection that this SYN opens takes the place of `former`, which ends. Until the server has spoken, what the last
    one has left behind counts for this one too."""
    cdef const connection *last = &w.table.connections[former]
    cdef uint32_t seq = rte_be_to_cpu_32(last.next_seq[INBOUND]) + SEQ_MARGIN
    cdef uint32_t option = timestamps_at(syn)
    c.flags = CONNECTION_TRANSLATED | last.flags & CONNECTION_STAMPED
    c.seq_delta[INBOUND] = seq - rte_be_to_cpu_32(load32(syn + TCP_SEQ))
    c.next_seq[INBOUND] = rte_cpu_to_be_32(seq)
    c.last_stamp = last.last_stamp
    if option and last.flags & CONNECTION_STAMPED:
        c.last_stamp += 1  # of the upper half: above whatever the lower one was
        c.ts_delta = (<uint32_t>c.last_stamp << 16) - rte_be_to_cpu_32(load32(syn + option + TSVAL))
    retire(w, former)


cdef inline uint64_t translate_marked(connection *c, uint32_t direction, uint8_t *tcp) noexcept nogil:
    """What a connection with flags asks for, of one packet; what that adds to its checksum."""
    cdef uint64_t delta = 0
    cdef uint32_t option
    if c.flags & CONNECTION_TRANSLATED:
        delta = move_numbers(tcp, c.seq_delta[direction], -c.seq_delta[direction ^ 1],
                             c.ts_delta if direction == INBOUND else 0, 0 if direction == INBOUND else -c.ts_delta)
    if c.flags & CONNECTION_ENDED and direction == INBOUND:
        option = timestamps_at(tcp)
        if option:
            c.last_stamp = rte_be_to_cpu_16(load16(tcp + option + TSVAL))
            c.flags |= CONNECTION_STAMPED
    return delta
