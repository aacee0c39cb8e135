"""rr and wrr: B24."""

from collections import Counter
from fractions import Fraction
from itertools import accumulate, pairwise

import pytest

from fastpath import engine
from tests.packets.bulk import packets, through
from tests.packets.director import Director, dotted

WEIGHTS = [
    [1],
    [1, 1],
    [1, 1, 1],
    [7, 7],
    [5, 1, 1],
    [3, 2, 1],
    [100, 1],
    [4, 3, 0, 2],
    [17, 13, 11, 7, 5, 3, 2],
    [1] * 40,
]


def addresses(n: int) -> list[str]:
    return [f"1.1.1.{3 + i}" for i in range(n)]


def serve(director: Director, weights: list[int], scheduler: str, id: int) -> dict[str, int]:
    """A service that no test used before (a cursor outlives its service): address -> weight."""
    servers = dict(zip(addresses(len(weights)), weights, strict=True))
    director.service(servers, scheduler=scheduler, id=id)
    return servers


def choices(director: Director, first: int, n: int) -> list[str]:
    return dotted(way.server for way in through(director, packets(range(first, first + n))))


@pytest.mark.parametrize("case", range(len(WEIGHTS)))
def test_wrr_is_exact_and_smooth(director: Director, case: int) -> None:
    """B24: each round gives every server its weight; after any number of connections, a server is less than one off its
    ideal share."""
    servers = serve(director, WEIGHTS[case], "wrr", 100 + case)
    total = sum(WEIGHTS[case])
    chosen = choices(director, 0, 3 * total)
    for server, weight in servers.items():
        for k, taken in enumerate(accumulate(choice == server for choice in chosen), 1):
            assert abs(taken - Fraction(k * weight, total)) < 1
            assert k % total or taken == k // total * weight


@pytest.mark.parametrize("n", [1, 2, 3, 7, 50])
def test_rr_takes_turns(director: Director, n: int) -> None:
    """B24: rr gives every server one connection a round, whatever the weights, in the same order each round."""
    servers = serve(director, list(range(1, n + 1)), "rr", 200 + n)
    chosen = choices(director, 0, 4 * n)
    assert sorted(chosen[:n]) == sorted(servers)
    assert chosen == chosen[:n] * 4


def test_rr_passes_over_weight_0(director: Director) -> None:
    """B24, B26: a drained server has no turn."""
    serve(director, [1, 0, 5, 0], "rr", 300)
    assert Counter(choices(director, 0, 10)) == {"1.1.1.3": 5, "1.1.1.5": 5}


def test_only_new_connections_take_a_turn(director: Director) -> None:
    """B24: packets of living connections, retransmitted SYNs and refused packets do not move the round."""
    serve(director, [1, 1], "rr", 301)
    chosen = choices(director, 0, 1)
    for n in range(1, 9):
        chosen += choices(director, n, 1)
        through(director, packets(range(n), "A"))
        through(director, packets(range(n)))
    assert all(a != b for a, b in pairwise(chosen))


def test_reweighting(director: Director) -> None:
    """B24: new weights hold from the next connection on: each window of a round gives exact shares."""
    serve(director, [1, 1], "wrr", 302)
    choices(director, 0, 5)
    serve(director, [3, 1], "wrr", 302)
    chosen = choices(director, 100, 40)
    for at in range(36):
        assert Counter(chosen[at : at + 4]) == {"1.1.1.3": 3, "1.1.1.4": 1}


def test_common_factors_cancel(director: Director) -> None:
    """B24: weights 700 and 300 make a round of ten."""
    serve(director, [700, 300], "wrr", 303)
    assert Counter(choices(director, 0, 10)) == {"1.1.1.3": 7, "1.1.1.4": 3}


def test_services_take_turns_apart(director: Director) -> None:
    """B24: each service has a round of its own."""
    director.service(addresses(2), id=304)
    director.service(addresses(2), engine.UDP, id=305, first=2)
    chosen = choices(director, 0, 1)
    director.turn([raw[:23] + b"\x11" + raw[24:36] + b"\0\x35\0\x14" + raw[40:] for raw in packets(range(1))])
    chosen += choices(director, 1, 1)
    assert set(chosen) == set(addresses(2))
