"""The state tables of tcp_state.h, and the timeouts they name."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t

from fastpath.layout cimport TIMEOUT_ESTABLISHED, TIMEOUT_UDP, connection, service, shared


cdef extern from "table/tcp_state.h" nogil:
    enum:
        STATE_FREE, STATE_DEAD, STATE_RESET, STATE_HELD, STATE_UDP, SYN_SENT, SYN_RECV, ESTABLISHED, FIN_WAIT
        CLOSE_WAIT, TIME_WAIT, CLOSE, N_STATES
        EVENT_ACK, EVENT_SYN, EVENT_SYN_ACK, EVENT_FIN, EVENT_RST, N_EVENTS
    const char *state_names[1]
    uint8_t tcp_events[1]
    uint8_t tcp_next[2][5][12]
    uint8_t state_timeout[1]
    uint8_t reopens[1]
    uint8_t gives_way[1]
    uint8_t half_open[1]
    uint8_t state_established[1]
    uint16_t state_load[1]


cdef inline uint8_t tcp_event(uint8_t flags) noexcept nogil:
    return tcp_events[flags & 0x17]


cdef inline uint32_t timeout_of(const shared *s, const connection *c) noexcept nogil:
    """Milliseconds that this connection may be silent: the service's own value, where it has one, for what it covers."""
    cdef uint32_t kind = state_timeout[c.state]
    cdef const service *block
    if kind == TIMEOUT_ESTABLISHED or kind == TIMEOUT_UDP:
        block = s.services[s.servers[c.server].service]
        if block != NULL and block.established_timeout != 0:
            return block.established_timeout
    return s.timeouts[kind]
