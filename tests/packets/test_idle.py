"""idle = adaptive: workers without packets sleep, and whoever has something for them wakes them.

On ports made of rings, which have no descriptor to wait for: a worker looks at them after sleeps of at most 0.7 ms.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fastpath import engine
from tests.packets.director import Director
from tests.packets.frames import OTHER_SERVER, SERVER, inbound, server_mac, tcp

WORKERS = 2
LONG = 0.05
"""Seconds: far more than a wake-up takes, on a machine with other things to do."""


def wait_until(true: Callable[[], bool], seconds: float = 5) -> float:
    """Seconds that it took."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() < began + seconds
        time.sleep(0.0002)
    return time.monotonic() - began


@contextmanager
def asleep() -> Iterator[list[engine.WorkerCounters]]:
    """Workers that run and have gone to sleep."""
    engine.start()
    try:
        wait_until(lambda: all(c.sleeps > 20 for c in engine.worker_counters()))
        yield engine.worker_counters()
    finally:
        engine.stop()


def test_workers_sleep(director: Director) -> None:
    """Without packets nearly all of the time is slept; without descriptors, in sleeps of up to 0.7 ms."""
    with asleep() as before:
        time.sleep(0.3)
        after = engine.worker_counters()
    for then, now in zip(before, after, strict=True):
        slept = (now.asleep_ticks - then.asleep_ticks) / (now.ticks - then.ticks)
        assert slept > 0.8
        assert (now.asleep_ticks - then.asleep_ticks) / (
            now.sleeps - then.sleeps
        ) / director.environment.tsc_hz > 0.0004


def test_a_question_wakes(director: Director) -> None:
    """The mailbox."""
    with asleep():
        for _ in range(20):
            for worker in range(WORKERS):
                assert engine.find(worker).result() == ([], None)


def test_a_publish_does_not_wait(director: Director) -> None:
    """RCU: a grace period ends while all workers sleep."""
    with asleep():
        began = time.monotonic()
        for n in range(100):
            director.service([SERVER, OTHER_SERVER] if n & 1 else [SERVER])
        assert time.monotonic() - began < 100 * LONG


def test_the_end_does_not_wait(director: Director) -> None:
    """stop()."""
    with asleep():
        began = time.monotonic()
    assert time.monotonic() - began < LONG * 4


def test_progress_goes_on(director: Director) -> None:
    """A sleeping worker is no hanging one: its turns are counted on, for the watchdog."""
    with asleep():
        before = engine.progress()
        wait_until(lambda: all(now > then for now, then in zip(engine.progress(), before, strict=True)), 3)


def test_a_packet_wakes(director: Director) -> None:
    """A port without a descriptor is looked at often enough, and what is handed over wakes its owner."""
    director.service(hops={SERVER: None})
    with asleep():
        for sport in range(1, 9):
            engine.arrive(0, inbound(tcp("S", sport=sport)), sport % WORKERS)
        wait_until(lambda: director.parked() == 8, LONG * 20)
        director.resolve(0, 0, server_mac(SERVER))
        took = wait_until(lambda: director.parked() == 0)
        assert took < 0.9
    assert len(director.connections()) == 8
    out = [raw for worker in range(WORKERS) for _, raw in engine.run_once([], worker, director.seconds())]
    assert len(out) == 8


def test_poll_is_said(director: Director) -> None:
    """What wakes a worker at each port is told."""
    assert [engine.port_info(port).woken_by for port in (0, 1)] == ["timer", "timer"]
