/* What must hold after whatever came: every packet accounted for, the tables agree with their counters. */
#ifndef JUPITER_CHECKS_H
#define JUPITER_CHECKS_H

#include "memory.h"
#include "tuples.h"
#include "table/tcp_state.h"

/* A packet dropped under one of these may come back as the answer to its sender (drop_and_answer). */
static const uint8_t answerable[N_DROP_REASONS] = {
    [TTL_EXCEEDED] = 1, [MTU_EXCEEDED] = 1,  [CONNECTION_RESET] = 1, [NO_SERVICE] = 1,      [NO_CONNECTION] = 1,
    [NO_SERVER] = 1,    [SERVICE_FULL] = 1,  [SERVER_FULL] = 1,      [CONNECTION_RATE] = 1, [CLIENT_RATE] = 1,
};

static struct account {
    uint64_t in;        /* packet buffers that came by a port */
    uint64_t out;       /* ... that left by one */
    uint64_t to_kernel; /* frames in its rings */
    uint64_t for_kernel; /* frames that the kernel sent */
} account;

/* Whether a whole TCP or UDP packet's own lengths are true. */
static int lengths_are_true(const uint8_t *ip)
{
    uint32_t header = header_of(ip), n = word(ip + 2) - header;
    const uint8_t *l4 = ip + header;
    if (word(ip + 6) & 0x3fff)
        return 1;
    if (ip[9] == 6)
        return n >= 20 && l4[12] >> 4 >= 5 && (l4[12] >> 4) * 4u <= n;
    return ip[9] != 17 || (n >= 8 && word(l4 + 4) == n);
}

/* A frame that leaves, from a buffer that says which checksums were right when it came. */
static void check_left(struct rte_mbuf *m)
{
    uint8_t *f = rte_pktmbuf_mtod(m, uint8_t *);
    uint32_t lost;
    if (m->nb_segs != 1 || m->next != NULL || m->pkt_len != m->data_len || m->data_off + m->data_len > m->buf_len)
        finding("a frame leaves whose buffer disagrees with itself");
    if (m->data_len < ETH)
        finding("a frame leaves that is shorter than its Ethernet header");
    if (word(f + 12) != 0x800 || !(guard_mark(m) & MARK_CAME))
        return;
    if (!is_ipv4(f, m->data_len) || !lengths_are_true(f + ETH))
        finding("a packet leaves whose lengths lie");
    lost = guard_mark(m) & ~right_checksums(f, m->data_len);
    if (lost & MARK_IP_RIGHT)
        finding("a packet came with a right IPv4 checksum, and leaves with a wrong one");
    if (lost & MARK_L4_RIGHT && !(word(f + ETH + 6) & 0x3fff))
        finding("a packet came with a right TCP, UDP or ICMP checksum, and leaves with a wrong one");
}

/* The region's counters, its index and its free list say the same as its entries. */
static void check_table(const struct worker *w, uint32_t n_servers)
{
    const struct table *t = &w->table;
    const struct region *r = t->region;
    uint32_t used = 0, opening = 0, held = 0, indexed = 0, unused = 0, active = 0;
    for (uint32_t i = 0; i < r->high_water; i++) {
        uint8_t state = t->connections[i].state;
        if (state >= N_STATES || state == STATE_DEAD)
            finding("a connection in a state that no turn may end with");
        used += state != STATE_FREE;
        opening += half_open[state];
        held += state == STATE_HELD; /* found by its server alone */
    }
    for (uint32_t i = 0; i < BUCKETS * 8; i++)
        if (t->buckets[i / 8].tag[i % 8]) {
            uint32_t index = t->buckets[i / 8].entry[i % 8] >> 1;
            if (index >= r->high_water || t->connections[index].state == STATE_FREE)
                finding("the index leads to an entry that is free");
            indexed++;
        }
    for (uint32_t n = t->nodes[LIST_FREE].next; n != LIST_FREE && unused <= r->high_water; n = t->nodes[n].next)
        unused++;
    for (uint32_t i = 0; i < n_servers; i++)
        active += w->server_counts[i].active;
    if (r->high_water > CAPACITY || used != r->in_use || indexed != 2 * used - held || used + unused != r->high_water)
        finding("entries in use, in the index and free do not add up");
    if (opening != r->half_open)
        finding("half-open connections are not as many as are counted");
    if (active != used)
        finding("the servers' connections are not as many as there are");
}

/* Nothing waits any longer: every packet that came has left, or was dropped under one reason. A buffer that the director
 * makes itself (resets, questions, the kernel's frames) left, or was dropped too. */
static void check_account(struct worker *const *workers, uint32_t n)
{
    uint64_t drops = 0, may_be_answered = 0;
    uint64_t said = 0, no_buffer = 0;
    int64_t answered, made = (int64_t)(guard.made - account.for_kernel);
    for (uint32_t i = 0; i < n; i++) {
        said += workers[i]->said[SAID_ERROR] + workers[i]->said[SAID_RESET];
        no_buffer += workers[i]->drops[NO_MBUF]; /* of a packet, or of what there was no buffer for */
        for (uint32_t k = 0; k < N_DROP_REASONS; k++)
            if (k != NO_MBUF) {
                drops += workers[i]->drops[k];
                may_be_answered += answerable[k] ? workers[i]->drops[k] : 0;
            }
    }
    if (account.in + guard.made != account.out + guard.freed)
        finding("packet buffers are kept, or were freed twice");
    answered = (int64_t)(drops + account.to_kernel - guard.freed);
    if (answered > (int64_t)may_be_answered)
        finding("a packet was dropped under a reason, and left all the same");
    if (answered < -(int64_t)no_buffer - (made > 0 ? made : 0))
        finding("a packet vanished without a reason");
    if (made == 0 && no_buffer == 0 && answered != (int64_t)said)
        finding("the answers to dropped packets are not as many as are counted");
}

#endif
