"""lc and wlc without packets (B24): who gets how much, on several workers, between two sums, of uneven servers.

A simulation: connections come one by one, to a worker each as their hash says, and last for a while.
"""

import heapq
from collections import Counter
from collections.abc import Callable, Sequence
from random import Random

import pytest

from tests.fastpath import probe


def simulate(
    loads: "probe.Loads",
    lasts: Callable[[int], float],
    *,
    workers: int = 1,
    connections: int = 20_000,
    sum_every: int = 0,
    seed: int = 1,
) -> tuple[Counter[int], list[int]]:
    """What each server got, and has in the end. lasts: how many arrivals a connection to a server outlives."""
    random = Random(seed)
    got: Counter[int] = Counter()
    open_now: Counter[int] = Counter()
    ends: list[tuple[float, int, int]] = []
    for at in range(connections):
        while ends and ends[0][0] <= at:
            _, worker, server = heapq.heappop(ends)
            loads.close(worker, server)
            open_now[server] -= 1
        if sum_every and at % sum_every == 0:
            loads.weigh()
        worker = random.randrange(workers)
        server = loads.pick(worker, random.getrandbits(64))
        got[server] += 1
        open_now[server] += 1
        heapq.heappush(ends, (at + lasts(server), worker, server))
    return got, [open_now[server] for server in range(max(got) + 1)]


def forever(_: int) -> float:
    return float("inf")


@pytest.mark.parametrize("workers", [1, 2, 16])
@pytest.mark.parametrize("sum_every", [1, 100, 2000])
@pytest.mark.parametrize("n", [2, 3, 10, 100])
def test_lc_is_even_whatever_the_sums_age(workers: int, sum_every: int, n: int) -> None:
    """B24: between two sums connections spread as if each worker knew all: no server is further off the mean than twice
    the workers and a few, though 2,000 connections came since the last sum."""
    loads = probe.Loads("lc", [1] * n, workers)
    _, open_now = simulate(loads, forever, workers=workers, connections=200 * n, sum_every=sum_every)
    assert max(abs(have - 200) for have in open_now) <= 4 + 2 * workers


def test_two_servers_on_one_worker_are_exact() -> None:
    """B24: both are always compared, so they never differ by more than one."""
    loads = probe.Loads("lc", [1, 1], 1)
    got: Counter[int] = Counter()
    for n in range(1000):
        got[loads.pick(0, n * 0x9E3779B97F4A7C15 % 2**64)] += 1
        assert abs(got[0] - got[1]) <= 1


@pytest.mark.parametrize("weights", [[3, 1], [100, 1], [5, 3, 2], [1] * 20 + [10] * 5, [65535, 1, 30000]])
def test_wlc_follows_weights_where_connections_last(weights: list[int]) -> None:
    """B24: connections in proportion to the weights, off by 4 % of all and two at most."""
    loads = probe.Loads("wlc", weights, 2)
    _, open_now = simulate(loads, forever, workers=2, connections=4000, sum_every=200)
    for have, weight in zip(open_now, weights, strict=False):
        assert abs(have - 4000 * weight / sum(weights)) <= 2 + 0.04 * 4000 * weight / sum(weights) + 4 * 2


@pytest.mark.parametrize("weights", [[3, 1], [10, 5, 1], [1] * 20 + [10] * 5])
def test_without_load_wlc_follows_weights_and_lc_is_even(weights: list[int]) -> None:
    """B24: where every connection is over before the next comes, the first draw decides: shares within four standard
    deviations."""
    for scheduler, shares in (("wlc", weights), ("lc", [1] * len(weights))):
        got, _ = simulate(probe.Loads(scheduler, weights, 1), lambda _: 0.5, connections=10_000)
        for server, share in enumerate(shares):
            p = share / sum(shares)
            assert abs(got[server] - 10_000 * p) < 4 * (10_000 * p * (1 - p)) ** 0.5


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("scheduler", ["lc", "wlc"])
def test_a_slow_server_gets_less(scheduler: str, workers: int) -> None:
    """B24: one of four servers takes ten times as long for a connection: it has about as many open as the others, and
    so gets a tenth of what they get (ideally 1/31 of all)."""
    loads = probe.Loads(scheduler, [1] * 4, workers)
    got, _ = simulate(loads, lambda s: 1000 if s == 0 else 100, workers=workers, sum_every=50)
    assert got[0] / 20_000 < 1.6 / 31
    assert max(got[s] for s in (1, 2, 3)) < 1.05 * min(got[s] for s in (1, 2, 3))


def fill_up(loads: "probe.Loads", servers: Sequence[int], n: int) -> None:
    """n connections; the others were not there yet."""
    for server in servers:
        loads.reach(server, False)
    for k in range(n):
        loads.pick(0, k * 0x9E3779B97F4A7C15 % 2**64)
    for server in servers:
        loads.reach(server, True)


def test_a_new_server_is_not_run_down() -> None:
    """B24: it gets of each pair that it is in, no more: at most what two draws of ten give, until it is level."""
    loads = probe.Loads("lc", [1] * 10, 1)
    fill_up(loads, [9], 900)
    loads.weigh()
    got = Counter(loads.pick(0, Random(n).getrandbits(64)) for n in range(500))
    assert 75 < got[9] < 130
    got += Counter(loads.pick(0, Random(n).getrandbits(64)) for n in range(500, 3000))
    assert abs((900 + 3000) / 10 - got[9]) < 10


@pytest.mark.parametrize("workers", [2, 16])
def test_workers_do_not_run_down_a_new_server_together(workers: int) -> None:
    """B24: each gives it its part of what it lacks, though none hears of the others before the next sum."""
    loads = probe.Loads("lc", [1, 1], workers)
    fill_up(loads, [1], 1600)
    loads.weigh()
    random = Random(1)
    got = Counter(loads.pick(random.randrange(workers), random.getrandbits(64)) for _ in range(3200))
    assert abs(got[1] - 2400) <= 2 * workers


def test_who_cannot_be_reached_looks_worst() -> None:
    """B24, B40: a server without a MAC address has no connections, and is passed over where another is reachable."""
    loads = probe.Loads("wlc", [65535, 1, 1], 1)
    loads.reach(0, False)
    got = Counter(loads.pick(0, Random(n).getrandbits(64)) for n in range(500))
    assert got[0] == 0
    for server in (1, 2):
        loads.reach(server, False)
    assert loads.pick(0, 1) in (0, 1, 2)


def test_only_the_eligible_are_drawn() -> None:
    """B24, B26: nobody of weight 0, however few are left."""
    for scheduler in ("lc", "wlc"):
        assert probe.Loads(scheduler, [0, 0], 1).pick(0, 1) is None
        assert {probe.Loads(scheduler, [0, 3, 0], 1).pick(0, n) for n in range(50)} == {1}
        loads = probe.Loads(scheduler, [0, 3, 0, 2, 0], 1)
        assert {loads.pick(0, n) for n in range(50)} == {1, 3}


def test_closing_connections_weigh_little() -> None:
    """B24: 256 of them as much as an open one, so that a server whose connections are short is not taken for busy."""
    loads = probe.Loads("lc", [1, 1], 1)
    first = loads.pick(0, 1)
    loads.pick(0, 2)
    for _ in range(100):
        loads.close(0, first, lingers=True)
        assert loads.pick(0, 3) == first
