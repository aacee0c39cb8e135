"""How the schedule of a service is laid out: the round of rr and wrr, the table of consistent hashing. Built by main.

Round: slot k goes to the server whose j-th turn has the earliest end among those that have begun, turn j of a server with
weight w of W lasting from floor(j*W/w) to ceil((j+1)*W/w). One processor can always keep these windows (Baruah et al.,
"Proportionate progress", 1996), so after any k slots a server is less than one turn off its ideal share k*w/W.
Table: Maglev (Eisenbud et al., NSDI 2016), servers taking turns in the order of the round, so that shares follow weights
to within one slot. Oracles: tests/fastpath/test_rounds.py.
"""

from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memset

from fastpath.net.hash cimport hash2

cdef extern from *:
    """enum { NO_TURN = 0xffffffff, EMPTY_SLOT = 0xffff };"""
    unsigned int NO_TURN
    enum:
        EMPTY_SLOT


cdef struct turn:
    uint64_t end
    uint32_t server


cdef inline bint sooner(const turn *a, const turn *b) noexcept nogil:
    return a.end < b.end or (a.end == b.end and a.server < b.server)


cdef inline void heap_push(turn *heap, uint32_t *n, turn t) noexcept nogil:
    cdef uint32_t i = n[0]
    n[0] += 1
    while i and sooner(&t, &heap[(i - 1) // 2]):
        heap[i] = heap[(i - 1) // 2]
        i = (i - 1) // 2
    heap[i] = t


cdef inline turn heap_pop(turn *heap, uint32_t *n) noexcept nogil:
    cdef turn first = heap[0]
    cdef turn last
    cdef uint32_t i = 0, child
    n[0] -= 1
    last = heap[n[0]]
    while 2 * i + 1 < n[0]:
        child = 2 * i + 1
        if child + 1 < n[0] and sooner(&heap[child + 1], &heap[child]):
            child += 1
        if not sooner(&heap[child], &last):
            break
        heap[i] = heap[child]
        i = child
    heap[i] = last
    return first


cdef inline int lay_round(const uint32_t *weights, uint32_t n, uint64_t total, uint16_t *slots,
                          uint32_t n_slots) noexcept nogil:
    """Write the first n_slots turns of n servers with these weights (sum `total`; 0: none) as positions; -1: no memory.

    A server waits in a list at the slot where its next turn begins, then in a heap by its turn's end.
    """
    cdef uint32_t *first = <uint32_t *>malloc(<size_t>n_slots * 4)
    cdef uint32_t *following = <uint32_t *>malloc(<size_t>n * 4)
    cdef uint64_t *taken = <uint64_t *>calloc(n, 8)
    cdef turn *heap = <turn *>malloc(<size_t>n * sizeof(turn))
    cdef turn t
    cdef uint32_t ready = 0, i, k
    cdef uint64_t begins
    cdef int rc = -1
    if first != NULL and following != NULL and taken != NULL and heap != NULL:
        rc = 0
        memset(first, 0xFF, <size_t>n_slots * 4)
        for i in range(n):
            if weights[i]:
                following[i] = first[0]
                first[0] = i
        for k in range(n_slots):
            i = first[k]
            while i != NO_TURN:
                t.end = ((taken[i] + 1) * total + weights[i] - 1) // weights[i]
                t.server = i
                heap_push(heap, &ready, t)
                i = following[i]
            t = heap_pop(heap, &ready)
            i = t.server
            slots[k] = <uint16_t>i
            taken[i] += 1
            begins = taken[i] * total // weights[i]
            if begins <= k:
                begins = k + 1
            if begins < n_slots:
                following[i] = first[begins]
                first[begins] = i
    free(first)
    free(following)
    free(taken)
    free(heap)
    return rc


cdef inline int lay_maglev(const uint64_t *identities, uint32_t n, const uint16_t *order, uint32_t n_order, uint16_t *slots,
                           uint32_t n_slots) noexcept nogil:
    """Fill n_slots (a prime) by turns in `order` (positions), over and over: each takes the next free slot of its own
    permutation.

    The permutation of a server: (offset + k * skip) mod n_slots, both from its identity (address, port). -1: no memory.
    """
    cdef uint32_t *at = <uint32_t *>malloc(<size_t>n * 4)
    cdef uint32_t *skip = <uint32_t *>malloc(<size_t>n * 4)
    cdef uint32_t i, k, place, step, turn = 0
    cdef uint64_t hash
    cdef int rc = -1
    if at != NULL and skip != NULL:
        rc = 0
        for i in range(n):
            hash = hash2(identities[i], 0, 0xD1342543DE82EF95U, 0xA0761D6478BD642FU)
            at[i] = <uint32_t>((hash >> 32) % n_slots)
            skip[i] = <uint32_t>hash % (n_slots - 1) + 1
        memset(slots, 0xFF, <size_t>n_slots * 2)
        for k in range(n_slots):
            i = order[turn]
            turn = turn + 1 if turn + 1 < n_order else 0
            place, step = at[i], skip[i]
            while slots[place] != EMPTY_SLOT:
                place += step
                place -= n_slots if place >= n_slots else 0
            slots[place] = <uint16_t>i
            at[i] = place
    free(at)
    free(skip)
    return rc
