"""What workers are asked: searches, frames to send; and that no question is lost."""

import gc
import time
from collections.abc import Iterator, Sequence
from random import Random
from socket import inet_aton

import pytest

from fastpath import engine
from tests.packets.bulk import establish
from tests.packets.director import Director
from tests.packets.frames import OTHER_SERVER, SERVER, inbound, tcp, udp

ALL = bytes([255, 255, 255, 255])
ANY = bytes(4)
CLIENTS = ("1.1.1.1", "1.1.1.9", "1.1.2.1", "20.0.0.1")
ENDS = {"client": engine.CLIENT, "virtual": engine.VIRTUAL, "local": engine.LOCAL, "real": engine.REAL}


def whole(address: str, port: int = 0, ends: int = 15) -> engine.Match:
    return engine.Match(ends, inet_aton(address), ALL, port)


def found(**question: object) -> list[engine.Connection]:
    rows, cursor = engine.find(0, **question).result()
    assert cursor is None
    return rows


@pytest.fixture
def populated(director: Director) -> Director:
    """240 connections of both protocols, of several clients and local addresses, to two services each."""
    director.locals("10.0.2.1", "10.0.2.2")
    director.service([SERVER, OTHER_SERVER])
    director.service([SERVER, OTHER_SERVER], vip="10.0.1.2", vport=8080, id=1, first=2)
    director.service([OTHER_SERVER], engine.UDP, id=2, first=4)
    for src in CLIENTS:
        for sport in range(80, 100):
            director.send(
                inbound(tcp("S", sport=sport), src=src),
                inbound(tcp("S", sport=sport, dport=8080), src=src, dst="10.0.1.2"),
                inbound(udp(sport=sport), src=src),
            )
    return director


def holds(row: engine.Connection, match: engine.Match) -> bool:
    """Naively."""
    ends = [getattr(row, name) for name, bit in ENDS.items() if match.ends & bit]
    return any(
        all(ours & m == theirs & m for ours, theirs, m in zip(a, match.address, match.mask, strict=True))
        and match.port in (0, port)
        for a, port in ends
    )


def drawn(random: Random, rows: Sequence[engine.Connection]) -> engine.Match:
    """A condition that has something to do with one of these."""
    address, port = getattr(random.choice(rows), random.choice(sorted(ENDS)))
    mask = (0xFFFFFFFF << random.choice([0, 0, 1, 8, 24, 32]) & 0xFFFFFFFF).to_bytes(4, "big")
    return engine.Match(random.randrange(1, 16), address, mask, random.choice([0, 0, port, port + 1]))


@pytest.mark.parametrize("seed", range(4))
def test_any_conditions(populated: Director, seed: int) -> None:
    """Any conditions, any protocol: the answer is what a naive filter over all connections says."""
    random = Random(seed)
    rows = found()
    assert len(rows) == 240
    hits = 0
    for _ in range(150):
        matches = [drawn(random, rows) for _ in range(random.randrange(5))]
        protocol = random.choice([0, engine.TCP, engine.UDP])
        expected = [r for r in rows if protocol in (0, r.protocol) and all(holds(r, m) for m in matches)]
        assert found(protocol=protocol, matches=matches) == expected
        hits += 0 < len(expected) < len(rows)
    assert hits > 20


def test_one_connection(populated: Director) -> None:
    """A whole tuple finds the one connection, from either side of the director."""
    (row,) = found(protocol=engine.TCP, matches=[whole("1.1.2.1", 85, engine.CLIENT), whole("10.0.1.1", 80)])
    assert row.client == (inet_aton("1.1.2.1"), 85)
    seen_by_server = [engine.Match(engine.LOCAL, row.local[0], ALL, row.local[1])]
    assert found(matches=[*seen_by_server, engine.Match(engine.REAL, row.real[0], ALL, row.real[1])]) == [row]


def test_a_match_is_of_one_end(populated: Director) -> None:
    """Address and port of one condition are of the same end."""
    assert found(matches=[whole("1.1.1.1", 8080)]) == []
    assert len(found(matches=[whole("1.1.1.1"), engine.Match(engine.VIRTUAL, ANY, ANY, 8080)])) == 20


@pytest.mark.parametrize("idle", [0, 0.001, 1.5, 99.999])
def test_max_idle(director: Director, idle: float) -> None:
    """A packet that came exactly so long ago still counts; a millisecond more does not."""
    director.service(protocol=engine.UDP)
    director.send(inbound(udp()))
    director.wait(idle)
    assert len(found(max_idle=idle)) == 1
    director.wait(0.001)
    assert found(max_idle=idle) == []
    assert len(found()) == 1


@pytest.mark.parametrize(("limit", "entries"), [(1, 1 << 16), (7, 1 << 16), (1024, 1), (1024, 50), (3, 16), (500, 240)])
def test_pages(populated: Director, limit: int, entries: int) -> None:
    """Pages by rows, or by entries looked at: together they are the whole, no page is more than was asked for, and one
    without a row is not the end."""
    wanted = [whole("1.1.1.9")]
    rows: list[engine.Connection] = []
    cursor: int | None = 0
    n = 0
    while cursor is not None:
        page, following = engine.find(0, 0, wanted, None, cursor, limit, entries).result()
        assert len(page) <= limit
        assert following is None or following - cursor <= entries
        rows += page
        cursor = following
        n += 1
    assert rows == found(matches=wanted)
    assert n >= max(60 // limit, 240 // entries)


BAD = {
    "a fifth condition": {"matches": [whole(SERVER)] * 5},
    "no end": {"matches": [whole(SERVER, 0, 0)]},
    "a fifth end": {"matches": [whole(SERVER, 0, 16)]},
    "a port too large": {"matches": [whole(SERVER, 65536)]},
    "a short address": {"matches": [engine.Match(1, b"\1\1\1", ALL, 0)]},
    "a mask of 16 bytes": {"matches": [engine.Match(1, ANY, bytes(16), 0)]},
    "ICMP": {"protocol": 1},
    "a negative idle time": {"max_idle": -1},
    "an idle time that the clock cannot hold": {"max_idle": 5_000_000},
    "no rows": {"limit": 0},
    "no entries": {"entries": 0},
    "a negative cursor": {"cursor": -1},
    "another worker": {"worker": 1},
}


@pytest.mark.parametrize("question", BAD.values(), ids=BAD)
def test_bad_questions(director: Director, question: dict[str, object]) -> None:
    """Each is refused with the value and what was expected."""
    with pytest.raises(engine.EngineError, match="expected"):
        engine.find(**{"worker": 0, **question})


@pytest.mark.parametrize("n", [0, 1, 16, 17, 200])
def test_frames_are_sent(director: Director, n: int) -> None:
    """B40: frames of the director's own leave by the port they are for, as they are and in order."""
    frames = [bytes([i]) * (14 + 7 * i) for i in range(n)]
    assert engine.send(0, 1, frames).result() == n
    assert engine.run_once([], now=director.seconds()) == [(1, frame) for frame in frames]


@pytest.mark.parametrize("frame", [bytes(13), bytes(1523), "text" * 5, None])
def test_bad_frames(director: Director, frame: object) -> None:
    """A frame that is none, or longer than the port's, is refused, with those beside it."""
    with pytest.raises(engine.EngineError, match="expected"):
        engine.send(0, 0, [bytes(60), frame])  # type: ignore[list-item]
    assert engine.run_once([], now=director.seconds()) == []


def test_no_such_port(director: Director) -> None:
    """Nor is a port that is not there."""
    with pytest.raises(engine.EngineError, match="was not added"):
        engine.send(0, 5, [bytes(60)])


# ---- a worker that runs --------------------------------------------------------------------------------------------


@pytest.fixture
def running(director: Director) -> Iterator[Director]:
    """8,000 connections, and a worker that runs."""
    director.service()
    establish(director, range(8000))
    engine.start()
    yield director
    engine.stop()


def test_one_after_the_other(running: Director) -> None:
    """Asking whether the last one is done moves all of them on; an answer can be had more than once."""
    questions = [engine.find(0, matches=[whole("9.9.9.9")], cursor=n) for n in range(300)]
    assert not questions[-1].done()
    while not questions[-1].done():
        pass
    assert all(question.done() for question in questions)
    assert [question.result() for question in questions] == [([], None)] * 300
    one = engine.find(0, cursor=70, limit=1)
    assert one.result() == one.result()
    ((row,), following) = one.result()
    assert (row.client, following) == (engine.find(0, limit=100).result()[0][70].client, 71)


def test_waiting_for_one_that_is_not_the_first(running: Director) -> None:
    """result() of any question waits for those before it, too."""
    first = engine.find(0, limit=8192)
    assert len(engine.find(0, limit=8192).result()[0]) == 8000
    assert first.done()
    assert len(first.result()[0]) == 8000


def test_letting_go_of_a_question(running: Director) -> None:
    """A question that nobody holds any more is still the worker's: what it says is done, in order, and its memory stays
    until then."""
    for n in range(200):
        engine.find(0, limit=8192)
        engine.send(0, 0, [bytes([n]) * 60])
    gc.collect()
    engine.stop()
    assert [raw[0] for _, raw in engine.run_once([], now=running.seconds())] == list(range(200))


def test_stop_answers(running: Director) -> None:
    """stop() leaves no question open, however many there are; each answer is as good as any."""
    questions = [engine.find(0, limit=8192) for _ in range(50)]
    last = engine.send(0, 0, [bytes(60)] * 40)
    assert not last.done()
    engine.stop()
    assert last.done()
    assert {len(question.result()[0]) for question in questions} == {8000}
    assert len(engine.run_once([], now=running.seconds())) == last.result() == 40


def test_start_after_stop(running: Director) -> None:
    """The mailbox works again when the worker does."""
    open_ones = [engine.find(0, limit=8192) for _ in range(5)]
    engine.stop()
    engine.start()
    assert len(engine.find(0, limit=8192).result()[0]) == 8000
    assert all(question.done() for question in open_ones)


def test_a_sweep_lets_others_pass(running: Director) -> None:
    """B26: a search does not wait for the end of a sweep, which loses nothing by it."""
    running.service([OTHER_SERVER], first=1, reset=[0])
    sweep = engine.sweep(0)
    searches = 0
    while not sweep.done():
        assert len(engine.find(0, limit=1).result()[0]) == 1
        searches += 1
    assert searches > 2  # 1: it waited
    assert sweep.result() == 8000
    assert {row.state for row in engine.find(0, limit=8192).result()[0]} == {"RESET"}
    engine.stop()
    engine.run_once([], now=running.seconds())


def test_a_sweep_while_the_worker_runs(running: Director) -> None:
    """B26: all of a removed server's connections, and as many RSTs as the port takes."""
    running.service([OTHER_SERVER], first=1, reset=[0])
    began = time.monotonic()
    assert engine.sweep(0).result() == 8000
    assert time.monotonic() - began > 8000 / 128 / 1000 * 0.9
    engine.stop()
    left = engine.run_once([], now=running.seconds())
    assert 0 < len(left) <= 16000
    assert {raw[47] for _, raw in left} == {4}
    assert {row.state for row in engine.find(0, limit=8192).result()[0]} <= {"RESET"}
