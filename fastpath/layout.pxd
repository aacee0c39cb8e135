"""Cython's view of layout.h; the header is the contract. Only what some .pxd uses is named here."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from fastpath.dpdk.eal cimport rte_rcu_qsbr
from fastpath.dpdk.mbuf cimport rte_mbuf, rte_mempool


cdef extern from "layout.h" nogil:
    ctypedef unsigned short be16
    ctypedef unsigned int be32

    enum:
        LINE, BURST, LIMITS_SERVICE, LIMITS_SERVERS, LIMITS_CLIENTS, REMEMBERS, CLIENT_WAYS, CLIENT_SHIFT
        MAX_PORTS, MAX_WORKERS, MAX_SERVICES, MAX_SERVERS, MAX_SERVICE_SERVERS, MAX_WRR_SLOTS
        INBOUND, OUTBOUND
        GO_ON, SEND, PUNT, DROP, HAND, SPLIT, PARK, GONE
        FRAME_TRUNCATED, FRAME_SEGMENTED, NOT_FOR_US, ARP_TRUNCATED
        IPV4_TRUNCATED, IPV4_BAD_VERSION, IPV4_BAD_IHL, IPV4_BAD_LENGTH, IPV4_BAD_CHECKSUM
        FRAGMENT_MALFORMED, FRAGMENT_OVERLAP, FRAGMENT_FULL, FRAGMENT_EXPIRED, ICMP_BAD_CHECKSUM, ICMP_NO_CONNECTION
        MTU_EXCEEDED, SERVICE_FULL, SERVER_FULL, CONNECTION_RATE, CLIENT_RATE
        TCP_TRUNCATED, TCP_BAD_OFFSET, UDP_TRUNCATED, UDP_BAD_LENGTH, ICMP_TRUNCATED, ICMP_NOT_HANDLED
        PROTOCOL_NOT_SERVED, TTL_EXCEEDED, SPOOFED_SOURCE, NO_SERVICE, NO_CONNECTION, NO_SERVER, NO_LOCAL_PORT
        CONNECTIONS_EXHAUSTED, NEXT_HOP_UNRESOLVED, PARKING_FULL, CONNECTION_RESET, NO_KERNEL_INTERFACE
        KERNEL_TOO_LONG, KERNEL_RING_FULL, KERNEL_REFUSED, NO_MBUF, HANDOVER_FULL, TX_FULL
        N_DROP_REASONS
        WHEEL_SLOTS, WHEEL_SHIFT, LIST_HALF_OPEN, LIST_FREE, LIST_DEAD, LIST_HEADS, REGION_VERSION
        ADDRESS_FREE, ADDRESS_VIRTUAL, ADDRESS_LOCAL, ADDRESS_SERVICE, ADDRESS_GONE
        HOP_RESOLVED, LOCAL_PORT_MIN, LOCAL_PORTS, LOCAL_TRIES, LOCAL_JUMPS, FRAME_SLOTS
        LOCAL_FREE_TRIES, CONNECTION_TRANSLATED, CONNECTION_ENDED, CONNECTION_STAMPED
        TIMEOUT_ESTABLISHED, TIMEOUT_TRANSITORY, TIMEOUT_CLOSED, TIMEOUT_UDP, N_TIMEOUTS
        SERVER_PRESENT, SERVER_REMOVED, SERVER_RESET
        END_CLIENT, END_VIRTUAL, END_LOCAL, END_REAL, ALL_ENDS, MAX_MATCHES, RESETS_MS
        VERB_FIND, VERB_SWEEP, VERB_SEND
        PARKING, PARKING_SERVER, PARKING_MS
        NO_WAIT
        DATAGRAMS, DATAGRAM_MS, HELD, HELD_DATAGRAM
        DATAGRAM_FREE, DATAGRAM_WAITS, DATAGRAM_KNOWN, DATAGRAM_ECHO, DATAGRAM_CONDEMNED
        SAID_ECHO, SAID_ERROR, SAID_RESET, SAID_RELAYED, N_SAID
        HAND_SLOTS, HAND_SEND, HAND_NOTE, HAND_FLAGS
        BY_HASH, BY_RSS, BY_FLOW, BRINGS_INBOUND, BRINGS_OUTBOUND, BRINGS_ALL
        RSS_BYTES, MAX_RETA
    uint32_t NONE
    uint64_t REGION_MAGIC
    const char *drop_keys[1]
    const char *drop_texts[1]

    struct flow:
        be32 saddr, daddr
        be16 sport, dport

    struct connection:
        flow flow[2]
        uint8_t protocol, state, flags, client_port
        uint32_t server, last_seen
        uint32_t seq_delta[2]
        uint32_t ts_delta
        be32 next_seq[2]
        uint8_t client_mac[6]
        uint16_t last_stamp

    struct bucket:
        uint16_t tag[8]
        uint32_t entry[8]
        uint32_t spilled

    struct node:
        uint32_t next, prev

    struct region:
        uint64_t magic
        uint32_t version, connection_size, bucket_size, list_heads
        uint32_t capacity, n_buckets
        uint64_t hash_key[2]
        uint64_t buckets_at, connections_at, nodes_at, bytes
        uint32_t high_water, in_use, half_open, wheel_time

    struct table:
        bucket *buckets
        connection *connections
        node *nodes
        region *region
        uint64_t hash_key[2]
        uint32_t n_buckets, capacity, half_open_limit

    struct client_limit:
        uint32_t address, rate

    struct share:
        uint32_t each, more

    struct service:
        uint32_t id
        be32 vaddr
        be16 vport
        uint8_t protocol, scheduler
        uint32_t established_timeout, n_servers, n_slots, stagger, n_eligible
        uint16_t *slots
        uint32_t *servers
        share max_connections, rate
        uint32_t client_rate, n_clients
        client_limit *clients
        uint32_t persistence
        uint8_t whole_address, asks
        uint16_t mss

    struct map_slot:
        uint64_t key
        uint32_t service

    struct service_map:
        uint32_t mask, n
        map_slot slots[1]

    struct server:
        uint64_t hop
        be32 raddr
        be16 rport
        uint8_t protocol, removed
        uint32_t service
        uint8_t eligible, backup
        uint16_t weight
        share max_connections

    struct local_pool:
        uint32_t n, size, bits
        be32 addresses[1]

    struct bell:
        uint32_t asleep
        int fd

    struct frame_ring:
        uint32_t head, tail, frame_max, stride
        bell *bell
        uint8_t *data

    struct rss:
        uint32_t table[12][256]  # RSS_BYTES
        uint32_t mask
        uint8_t reta[2048]  # MAX_RETA

    struct server_count:
        uint64_t total
        uint64_t packets[2]
        uint64_t bytes[2]
        uint32_t active, established, load, load_base, load_epoch, port_cursor

    struct service_count:
        uint64_t drops[2]
        uint64_t drop_bytes[2]
        uint32_t cursor, living
        uint64_t tokens, filled

    struct client:
        be32 address
        uint32_t scope, seen, value

    struct client_set:
        client ways[4]  # CLIENT_WAYS

    struct port_count:
        uint64_t rx_dropped, tx_dropped, kernel_rx, kernel_tx, strays

    struct hand_ring:
        uint32_t head, filled, tail_seen, tail, head_seen
        bell *bell
        size_t slots[1]

    struct port:
        uint64_t mac
        be32 address
        uint32_t mtu
        uint8_t started, kernel_attached, rx_queues, tx_queues, owned_by, brings
        rss *rss
        local_pool *pool
        int kernel_fd
        uint64_t kernel_refused
        uint8_t kernel_gone
        frame_ring **to_kernel
        frame_ring **from_kernel

    struct match:
        be32 address, mask
        be16 port
        uint8_t ends

    struct verb:
        uint8_t kind, protocol, n_matches, port
        uint32_t cursor, limit, entries, max_idle, n, now, hurry, done
        match matches[4]
        connection *rows
        uint8_t *frames

    struct shared:
        service_map *map
        service **services
        server *servers
        uint64_t *loads
        uint32_t load_epoch
        rte_rcu_qsbr *rcu
        uint32_t timeouts[4]
        uint32_t n_ports, n_workers, mtu, least_mtu, stopping
        const void *watch  # struct watch, of table/watch.pxd
        uint8_t idle_adaptive
        bell kernel_bell
        rss *inbound
        uint8_t refuses, resets_unknown, all_by_hash
        uint32_t note_at
        port ports[1]

    struct batch:
        uint32_t n, n_parked, n_long, noted
        uint8_t fresh, brings
        rte_mbuf *pkt[32]
        uint64_t addrs[32]
        uint64_t ports[32]
        uint64_t hash[32]
        uint64_t hop[32]
        uint64_t tcp[32]
        uint32_t entry[32]
        uint16_t l4[32]
        uint8_t verdict[32]
        uint8_t reason[32]
        uint8_t event[32]
        uint8_t out[32]
        uint32_t waited_for[32]

    struct tx_queue:
        uint32_t n, via
        rte_mbuf *pkt[32]

    struct datagram:
        uint64_t addrs
        uint32_t since, ports
        be16 id, new_id
        uint16_t chain, following
        uint8_t protocol, state, n_waiting
        rte_mbuf *waiting
        rte_mbuf *last_waiting
        uint64_t seen[128]

    struct gather:
        uint32_t oldest, newest, n_held
        rte_mbuf *again
        rte_mbuf *last_again
        uint16_t chains[1024]  # DATAGRAMS
        datagram datagrams[1024]

    struct parked:
        rte_mbuf *pkt
        uint32_t server, service, since

    struct tokens:
        uint32_t left, refilled

    struct worker:
        shared *shared
        table table
        rte_mempool *pool
        uint64_t time
        uint32_t id, lcore, now, n_parked
        uint16_t ip_id
        uint64_t said[4]  # N_SAID
        tokens icmp, resets
        uint64_t tsc_zero, ms_per_tick, turns, busy_turns, packets, ticks, busy_ticks
        uint64_t drops[1]
        port_count ports[1]
        server_count *server_counts
        service_count *service_counts
        client_set *clients
        uint32_t n_client_sets
        batch batch
        tx_queue tx[1]
        gather *gather
        parked parked[1]
        uint64_t handed_in, handed_out, unpublished
        uint32_t first_source
        hand_ring *hand_to[1]
        hand_ring *hand_from[1]
        int wait_fds[1]
        uint64_t idle_since, spin_ticks, sleeps, asleep_ticks
        uint32_t nap_us
        bell bell
        verb *verb
