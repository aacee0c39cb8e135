"""The mailbox's verbs, turn by turn: a question never takes more of a turn than its share."""

from itertools import pairwise

import pytest

from tests.fastpath import probe

SHARE = 16
"""Entries a turn."""
UDP = 17


def worker_with(n: int) -> probe.Worker:
    """A worker with n half-open or UDP connections."""
    worker = probe.Worker(1024, timeouts=(1 << 30,) * 4)
    for i in range(n):
        state = probe.STATES["SYN_SENT" if i % 2 else "UDP"]
        worker.open((i, 1, 2, 3), (4, i, 5, 6), 6 if i % 2 else UDP, state)
    return worker


@pytest.mark.parametrize("n", [0, 1, 15, 16, 17, 500])
def test_find(n: int) -> None:
    """B21: a search takes 16 entries a turn at most, each once, and ends by itself."""
    cursors, found = worker_with(n).answer(probe.FIND)
    assert found == n
    assert all(after - before == SHARE for before, after in pairwise([0, *cursors[:-1]]))
    assert cursors[-1] == 0
    assert len(cursors) == max(1, -(-n // SHARE))


@pytest.mark.parametrize(("limit", "entries"), [(1, 500), (16, 500), (40, 500), (500, 1), (500, 16), (500, 100)])
def test_a_page(limit: int, entries: int) -> None:
    """B21: it ends where the page is full, or as many entries were looked at as were asked for."""
    cursors, found = worker_with(300).answer(probe.FIND, limit, entries)
    assert found == cursors[-1] == min(limit, entries)


@pytest.mark.parametrize("n", [0, 1, 16, 17, 500])
def test_sweep(n: int) -> None:
    """B26: so does a sweep: a thousand connections to reset hold up no packet for long."""
    worker = worker_with(n)
    worker.remove_server(probe.RESET)
    cursors, swept = worker.answer(probe.SWEEP)
    assert swept == n
    assert all(after - before == SHARE for before, after in pairwise([0, *cursors[:-1]]))
    assert cursors[-1] == 0
    assert len(cursors) == max(1, -(-n // SHARE))
    worker.turn(0)
    assert worker.counts == (0, 0, 0)


@pytest.mark.parametrize(("limit", "turns_ms"), [(1, 4), (16, 4), (20, 4), (40, 2), (128, 5), (128, 100)])
def test_a_sweep_keeps_its_pace(limit: int, turns_ms: int) -> None:
    """B26: no more resets in a millisecond than a slow link carries, as many as that if there is time."""
    worker = worker_with(500)
    worker.remove_server(probe.RESET)
    cursors, swept = worker.answer(probe.SWEEP, limit, turns_ms=turns_ms)
    assert swept == 500
    assert cursors[-1] == 0
    by_ms = [0, *cursors[turns_ms - 1 : -1 : turns_ms], 500]
    steps = [after - before for before, after in pairwise(by_ms)]
    assert max(steps) == min(limit, SHARE * turns_ms, 500)
    assert steps[:-1] == steps[:1] * (len(steps) - 1)


@pytest.mark.parametrize("limit", [1, 16, 20, 128])
def test_a_sweep_makes_room(limit: int) -> None:
    """B26: where another question waits, a sweep gives way once it has used up its millisecond, and tells how far it
    came; one that resets nothing runs through."""
    worker = worker_with(500)
    worker.remove_server(probe.RESET)
    cursors, swept = worker.answer(probe.SWEEP, limit, turns_ms=1000, hurry=True)
    assert (cursors[-1], swept) == (limit, limit)
    worker.remove_server(probe.REMOVED)
    assert worker.answer(probe.SWEEP, limit, turns_ms=1000, hurry=True)[0][-1] == 0


def test_a_sweep_of_nothing() -> None:
    """B26: a server that was removed without that wish keeps its connections."""
    worker = worker_with(100)
    worker.remove_server(probe.REMOVED)
    assert worker.answer(probe.SWEEP)[1] == 0
    assert worker.counts[0] == 100
