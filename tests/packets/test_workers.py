"""What the data plane says of itself: workers, ports, memory."""

import time
from collections.abc import Callable
from threading import Thread

import pytest

from fastpath import engine
from tests.packets.director import Director
from tests.packets.frames import OTHER_SERVER, SERVER, inbound, server_mac, tcp, udp

PORTS = 65536 - 1024


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_progress_before_the_start() -> None:
    """No workers, no turns; and no error for a thread that asks too early."""
    assert engine.progress() == []


def test_progress(director: Director) -> None:
    """A worker's turns, whichever thread asks; they stand still when it does."""
    seen: list[list[int]] = []
    engine.start()
    try:
        for _ in range(2):
            before = engine.progress()
            wait_until(lambda before=before: engine.progress()[0] > before[0])  # type: ignore[misc]
            thread = Thread(target=lambda: seen.append(engine.progress()))
            thread.start()
            thread.join()
    finally:
        engine.stop()
    assert seen[1][0] > seen[0][0] > 0
    assert engine.progress() == engine.progress()
    assert engine.progress() == [c.turns for c in engine.worker_counters()]


def test_busy_share(director: Director) -> None:
    """Ticks pass while the worker runs, at the TSC's pace; those of turns with packets are busy ones."""
    director.service(hops={SERVER: None})
    director.send(*[inbound(tcp("S", sport=n)) for n in (1, 2, 3)])
    director.resolve(0, 0, server_mac(SERVER))  # what waits is what the running worker gets to do
    before = engine.worker_counters()[0]
    began = time.monotonic()
    engine.start()
    try:
        wait_until(lambda: engine.worker_counters()[0].ticks > before.ticks + director.environment.tsc_hz // 20)
    finally:
        engine.stop()
    after = engine.worker_counters()[0]
    elapsed = (time.monotonic() - began) * director.environment.tsc_hz
    assert (after.packets, after.busy_turns) == (before.packets + 3, before.busy_turns + 1)
    assert 0 < after.busy_ticks - before.busy_ticks < after.ticks - before.ticks <= 1.01 * elapsed
    assert len(engine.run_once([], now=director.seconds())) == 3
    assert engine.worker_counters()[0].ticks == after.ticks


def test_parked(director: Director) -> None:
    """How many packets wait."""
    director.service(hops={SERVER: None})
    director.send(*[inbound(tcp("S", sport=n)) for n in (1, 2, 3)])
    assert engine.worker_counters()[0].parked == 3
    director.later(1)
    director.send(drops={"next_hop_unresolved": 3})
    assert engine.worker_counters()[0].parked == 0


def test_usage(director: Director) -> None:
    """Connections by protocol and by the port of their server; local ports towards the busiest server of each port."""
    director.locals("10.0.2.1", "10.0.2.2")
    director.locals("10.0.3.1", port=1)
    director.service([SERVER, OTHER_SERVER], hops={OTHER_SERVER: (1, server_mac(OTHER_SERVER))})
    director.service({SERVER: 2, OTHER_SERVER: 1}, engine.UDP, "wrr", id=1, first=2)
    none = [engine.Usage(0, 0, 0, 0, 2 * PORTS, 2 * PORTS), engine.Usage(0, 1, 0, 0, PORTS, PORTS)]
    assert engine.usage() == none
    director.send(*[inbound(tcp("S", sport=n)) for n in range(1, 11)], *[inbound(udp(sport=n)) for n in range(1, 31)])
    some = [engine.Usage(0, 0, 5, 30, 2 * PORTS, 2 * PORTS - 20), engine.Usage(0, 1, 5, 0, PORTS, PORTS - 5)]
    assert engine.usage() == some
    engine.set_next_hop(1, 1, None)
    assert engine.usage() == some
    director.wait(300 + 3)
    assert engine.usage() == none


def test_usage_without_local_addresses(director: Director) -> None:
    """A port that has none has none to spare, whatever is still connected."""
    director.service()
    director.send(inbound(tcp("S")))
    director.locals()
    assert engine.usage()[0] == engine.Usage(0, 0, 1, 0, 0, 0)


def test_memory(director: Director) -> None:
    """EAL's heap: what is used and what is free are all there is, and the packet buffers are part of it."""
    (row,) = engine.memory()
    assert row.alloc_size + row.free_size == row.heap_size
    assert row.alloc_size > 8192 * 2048
    assert 0 < row.greatest_free_size <= row.free_size
    assert row.alloc_count > 0
    assert row.free_count > 0
    assert row.heap_size <= 128 << 20


@pytest.mark.parametrize("port", [0, 1])
def test_port_info(director: Director, port: int) -> None:
    """Driver, MAC address, queues with their sizes, link."""
    assert engine.port_info(port) == engine.PortInfo(
        "net_ring", bytes([2, 0, 0, 0, 0, port + 1]), 1, 1, 1024, 1024, True, 10000, "ring", "a ring port", "timer"
    )


@pytest.mark.parametrize("port", [2, -1, None])
def test_no_such_port(director: Director, port: int) -> None:
    """A port that was not added is named."""
    with pytest.raises(engine.EngineError, match="port"):
        engine.port_info(port)
