"""Packets that go round through workers that run: what leaves by a ring port is looked at and comes in again.

A frame carries the number of its flow where TCP has its sequence number. Packets that are missing in the end are those that
the engine has dropped. Of one flow new packets come all the time, as many as its queue takes, and end where they leave.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from fastpath.dpdk.mbuf cimport (
    rte_mbuf, rte_mempool, rte_pktmbuf_alloc, rte_pktmbuf_append, rte_pktmbuf_free, rte_ring, rte_ring_count, rte_ring_dequeue,
    rte_ring_enqueue)
from fastpath.net.frame cimport frame_at, load32, rte_be_to_cpu_32

cdef extern from "<sched.h>" nogil:
    int sched_yield()

cdef extern from *:
    """
    enum { FRAME_BYTES = 54, ENDS = 26, ENDS_BYTES = 12, NUMBER = 38, MAX_FLOWS = 256, QUEUE = 256 };
    """
    enum:
        FRAME_BYTES, ENDS, ENDS_BYTES, NUMBER, MAX_FLOWS, QUEUE


cdef class Carousel:
    """frames: what comes in, by flow; ends: the addresses and ports with which it must leave; workers: by whose queue
    each flow comes in; handles: of engine.handles(), by worker. run() in a thread, until stop(); then `rounds` by flow,
    and `wrong`, the frames that left otherwise than they must. blast: the flow of which new packets come, `blasted` of
    them; None: no flow."""

    cdef uint8_t frames[256][54]
    cdef uint8_t ends[256][12]
    cdef uint8_t entry[256]
    cdef uint64_t rounds_of[256]
    cdef rte_ring *rx[8]
    cdef rte_ring *tx[8]
    cdef rte_mempool *pool
    cdef uint32_t n_flows, n_workers, blast
    cdef volatile int stopping
    cdef readonly uint64_t wrong, blasted

    def __init__(self, handles, frames, ends, workers, blast=None):
        if len(frames) > MAX_FLOWS or len(handles) > 8:
            raise ValueError("too many")
        self.n_flows, self.n_workers = len(frames), len(handles)
        self.pool = <rte_mempool *><size_t>handles[0].pool
        self.blast = MAX_FLOWS if blast is None else blast
        for i, h in enumerate(handles):
            self.rx[i] = <rte_ring *><size_t>h.rx_ring
            self.tx[i] = <rte_ring *><size_t>h.tx_ring
        for i, (frame, end, worker) in enumerate(zip(frames, ends, workers, strict=True)):
            memcpy(&self.frames[i][0], <const uint8_t *>(<bytes>frame), FRAME_BYTES)
            memcpy(&self.ends[i][0], <const uint8_t *>(<bytes>end), ENDS_BYTES)
            self.entry[i] = worker

    def stop(self):
        self.stopping = 1

    @property
    def rounds(self):
        return [self.rounds_of[i] for i in range(self.n_flows)]

    @property
    def left(self):
        """How many packets stand where they leave."""
        return sum(rte_ring_count(self.tx[i]) for i in range(self.n_workers))

    cdef void turn_round(self, rte_mbuf *m) noexcept nogil:
        cdef uint8_t *frame = frame_at(m, 0)
        cdef uint32_t flow = rte_be_to_cpu_32(load32(frame + NUMBER))
        if m.pkt_len != FRAME_BYTES or flow >= self.n_flows or memcmp(frame + ENDS, &self.ends[flow][0], ENDS_BYTES):
            self.wrong += 1
            flow = 0
        self.rounds_of[flow] += 1
        if flow == self.blast:
            rte_pktmbuf_free(m)
        else:
            memcpy(frame, &self.frames[flow][0], FRAME_BYTES)
            rte_ring_enqueue(self.rx[self.entry[flow]], m)

    cdef void add(self) noexcept nogil:
        """More of the blast, until its queue is as long as it shall be."""
        cdef rte_ring *queue = self.rx[self.entry[self.blast]]
        cdef rte_mbuf *m
        while rte_ring_count(queue) < QUEUE:
            m = rte_pktmbuf_alloc(self.pool)
            if m == NULL:
                return
            memcpy(rte_pktmbuf_append(m, FRAME_BYTES), &self.frames[self.blast][0], FRAME_BYTES)
            rte_ring_enqueue(queue, m)
            self.blasted += 1

    cdef bint pass_round(self) noexcept nogil:
        cdef rte_mbuf *m
        cdef bint found = False
        cdef uint32_t i, n
        for i in range(self.n_workers):
            for n in range(64):
                if rte_ring_dequeue(self.tx[i], <void **>&m) != 0:
                    break
                self.turn_round(m)
                found = True
        return found

    def run(self):
        with nogil:
            while not self.stopping:
                if self.blast < self.n_flows:
                    self.add()
                if not self.pass_round():
                    sched_yield()
