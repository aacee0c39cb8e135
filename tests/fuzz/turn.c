/* A whole director under libFuzzer: an input is read as what happens to it, frames by the burst, time, what the main thread
 * changes, and each turn is taken by the engine's own worker_turn(), compiled with AddressSanitizer and
 * UndefinedBehaviorSanitizer. Every input meets the same director (memory.h), so a finding needs nothing but its input.
 *
 * Two bytes that say how the director is (SETTINGS), then steps: a byte whose low three bits are what happens
 *   0..3 frame: how, place, padding / 8, length (2 bytes, little endian), its bytes (tuples.h)
 *   4 time passes    5 a next hop changes    6 the main thread does something (enum event)    7 the kernel sends a frame
 * and whose other bits are the frame's worker, port, "take a turn now", and what the card says of its checksum.
 */
#include "guard.h"
#include "checks.h"
#include <inttypes.h>
#include <rte_ring.h>

struct guard guard;

enum { FRAME = 3, TIME, HOP, EVENT, KERNEL };
enum { OP = 7, BY_WORKER = 8, BY_PORT = 16, TURN_NOW = 32, CARD_SAYS = 6 /* the shift */ };
enum { TWO_WORKERS = 1, REFUSES = 2, RESETS_UNKNOWN = 4, CLOCK_WRAPS = 8, KERNEL_FULL = 16, CARDS_CLAIM = 32, NO_KERNEL = 64,
       NO_ADDRESS = 128, UNTIL_ALL_IS_GONE = 256, TINY_TABLE = 512, NO_LOCALS = 1024, HAND_OVER_FULL = 2048,
       SEND_FULL = 4096, SMALL_MTU = 8192 }; /* SETTINGS */
enum { START_MS = 5000, ROUNDS = 64, GONE_ROUNDS = 8192, TINY_CAPACITY = 8, LEAST_MTU = 68 };
enum { FRAGMENT_WAIT_MS = 120000, LONGEST_TIMEOUT_MS = 1200000 };

static const uint64_t card_says[4] = {0, RTE_MBUF_F_RX_IP_CKSUM_BAD, RTE_MBUF_F_RX_IP_CKSUM_GOOD, RTE_MBUF_F_RX_IP_CKSUM_MASK};

static uint32_t (*take_turn)(struct worker *, uint32_t);
static struct worker *workers[2];
static struct shared *shared;
static struct queue {
    uint32_t worker, port;
    struct rte_ring *rx, *tx;
} queues[3]; /* worker 0 of ports 0 and 1, worker 1 of port 0 */
static uint32_t now, n_workers, n_servers, settings;
static struct verb verb;
static uint8_t verb_frames[512];
static struct connection verb_rows[8];
static int twice;          /* each input runs twice, and must do the same; its traces are looked for every time */
static uint64_t digest;    /* of what left, when it runs twice */
static uint64_t dropped[N_DROP_REASONS], sent; /* over all inputs */

struct reader {
    const uint8_t *at, *end;
};

static uint8_t take(struct reader *r) { return r->at < r->end ? *r->at++ : 0; }

static uint32_t take_length(struct reader *r, uint32_t most)
{
    uint32_t n = take(r), room = (uint32_t)(r->end - r->at);
    n |= (uint32_t)take(r) << 8;
    room = (uint32_t)(r->end - r->at);
    n = n < room ? n : room;
    return n < most ? n : most;
}

static void digest_add(const uint8_t *p, uint32_t n)
{
    for (uint32_t i = 0; twice && i < n; i++)
        digest = (digest ^ p[i]) * 0x100000001b3ull;
}

/* ---- what leaves ----------------------------------------------------------------------------------------------- */

static void drain_network(const struct queue *q)
{
    struct rte_mbuf *m;
    if (settings & SEND_FULL && q->port == 0)
        return;
    while (rte_ring_dequeue(q->tx, (void **)&m) == 0) {
        check_left(m);
        remember_left(q->port, rte_pktmbuf_mtod(m, uint8_t *), m->data_len);
        digest_add(rte_pktmbuf_mtod(m, uint8_t *), m->data_len);
        account.out++;
        guard_free(m);
        guard.freed--;
    }
}

static void drain_kernel(uint32_t worker, uint32_t port)
{
    struct frame_ring *r = shared->ports[port].to_kernel[worker];
    if (settings & KERNEL_FULL && port == 0)
        return;
    for (; r->tail != r->head; r->tail++) {
        const uint8_t *slot = r->data + (size_t)(r->tail & (FRAME_SLOTS - 1)) * r->stride;
        uint32_t n;
        memcpy(&n, slot, 4);
        if (n > r->frame_max)
            finding("a frame for the kernel is longer than its ring's slots");
        digest_add(slot + 4, n);
        account.to_kernel++;
    }
}

static int drain(void)
{
    int more = 0;
    for (uint32_t i = 0; i < 3; i++) {
        drain_network(&queues[i]);
        more |= queues[i].worker < n_workers && rte_ring_count(queues[i].rx);
    }
    for (uint32_t i = 0; i < n_workers; i++) {
        for (uint32_t port = 0; port < 2; port++) {
            struct frame_ring *r = shared->ports[port].from_kernel[i];
            drain_kernel(i, port);
            more |= r->head != r->tail;
        }
        more |= workers[i]->verb != NULL || workers[i]->gather->again != NULL;
        if (n_workers == 2)
            more |= workers[i]->hand_from[1 - i]->head != workers[i]->hand_from[1 - i]->tail;
    }
    return more;
}

static void turn(uint32_t i)
{
    struct hand_ring *r = workers[i]->hand_to[1 - i];
    uint32_t tail = r->tail;
    if (settings & HAND_OVER_FULL)
        r->tail = r->tail_seen = r->filled - HAND_SLOTS;
    take_turn(workers[i], now);
    if (settings & HAND_OVER_FULL)
        r->tail = tail;
}

/* Turns of all workers, until none has anything to do at this time. */
static void take_turns(void)
{
    uint32_t round = 0;
    do {
        for (uint32_t i = 0; i < n_workers; i++)
            turn(i);
        if (++round > ROUNDS)
            finding("turns without an end");
    } while (drain());
}

/* ---- what comes ------------------------------------------------------------------------------------------------ */

static struct rte_mbuf *buffer_with(const uint8_t *f, uint32_t n, uint32_t room)
{
    struct rte_mbuf *m;
    int none_left = guard.none_left;
    guard.none_left = 0;
    m = guard_alloc(workers[0]->pool);
    guard.none_left = none_left;
    if (m == NULL)
        finding("packet buffers are kept: none is left");
    guard.made--;
    m->data_off = (uint16_t)room;
    memcpy(guard_append(m, (uint16_t)n), f, n);
    return m;
}

static void frame(struct reader *r, uint8_t op)
{
    static uint8_t f[FRAME_MAX];
    uint8_t how = take(r), place = take(r);
    uint32_t padding = take(r) * 8u, n = take_length(r, FRAME_MAX - 1), port = !!(op & BY_PORT);
    const struct queue *q = &queues[port ? 1 : op & BY_WORKER && n_workers == 2 ? 2 : 0];
    struct rte_mbuf *m;
    memcpy(f, r->at, n);
    r->at += n;
    padding = padding < FRAME_MAX - n ? padding : FRAME_MAX - n;
    memset(f + n, 0, padding);
    n += padding;
    fix(shared, f, n, port, how, place);
    m = buffer_with(f, n, how & NO_HEADROOM ? 0 : RTE_PKTMBUF_HEADROOM);
    m->ol_flags = card_says[op >> CARD_SAYS];
    guard_mark(m) = MARK_CAME | right_checksums(f, n);
    if (how & TWO_SEGMENTS && n > 1) {
        m->next = buffer_with(f + n / 2, n - n / 2, RTE_PKTMBUF_HEADROOM);
        guard_trim(m, (uint16_t)(n - n / 2));
        m->nb_segs = 2;
        m->pkt_len = n;
    }
    if (rte_ring_enqueue(q->rx, m) != 0)
        finding("the harness puts more into a queue than it holds");
    account.in++;
    if (op & TURN_NOW || rte_ring_count(q->rx) >= 2 * BURST)
        take_turns();
}

static void kernel_frame(struct reader *r, uint8_t op)
{
    uint32_t n = take_length(r, 256), port = !!(op & BY_PORT);
    struct frame_ring *ring = shared->ports[port].from_kernel[op & BY_WORKER && n_workers == 2];
    uint8_t *slot = ring->data + (size_t)(ring->head & (FRAME_SLOTS - 1)) * ring->stride;
    uint32_t length = n < 14 ? 14 : n; /* Linux's own rule */
    memset(slot + 4, 0, 14);
    memcpy(slot, &length, 4);
    memcpy(slot + 4, r->at, n);
    r->at += n;
    ring->head++;
    account.for_kernel += guard.none_left ? 0 : 1;
    if (op & TURN_NOW || ring->head - ring->tail >= BURST)
        take_turns();
}

static void time_passes(uint8_t how)
{
    now += (1u + (how & 15)) << (how >> 4); /* up to 524 s, and not 2^31 ms altogether: no worker stands still for so long */
}

/* The main thread's set_next_hop(). */
static void hop_changes(uint8_t how)
{
    uint64_t mac = 0x020000000000ull | how, port = how >> 6 & 1;
    shared->servers[(how & 15) % n_servers].hop = mac | port << 48 | (uint64_t)(how >> 7 ? 0 : HOP_RESOLVED) << 56;
}

enum event { SERVER_GOES, SERVER_TO_RESET, SERVER_DRAINS, ASK_SWEEP, ASK_FIND, ASK_SEND, NO_BUFFERS, LOADS_CHANGE };

static void ask(uint8_t kind, uint8_t how, struct reader *r)
{
    uint32_t n;
    take_turns();
    memset(&verb, 0, sizeof(verb));
    verb.kind = kind;
    verb.max_idle = how & 8 ? 1000 : NONE;
    verb.rows = verb_rows;
    verb.limit = kind == VERB_FIND ? 8 : RESETS_MS;
    verb.entries = kind == VERB_FIND ? 64 : 1;
    verb.hurry = 1; /* a sweep that is ahead of its pace ends: time does not pass here */
    verb.frames = verb_frames;
    verb.port = how & 1;
    if (kind == VERB_SEND) {
        n = take_length(r, sizeof(verb_frames) - 4);
        memcpy(verb_frames, &n, 4);
        memcpy(verb_frames + 4, r->at, n);
        r->at += n;
        if (n < 14)
            return;
    }
    workers[how >> 7 & (n_workers - 1)]->verb = &verb;
    take_turns();
}

static void event(uint8_t how, struct reader *r)
{
    struct server *s = &shared->servers[take(r) % n_servers];
    switch (how & 7) {
    case SERVER_GOES: s->removed = SERVER_REMOVED; break;
    case SERVER_TO_RESET: s->removed = SERVER_RESET; break;
    case SERVER_DRAINS: s->eligible = 0; break;
    case ASK_SWEEP: ask(VERB_SWEEP, how, r); break;
    case ASK_FIND: ask(VERB_FIND, how, r); break;
    case ASK_SEND: ask(VERB_SEND, how, r); break;
    case NO_BUFFERS: guard.none_left = !guard.none_left; break;
    case LOADS_CHANGE: shared->load_epoch++; break;
    }
}

/* ---- an input -------------------------------------------------------------------------------------------------- */

/* As if so many stood in it. */
static void show_ring(struct rte_ring *r, uint32_t n) { r->cons.head = r->cons.tail = r->prod.tail - n; }

static void begin(uint32_t chosen)
{
    settings = chosen;
    n_workers = shared->n_workers = settings & TWO_WORKERS ? 2 : 1;
    shared->refuses = !!(settings & REFUSES);
    shared->resets_unknown = !!(settings & RESETS_UNKNOWN);
    now = settings & CLOCK_WRAPS ? (uint32_t)-START_MS : START_MS;
    for (uint32_t i = 0; i < 2; i++) {
        workers[i]->table.region->wheel_time = now >> WHEEL_SHIFT;
        workers[i]->table.capacity = settings & TINY_TABLE ? TINY_CAPACITY : CAPACITY;
        workers[i]->table.half_open_limit = workers[i]->table.capacity / 4;
        if (settings & SMALL_MTU)
            shared->ports[1].mtu = shared->least_mtu = LEAST_MTU;
        if (settings & NO_LOCALS)
            shared->ports[1].pool = NULL;
        shared->ports[i].kernel_attached = !(settings & NO_KERNEL);
        shared->ports[i].brings = settings & CARDS_CLAIM ? BRINGS_ALL : 0;
        if (settings & NO_ADDRESS)
            shared->ports[i].address = 0;
        if (settings & KERNEL_FULL)
            shared->ports[0].to_kernel[i]->tail = shared->ports[0].to_kernel[i]->head - FRAME_SLOTS;
    }
    for (uint32_t i = 0; i < 3 && settings & SEND_FULL; i++) /* port 0 sends nothing */
        if (queues[i].port == 0)
            show_ring(queues[i].tx, queues[i].tx->capacity);
    memset(&account, 0, sizeof(account));
    memset(&guard, 0, sizeof(guard));
    n_left = 0;
    digest = 0;
}

/* Until nobody waits any longer: what is parked leaves or is given up. */
static void settle(void)
{
    guard.none_left = 0;
    take_turns();
    for (uint32_t wait = PARKING_MS; account.in + guard.made != account.out + guard.freed; wait *= 2) {
        if (wait > FRAGMENT_WAIT_MS)
            return; /* check_account() says it */
        now += wait;
        take_turns();
    }
}

/* Every connection ends by itself. */
static void until_all_is_gone(void)
{
    now += LONGEST_TIMEOUT_MS;
    for (uint32_t round = 0; workers[0]->table.region->in_use + workers[1]->table.region->in_use; round++) {
        if (round == GONE_ROUNDS)
            finding("a connection does not expire");
        take_turns();
    }
}

static void end(void)
{
    settle();
    if (settings & UNTIL_ALL_IS_GONE)
        until_all_is_gone();
    check_account(workers, n_workers);
    sent += account.out;
    for (uint32_t i = 0; i < n_workers; i++) {
        check_table(workers[i], n_servers);
        digest_add((uint8_t *)workers[i]->drops, sizeof(workers[i]->drops));
        for (uint32_t k = 0; k < N_DROP_REASONS; k++)
            dropped[k] += workers[i]->drops[k];
    }
    for (uint32_t i = 0; i < 3 && settings & SEND_FULL; i++)
        show_ring(queues[i].tx, 0);
    for (uint32_t i = 0; i < 2; i++) {
        reset_table(&workers[i]->table);
        reset_gather(workers[i]->gather);
        shared->ports[i].to_kernel[0]->tail = shared->ports[i].to_kernel[1]->tail = 0;
        shared->ports[i].from_kernel[0]->head = shared->ports[i].from_kernel[1]->head = 0;
    }
    bring_back();
}

static void run(struct reader r)
{
    uint32_t chosen = take(&r);
    begin(chosen | (uint32_t)take(&r) << 8);
    while (r.at < r.end) {
        uint8_t op = take(&r);
        switch (op & OP) {
        default: frame(&r, op); break;
        case TIME: time_passes(take(&r)); break;
        case HOP: hop_changes(take(&r)); break;
        case EVENT: event(take(&r), &r); break;
        case KERNEL: kernel_frame(&r, op); break;
        }
    }
    end();
}

/* ---- libFuzzer's side ------------------------------------------------------------------------------------------- */

static int one_input(const uint8_t *data, size_t n)
{
    static uint32_t inputs;
    struct reader r = {data, data + n};
    uint64_t first;
    run(r);
    if (twice) {
        first = digest;
        run(r);
        if (digest != first)
            finding("the same input does something else the second time");
    }
    if (twice || ++inputs % 4096 == 0)
        memory_is_back();
    return 0;
}

int LLVMFuzzerRunDriver(int *argc, char ***argv, int (*one)(const uint8_t *, size_t));

/* handles: take_turn; both workers; rx and tx ring of worker 0, ports 0 and 1, and of worker 1, port 0. Areas: pairs of
 * address and length. */
void fuzz_open(const uint64_t *handles, const uint64_t *small, uint32_t n_small, const uint64_t *all, uint32_t n_all, int each_twice)
{
    take_turn = (uint32_t(*)(struct worker *, uint32_t))handles[0];
    for (uint32_t i = 0; i < 3; i++) {
        queues[i].worker = i / 2;
        queues[i].port = i % 2;
        queues[i].rx = (struct rte_ring *)handles[3 + 2 * i];
        queues[i].tx = (struct rte_ring *)handles[4 + 2 * i];
    }
    for (uint32_t i = 0; i < 2; i++) {
        workers[i] = (struct worker *)handles[1 + i];
        make_table_small(&workers[i]->table);
        take_turn(workers[i], START_MS); /* what is written once and for all */
        reset_table(&workers[i]->table);
        workers[i]->now = 0;
    }
    shared = workers[0]->shared;
    for (uint32_t i = 0; shared->services[i] != NULL; i++)
        n_servers += shared->services[i]->n_servers;
    n_small_areas = take_areas(small_areas, small, n_small);
    n_all_areas = take_areas(all_areas, all, n_all);
    guard_table(&workers[0]->table);
    guard_table(&workers[1]->table);
    twice = each_twice;
}

/* The harness on trial: byte `at` of a frame of so many. */
int fuzz_touch(uint32_t length, uint32_t at)
{
    static uint8_t f[FRAME_MAX];
    return *rte_pktmbuf_mtod_offset(buffer_with(f, length, RTE_PKTMBUF_HEADROOM), volatile uint8_t *, at);
}

/* How deep all inputs together went, for people: whoever adds a reason sees whether the fuzzer reaches it. */
static void tell(void)
{
    if (sent == 0) /* it only gave others something to do */
        return;
    fprintf(stderr, "%" PRIu64 " packets left; drop reasons never met:", sent);
    for (uint32_t k = 0; k < N_DROP_REASONS; k++)
        if (dropped[k] == 0)
            fprintf(stderr, " %s", drop_keys[k]);
    fprintf(stderr, "\n");
}

int fuzz_run(int argc, char **argv)
{
    atexit(tell);
    return LLVMFuzzerRunDriver(&argc, &argv, one_input);
}
