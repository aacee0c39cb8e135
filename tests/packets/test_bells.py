"""Who wakes a worker that sleeps (table/bell.pxd), seen where nothing else does.

Worker 1 has no queue of any port: nothing but its bell ends its sleep before a quarter of a second is over. So a bell
that is not rung costs a good part of that each time, and the median tells it from a machine that is busy.
"""

import socket
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread

from fastpath import engine
from tests.packets.director import Director
from tests.packets.frames import OTHER_SERVER, SERVER, inbound, server_mac, tcp

WORKERS = 2
QUEUES = 1
SLEEPER = 1
TIMES = 9
SOON = 0.05
"""Seconds: hundreds of wake-ups, and a small part of a sleep."""


def wait_until(true: Callable[[], object], seconds: float = 5) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.0002)


def sleeper() -> engine.WorkerCounters:
    return engine.worker_counters()[SLEEPER]


def wait_asleep() -> None:
    """Until it has taken no turn for a while: awake it takes one in less than a microsecond."""

    def stands_still() -> bool:
        turns = sleeper().turns
        time.sleep(0.01)
        return sleeper().turns == turns

    wait_until(stands_still)


@contextmanager
def running() -> Iterator[None]:
    engine.start()
    try:
        yield
    finally:
        engine.stop()


def usual(what: Callable[[int], object]) -> float:
    """Median of the seconds that this takes, given its number, each time with the worker asleep."""
    took = []
    for n in range(TIMES):
        wait_asleep()
        began = time.monotonic()
        what(n)
        took.append(time.monotonic() - began)
    return statistics.median(took)


def test_it_sleeps_long(director: Director) -> None:
    """What the other tests stand on: left alone the worker takes a few turns a second, which the watchdog sees."""
    with running():
        wait_asleep()
        before, began = sleeper(), time.monotonic()
        wait_until(lambda: sleeper().sleeps >= before.sleeps + 4)
        assert time.monotonic() - began > 0.6  # the first may have been under way
        assert 0 < sleeper().turns - before.turns < 20


def test_a_question_wakes(director: Director) -> None:
    """The mailbox."""
    with running():
        assert usual(lambda _: engine.find(SLEEPER).result()) < SOON


def test_what_is_handed_over_wakes(director: Director) -> None:
    """B21: packets for the worker that sleeps, from the one that received them."""
    director.service()
    flows = iter(range(1, 60000))

    def hand_over(_: int) -> None:
        before = sleeper().handed_in
        while sleeper().handed_in == before:  # every other flow is the sleeper's
            given = engine.worker_counters()[0].handed_out
            received = engine.worker_counters()[0].packets
            engine.arrive(0, inbound(tcp("S", sport=next(flows))), 0)
            wait_until(lambda given=given, received=received: taken(given, received))  # type: ignore[misc]

    def taken(given: int, received: int) -> bool:
        """By its owner."""
        counters = engine.worker_counters()
        if counters[0].packets == received:
            return False
        return counters[0].handed_out == given or counters[SLEEPER].handover_depth == 0

    with running():
        assert usual(hand_over) < SOON
    director.settle()


def test_the_kernels_frames_wake(director: Director) -> None:
    """B9: the kernel interface of port 1 is the sleeper's to send for."""
    ours, taps = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    taps.setblocking(False)
    engine.attach_kernel_interface(1, taps.fileno())

    def send(n: int) -> None:
        ours.send(bytes(60))
        wait_until(lambda: engine.port_counters(1).kernel_tx_packets == n + 1)

    with running():
        thread = Thread(target=engine.kernel_loop)
        thread.start()
        assert usual(send) < SOON
    thread.join()
    assert len(director.settle()) == TIMES


def test_an_address_ends_the_waiting(director: Director) -> None:
    """B40: packets that wait for their server's MAC address leave as soon as it is known."""
    director.service(hops={SERVER: None})
    with running():
        for sport in range(1, 9):
            engine.arrive(0, inbound(tcp("S", sport=sport)), 0)
        wait_until(lambda: director.parked() == 8)
        assert sleeper().parked
        began = time.monotonic()
        director.resolve(0, 0, server_mac(SERVER))
        wait_until(lambda: director.parked() == 0)
        assert time.monotonic() - began < SOON * 4
    assert len(director.settle()) == 8


def test_a_publish_does_not_wait(director: Director) -> None:
    """RCU: a grace period ends while the worker sleeps on."""

    def publish(n: int) -> None:
        director.service([SERVER, OTHER_SERVER] if n & 1 else [SERVER], hops=dict.fromkeys((SERVER, OTHER_SERVER)))

    with running():
        wait_asleep()
        turns = sleeper().turns
        assert usual(publish) < SOON
        assert sleeper().turns - turns < 20


def test_the_end_wakes(director: Director) -> None:
    """stop()."""
    took = []
    for _ in range(TIMES):
        engine.start()
        wait_asleep()
        began = time.monotonic()
        engine.stop()
        took.append(time.monotonic() - began)
    assert statistics.median(took) < SOON
