"""Two workers that run, each on its processor, with packets that go round through ring ports (carousel.pyx)."""

import itertools
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from fastpath import engine
from tests.packets.bulk import establish, number, packets
from tests.packets.carousel import Carousel
from tests.packets.director import Director
from tests.packets.frames import OTHER_SERVER, SERVER

WORKERS = 2
FLOWS = range(64)
EACH = 8
"""Packets of each flow."""
PUBLISHES = 3000
ROUNDS = 500
"""Of each flow at least, however busy the machine is."""
SECONDS = 1.5
TIMEOUT = 1000


def numbered(flows: Sequence[int]) -> list[bytes]:
    """A packet of each flow with its number where TCP has its sequence number."""
    return [raw[:38] + flow.to_bytes(4, "big") + raw[42:] for flow, raw in zip(flows, packets(flows, "A"), strict=True)]


def ends(director: Director, frames: Sequence[bytes]) -> list[bytes]:
    """The addresses and ports with which these frames leave."""
    left = {raw[38:42]: raw[26:38] for _, raw in director.turn(frames)}
    return [left[raw[38:42]] for raw in frames]


def owners(director: Director) -> dict[int, int]:
    """Flow -> worker."""
    return {number(c): c.worker for c in director.connections()}


@contextmanager
def going_round(
    director: Director, entry: Sequence[int], each: Sequence[int], blast: int | None = None
) -> Iterator[Carousel]:
    """So many packets of each flow, whose connection is established, which come in by that worker's queue, through
    workers that run. In the end those that are left have left the engine."""
    frames = numbered(range(len(entry)))
    handles = [engine.handles(worker) for worker in director.workers]
    carousel = Carousel(handles, frames, ends(director, frames), entry, blast)
    for frame, worker, count in zip(frames, entry, each, strict=True):
        for _ in range(count):
            engine.arrive(0, frame, worker)
    thread = threading.Thread(target=carousel.run)
    engine.start()
    thread.start()
    try:
        yield carousel
    finally:
        carousel.stop()
        thread.join()
        deadline = time.monotonic() + SECONDS
        while carousel.left < sum(each) and time.monotonic() < deadline:
            time.sleep(0.001)  # stop() drops what is between two workers
        engine.stop()


def left(director: Director) -> int:
    """How many packets go round still, taken out of it."""
    return len(director.settle())


def test_publishing_beside_running_workers(director: Director) -> None:
    """B28: thousands of publications, of other services that come, change and go, with resets and sweeps: of the
    service that they do not touch every packet is delivered, each to its server from its local port."""
    director.service([SERVER, OTHER_SERVER], timeout=TIMEOUT)
    establish(director, FLOWS)
    before = engine.drops()
    with going_round(director, [flow % WORKERS for flow in FLOWS], [EACH] * len(FLOWS)) as carousel:
        for n in itertools.count():
            if n >= PUBLISHES // 5 and min(carousel.rounds) > ROUNDS:
                break
            at = {"id": 1, "first": 2, "vport": 81}
            director.service([SERVER, OTHER_SERVER], scheduler="wrr", **at)
            director.service([SERVER], scheduler=("rr", "ipport", "lc")[n % 3], **at)
            director.service([SERVER, OTHER_SERVER], id=2, first=4, vport=82, scheduler="wlc")
            director.remove(1, reset=[2])
            director.remove(2)
            if n % 50 == 0:
                for worker in director.workers:
                    engine.sweep(worker).result()
        rounds = carousel.rounds
    print(min(rounds), max(rounds))
    assert carousel.wrong == 0
    assert left(director) == EACH * len(FLOWS)
    assert engine.drops() == before
    assert min(rounds) > ROUNDS


def test_watching_beside_running_workers(director: Director) -> None:
    """Watches that begin and end while packets go round: every record is whole; no packet is lost or goes astray."""
    director.service([SERVER, OTHER_SERVER], timeout=TIMEOUT)
    establish(director, FLOWS)
    before, seen = engine.drops(), 0
    with going_round(director, [flow % WORKERS for flow in FLOWS], [EACH] * len(FLOWS)) as carousel:
        for n in itertools.count():
            if n >= 50 and min(carousel.rounds) > ROUNDS and seen > 10_000:
                break
            engine.watch_begin(leaving=bool(n % 2))
            for _ in range(5):
                records, _ = engine.watch_read()
                for record in records:
                    assert int.from_bytes(record.frame[38:42], "big") in FLOWS
                    assert record.kind == "left" or record.verdict in ("send", "hand")
                seen += len(records)
            engine.watch_end()
    assert carousel.wrong == 0
    assert left(director) == EACH * len(FLOWS)
    assert engine.drops() == before


@pytest.mark.parametrize("idle", [0, 1], ids=["first", "second"])
def test_an_elephant_beside_other_flows(director: Director, idle: int) -> None:
    """B21: one flow at full blast comes in by the worker that does not own it: no packet of that worker's own flows is
    lost, they go on; what the owner does not take or the port does not send is counted as handover_full or
    tx_full, to the packet."""
    director.service([SERVER, OTHER_SERVER], timeout=TIMEOUT)
    establish(director, FLOWS)
    owner = owners(director)
    elephant = next(flow for flow in FLOWS if owner[flow] != idle)
    mice = [flow for flow in FLOWS if owner[flow] == idle]
    before = engine.drops()
    with going_round(director, [idle] * len(FLOWS), [flow in mice for flow in FLOWS], elephant) as carousel:
        time.sleep(SECONDS)
    rounds = carousel.rounds
    remaining = [int.from_bytes(raw[38:42], "big") for _, raw in director.settle()]
    lost = {reason: n - before[reason] for reason, n in engine.drops().items() if n != before[reason]}
    assert carousel.wrong == 0
    assert set(lost) <= {"handover_full", "tx_full"}
    assert sorted(flow for flow in remaining if flow != elephant) == mice
    assert carousel.blasted == rounds[elephant] + remaining.count(elephant) + sum(lost.values())
    assert rounds[elephant] > 1000
    assert min(rounds[flow] for flow in mice) > 100
