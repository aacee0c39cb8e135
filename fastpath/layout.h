/* Every structure that the packet path reads or writes, by cache line, closed by asserts.
 *
 * Three owners: a worker owns its table, its counters and its batch, and nobody else writes them; the main thread owns
 * `struct shared` and everything below it, and replaces what workers read by swapping pointers, single words, or entries of the service map (RCU);
 * frame rings and hand-over rings have one producer and one consumer. Indexes, never pointers, lead from one entry to another, so that the
 * connection region can be mapped by another process.
 */
#ifndef JUPITER_LAYOUT_H
#define JUPITER_LAYOUT_H

#include <stdint.h>
#include <rte_mbuf.h>
#include <rte_rcu_qsbr.h>

typedef uint16_t be16; /* network byte order: converted once, at the edge */
typedef uint32_t be32;

/* A turn is one function, so that nothing is called for each packet; but what is rare takes registers away from what is not.
 * A .pxd file declares a function of its own as that, before Cython does, under the name that it has in C. */
#define APART __attribute__((noinline))
#define RARE __attribute__((cold))
#define COMMON __attribute__((hot)) /* for gcc, what stands behind unlikely() is cold, and so small that it divides by constants */

enum { LINE = 64 };
enum { BURST = 32, MAX_PORTS = 16, MAX_WORKERS = 64, MAX_SERVICES = 1 << 16, MAX_SERVERS = 1 << 20 };
enum { MAX_SERVICE_SERVERS = (1 << 16) - 1, MAX_WRR_SLOTS = 1 << 20 };
enum { INBOUND = 0, OUTBOUND = 1 };
/* What becomes of a packet. SPLIT: sent in pieces. The last two are no longer the batch's: the packet waits, or another worker
 * has it already. */
enum { GO_ON = 0, SEND = 1, PUNT = 2, DROP = 3, HAND = 4, SPLIT = 5, PARK = 6, GONE = 7 };

#define NONE UINT32_MAX /* no connection, no service, no server */

/* ---- why a packet was dropped: one reason each, the name is API ------------------------------------------------ */

#define DROP_REASONS(X)                                                                                               \
    X(FRAME_TRUNCATED, "frame_truncated", "the frame is shorter than its Ethernet header")                            \
    X(FRAME_SEGMENTED, "frame_segmented", "the frame is larger than one packet buffer")                               \
    X(NOT_FOR_US, "not_for_us", "the destination MAC address is another machine's")                                   \
    X(ARP_TRUNCATED, "arp_truncated", "the ARP message is cut short or not about IPv4 over Ethernet")                 \
    X(IPV4_TRUNCATED, "ipv4_truncated", "the frame ends inside the IPv4 header")                                      \
    X(IPV4_BAD_VERSION, "ipv4_bad_version", "the EtherType says IPv4, the version field does not")                    \
    X(IPV4_BAD_IHL, "ipv4_bad_ihl", "the IPv4 header length is under 20 bytes")                                       \
    X(IPV4_BAD_LENGTH, "ipv4_bad_length", "the IPv4 total length exceeds the frame or undercuts the header")          \
    X(IPV4_BAD_CHECKSUM, "ipv4_bad_checksum", "the NIC found the IPv4 header checksum wrong")                         \
    X(FRAGMENT_MALFORMED, "fragment_malformed", "a fragment of impossible size or place, or the first without its L4 header") \
    X(FRAGMENT_OVERLAP, "fragment_overlap", "a fragment that covers what another one of its datagram has brought")    \
    X(FRAGMENT_FULL, "fragment_full", "too many fragments wait for the first one of their datagram")                  \
    X(FRAGMENT_EXPIRED, "fragment_expired", "the first fragment of its datagram did not come in time")                \
    X(TCP_TRUNCATED, "tcp_truncated", "the packet ends inside the TCP header")                                        \
    X(TCP_BAD_OFFSET, "tcp_bad_offset", "the TCP data offset is under 20 bytes or beyond the packet")                 \
    X(UDP_TRUNCATED, "udp_truncated", "the packet ends inside the UDP header")                                        \
    X(UDP_BAD_LENGTH, "udp_bad_length", "the UDP length differs from what IPv4 carries")                              \
    X(ICMP_TRUNCATED, "icmp_truncated", "the packet ends inside the ICMP header")                                     \
    X(ICMP_BAD_CHECKSUM, "icmp_bad_checksum", "the checksum of the ICMP error is wrong")                              \
    X(ICMP_NO_CONNECTION, "icmp_no_connection", "an ICMP error about no living connection")                           \
    X(ICMP_NOT_HANDLED, "icmp_not_handled", "ICMP for a virtual or local address: neither echo, nor an error about TCP or UDP") \
    X(PROTOCOL_NOT_SERVED, "protocol_not_served", "a virtual or local address, and neither TCP, UDP nor ICMP")        \
    X(TTL_EXCEEDED, "ttl_exceeded", "the TTL ran out here; the sender is told, within a rate limit")                  \
    X(MTU_EXCEEDED, "mtu_exceeded", "longer than the MTU of its way out, and not to be fragmented; the sender is told") \
    X(SPOOFED_SOURCE, "spoofed_source", "the source address cannot be a client's")                                    \
    X(NO_SERVICE, "no_service", "a virtual address, and no service on this port")                                     \
    X(NO_CONNECTION, "no_connection", "no such connection, and the packet may not open one")                          \
    X(NO_SERVER, "no_server", "no real server of the service is eligible")                                            \
    X(SERVICE_FULL, "service_full", "the service has as many connections as it may")                                  \
    X(SERVER_FULL, "server_full", "every eligible real server has as many connections as it may")                     \
    X(CONNECTION_RATE, "connection_rate", "the service opens as many connections a second as it may")                 \
    X(CLIENT_RATE, "client_rate", "the client opens as many connections a second as it may")                          \
    X(NO_LOCAL_PORT, "no_local_port", "no local address and port free towards the chosen server")                     \
    X(CONNECTIONS_EXHAUSTED, "connections_exhausted", "the connection table is full")                                 \
    X(NEXT_HOP_UNRESOLVED, "next_hop_unresolved", "the server's MAC address did not become known in time")            \
    X(PARKING_FULL, "parking_full", "the server's MAC address is not known, and too many packets wait for it")        \
    X(CONNECTION_RESET, "connection_reset", "its connection was reset here; the sender is told")                      \
    X(NO_KERNEL_INTERFACE, "no_kernel_interface", "for the kernel, and this port has no kernel interface")            \
    X(KERNEL_TOO_LONG, "kernel_too_long", "for the kernel, and longer than its interface's MTU")                      \
    X(KERNEL_RING_FULL, "kernel_ring_full", "for the kernel, which does not take frames as fast as they come")        \
    X(KERNEL_REFUSED, "kernel_refused", "for the kernel, whose interface did not take it: is it up?")                  \
    X(NO_MBUF, "no_mbuf", "no packet buffer for a frame of the kernel's or of the director's own")                    \
    X(HANDOVER_FULL, "handover_full", "for another worker, which does not take packets as fast as they come")         \
    X(TX_FULL, "tx_full", "the transmit queue did not take the frame")

enum drop_reason {
#define X(name, key, text) name,
    DROP_REASONS(X)
#undef X
    N_DROP_REASONS
};

static const char *const drop_keys[N_DROP_REASONS] = {
#define X(name, key, text) key,
    DROP_REASONS(X)
#undef X
};
static const char *const drop_texts[N_DROP_REASONS] = {
#define X(name, key, text) text,
    DROP_REASONS(X)
#undef X
};

/* ---- connections: the region of a worker ----------------------------------------------------------------------- */

/* One direction's addresses as they stand in a packet of that direction. */
struct flow {
    be32 saddr, daddr;
    be16 sport, dport;
};

/* One connection, one line. Written by its worker alone. flow[INBOUND] is (C,V), flow[OUTBOUND] is (R,L): a packet of
 * direction d leaves with the reverse of flow[!d]. */
struct connection {
    struct flow flow[2];
    uint8_t protocol;
    uint8_t state;        /* enum in table/tcp_state.h; 0 is a free entry */
    uint8_t flags;        /* bits: CONNECTION_... */
    uint8_t client_port;  /* DPDK port the client's last packet came from */
    uint32_t server;      /* index into shared.servers */
    uint32_t last_seen;   /* worker's clock, ms, wraps */
    uint32_t seq_delta[2]; /* added to sequence numbers of this direction, taken from acknowledgements of the other */
    uint32_t ts_delta;    /* added to the client's TCP timestamps, taken from their echoes */
    be32 next_seq[2];     /* TCP: what this direction's receiver expects next, as it last acknowledged, in its own numbers */
    uint8_t client_mac[6]; /* next hop towards the client: who sent its last packet */
    uint16_t last_stamp;   /* CONNECTION_STAMPED: the upper half of the client's last timestamp, as the server saw it */
} __attribute__((aligned(LINE)));
/* Translated: the deltas are to be applied. Ended: both ends have closed; from then on last_stamp is kept. Rewrite looks
 * at both by one test: no bit is set in nearly all connections that are under way (table/takeover.pxd). */
enum { CONNECTION_TRANSLATED = 1, CONNECTION_ENDED = 2, CONNECTION_STAMPED = 4 };

_Static_assert(sizeof(struct flow) == 12, "a flow is 12 bytes");
_Static_assert(sizeof(struct connection) == LINE, "a connection is one line");
_Static_assert(__builtin_offsetof(struct connection, server) == 28, "both tuples and the server open the line");
_Static_assert(__builtin_offsetof(struct connection, client_mac) == 56, "the line's layout is frozen (REGION_VERSION)");

/* Index bucket: eight 16-bit tags matched at once, and the entries they stand for (connection << 1 | direction).
 * Tag 0 is an empty slot. `spilled` counts entries that wanted this bucket or passed it, and stand further on. */
struct bucket {
    uint16_t tag[8];
    uint32_t entry[8];
    uint32_t spilled;
    uint32_t reserved[3];
} __attribute__((aligned(LINE)));

_Static_assert(sizeof(struct bucket) == LINE, "a bucket is one line");

/* Doubly linked lists by node number: the heads first, then one node a connection. */
struct node {
    uint32_t next, prev;
};

enum { WHEEL_SLOTS = 8192, WHEEL_SHIFT = 10 }; /* slots of 1.024 s: 2 h 19 min, longer than RFC 5382's 2 h 4 min */
enum { LIST_HALF_OPEN = WHEEL_SLOTS, LIST_FREE, LIST_DEAD, LIST_HEADS = WHEEL_SLOTS + 8 };

#define REGION_MAGIC 0x317265746970756aULL /* "jupiter1" in memory */
enum { REGION_VERSION = 3 }; /* the numbers of states (tcp_state.h) belong to it */

/* First page of a region, so that another process can tell whether it understands what it maps. */
struct region {
    uint64_t magic;
    uint32_t version, connection_size, bucket_size, list_heads;
    uint32_t capacity, n_buckets;
    uint64_t hash_key[2];
    uint64_t buckets_at, connections_at, nodes_at, bytes; /* offsets from the start */
    uint32_t high_water; /* entries ever used; those above were never touched */
    uint32_t in_use, half_open;
    uint32_t wheel_time; /* next wheel slot to visit, counted from the clock's zero */
};

struct table {
    struct bucket *buckets;
    struct connection *connections;
    struct node *nodes;
    struct region *region;
    uint64_t hash_key[2];
    uint32_t n_buckets, capacity, half_open_limit;
};

/* ---- services: written by the main thread ---------------------------------------------------------------------- */

struct client_limit {
    uint32_t address, rate; /* address: in host byte order */
};

/* A limit over all workers, as they share it: worker i's part is each + (i < more). each 0: no limit. */
struct share {
    uint32_t each, more;
};

/* What a service asks before it takes a new connection. */
enum { LIMITS_SERVICE = 1, LIMITS_SERVERS = 2, LIMITS_CLIENTS = 4, REMEMBERS = 8 };

/* One published version of a service: immutable, replaced whole. */
struct service {
    uint32_t id;
    be32 vaddr;
    be16 vport;
    uint8_t protocol, scheduler;
    uint32_t established_timeout; /* ms, 0: the default */
    uint32_t n_servers, n_slots;
    uint32_t stagger; /* distance between two workers' starting slots */
    uint32_t n_eligible; /* lc, wlc: so many positions stand behind the slots, each once */
    uint16_t *slots;  /* rr, wrr: the round; lc, wlc: what candidates are drawn from; ipport, iponly: the Maglev table;
                       * positions in servers[] */
    uint32_t *servers;
    struct share max_connections, rate; /* rates: new connections a second */
    uint32_t client_rate;               /* over all workers, 0: no limit */
    uint32_t n_clients;
    struct client_limit *clients; /* by address as a number: clients with another rate than client_rate, 0: none at all */
    uint32_t persistence;         /* ms that a client's connections keep going to one server, 0: none */
    uint8_t whole_address;        /* ... across all services of the address */
    uint8_t asks;                 /* LIMITS_..., REMEMBERS: a new connection is to be looked at */
    uint16_t mss;                 /* largest that a SYN may offer, 0: as it is */
};

/* (address, port, protocol) -> service, and (address, 0, 0) -> whose address it is. Open addressing, at most half full.
 * The key and its kind are one word, so that a reader never meets half of an entry: the writer stores `service` first. An
 * entry that goes becomes MAP_GONE, which ends no search; it is used again after the grace period. */
enum { ADDRESS_FREE = 0, ADDRESS_VIRTUAL = 1, ADDRESS_LOCAL = 2, ADDRESS_SERVICE = 3, ADDRESS_GONE = 4 };

struct map_slot {
    uint64_t key;     /* address | port << 32 | protocol << 48 | kind << 56; 0: free */
    uint32_t service; /* ADDRESS_SERVICE: its id; ADDRESS_VIRTUAL: how many services the address has (main thread's);
                         ADDRESS_LOCAL: the port whose it is, and the worker to which `flow` gives it, << 16 */
    uint32_t reserved;
};

struct service_map {
    uint32_t mask;
    uint32_t n; /* slots that are not free, gone ones included */
    struct map_slot slots[];
};

/* A real server under its stable id. `hop` is one word, so that a change never shows half: MAC (6 bytes), port, flags. */
struct server {
    uint64_t hop;
    be32 raddr;
    be16 rport;
    uint8_t protocol;
    uint8_t removed; /* what became of it when it left its service */
    uint32_t service;
    uint8_t eligible; /* for new connections: its weight is not 0; a backup server: nor is any other's */
    uint8_t backup;   /* takes new connections only while no other server of the service is eligible */
    uint16_t weight;
    struct share max_connections;
};
_Static_assert(sizeof(struct server) == 32, "two servers a line");
enum { HOP_RESOLVED = 1 };
/* Removed: its TCP connections live on. Reset: a sweep of the table ends them (stage/answer.pxd). */
enum { SERVER_PRESENT = 0, SERVER_REMOVED = 1, SERVER_RESET = 2 };

enum { LOCAL_PORT_MIN = 1024, LOCAL_PORTS = 65536 - LOCAL_PORT_MIN, LOCAL_TRIES = 64, LOCAL_JUMPS = 48 };
enum { LOCAL_FREE_TRIES = 8 }; /* for a free one, once there is one to take over */

/* Source addresses towards servers behind one port: immutable, replaced whole. */
struct local_pool {
    uint32_t n;    /* addresses */
    uint32_t size; /* n * LOCAL_PORTS */
    uint32_t bits; /* 2^bits >= size */
    be32 addresses[];
};

/* What wakes a thread that sleeps (table/bell.pxd). */
struct bell {
    uint32_t asleep __attribute__((aligned(LINE))); /* the sleeper's; whoever gives it something reads it */
    int fd; /* eventfd, non-blocking */
};

/* ---- frames to and from the kernel ----------------------------------------------------------------------------- */

enum { FRAME_SLOTS = 256 };

/* One producer, one consumer; frames are copied, so neither side touches the other's buffers. */
struct frame_ring {
    uint32_t head __attribute__((aligned(LINE))); /* producer's */
    uint32_t tail __attribute__((aligned(LINE))); /* consumer's */
    uint32_t frame_max __attribute__((aligned(LINE)));
    uint32_t stride;
    struct bell *bell; /* the consumer's */
    uint8_t *data; /* FRAME_SLOTS x stride: a 4-byte length, then the frame */
};

/* ---- packets from worker to worker ------------------------------------------------------------------------------ */

enum { HAND_SLOTS = 1024 }; /* of mbufs: some milliseconds in which the other worker does not run */
/* In a slot; without: it is to be received. */
#define HAND_SEND 1 /* the packet is done, and leaves by mbuf.port */
#define HAND_NOTE 2 /* it is to be received, and has a note (table/note.pxd) */
#define HAND_FLAGS 3

/* One for each pair of workers. The producer publishes `head` once a turn, the consumer `tail` once a burst; each keeps what
 * it last saw of the other, so that a line moves between two caches once for many packets. */
struct hand_ring {
    uint32_t head __attribute__((aligned(LINE))); /* producer's: as far as the consumer may read */
    uint32_t filled, tail_seen;
    struct bell *bell;                            /* the consumer's */
    uint32_t tail __attribute__((aligned(LINE))); /* consumer's */
    uint32_t head_seen;
    uintptr_t slots[HAND_SLOTS] __attribute__((aligned(LINE))); /* producer's: struct rte_mbuf *, and HAND_... */
};

/* ---- what a card does with its queues -------------------------------------------------------------------------- */

enum { RSS_BYTES = 12, MAX_RETA = 2048 }; /* of a packet that are hashed: addresses, ports; entries of a RETA */

/* A port's receive side scaling: its Toeplitz key as one table a byte of the tuple, and its redirection table (RETA).
 * Filled before the workers run, then read by all. */
struct rss {
    uint32_t table[RSS_BYTES][256] __attribute__((aligned(LINE)));
    uint32_t mask;          /* RETA size - 1 */
    uint8_t reta[MAX_RETA]; /* low bits of the hash -> queue, which is the worker */
};
_Static_assert(MAX_WORKERS <= 256, "a RETA entry is a byte");

/* ---- counters: one writer each --------------------------------------------------------------------------------- */

struct server_count {
    uint64_t total, packets[2], bytes[2];
    uint32_t active, established; /* connections: all; those that state_established names (table/tcp_state.h) */
    uint32_t load;        /* sum of state_load over its connections: what lc and wlc go by */
    uint32_t load_base;   /* `load` when this worker first looked at it in ... */
    uint32_t load_epoch;  /* ... this epoch of the sums in shared.loads */
    uint32_t port_cursor; /* walks the keyed permutation of (address, port) towards this server */
} __attribute__((aligned(LINE)));
_Static_assert(sizeof(struct server_count) == LINE, "a server's counters are one line");

struct service_count {
    uint64_t drops[2], drop_bytes[2];
    uint32_t cursor; /* rr, wrr: next slot of the round; lc, wlc: stirs the draw */
    uint32_t living; /* connections that count against the service's limit (table/limit.pxd) */
    uint64_t tokens; /* thousandths of connections that it may open at once ... */
    uint64_t filled; /* ... as of this time of the worker's */
    uint32_t reserved[2];
} __attribute__((aligned(LINE)));
_Static_assert(sizeof(struct service_count) == LINE, "a service's counters are one line");

/* What is known of a client, one for each matter (table/client.pxd). */
struct client {
    be32 address;   /* 0: free */
    uint32_t scope; /* what it is about: a service, or a virtual address */
    uint32_t seen;  /* worker's time >> CLIENT_SHIFT */
    uint32_t value; /* the server; or the tokens, in thousandths of a connection */
};

enum { CLIENT_WAYS = 4, CLIENT_SHIFT = 4 /* units of 16 ms: they wrap after two years */ };

struct client_set {
    struct client ways[CLIENT_WAYS];
} __attribute__((aligned(LINE)));
_Static_assert(sizeof(struct client_set) == LINE, "a set of clients is a line");

struct port_count {
    uint64_t rx_dropped, tx_dropped, kernel_rx, kernel_tx;
    uint64_t strays; /* came to this worker, although the port claims to bring them to their owner */
};

/* ---- what main and workers share ------------------------------------------------------------------------------- */

enum { BY_HASH, BY_RSS, BY_FLOW }; /* which function says who owns what comes to a local address (table/owner.pxd) */
enum { BRINGS_INBOUND = 1 << INBOUND, BRINGS_OUTBOUND = 1 << OUTBOUND, BRINGS_ALL = 3 };

struct port {
    uint64_t mac; /* 48 bits, as they stand in memory */
    be32 address; /* the director's own, 0: none */
    uint32_t mtu;
    uint8_t started, kernel_attached;
    uint8_t rx_queues, tx_queues; /* worker i has queue i; one without hands its frames to worker i mod tx_queues */
    uint8_t owned_by; /* of its local addresses: BY_... */
    uint8_t brings;   /* bits: what it brings to the worker that owns it; the rest is looked at (stage/classify.pxd) */
    struct rss *rss;
    struct local_pool *pool;
    int kernel_fd; /* TAP */
    struct frame_ring **to_kernel, **from_kernel; /* of each worker */
    uint64_t kernel_refused __attribute__((aligned(LINE))); /* the kernel loop's counter */
    uint8_t kernel_gone; /* the kernel loop's: somebody has deleted the interface */
};
_Static_assert(sizeof(struct port) == 2 * LINE, "a port is found by a shift");

enum { TIMEOUT_ESTABLISHED, TIMEOUT_TRANSITORY, TIMEOUT_CLOSED, TIMEOUT_UDP, N_TIMEOUTS };

/* Ends of a connection, as bits. */
enum { END_CLIENT = 1, END_VIRTUAL = 2, END_LOCAL = 4, END_REAL = 8, ALL_ENDS = 15 };

/* True of a connection when one of these ends has this address, as far as the mask goes, and this port (0: any). */
struct match {
    be32 address, mask;
    be16 port;
    uint8_t ends;
};

enum { VERB_FIND, VERB_SWEEP, VERB_SEND };
enum { MAX_MATCHES = 4, RESETS_MS = 128 /* two frames each: a sixth of what a link of 1 Gb/s carries */ };

/* A question to a worker, answered a few entries a turn. The asker owns it again once `done` is set. */
struct verb {
    uint8_t kind;
    uint8_t protocol;  /* find: 0 both */
    uint8_t n_matches; /* find: all of them must hold */
    uint8_t port;      /* send */
    uint32_t cursor;   /* find, sweep: the next entry to look at; send: the next byte of `frames` */
    uint32_t limit;    /* find: rows at most; sweep: resets in a millisecond */
    uint32_t entries;  /* find: how many more may be looked at; sweep: reset in this millisecond; send: frames to go */
    uint32_t max_idle; /* find: ms, NONE: any */
    uint32_t n;        /* rows found; connections reset; frames sent */
    uint32_t now;      /* the worker's clock when it last had a share, at last when it had done */
    uint32_t hurry;    /* another question waits: a sweep that is ahead of its pace makes room, its cursor not 0 */
    uint32_t done;
    struct match matches[MAX_MATCHES];
    struct connection *rows; /* find: room for `limit` */
    uint8_t *frames;         /* send: each its length in 4 bytes, then its bytes */
};

struct shared {
    struct service_map *map;
    struct service **services; /* MAX_SERVICES, by id */
    struct server *servers;    /* MAX_SERVERS, by id */
    uint64_t *loads;           /* MAX_SERVERS, by id: `load` over all workers, summed up now and then for lc and wlc */
    uint32_t load_epoch;       /* how often; no packet but one that opens a connection reads either */
    struct rte_rcu_qsbr *rcu;
    uint32_t timeouts[N_TIMEOUTS]; /* ms */
    uint32_t n_ports, n_workers, mtu; /* mtu: the largest that a packet buffer holds */
    uint32_t least_mtu; /* of all ports: what is no longer needs no look at its way out */
    uint32_t stopping;
    const struct watch *watch; /* table/watch.h; NULL while nobody watches */
    uint8_t idle_adaptive; /* workers without packets sleep */
    struct rss *inbound; /* says who owns what clients send; NULL: our hash does */
    uint8_t refuses;       /* tells clients what is not served; else such packets go in silence */
    uint8_t resets_unknown; /* ... and TCP packets of connections that it does not know */
    uint8_t all_by_hash; /* no address is owned by another function */
    uint32_t note_at;    /* where in an mbuf a note stands (table/note.pxd) */
    struct port ports[MAX_PORTS];
    struct bell kernel_bell; /* the kernel loop's */
};

/* A burst as columns: every stage fills its own and walks the rest. */
struct batch {
    uint32_t n;
    uint32_t n_parked; /* the first so many were parked */
    uint32_t n_long;   /* so many are longer than the MTU of their way out */
    uint32_t noted;    /* bits: those that came from another worker with a note */
    uint8_t fresh;  /* received from a port just now: of other workers' packets, none has been handed over */
    uint8_t brings; /* what its port claims to bring to the owner, and is not looked at; all, if it is not fresh */
    struct rte_mbuf *pkt[BURST];
    uint64_t addrs[BURST]; /* saddr | daddr << 32, as they stand in memory */
    uint64_t ports[BURST]; /* sport | dport << 16 | protocol << 32 */
    uint64_t hash[BURST];
    uint64_t hop[BURST];   /* where to: MAC (6 bytes), port, flags, as in struct server */
    uint64_t tcp[BURST];   /* acknowledgement, offset, flags, window, as they stand in the header; UDP: 0 */
    uint32_t entry[BURST]; /* connection << 1 | direction, or NONE; HAND: the worker that owns it */
    uint16_t l4[BURST];    /* offset of the L4 header in the frame */
    uint8_t verdict[BURST];
    uint8_t reason[BURST];
    uint8_t event[BURST]; /* TCP: enum in table/tcp_state.h */
    uint8_t out[BURST];   /* port to send on */
    uint32_t waited_for[BURST]; /* of those that were parked: the server */
};

struct tx_queue {
    uint32_t n;
    uint32_t via; /* the worker that sends for us; its own id where it has a queue of the port */
    struct rte_mbuf *pkt[BURST];
};

enum { NO_WAIT = -1 }; /* no descriptor says that this queue has packets */

enum { PARKING = 64, PARKING_SERVER = 8, PARKING_MS = 1000 }; /* packets a worker, of these for one server; how long */

/* ---- fragments: table/gather.pxd ------------------------------------------------------------------------------ */

enum { DATAGRAMS = 1024, DATAGRAM_MS = 2000 }; /* that are known at a time; how long, from the first that came */
enum { HELD = 256, HELD_DATAGRAM = 64 };       /* fragments that wait; of these, of one datagram: 64 KB are 45 */
enum { DATAGRAM_FREE, DATAGRAM_WAITS, DATAGRAM_KNOWN, DATAGRAM_ECHO, DATAGRAM_CONDEMNED };

/* A datagram of which fragments have come. */
struct datagram {
    uint64_t addrs;  /* source | destination << 32, as they stand in memory */
    uint32_t since;  /* ms */
    uint32_t ports;  /* known: as they stand in memory */
    be16 id, new_id; /* as it came, as it leaves */
    uint16_t chain, following; /* whose chain it stands in; the next one there, DATAGRAMS: none */
    uint8_t protocol, state, n_waiting;
    struct rte_mbuf *waiting, *last_waiting; /* linked by mbuf.next */
    uint64_t seen[8192 / 64]; /* a bit for each eight bytes */
};

struct gather {
    uint32_t oldest, newest; /* datagrams [oldest, newest), modulo DATAGRAMS */
    uint32_t n_held;
    struct rte_mbuf *again, *last_again; /* to be received again, with notes; linked by mbuf.next */
    uint16_t chains[DATAGRAMS]; /* by hash: the first datagram; DATAGRAMS: none */
    struct datagram datagrams[DATAGRAMS];
};

/* A packet that waits for the next hop of its server. */
struct parked {
    struct rte_mbuf *pkt;
    uint32_t server, service;
    uint32_t since; /* ms */
};

/* What a worker says itself, and the ICMP errors that it relays. */
enum { SAID_ECHO, SAID_ERROR, SAID_RESET, SAID_RELAYED, N_SAID };

/* So many more of something may happen now; in ms since when no more was earned. */
struct tokens {
    uint32_t left, refilled;
};

struct worker {
    struct shared *shared;
    struct table table;
    struct rte_mempool *pool; /* of its NUMA node */
    uint32_t id, lcore;
    union {
        uint64_t time; /* ms since it was laid out */
        uint32_t now;  /* its low half, which wraps: connections and timers go by that */
    };
    uint16_t ip_id;
    uint32_t n_parked;
    uint64_t said[N_SAID];
    struct tokens icmp, resets; /* for what it says itself of packets that it drops */
    uint64_t tsc_zero, ms_per_tick; /* ms = (tsc - zero) * ms_per_tick >> 64 */
    uint64_t turns, busy_turns, packets;
    uint64_t ticks, busy_ticks; /* of the TSC between start() and stop(); of these, in turns that carried packets */
    uint64_t drops[N_DROP_REASONS];
    struct port_count ports[MAX_PORTS];
    struct server_count *server_counts;   /* MAX_SERVERS */
    struct service_count *service_counts; /* MAX_SERVICES */
    struct client_set *clients;           /* n_client_sets: those whose home it is */
    uint32_t n_client_sets;
    struct batch batch;
    struct tx_queue tx[MAX_PORTS];
    struct gather *gather;
    struct parked parked[PARKING]; /* the first n_parked, oldest first */
    uint64_t handed_in, handed_out; /* packets taken from, and put into rings between workers */
    uint64_t unpublished;           /* bits: workers for which something stands in our rings since the last flush */
    uint32_t first_source;          /* whose ring is next looked at first */
    struct hand_ring *hand_to[MAX_WORKERS], *hand_from[MAX_WORKERS]; /* NULL for itself */
    int wait_fds[MAX_PORTS]; /* of its queues: readable as long as they have packets; or NO_WAIT */
    uint64_t idle_since, spin_ticks; /* TSC: when it last had packets; how long it then stays up */
    uint64_t sleeps, asleep_ticks;
    uint32_t nap_us; /* the last sleep, of those that grow */
    struct bell bell;
    struct verb *verb __attribute__((aligned(LINE))); /* the mailbox: a question, or NULL. Written by main and the worker */
} __attribute__((aligned(LINE)));

#endif
