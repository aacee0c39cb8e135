"""rte_mbuf, rte_mempool, rte_ring: declarations only."""

from libc.stdint cimport uint16_t, uint32_t, uint64_t


cdef extern from "<rte_mempool.h>" nogil:
    struct rte_mempool:
        pass
    unsigned int rte_mempool_avail_count(const rte_mempool *mp)
    unsigned int rte_mempool_in_use_count(const rte_mempool *mp)

cdef extern from "<rte_mbuf.h>" nogil:
    struct rte_mbuf:
        void *buf_addr
        uint16_t data_off, nb_segs, port, data_len
        uint32_t pkt_len
        uint64_t ol_flags
        rte_mbuf *next
    uint64_t RTE_MBUF_F_RX_IP_CKSUM_BAD, RTE_MBUF_F_RX_IP_CKSUM_MASK
    unsigned int RTE_PKTMBUF_HEADROOM
    rte_mempool *rte_pktmbuf_pool_create(const char *name, unsigned int n, unsigned int cache, uint16_t priv,
                                         uint16_t room, int socket)
    rte_mbuf *rte_pktmbuf_alloc(rte_mempool *mp)
    void rte_pktmbuf_free(rte_mbuf *m)
    char *rte_pktmbuf_append(rte_mbuf *m, uint16_t n)
    char *rte_pktmbuf_prepend(rte_mbuf *m, uint16_t n)
    int rte_pktmbuf_trim(rte_mbuf *m, uint16_t n)

cdef extern from "<rte_mbuf_dyn.h>" nogil:
    struct rte_mbuf_dynfield:
        char name[64]  # RTE_MBUF_DYN_NAMESIZE
        size_t size, align
        unsigned int flags
    int rte_mbuf_dynfield_register(const rte_mbuf_dynfield *params)

cdef extern from "<rte_ring.h>" nogil:
    struct rte_ring:
        pass
    enum:
        RING_F_SP_ENQ, RING_F_SC_DEQ
    rte_ring *rte_ring_create(const char *name, unsigned int count, int socket, unsigned int flags)
    unsigned int rte_ring_count(const rte_ring *r)
    int rte_ring_enqueue(rte_ring *r, void *obj)
    int rte_ring_dequeue(rte_ring *r, void **obj)
