"""Shares, buckets and the memory of clients against naive oracles."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fastpath import probe

UNIT = 16
"""Milliseconds: how finely a client's time is kept."""
STEPS = st.lists(st.integers(0, 3000), min_size=1, max_size=60)
"""Milliseconds between attempts."""


@given(st.integers(0, 2**32 - 1), st.integers(1, 64))
def test_shares(limit: int, workers: int) -> None:
    """B29: workers' parts add up to the limit, and differ by 1; of one below their number each has 1, of none none."""
    parts = probe.share_out(limit, workers)
    assert sum(parts) == (limit if limit >= workers or limit == 0 else workers)
    assert max(parts) - min(parts) <= 1


@given(st.integers(0, 1 << 22), st.integers(0, 1 << 22), st.integers(0, 254))
def test_living_connections_of_a_server(full: int, closing: int, retired: int) -> None:
    """B29: those that count against its limit follow from its load and all its entries, whatever is closing or gone."""
    assert probe.living_of(full, closing, retired) == full


@given(st.integers(1, 50), STEPS)
def test_rate_of_a_service(rate: int, steps: list[int]) -> None:
    """B29: a bucket of one second's worth, filled by the millisecond, from which only what is opened takes."""
    service = probe.Clients(1, rate=rate)
    now, tokens = 10_000, Fraction(rate)
    for step in steps:
        now += step
        tokens = min(Fraction(rate), tokens + Fraction(rate * step, 1000))
        service.at(now)
        assert service.open() == (tokens >= 1)
        tokens -= tokens >= 1


@given(st.integers(1, 50), STEPS, st.sampled_from([10_000, 2**32 - 5_000, 2**36 - 5_000]))
def test_rate_of_a_client(rate: int, steps: list[int], start: int) -> None:
    """B29: each client has a bucket of its own, filled in steps of 16 ms, over every wrap of the clock; never more than
    the oracle gives."""
    clients = probe.Clients(64)
    now, tokens, unit = start, Fraction(rate), start // UNIT
    for step in steps:
        now += step
        tokens = min(Fraction(rate), tokens + Fraction(rate * (now // UNIT - unit) * UNIT, 1000))
        unit = now // UNIT
        clients.at(now)
        assert clients.may(1, rate) == (tokens >= 1)
        tokens -= tokens >= 1


@pytest.mark.parametrize("rate", [1, 10, 4_294_967, 4_294_968, 1_000_000_000])
def test_a_client_at_extremes(rate: int) -> None:
    """B29: rates up to the largest one are kept: a client that is new has a second's worth at once."""
    clients = probe.Clients(64)
    clients.at(5000)
    for _ in range(min(rate, 1000)):
        assert clients.may(7, rate)
    assert clients.may(7, rate) == (rate > 1000)


@given(st.dictionaries(st.integers(1, 40), st.integers(0, 5)), st.integers(0, 3))
def test_rates_by_client(rates: dict[int, int], otherwise: int) -> None:
    """B29: a client that is listed has its own rate, 0 too; the others have the service's, of which 0 is no limit."""
    service = probe.Clients(1, rates=list(rates.items()), client_rate=otherwise)
    for address in range(42):
        assert service.rate_of(address) == rates.get(address, otherwise or None)


@given(st.lists(st.tuples(st.integers(1, 12), st.integers(0, 15), st.integers(0, 4000)), max_size=80))
def test_servers_of_clients(visits: list[tuple[int, int, int]]) -> None:
    """B44: with room for all, every client's server is known for as long as it was seen within the time, to 16 ms."""
    clients = probe.Clients(1 << 12, seconds=3)
    known: dict[int, tuple[int, int]] = {}
    now = 2**32 - 20_000
    for client, server, pause in visits:
        now += pause
        clients.at(now)
        last, seen = known.get(client, (None, -(2**40)))
        assert clients.recall(client) == (last if now // UNIT - seen <= 3000 // UNIT else None)
        clients.remember(client, server)
        known[client] = server, now // UNIT


def test_the_oldest_of_a_set_goes_first() -> None:
    """B44: in a full set the client that was not seen for longest makes room; the others stay."""
    clients = probe.Clients(8, seconds=1000)
    crowd = [c for c in range(1, 200) if clients.set_of(c) == 3][:5]
    for n, client in enumerate(crowd[:4]):
        clients.at(10_000 + n * 100)
        clients.remember(client, n)
    clients.at(11_000)
    clients.remember(crowd[0], 0)
    clients.remember(crowd[4], 9)
    assert [clients.recall(c) for c in crowd] == [0, None, 2, 3, 9]


def test_a_clock_that_wraps() -> None:
    """B44: 49.7 days later, when the clock's low half is the same again, a client is forgotten."""
    clients = probe.Clients(8, seconds=1000)
    clients.at(5_000)
    clients.remember(1, 3)
    clients.at(5_000 + 2**32)
    assert clients.recall(1) is None


def test_a_full_bucket_makes_room_first() -> None:
    """B29: an entry that says nothing any more, since its bucket is full, goes before older ones that do."""
    clients = probe.Clients(1, seconds=1000)
    clients.at(1_000)
    for client in (1, 2, 3):
        clients.remember(client, client)
    clients.at(2_000)
    clients.may(4, 5)
    clients.at(4_000)
    clients.remember(5, 5)
    assert [clients.recall(c) for c in (1, 2, 3, 5)] == [1, 2, 3, 5]
