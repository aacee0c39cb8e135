/* Frames that end where they end, for AddressSanitizer: of a packet buffer only the frame may be touched, and nothing of one
 * that was freed. Included before everything else (-include) by what runs under the fuzzer.
 *
 * Whoever uses another function that makes, moves or frees a frame wraps it here as well. Counts packets on the way.
 */
#ifndef JUPITER_GUARD_H
#define JUPITER_GUARD_H

#include <rte_mbuf.h>
#include <sanitizer/asan_interface.h>

extern struct guard {
    uint64_t made, freed; /* packets, since the harness looked */
    int none_left;        /* the pool plays empty */
} guard;

enum { MARK_IP_RIGHT = 1, MARK_L4_RIGHT = 2, MARK_CAME = 4 };
#define guard_mark(m) ((m)->hash.usr) /* no port here uses it. MARK_: that it came by a port, and which checksums were right then */

static inline char *guard_end(const struct rte_mbuf *m) { return (char *)m->buf_addr + m->buf_len; }

static inline void guard_close_tail(struct rte_mbuf *m)
{
    char *end = rte_pktmbuf_mtod_offset(m, char *, m->data_len);
    __asan_poison_memory_region(end, guard_end(m) - end);
}

static inline struct rte_mbuf *guard_alloc(struct rte_mempool *pool)
{
    struct rte_mbuf *m = guard.none_left ? NULL : rte_pktmbuf_alloc(pool);
    if (m == NULL)
        return NULL;
    guard.made++;
    guard_mark(m) = 0;
    __asan_poison_memory_region(m->buf_addr, m->buf_len);
    return m;
}

static inline void guard_free(struct rte_mbuf *m)
{
    guard.freed += m != NULL && rte_mbuf_refcnt_read(m) == 1;
    while (m != NULL) {
        struct rte_mbuf *next = m->next;
        if (RTE_MBUF_DIRECT(m) && rte_mbuf_refcnt_read(m) == 1)
            __asan_poison_memory_region(m->buf_addr, m->buf_len);
        rte_pktmbuf_free_seg(m);
        m = next;
    }
}

static inline char *guard_append(struct rte_mbuf *m, uint16_t n)
{
    char *room = rte_pktmbuf_append(m, n);
    if (room != NULL)
        __asan_unpoison_memory_region(room, n);
    return room;
}

static inline char *guard_prepend(struct rte_mbuf *m, uint16_t n)
{
    char *room = rte_pktmbuf_prepend(m, n);
    if (room != NULL)
        __asan_unpoison_memory_region(room, n);
    return room;
}

static inline char *guard_adj(struct rte_mbuf *m, uint16_t n)
{
    char *front = rte_pktmbuf_mtod(m, char *), *left = rte_pktmbuf_adj(m, n);
    if (left != NULL)
        __asan_poison_memory_region(front, n);
    return left;
}

static inline int guard_trim(struct rte_mbuf *m, uint16_t n)
{
    int rc = rte_pktmbuf_trim(m, n);
    guard_close_tail(m);
    return rc;
}

#define rte_pktmbuf_alloc guard_alloc
#define rte_pktmbuf_free guard_free
#define rte_pktmbuf_append guard_append
#define rte_pktmbuf_prepend guard_prepend
#define rte_pktmbuf_adj guard_adj
#define rte_pktmbuf_trim guard_trim

#endif
