/* Each input meets the same director: what workers have written is brought back to what it was when the scene was ready.
 *
 * Small areas are copied. Of a connection region, which is large, only what was used is brought back, by what the table
 * itself says about that; the copy of everything tells whether that was all (memory_is_back). */
#ifndef JUPITER_MEMORY_H
#define JUPITER_MEMORY_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "layout.h"

enum { CAPACITY = 160, BUCKETS = 66, MAX_AREAS = 256 }; /* a small table: its limits are reached in one input */

struct area {
    uint8_t *at, *copy;
    size_t n;
};
static struct area small_areas[MAX_AREAS], all_areas[MAX_AREAS];
static uint32_t n_small_areas, n_all_areas;

static void finding(const char *what)
{
    fprintf(stderr, "finding: %s\n", what);
    abort(); /* libFuzzer keeps the input */
}

static void take_area(struct area *a, uint64_t at, uint64_t n)
{
    a->at = (uint8_t *)at;
    a->n = n;
    a->copy = malloc(n);
    memcpy(a->copy, a->at, n);
}

/* pairs: address, length. */
static uint32_t take_areas(struct area *areas, const uint64_t *pairs, uint32_t n)
{
    if (n > MAX_AREAS)
        finding("more areas than the harness has room for");
    for (uint32_t i = 0; i < n; i++)
        take_area(&areas[i], pairs[2 * i], pairs[2 * i + 1]);
    return n;
}

static void make_table_small(struct table *t)
{
    t->capacity = t->region->capacity = CAPACITY;
    t->n_buckets = t->region->n_buckets = BUCKETS;
    t->half_open_limit = CAPACITY / 4;
}

/* A read or write beside what is in use is one beyond its end. */
static void guard_table(struct table *t)
{
    ASAN_POISON_MEMORY_REGION(t->buckets + BUCKETS, (uint8_t *)t->connections - (uint8_t *)(t->buckets + BUCKETS));
    ASAN_POISON_MEMORY_REGION(t->connections + CAPACITY, (uint8_t *)t->nodes - (uint8_t *)(t->connections + CAPACITY));
}

static void list_reset(struct node *nodes, uint32_t head)
{
    if (head < LIST_HEADS)
        nodes[head].next = nodes[head].prev = head;
}

/* As a region is that never had a connection. */
static void reset_table(struct table *t)
{
    struct region *r = t->region;
    for (uint32_t i = 0; i < r->high_water; i++) {
        list_reset(t->nodes, t->nodes[LIST_HEADS + i].next);
        list_reset(t->nodes, t->nodes[LIST_HEADS + i].prev);
    }
    memset(t->connections, 0, r->high_water * sizeof(struct connection));
    memset(t->nodes + LIST_HEADS, 0, r->high_water * sizeof(struct node));
    memset(t->buckets, 0, BUCKETS * sizeof(struct bucket));
    r->high_water = r->in_use = r->half_open = r->wheel_time = 0;
}

/* As if no fragment had ever come. */
static void reset_gather(struct gather *g)
{
    for (uint32_t i = 0; i < g->newest && i < DATAGRAMS; i++) {
        g->chains[g->datagrams[i].chain] = DATAGRAMS;
        memset(&g->datagrams[i], 0, sizeof(struct datagram));
    }
    g->oldest = g->newest = g->n_held = 0;
    g->again = g->last_again = NULL;
}

static void bring_back(void)
{
    for (uint32_t i = 0; i < n_small_areas; i++)
        memcpy(small_areas[i].at, small_areas[i].copy, small_areas[i].n);
}

/* Without a look at what is poisoned. Areas are whole words: their structures are. */
__attribute__((no_sanitize("address"))) static int is_as_it_was(const struct area *a)
{
    const uint64_t *is = (const uint64_t *)a->at, *was = (const uint64_t *)a->copy;
    uint64_t differ = 0;
    for (size_t i = 0; i < a->n / 8; i++)
        differ |= is[i] ^ was[i];
    return differ == 0;
}

static void memory_is_back(void)
{
    for (uint32_t i = 0; i < n_all_areas; i++)
        if (!is_as_it_was(&all_areas[i])) {
            fprintf(stderr, "area %u of the scene, %zu bytes\n", i, all_areas[i].n);
            finding("an input has left traces in memory: the harness must bring more back (memory.h, scene.py)");
        }
}

#endif
