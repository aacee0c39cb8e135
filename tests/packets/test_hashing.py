"""ipport and iponly: consistent hashing: B25."""

from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from fastpath import engine
from tests.packets.bulk import packets, through
from tests.packets.director import Director, dotted
from tests.packets.frames import inbound, tcp

CONNECTIONS = 131072
CLIENTS = range(0, 16 * 4000, 7)
"""Numbers of bulk.packets(): 4,000 addresses with two or three ports each."""

WEIGHTS = {f"1.1.1.{n}": 1 + n % 3 for n in range(3, 40)}


def choices(director: Director, servers: dict[str, int], scheduler: str) -> list[str]:
    """The server of each of CLIENTS."""
    director.reset()
    director.service(servers, scheduler=scheduler)
    return dotted(way.server for way in through(director, packets(CLIENTS)))


def choices_elsewhere(servers: dict[str, int], scheduler: str) -> list[str]:
    """The same on another director: run in a process of its own."""
    other = Director(CONNECTIONS, engine.Timeouts(), 1500)
    try:
        return choices(other, servers, scheduler)
    finally:
        other.close()


@pytest.mark.parametrize("scheduler", ["ipport", "iponly"])
def test_every_director_chooses_the_same(director: Director, scheduler: str) -> None:
    """B25: two directors (each with its own hash keys) given the servers in opposite orders choose alike."""
    backwards = dict(reversed(WEIGHTS.items()))
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        theirs = pool.submit(choices_elsewhere, backwards, scheduler)
        assert choices(director, WEIGHTS, scheduler) == theirs.result()


def test_iponly_ignores_the_port(director: Director) -> None:
    """B25: iponly: all connections of a client go to one server; ipport spreads them."""
    servers = {f"1.1.1.{n}": 1 for n in range(3, 13)}
    many = [inbound(tcp("S", sport=sport)) for sport in range(1, 200)]
    director.service(servers, scheduler="iponly")
    assert len({raw[30:34] for _, raw in director.turn(many)}) == 1
    director.reset()
    director.service(servers, scheduler="ipport")
    assert len({raw[30:34] for _, raw in director.turn(many)}) == 10


@pytest.mark.parametrize("scheduler", ["ipport", "iponly"])
def test_shares_follow_weights(director: Director, scheduler: str) -> None:
    """B25: a random client's chance of a server follows its weight (the table: tests/fastpath)."""
    shares = Counter(choices(director, WEIGHTS, scheduler))
    total = sum(WEIGHTS.values())
    for server, weight in WEIGHTS.items():
        expected = len(CLIENTS) * weight / total
        spread = 6 * (expected * (3 if scheduler == "iponly" else 1)) ** 0.5  # iponly: clients come with 2 or 3 ports
        assert abs(shares[server] - expected) < spread


@pytest.mark.parametrize("scheduler", ["ipport", "iponly"])
@pytest.mark.parametrize("drain", [False, True])
def test_losing_a_server_moves_few_clients(director: Director, scheduler: str, drain: bool) -> None:
    """B25: taking 1 of 20 servers away, or draining it, moves its clients and at most a few per cent more."""
    servers = {f"1.1.1.{n}": 1 for n in range(3, 23)}
    before = choices(director, servers, scheduler)
    gone = "1.1.1.9"
    after = choices(director, servers | {gone: 0} if drain else {s: 1 for s in servers if s != gone}, scheduler)
    assert gone not in after
    moved = sum(a != b for a, b in zip(before, after, strict=True)) / len(before)
    assert moved < before.count(gone) / len(before) + 0.03
