"""Feed worker turns of the shipped engine with frames of many connections, and time each burst.

The frames of a run are written first, all of them, one mbuf each: together they are far larger than the L2 cache, so that
a turn meets headers that were written long before. Connections are drawn uniformly at random.
"""

import array

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from fastpath.dpdk.eal cimport rte_get_tsc_hz, rte_rdtsc
from fastpath.dpdk.ethdev cimport rte_eth_rx_burst, rte_eth_tx_burst
from fastpath.dpdk.mbuf cimport (
    rte_mbuf, rte_mempool, rte_pktmbuf_alloc, rte_pktmbuf_append, rte_ring)
from fastpath.layout cimport BURST, INBOUND, OUTBOUND, flow, worker
from fastpath.net.checksum cimport compute
from fastpath.net.frame cimport frame_at, load16, load32, rte_cpu_to_be_16, rte_cpu_to_be_32
from fastpath.net.headers cimport ETH_LEN, IPV4_DST, IPV4_LEN, IPV4_SRC, IPV4_TTL
from tools.bench.frames cimport (
    ACK, FRAME_BYTES, PSH_ACK, SYN, rte_ring_dequeue_bulk, rte_ring_enqueue_bulk, tcp_checksum, write_tcp)

ctypedef uint32_t (*turn_function)(worker *, uint32_t) noexcept nogil

cdef extern from *:
    """
    enum { FRAMES = 1 << 16, VERIFY_EVERY = 1000 };
    struct known { uint32_t local; uint16_t lport; uint16_t rport; uint32_t real; };
    """
    enum:
        FRAMES, VERIFY_EVERY
    struct known:
        uint32_t local
        uint16_t lport, rport
        uint32_t real


cdef class Drive:
    """Connections opened through one ring port, and measured runs over them.

    handles: of engine.handles(); director_mac, virtual address and port: what clients send to.
    """

    cdef turn_function turn
    cdef worker *w
    cdef rte_mempool *pool
    cdef rte_ring *rx
    cdef rte_ring *tx
    cdef rte_mbuf **frames
    cdef uint32_t *drawn
    cdef known *connections
    cdef uint32_t n_connections
    cdef uint64_t mac, random, tsc_zero
    cdef uint32_t vaddr
    cdef uint16_t vport
    cdef readonly uint64_t verified
    cdef readonly uint64_t hz

    def __cinit__(self, handles, bytes mac, bytes vaddr, uint16_t vport, uint32_t capacity):
        self.turn = <turn_function><size_t>handles.take_turn
        self.w = <worker *><size_t>handles.worker
        self.pool = <rte_mempool *><size_t>handles.pool
        self.rx = <rte_ring *><size_t>handles.rx_ring
        self.tx = <rte_ring *><size_t>handles.tx_ring
        self.mac = int.from_bytes(mac, "little")
        self.vaddr = int.from_bytes(vaddr, "little")
        self.vport = rte_cpu_to_be_16(vport)
        self.random = 0x9E3779B97F4A7C15U
        self.tsc_zero = rte_rdtsc()
        self.hz = rte_get_tsc_hz()
        self.frames = <rte_mbuf **>calloc(FRAMES, sizeof(void *))
        self.drawn = <uint32_t *>calloc(FRAMES, 4)
        self.connections = <known *>calloc(capacity, sizeof(known))
        if self.frames == NULL or self.connections == NULL or self.drawn == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.frames)
        free(self.drawn)
        free(self.connections)

    cdef uint32_t now(self) noexcept nogil:
        return <uint32_t>((rte_rdtsc() - self.tsc_zero) / (self.hz / 1000))

    cdef uint32_t draw(self, uint32_t n) noexcept nogil:
        self.random ^= self.random << 13
        self.random ^= self.random >> 7
        self.random ^= self.random << 17
        return <uint32_t>((self.random >> 32) * n >> 32)

    cdef void write_frame(self, rte_mbuf *m, uint32_t i, int direction, uint8_t flags) noexcept nogil:
        """A TCP frame of connection i: from its client, or from its server."""
        cdef flow f
        if direction == INBOUND:
            f.saddr, f.daddr = rte_cpu_to_be_32(0x14000000 + (i >> 3)), self.vaddr
            f.sport, f.dport = rte_cpu_to_be_16(<uint16_t>(1024 + (i & 7) * 7919)), self.vport
        else:
            f.saddr, f.daddr = self.connections[i].real, self.connections[i].local
            f.sport, f.dport = self.connections[i].rport, self.connections[i].lport
        write_tcp(m, self.mac, <uint8_t>(1 + direction), &f, flags)

    cdef int burst(self, rte_mbuf **frames, uint64_t *ticks) except -1:
        """One turn over BURST frames; they come back rewritten. Raises when one of them was not forwarded."""
        cdef uint64_t before
        cdef uint32_t now = self.now()
        cdef bint whole
        rte_ring_enqueue_bulk(self.rx, <void **>frames, BURST, NULL)
        before = rte_rdtsc()
        self.turn(self.w, now)
        ticks[0] = rte_rdtsc() - before
        whole = rte_ring_dequeue_bulk(self.tx, <void **>frames, BURST, NULL) == BURST
        if not whole:
            raise RuntimeError("The engine did not forward every frame of a burst: see its drops.")
        return 0

    cdef take_frames(self, uint32_t n):
        for i in range(n):
            if self.frames[i] == NULL:
                self.frames[i] = rte_pktmbuf_alloc(self.pool)
                if self.frames[i] == NULL:
                    raise RuntimeError(f"The packet pool holds fewer than {n} buffers.")
                rte_pktmbuf_append(self.frames[i], FRAME_BYTES)

    def open(self, uint32_t until):
        """Open connections by whole handshakes until there are this many (a multiple of BURST)."""
        cdef uint64_t ticks
        cdef uint32_t i
        cdef uint8_t *ip
        self.take_frames(BURST)
        while self.n_connections < until:
            for i in range(BURST):
                self.write_frame(self.frames[i], self.n_connections + i, INBOUND, SYN)
            self.burst(self.frames, &ticks)
            for i in range(BURST):
                ip = frame_at(self.frames[i], ETH_LEN)
                self.connections[self.n_connections + i].local = load32(ip + IPV4_SRC)
                self.connections[self.n_connections + i].real = load32(ip + IPV4_DST)
                self.connections[self.n_connections + i].lport = load16(ip + IPV4_LEN)
                self.connections[self.n_connections + i].rport = load16(ip + IPV4_LEN + 2)
                self.write_frame(self.frames[i], self.n_connections + i, OUTBOUND, SYN | ACK)
            self.burst(self.frames, &ticks)
            for i in range(BURST):
                self.write_frame(self.frames[i], self.n_connections + i, INBOUND, ACK)
            self.burst(self.frames, &ticks)
            self.n_connections += BURST

    def measure(self, int direction, uint32_t rounds):
        """Ticks of each burst over `rounds` x FRAMES established packets of one direction, as array('Q')."""
        cdef uint32_t r, i, b
        cdef uint64_t ticks
        result = array.array("Q", bytes(8 * rounds * (FRAMES // BURST)))
        cdef uint64_t[::1] out = result
        self.take_frames(FRAMES)
        for r in range(rounds):
            for i in range(FRAMES):
                self.drawn[i] = self.draw(self.n_connections)
                self.write_frame(self.frames[i], self.drawn[i], direction, PSH_ACK)
            for b in range(FRAMES // BURST):
                self.burst(self.frames + b * BURST, &ticks)
                out[r * (FRAMES // BURST) + b] = ticks
            for i in range(0, FRAMES, VERIFY_EVERY):
                self.verify(self.frames[i], self.drawn[i], direction)
        return result

    cdef verify(self, rte_mbuf *m, uint32_t i, int direction):
        """One in VERIFY_EVERY: the other end's addresses, TTL, both checksums."""
        cdef uint8_t *ip = frame_at(m, ETH_LEN)
        cdef bint right = compute(ip, IPV4_LEN) == 0 and tcp_checksum(ip) == 0 and ip[IPV4_TTL] == 63
        if direction == INBOUND:
            right = right and load32(ip + IPV4_SRC) == self.connections[i].local and load16(
                ip + IPV4_LEN) == self.connections[i].lport and load32(ip + IPV4_DST) == self.connections[i].real
        else:
            right = right and load32(ip + IPV4_SRC) == self.vaddr and load16(ip + IPV4_LEN) == self.vport and load32(
                ip + IPV4_DST) == rte_cpu_to_be_32(0x14000000 + (i >> 3))
        if not right:
            raise RuntimeError(f"A frame of connection {i} left the engine wrong.")
        self.verified += 1

    def measure_io(self, uint32_t rounds):
        """The yardstick: the same frames through rte_eth_rx_burst and rte_eth_tx_burst of the same port, untouched."""
        cdef uint32_t r, b
        cdef uint64_t before, after
        cdef rte_mbuf *frames[32]
        result = array.array("Q", bytes(8 * rounds * (FRAMES // BURST)))
        cdef uint64_t[::1] out = result
        self.take_frames(FRAMES)
        for r in range(rounds):
            for b in range(FRAMES // BURST):
                rte_ring_enqueue_bulk(self.rx, <void **>(self.frames + b * BURST), BURST, NULL)
                before = rte_rdtsc()
                rte_eth_tx_burst(0, 0, frames, rte_eth_rx_burst(0, 0, frames, BURST))
                after = rte_rdtsc()
                rte_ring_dequeue_bulk(self.tx, <void **>(self.frames + b * BURST), BURST, NULL)
                out[r * (FRAMES // BURST) + b] = after - before
        return result
