"""A note on a packet that goes from worker to worker: what the one has found out and the other needs to know.

Eight bytes in the packet buffer (a dynamic field of the mbuf, shared.note_at): a kind, and 56 bits of what it says. That
there is one stands in the slot of the ring and, once taken out of it, in batch.noted, never in the buffer itself: what a
driver or a former owner of the buffer left there is not believed. A note holds for one way; where the packet goes on, it gets
another one or none. What leaves with a note has gone at once (GONE): it is no packet of the batch's any more, in whichever
stage, and its place stays empty, so that the columns of the others need not move.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fastpath.dpdk.mbuf cimport rte_mbuf
from fastpath.layout cimport GONE, HAND_NOTE, HANDOVER_FULL, worker
from fastpath.table.batch cimport drop
from fastpath.table.hand_ring cimport hand_over

cdef extern from *:
    """
    enum {
        NO_NOTE,
        NOTE_ASK,     /* to a client's home: may it, and to which server? says: who asks */
        NOTE_INSTEAD, /* to a client's home: it goes to another server. says: server << 8 | who asks */
        NOTE_SERVER,  /* from there: it may. says: the server, NONE: whichever */
        NOTE_SETTLED, /* from there: so be it. says: the server */
        NOTE_PORTS,   /* from a fragment's home to the owner of its connection. says: both ports, as they stand in memory */
        NOTE_FOLLOW,  /* to a client's home, behind a first fragment that asks. says: who asks << 32 | both ports */
        NOTE_BEHIND,  /* from there. says: both ports */
    };
    #define NOTE_BITS 56
    #define NOTE_MASK ((1ULL << NOTE_BITS) - 1)
    """
    enum:
        NO_NOTE, NOTE_ASK, NOTE_INSTEAD, NOTE_SERVER, NOTE_SETTLED, NOTE_PORTS, NOTE_FOLLOW, NOTE_BEHIND, NOTE_BITS
    uint64_t NOTE_MASK


cdef inline uint64_t *note_place(const worker *w, rte_mbuf *m) noexcept nogil:
    return <uint64_t *>(<uint8_t *>m + w.shared.note_at)


cdef inline uint8_t note_kind(const worker *w, uint32_t i) noexcept nogil:
    """Of the note that packet i of the batch came with; NO_NOTE: it has none."""
    return <uint8_t>(note_place(w, w.batch.pkt[i])[0] >> NOTE_BITS) if w.batch.noted >> i & 1 else NO_NOTE


cdef inline uint64_t note_says(const worker *w, uint32_t i) noexcept nogil:
    """What stands in a note that is there."""
    return note_place(w, w.batch.pkt[i])[0] & NOTE_MASK


cdef inline void write_note(const worker *w, rte_mbuf *m, uint8_t kind, uint64_t says) noexcept nogil:
    note_place(w, m)[0] = <uint64_t>kind << NOTE_BITS | says


cdef inline bint hand_noted(worker *w, rte_mbuf *m, uint32_t target, uint8_t kind, uint64_t says) noexcept nogil:
    """A packet to another worker, with a note; False: the ring is full, and it stays."""
    write_note(w, m, kind, says)
    return hand_over(w, target, m, HAND_NOTE)


cdef inline uint8_t give_noted(worker *w, uint32_t i, uint32_t target, uint8_t kind, uint64_t says) noexcept nogil:
    """Packet i of the batch to another worker, with a note: GONE, or a drop."""
    return GONE if hand_noted(w, w.batch.pkt[i], target, kind, says) else drop(&w.batch, i, HANDOVER_FULL)
