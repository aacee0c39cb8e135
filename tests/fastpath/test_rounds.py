"""Rounds and Maglev tables against what they promise."""

from collections import Counter
from fractions import Fraction
from itertools import accumulate
from math import gcd

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fastpath import probe

WEIGHTS = st.lists(st.integers(0, 60), min_size=1, max_size=12).filter(any)


def identities(n: int) -> list[int]:
    """n servers as engine.pyx names them: address as it stands in memory, port."""
    return [(int.from_bytes(bytes([10, 0, i >> 8, i & 255]), "little") << 16) | 80 for i in range(n)]


def assert_fair(slots: list[int], weights: list[int]) -> None:
    """After each slot each server is less than one turn off its share, and exact after a whole round."""
    total = sum(weights)
    for server, weight in enumerate(weights):
        for k, taken in enumerate(accumulate(slot == server for slot in slots), 1):
            assert abs(taken - Fraction(k * weight, total)) < 1
            assert k % total or taken == k // total * weight


@given(WEIGHTS)
def test_round(weights: list[int]) -> None:
    """B24: in two rounds no prefix gives a server a whole turn more or less than its share."""
    assert_fair(probe.lay_round(weights, 2 * sum(weights)), weights)


@pytest.mark.parametrize("weights", [[1], [0, 1, 0], [65535, 1], [1, 65535, 1], [1000, 999, 998], [1] * 300])
def test_round_at_extremes(weights: list[int]) -> None:
    """B24: one server, hardly any weight, nearly equal ones, many."""
    slots = probe.lay_round(weights, sum(weights))
    assert Counter(slots) == {i: w for i, w in enumerate(weights) if w}
    if sum(weights) < 5000:
        assert_fair(slots, weights)


@given(WEIGHTS, st.integers(1, 50))
def test_common_divisor(weights: list[int], factor: int) -> None:
    """B24: weights with a common divisor make the round of the weights without it."""
    divisor = gcd(*weights)
    scaled = probe.lay_schedule("wrr", [w * factor for w in weights], identities(len(weights)))
    assert scaled == probe.lay_round([w // divisor for w in weights], sum(weights) // divisor)


@given(WEIGHTS)
def test_rr_ignores_weights(weights: list[int]) -> None:
    """B24: rr gives each server of weight > 0 one slot."""
    slots = probe.lay_schedule("rr", weights, identities(len(weights)))
    assert sorted(slots) == [i for i, w in enumerate(weights) if w]


def test_nobody_eligible() -> None:
    """B26: all drained, or no servers: no slots."""
    for scheduler in probe.SCHEDULERS:
        assert probe.lay_schedule(scheduler, [0, 0], identities(2)) == []
        assert probe.lay_schedule(scheduler, [], []) == []


@pytest.mark.parametrize(
    "weights", [[1], [1, 1], [1] * 7, [1] * 100, [1] * 101, [1] * 600, [5, 1, 1, 1], [100, 1], [3, 0, 2, 0, 1] * 20]
)
def test_maglev_shares(weights: list[int]) -> None:
    """B25: each server's share of the table is within one slot of its weight's."""
    slots = probe.lay_schedule("ipport", weights, identities(len(weights)))
    counts = Counter(slots)
    for server, weight in enumerate(weights):
        assert abs(counts[server] - Fraction(len(slots) * weight, sum(weights))) <= 1


def test_maglev_table_fits_the_servers() -> None:
    """B25: ten slots a server and more, so that one slot of unevenness stays small beside an equal share."""
    for n in (1, 100, 1000, 1001, 6553, 6554):
        assert len(probe.lay_schedule("iponly", [1] * n, identities(n))) >= 10 * n


def moved(n: int, gone: int, weights: list[int]) -> float:
    """Share of the clients' hash space that changes its server when server `gone` of n leaves, beside its own."""
    names = identities(n)
    before = [names[i] for i in probe.lay_schedule("ipport", weights, names)]
    rest = names[:gone] + names[gone + 1 :]
    after = [rest[i] for i in probe.lay_schedule("ipport", weights[:gone] + weights[gone + 1 :], rest)]
    samples = range(0, 2**32, 2**32 // 20011)
    pairs = [(before[probe.scale(x, len(before))], after[probe.scale(x, len(after))]) for x in samples]
    return sum(a != b for a, b in pairs if a != names[gone]) / len(pairs)


@pytest.mark.parametrize("n", [2, 5, 20, 50, 100, 300])
def test_maglev_disruption(n: int) -> None:
    """B25: when 1 of n servers leaves, at most 3 % of the other servers' clients move."""
    for gone in (0, n // 2, n - 1):
        assert moved(n, gone, [1] * n) < 0.03


@pytest.mark.parametrize("n", [101, 656, 1000])
def test_maglev_disruption_up_to_a_thousand_servers(n: int) -> None:
    """B25: the table's size, and so its slots, stay the same up to 1,000 servers."""
    assert moved(n, n // 2, [1] * n) < 0.03


@given(st.permutations(range(9)))
def test_maglev_depends_on_identity_not_on_time(order: list[int]) -> None:
    """B25: the same servers in the same (sorted) order make the same table, every time."""
    names = identities(9)
    assert sorted(names[i] for i in order) == sorted(names)
    assert probe.lay_schedule("ipport", [2] * 9, names) == probe.lay_schedule("iponly", [4] * 9, names)
