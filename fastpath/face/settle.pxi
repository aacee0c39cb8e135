# How packets of each port come to the workers that own them, and whether the port keeps its word. Part of engine.pyx.

STEERINGS = ("auto", "ring", "rss", "flow")

cdef enum:
    FEW_STRAYS = 64  # before a card is judged

cdef dict steering_of = {}  # port -> (kind, why)
cdef dict judged = {}       # port -> what it had received, and strays among it, when it was last judged


cdef str take_rss(uint16_t number):
    """Let the port's card say who owns what; None, or why it cannot."""
    cdef port *p = &S.ports[number]
    cdef rss *r = <rss *>aligned_memory(sizeof(rss))
    reason = read_rss(number, S.n_workers, r)
    if reason is not None:
        free(r)
        return reason
    believe_rss(p, r)
    return None


cdef believe_rss(port *p, rss *r):
    """One function decides about what clients send: the first card's. Another one is trusted where it does the same."""
    if S.inbound == NULL:
        S.inbound = r
    p.rss = r
    p.owned_by = BY_RSS
    p.brings = BRINGS_ALL if rss_equal(r, S.inbound) else BRINGS_OUTBOUND
    S.all_by_hash = 0


cdef believe_flow(port *p):
    """Rules bring answers to the worker of their local address; what clients send, only RSS may bring."""
    p.owned_by = BY_FLOW
    p.brings |= BRINGS_OUTBOUND
    S.all_by_hash = 0


cdef settle_steering(uint16_t number, str name, str wish, addresses, str no_rss):
    """How packets come to their owners: the best that the port offers, or what is wished for. no_rss: why it has none."""
    if S.n_workers == 1:
        steering_of[number] = ("none", "one worker owns all")
        return
    if wish != "ring" and no_rss is None:
        no_rss = take_rss(number)
    need(wish != "rss" or no_rss is None, f"Port {name}: cannot be steered by rss: {no_rss}.")
    if wish != "ring" and wish != "flow" and no_rss is None:
        steering_of[number] = ("rss", "queues follow the card's own key and table")
        return
    no_flow = "as wished" if wish == "ring" else make_flow_rules(number, addresses, S.n_workers)
    need(wish != "flow" or no_flow is None, f"Port {name}: cannot be steered by flow: {no_flow}.")
    if no_flow is None:
        believe_flow(&S.ports[number])
        steering_of[number] = ("flow", "a rule for each local address")
    else:
        steering_of[number] = ("ring", no_flow if wish == "ring" else f"{no_rss}, {no_flow}")


cdef str find_out(uint16_t number):
    """Whether the port does not do what it claims: more than one of a hundred packets came to another worker. Why, or None."""
    cdef rte_eth_stats stats
    cdef port *p = &S.ports[number]
    rte_eth_stats_get(number, &stats)
    received, strays = judged.setdefault(number, (0, 0))
    more = stats.ipackets - received
    astray = sum([W[i].ports[number].strays for i in range(S.n_workers)]) - strays
    if astray < FEW_STRAYS and more < 100 * FEW_STRAYS:
        return None
    judged[number] = (received + more, strays + astray)
    if astray * 100 <= more:
        return None
    p.brings = 0
    return f"{steering_of[number][0]} found out: {astray} of {more} packets came to another worker than their owner"


def review_steering():
    started()
    found = []
    for number in range(S.n_ports):
        if S.n_workers > 1 and S.ports[number].started and S.ports[number].brings:
            reason = find_out(number)
            if reason is not None:
                steering_of[number] = ("ring", reason)
                found.append((number, reason))
    return found
