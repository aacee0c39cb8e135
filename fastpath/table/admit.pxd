"""Whether a service that sets limits, or remembers its clients, takes a new connection, and to which server (B29, B44).

First come the limits of the service, then the client's rate, then the choice of a server with room. What is refused under one
of them has cost nothing under those before it; under those behind it neither, but for a client's rate: that counts attempts
which the service itself had nothing against, whether they find a server or not. A refused SYN that comes again is
judged anew.

What is known of a client is at its home (table/client.pxd). The owner of a new connection hands the packet there, with a note
that asks; home hands it back with a note that says which server, or drops it. The owner has the last word, since it counts
the server's connections: a server that is full there is replaced, which home has to learn on the same way once. In
between nothing stands for the connection; several packets of a new UDP flow may be on their way at once, and each counts.

Where all places are taken, the oldest half-open connection makes room, if it is the service's and its client has had time to
answer: else a few forged SYNs a second would keep every place taken for the whole of their timeout (B23).
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fastpath.layout cimport (
    CLIENT_RATE, GO_ON, INBOUND, LIMITS_CLIENTS, LIST_HALF_OPEN, LIST_HEADS, N_DROP_REASONS, NO_CONNECTION, NONE, REMEMBERS,
    SERVER_FULL, SERVICE_FULL, batch, connection, flow, service, worker)
from fastpath.table.batch cimport drop, drop_for_service
from fastpath.table.client cimport client_home, client_may, client_rate, recall, remember
from fastpath.table.limit cimport has_room, why_not
from fastpath.table.note cimport (
    NOTE_ASK, NOTE_BEHIND, NOTE_FOLLOW, NOTE_INSTEAD, NOTE_SERVER, NOTE_SETTLED, give_noted, note_kind, note_says)
from fastpath.table.service cimport is_eligible, pick_server, pick_with_room, service_at
from fastpath.table.timer cimport retire

cdef extern from *:
    """
    enum { PATIENCE_MS = 4000 }; /* with a half-open connection while others want its place: two SYNs, of 1 s and 3 s */
    """
    enum:
        PATIENCE_MS


cdef inline bint recycle(worker *w, const service *s) noexcept nogil:
    """Whether the oldest half-open connection has made room."""
    cdef uint32_t first = w.table.nodes[LIST_HALF_OPEN].next
    cdef const connection *c
    if first == LIST_HALF_OPEN:
        return False
    c = &w.table.connections[first - LIST_HEADS]
    if w.shared.servers[c.server].service != s.id or w.now - c.last_seen < PATIENCE_MS:
        return False
    retire(w, first - LIST_HEADS)
    return True


cdef inline uint32_t choice_of_home(worker *w, uint32_t i, const service *s, const flow *client) noexcept nogil:
    """The server that a client's next connection should go to, remembered; NONE: whichever, or there is none."""
    cdef uint32_t id
    if s.persistence == 0:
        return NONE
    id = recall(w, s, client.saddr)
    if id == NONE:
        id = pick_server(w, s, client, w.batch.hash[i])
    if id != NONE:
        remember(w, s, client.saddr, id)
    return id


cdef inline uint8_t answer_owner(worker *w, uint32_t i, const service *s, const flow *client, uint8_t kind) noexcept nogil:
    """At home: what the owner's note asked for."""
    cdef uint64_t says = note_says(w, i)
    cdef uint32_t owner = says & 0xFF
    cdef uint32_t id = <uint32_t>(says >> 8)
    if kind == NOTE_INSTEAD:
        if s.persistence and is_eligible(w.shared, s, id):
            remember(w, s, client.saddr, id)
        return give_noted(w, i, owner, NOTE_SETTLED, id)
    if not client_may(w, s, client.saddr, client_rate(s, client.saddr)):
        return drop_for_service(w, i, CLIENT_RATE, s.id, INBOUND)
    return give_noted(w, i, owner, NOTE_SERVER, choice_of_home(w, i, s, client))


cdef inline uint8_t ask_home(worker *w, uint32_t i, const service *s, const flow *client, uint32_t *id) noexcept nogil:
    """At the owner: GO_ON with the server that home says, where this is home; or what becomes of the packet."""
    cdef uint32_t rate = client_rate(s, client.saddr)
    cdef uint32_t home
    if rate == 0:
        return drop_for_service(w, i, CLIENT_RATE, s.id, INBOUND)
    if rate == NONE and s.persistence == 0:
        return GO_ON
    home = client_home(w, w.batch.addrs[i])
    if home != w.id:
        return give_noted(w, i, home, NOTE_ASK, w.id)
    if not client_may(w, s, client.saddr, rate):
        return drop_for_service(w, i, CLIENT_RATE, s.id, INBOUND)
    id[0] = choice_of_home(w, i, s, client)
    return GO_ON


cdef inline uint8_t follow_first(worker *w, uint32_t i, const flow *client) noexcept nogil:
    """A later fragment that found no connection. It opens none; but its first one may be on its way to the client's home and
    back, so it goes the same way behind it, once."""
    cdef uint64_t ports = w.batch.ports[i]
    cdef uint8_t kind = note_kind(w, i)
    cdef const service *s = service_at(w, client.daddr, client.dport, <uint8_t>(ports >> 32))
    cdef uint32_t home = client_home(w, w.batch.addrs[i])
    if kind == NOTE_FOLLOW:
        return give_noted(w, i, <uint32_t>(note_says(w, i) >> 32), NOTE_BEHIND, <uint32_t>ports)
    if kind == NOTE_BEHIND or s == NULL or home == w.id or not s.asks & (LIMITS_CLIENTS | REMEMBERS):
        return drop(&w.batch, i, NO_CONNECTION)
    return give_noted(w, i, home, NOTE_FOLLOW, <uint64_t>w.id << 32 | <uint32_t>ports)


cdef inline uint32_t choose_anew(worker *w, uint32_t i, const service *s, const flow *client, bint settled,
                                 uint8_t *verdict) noexcept nogil:
    """Nobody has chosen, or that server cannot be had: a server with room, of which home hears unless it did before."""
    cdef uint32_t id = pick_with_room(w, s, client, w.batch.hash[i])
    cdef uint32_t home
    if id == NONE and recycle(w, s):
        id = pick_with_room(w, s, client, w.batch.hash[i])
    if id == NONE:
        verdict[0] = drop_for_service(w, i, SERVER_FULL, s.id, INBOUND)
        return NONE
    if s.persistence and not settled:
        home = client_home(w, w.batch.addrs[i])
        if home != w.id:
            verdict[0] = give_noted(w, i, home, NOTE_INSTEAD, <uint64_t>id << 8 | w.id)
            return NONE
        remember(w, s, client.saddr, id)
    return id


cdef inline uint32_t admit(worker *w, uint32_t i, const service *s, const flow *client, uint8_t *verdict) noexcept nogil:
    """The server for a new connection whose first packet is packet i. NONE: `verdict` says what becomes of the packet, GO_ON
    that no server is eligible. One that was parked has been judged, and keeps its server (B40)."""
    cdef const batch *b = &w.batch
    cdef uint8_t kind = note_kind(w, i)
    cdef uint8_t reason
    cdef uint32_t id = NONE
    if kind == NOTE_ASK or kind == NOTE_INSTEAD:
        verdict[0] = answer_owner(w, i, s, client, kind)
        return NONE
    if s.n_slots == 0:
        return NONE
    reason = why_not(w, s)
    if reason == SERVICE_FULL and recycle(w, s):
        reason = why_not(w, s)
    if reason != N_DROP_REASONS:
        verdict[0] = drop_for_service(w, i, reason, s.id, INBOUND)
        return NONE
    if kind == NOTE_SERVER or kind == NOTE_SETTLED:
        id = <uint32_t>note_says(w, i)
    elif i < b.n_parked:
        id = b.waited_for[i]
    elif s.asks & (LIMITS_CLIENTS | REMEMBERS):
        verdict[0] = ask_home(w, i, s, client, &id)
        if verdict[0] != GO_ON:
            return NONE
    if id != NONE and is_eligible(w.shared, s, id) and has_room(w, id):
        return id
    return choose_anew(w, i, s, client, kind == NOTE_SETTLED, verdict)
