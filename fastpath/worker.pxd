"""The table of contents of the data path: what a worker does in one turn, in the order a packet meets it."""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

from fastpath.dpdk.eal cimport (
    rte_rcu_qsbr_quiescent, rte_rcu_qsbr_thread_offline, rte_rcu_qsbr_thread_online, rte_rdtsc, unlikely)
from fastpath.idle cimport rest, sharpen_timers, stay_up
from fastpath.layout cimport port as struct_port
from fastpath.layout cimport worker
from fastpath.stage.answer cimport answer
from fastpath.stage.classify cimport classify
from fastpath.stage.dispatch cimport dispatch, flush
from fastpath.stage.expire cimport expire
from fastpath.stage.lookup cimport lookup
from fastpath.stage.punt cimport punt, send_for_kernel
from fastpath.stage.rewrite cimport rewrite
from fastpath.stage.rx cimport collect, receive
from fastpath.stage.schedule cimport schedule
from fastpath.stage.track cimport track
from fastpath.table.clock cimport clock_ms
from fastpath.table.frame_ring cimport load_acquire
from fastpath.table.watch cimport AT_DISPATCHED, AT_FOUND, AT_RECEIVED, AT_REWRITTEN, AT_SCHEDULED, observe, watch


cdef inline uint32_t take_in(worker *w, uint32_t port, uint32_t fresh) noexcept nogil:
    """The next batch: of packets received before, or, `fresh`, from a port's queue; how many."""
    cdef const struct_port *p = &w.shared.ports[port]
    if not p.started:  # EAL has it, we do not
        return 0
    if not fresh:
        send_for_kernel(w, port)
        return collect(w)
    return receive(w, port) if w.id < p.rx_queues else 0


cdef inline uint32_t worker_turn(worker *w, uint32_t now) noexcept nogil:
    """One turn at `now` (ms); returns the packets received, or, of none, those that it only sent for others."""
    cdef uint32_t source, n, packets = 0
    cdef uint64_t handed_in = w.handed_in
    cdef const watch *watching
    w.time += <uint64_t><int64_t><int32_t>(now - w.now)
    for source in range(2 * w.shared.n_ports):  # before what a port brings, what came before and waits
        n = take_in(w, source >> 1, source & 1)
        if n:
            watching = <const watch *>w.shared.watch  # read once: the main thread may change it at any time
            if unlikely(watching != NULL):
                observe(w, watching, AT_RECEIVED)
            classify(w)
            lookup(w)
            if unlikely(watching != NULL):
                observe(w, watching, AT_FOUND)
            schedule(w)
            if unlikely(watching != NULL):
                observe(w, watching, AT_SCHEDULED)
            track(w)
            rewrite(w)
            punt(w)
            if unlikely(watching != NULL):
                observe(w, watching, AT_REWRITTEN)
            dispatch(w)
            if unlikely(watching != NULL):
                observe(w, watching, AT_DISPATCHED)
            packets += n
    answer(w)
    flush(w)
    expire(w, packets)
    w.turns += 1
    w.busy_turns += packets != 0
    w.packets += packets
    return packets if packets else <uint32_t>(w.handed_in - handed_in)


cdef inline int worker_main(void *argument) noexcept nogil:
    """What an lcore runs from start() to stop()."""
    cdef worker *w = <worker *>argument
    cdef uint64_t began = rte_rdtsc(), ended
    cdef uint32_t packets
    sharpen_timers()
    w.idle_since = began
    rte_rcu_qsbr_thread_online(w.shared.rcu, w.id)
    while not load_acquire(&w.shared.stopping):
        packets = worker_turn(w, clock_ms(w, began))
        rte_rcu_qsbr_quiescent(w.shared.rcu, w.id)  # between turns a worker holds nothing that publish() may free
        ended = rte_rdtsc()
        w.ticks += ended - began
        if packets:
            w.busy_ticks += ended - began
            stay_up(w, ended)
        elif w.shared.idle_adaptive:
            rest(w, ended)
            began = rte_rdtsc()  # it may have slept: the clock of the next turn is that of its begin
            w.ticks += began - ended
            continue
        began = ended
    rte_rcu_qsbr_thread_offline(w.shared.rcu, w.id)
    return 0
