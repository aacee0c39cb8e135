"""rte_eal, rte_lcore, rte_malloc, rte_cycles, rte_prefetch, rte_rcu_qsbr: declarations only (DPDK 22.11)."""

from libc.stdint cimport uint32_t, uint64_t


cdef extern from "<rte_eal.h>" nogil:
    int rte_eal_init(int argc, char **argv)
    int rte_eal_cleanup()

cdef extern from "<rte_errno.h>" nogil:
    int rte_errno
    const char *rte_strerror(int errnum)

cdef extern from "<rte_launch.h>" nogil:
    ctypedef int (*lcore_function_t)(void *) noexcept nogil
    int rte_eal_remote_launch(lcore_function_t f, void *arg, unsigned int lcore)
    int rte_eal_wait_lcore(unsigned int lcore)

cdef extern from "<rte_lcore.h>" nogil:
    unsigned int rte_get_main_lcore()
    unsigned int rte_get_next_lcore(unsigned int i, int skip_main, int wrap)
    unsigned int rte_lcore_to_socket_id(unsigned int lcore)
    unsigned int RTE_MAX_LCORE
    unsigned int rte_socket_count()
    int rte_socket_id_by_idx(unsigned int i)

cdef extern from "<rte_malloc.h>" nogil:
    struct rte_malloc_socket_stats:
        size_t heap_totalsz_bytes, heap_freesz_bytes, greatest_free_size, heap_allocsz_bytes
        unsigned int free_count, alloc_count
    int rte_malloc_get_socket_stats(int socket, rte_malloc_socket_stats *stats)

cdef extern from "<rte_cycles.h>" nogil:
    uint64_t rte_rdtsc()
    uint64_t rte_get_tsc_hz()

cdef extern from "<rte_branch_prediction.h>" nogil:
    bint unlikely(bint condition)

cdef extern from "<rte_prefetch.h>" nogil:
    void rte_prefetch0(const void *p)

cdef extern from "<rte_rcu_qsbr.h>" nogil:
    struct rte_rcu_qsbr_cnt:
        pass
    struct rte_rcu_qsbr:
        rte_rcu_qsbr_cnt qsbr_cnt[1]
    size_t rte_rcu_qsbr_get_memsize(uint32_t max_threads)
    int rte_rcu_qsbr_init(rte_rcu_qsbr *v, uint32_t max_threads)
    int rte_rcu_qsbr_thread_register(rte_rcu_qsbr *v, unsigned int thread)
    void rte_rcu_qsbr_thread_online(rte_rcu_qsbr *v, unsigned int thread)
    void rte_rcu_qsbr_thread_offline(rte_rcu_qsbr *v, unsigned int thread)
    void rte_rcu_qsbr_quiescent(rte_rcu_qsbr *v, unsigned int thread)
    void rte_rcu_qsbr_synchronize(rte_rcu_qsbr *v, unsigned int thread)
    unsigned int RTE_QSBR_THRID_INVALID
