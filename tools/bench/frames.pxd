"""The TCP frames that the benchmark's drivers send."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from fastpath.dpdk.mbuf cimport rte_mbuf, rte_ring
from fastpath.layout cimport flow
from fastpath.net.checksum cimport compute, fold
from fastpath.net.frame cimport frame_at, load16, load32, rte_be_to_cpu_16, rte_cpu_to_be_16, store16, store32, store48
from fastpath.net.headers cimport *

cdef extern from "<rte_ring.h>" nogil:
    unsigned int rte_ring_enqueue_bulk(rte_ring *r, void *const *table, unsigned int n, unsigned int *free_space)
    unsigned int rte_ring_dequeue_bulk(rte_ring *r, void **table, unsigned int n, unsigned int *available)
    unsigned int rte_ring_dequeue_burst(rte_ring *r, void **table, unsigned int n, unsigned int *available)

cdef extern from *:
    """
    enum { FRAME_BYTES = 60, SYN = 0x02, ACK = 0x10, PSH_ACK = 0x18 };
    """
    enum:
        FRAME_BYTES, SYN, ACK, PSH_ACK


cdef inline uint16_t tcp_checksum(uint8_t *ip) noexcept nogil:
    """Of the whole segment with its pseudo header, the checksum field included: 0 on a packet that is right."""
    cdef uint32_t length = rte_be_to_cpu_16(load16(ip + IPV4_TOTAL_LENGTH)) - IPV4_LEN
    cdef uint64_t sum = <uint64_t>load32(ip + IPV4_SRC) + load32(ip + IPV4_DST) + rte_cpu_to_be_16(PROTO_TCP)
    sum += rte_cpu_to_be_16(<uint16_t>length) + <uint16_t>~compute(ip + IPV4_LEN, length)
    return <uint16_t>~fold(sum)


cdef inline void write_tcp(rte_mbuf *m, uint64_t mac, uint8_t source, const flow *f, uint8_t flags) noexcept nogil:
    """A frame of FRAME_BYTES to this MAC address. source: last byte of its sender's."""
    cdef uint8_t *eth = frame_at(m, 0)
    cdef uint8_t *ip = eth + ETH_LEN
    cdef uint8_t *tcp = ip + IPV4_LEN
    memset(eth, 0, FRAME_BYTES)
    store48(eth + ETH_DST, mac)
    eth[ETH_SRC] = 2
    eth[ETH_SRC + 5] = source
    store16(eth + ETH_TYPE, rte_cpu_to_be_16(ETHERTYPE_IPV4))
    ip[0] = 0x45
    store16(ip + IPV4_TOTAL_LENGTH, rte_cpu_to_be_16(FRAME_BYTES - ETH_LEN))
    ip[IPV4_TTL] = 64
    ip[IPV4_PROTOCOL] = PROTO_TCP
    store32(ip + IPV4_SRC, f.saddr)
    store32(ip + IPV4_DST, f.daddr)
    store16(tcp + L4_SPORT, f.sport)
    store16(tcp + L4_DPORT, f.dport)
    tcp[TCP_OFFSET] = 0x50
    tcp[TCP_FLAGS] = flags
    store16(ip + IPV4_CHECKSUM, compute(ip, IPV4_LEN))
    store16(tcp + TCP_CHECKSUM, tcp_checksum(ip))
