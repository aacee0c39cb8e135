/* The life of a connection as data: what an event of one direction makes of a state, and how long a state may be silent.
 * Owner: constant. Readers: table/tcp_state.pxd.
 *
 * Half-open until the client's ACK; a FIN of either end closes its direction only (half-close, RFC 9293 3.6), the second
 * one leads to TIME_WAIT; a RST to CLOSE, ours to RESET. In TIME_WAIT it ends nothing (RFC 1337): a client whose socket is
 * gone answers a late packet so, its server takes no notice, and waits on. Names as operators know them from netstat, seen from the client's side:
 * FIN_WAIT when the client closed first, CLOSE_WAIT when the server did.
 */
#ifndef JUPITER_TCP_STATE_H
#define JUPITER_TCP_STATE_H

#include <stdint.h>
#include "../layout.h"

enum {
    STATE_FREE,
    STATE_DEAD,  /* left the index, its entry is free at the end of the turn */
    STATE_RESET, /* we reset both ends, and answer what they still send */
    STATE_HELD,  /* was TIME_WAIT; its client has a new connection, and what the server saw last is kept for whoever
                  * gets its local port. Found by the server's tuple alone. Up to here, nothing is forwarded */
    STATE_UDP,
    SYN_SENT,
    SYN_RECV,
    ESTABLISHED,
    FIN_WAIT,
    CLOSE_WAIT,
    TIME_WAIT,
    CLOSE,
    N_STATES
};

enum { EVENT_ACK, EVENT_SYN, EVENT_SYN_ACK, EVENT_FIN, EVENT_RST, N_EVENTS };

static const char *const state_names[N_STATES] = {
    "FREE",     "DEAD",       "RESET",     "HELD", "UDP", "SYN_SENT", "SYN_RECV", "ESTABLISHED",
    "FIN_WAIT", "CLOSE_WAIT", "TIME_WAIT", "CLOSE",
};

/* Flag bits FIN 1, SYN 2, RST 4, ACK 16; PSH, URG, ECE, CWR decide nothing. RST outranks SYN, SYN outranks FIN. */
static const uint8_t tcp_events[32] = {
    [0x01] = EVENT_FIN, [0x02] = EVENT_SYN, [0x03] = EVENT_SYN, [0x04] = EVENT_RST, [0x05] = EVENT_RST,
    [0x06] = EVENT_RST, [0x07] = EVENT_RST, [0x11] = EVENT_FIN, [0x12] = EVENT_SYN_ACK, [0x13] = EVENT_SYN_ACK,
    [0x14] = EVENT_RST, [0x15] = EVENT_RST, [0x16] = EVENT_RST, [0x17] = EVENT_RST,
};

#define STAY(s) [s] = s
#define ALL_STAY STAY(STATE_FREE), STAY(STATE_DEAD), STAY(STATE_RESET), STAY(STATE_HELD), STAY(STATE_UDP), STAY(SYN_SENT), \
                 STAY(SYN_RECV), STAY(ESTABLISHED), STAY(FIN_WAIT), STAY(CLOSE_WAIT), STAY(TIME_WAIT), STAY(CLOSE)
#define TO_CLOSE STAY(STATE_FREE), STAY(STATE_DEAD), STAY(STATE_RESET), STAY(STATE_HELD), STAY(STATE_UDP), \
                 [SYN_SENT] = CLOSE, [SYN_RECV] = CLOSE, [ESTABLISHED] = CLOSE, [FIN_WAIT] = CLOSE, [CLOSE_WAIT] = CLOSE, STAY(TIME_WAIT), STAY(CLOSE)

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Woverride-init"
static const uint8_t tcp_next[2][N_EVENTS][N_STATES] = {
    [INBOUND] = {
        [EVENT_SYN] = {ALL_STAY, [TIME_WAIT] = SYN_SENT, [CLOSE] = SYN_SENT}, /* behind the last FIN or RST in its burst */
        [EVENT_SYN_ACK] = {ALL_STAY},
        [EVENT_ACK] = {ALL_STAY, [SYN_RECV] = ESTABLISHED},
        [EVENT_FIN] = {ALL_STAY, [SYN_RECV] = FIN_WAIT, [ESTABLISHED] = FIN_WAIT, [CLOSE_WAIT] = TIME_WAIT},
        [EVENT_RST] = {TO_CLOSE},
    },
    [OUTBOUND] = {
        [EVENT_SYN] = {ALL_STAY},
        [EVENT_SYN_ACK] = {ALL_STAY, [SYN_SENT] = SYN_RECV},
        [EVENT_ACK] = {ALL_STAY},
        [EVENT_FIN] = {ALL_STAY, [SYN_RECV] = CLOSE_WAIT, [ESTABLISHED] = CLOSE_WAIT, [FIN_WAIT] = TIME_WAIT},
        [EVENT_RST] = {TO_CLOSE},
    },
};
#pragma GCC diagnostic pop

/* RFC 5382 REQ-5: established, and transitory for what is opening or closing; RFC 4787 REQ-5 for UDP. */
static const uint8_t state_timeout[N_STATES] = {
    [STATE_UDP] = TIMEOUT_UDP,          [SYN_SENT] = TIMEOUT_TRANSITORY,   [SYN_RECV] = TIMEOUT_TRANSITORY,
    [ESTABLISHED] = TIMEOUT_ESTABLISHED, [FIN_WAIT] = TIMEOUT_TRANSITORY,   [CLOSE_WAIT] = TIMEOUT_TRANSITORY,
    [TIME_WAIT] = TIMEOUT_TRANSITORY,   [CLOSE] = TIMEOUT_CLOSED,         [STATE_RESET] = TIMEOUT_CLOSED,
    [STATE_HELD] = TIMEOUT_TRANSITORY,
};

/* A SYN of the client opens a new connection over these at once (RFC 9293 3.10.7.4, TIME-WAIT). */
static const uint8_t reopens[N_STATES] = {[TIME_WAIT] = 1, [CLOSE] = 1, [STATE_RESET] = 1};
/* Their local port may be given to another connection, when none is free (table/takeover.pxd): both ends have closed, or
 * one has reset. Not after our own resets: the server may not have heard of them. */
static const uint8_t gives_way[N_STATES] = {[STATE_HELD] = 1, [TIME_WAIT] = 1, [CLOSE] = 1};
/* What an operator calls an active connection (LVS: ActiveConn; there, UDP is not). Half-closed ones are on their way out. */
static const uint8_t state_established[N_STATES] = {[STATE_UDP] = 1, [ESTABLISHED] = 1};
/* What lc and wlc count: as LVS, 256 to 1 for what has ended or is about to. Half-open ones count in full, unlike there:
 * else the server that answers no SYN would look idle and get them all, and a new server all that come in a round trip. */
static const uint16_t state_load[N_STATES] = {
    [STATE_UDP] = 256, [SYN_SENT] = 256, [SYN_RECV] = 256, [ESTABLISHED] = 256,
    [FIN_WAIT] = 1,    [CLOSE_WAIT] = 1, [TIME_WAIT] = 1,  [CLOSE] = 1,         [STATE_RESET] = 1, [STATE_HELD] = 1,
};
/* These stand in the half-open list. */
static const uint8_t half_open[N_STATES] = {[SYN_SENT] = 1, [SYN_RECV] = 1};

#endif
