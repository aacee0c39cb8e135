/* What packets are followed by, and what is noted of each (table/watch.pxd).
 *
 * `struct watch` is the main thread's and does not change while shared.watch points to it. A log is one worker's: it
 * writes, the main thread reads and moves `tail`. Records are of any length, a multiple of 8, and lie in one piece.
 */
#ifndef JUPITER_WATCH_H
#define JUPITER_WATCH_H

#include "../layout.h"

enum { LOG_BYTES = 4 << 20 }; /* of a worker: 2,500 whole frames of 1,500 bytes, or 12,000 heads */
enum { MAX_SNAP = 16384, SENT = 2 * MAX_PORTS * BURST /* packets that a turn can send */ };
enum { ANY_PROTOCOL = 0, PROTOCOL_ARP = 0x806, PROTOCOL_OTHER = 0xFFFF }; /* else that of IPv4 */
enum { NO_REASON = 255, ANY_REASON = 254 };
enum { KEPT = 254 /* it left the batch, and a stage has it */, NOT_REACHED = 255 }; /* beside verdicts */

/* Points between the stages from which the batch is looked at. */
enum { AT_RECEIVED, AT_FOUND, AT_SCHEDULED, AT_REWRITTEN, AT_DISPATCHED };

enum { SEEN_PASSED, SEEN_LEFT, SEEN_ENDED };
enum { CAME_FROM_PORT, CAME_FROM_WORKER, CAME_FROM_PARKING, CAME_FROM_HOME /* a fragment, with its ports */ };
enum { KNOWS_NOTHING, KNOWS_ADDRESSES, KNOWS_PORTS };

/* A frame's own two ends: saddr | daddr << 32; sport | dport << 16 | protocol << 32, as in struct batch. */
struct view {
    uint64_t addrs, ports;
    uint16_t protocol;
    uint8_t knows;
};

/* The ends of a packet's connection as far as they are known, by the number of their bit; port 0: none. */
struct ends {
    be32 address[4];
    be16 port[4];
    uint8_t known;
};

/* A record, the first `stored` bytes of its frame behind it. PASSED: what each stage made of a packet. LEFT: a frame given
 * to a port, or, with a reason, not taken by it. ENDED: a packet that had waited for its server or
 * its first fragment, and is dropped. */
struct seen {
    uint32_t size; /* with the frame; 0: the rest of the log is empty, go on at its begin */
    uint32_t length, stored;
    uint8_t kind, came, port, reason;
    uint64_t ns; /* since 1970 */
    uint8_t classified, scheduled, verdict; /* verdicts of classify, of schedule, and the last one */
    uint8_t found;                          /* lookup: 0 none, else 1 + direction */
    uint8_t has_connection, state, state_after; /* before and after its burst */
    uint8_t out;                                /* port that it leaves by */
    uint32_t server;                            /* or NONE */
    uint32_t to;                                /* worker that it is handed to */
    struct view view, left;                     /* as it came; as it leaves */
    struct ends ends;
    uint64_t hop;
};

/* A packet that is followed through the stages of its burst. */
struct followed {
    struct seen seen;
    const struct rte_mbuf *pkt; /* by which it is found again; NULL: it has left the batch */
    uint32_t entry;
};

struct watch_log {
    uint32_t tail __attribute__((aligned(LINE))); /* the reader's; both count bytes */
    uint32_t head __attribute__((aligned(LINE))); /* the worker's, as far as may be read */
    uint32_t filled, lost;                        /* lost: records for which there was no room */
    uint32_t n;                                   /* followed now */
    uint32_t n_sent;
    uint64_t sent_turn;
    const struct rte_mbuf *sent[SENT]; /* what the stages have sent in this turn, and is still in transmit buffers */
    uint32_t given[MAX_WORKERS];       /* how far each ring to another worker was filled before the stages */
    struct followed followed[BURST];
    uint8_t *frames; /* of these, as they came: BURST x stride */
    uint8_t *data;   /* LOG_BYTES */
};

struct watch {
    uint16_t protocol;
    uint8_t reason; /* NO_REASON: packets that are dropped and those that are not */
    uint8_t all_leaving; /* frames on their way out, also those whose packet is followed */
    uint8_t n_matches;
    uint32_t snap, stride;
    struct match matches[MAX_MATCHES];
    struct watch_log *logs[MAX_WORKERS];
};

#endif
