"""The permutation behind local ports, and the cursor that walks it."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fastpath import probe

KEY = st.integers(0, 2**64 - 1)
REAL = (0x03010101, 0x5000)


@pytest.mark.parametrize("bits", range(1, 17))
@given(key=KEY)
def test_permute_is_a_bijection(bits: int, key: int) -> None:
    """B20: each number of [0, 2^bits) comes out once (many keys; 17 to 20 bits below)."""
    size = min(1 << bits, 1 << 10)
    sample = {probe.permute(x, bits, key) for x in range(size)}
    assert len(sample) == size
    assert max(sample) < 1 << bits


@pytest.mark.parametrize("bits", range(10, 21))
@pytest.mark.parametrize("key", [0, 2**64 - 1, 0x9E3779B97F4A7C15])
def test_permute_covers_everything(bits: int, key: int) -> None:
    """B20: the whole range, for the sizes that pools of addresses have."""
    seen = bytearray(1 << bits)
    for x in range(1 << bits):
        seen[probe.permute(x, bits, key)] = 1
    assert all(seen)


def test_every_tuple_once() -> None:
    """B20: the cursor hands out each of 64,512 ports of an address once, none under 1024, and then none at all."""
    worker = probe.Worker(70_000, timeouts=(2**30,) * 4)
    given = [worker.choose_local(REAL, [0x0102000A], n) for n in range(64_512)]
    assert sorted(port for _, port in given) == list(probe.PORTS)
    assert worker.choose_local(REAL, [0x0102000A], 64_512) is None


@pytest.mark.parametrize("n", [2, 3, 5])
def test_several_addresses(n: int) -> None:
    """B20: with several addresses no (address, port) is handed out twice, and all addresses get their share."""
    worker = probe.Worker(70_000, timeouts=(2**30,) * 4)
    addresses = [0x0002000A | i << 24 for i in range(1, n + 1)]
    given = [worker.choose_local(REAL, addresses, k) for k in range(20_000)]
    assert len(set(given)) == 20_000
    for address in addresses:
        assert sum(g[0] == address for g in given) == pytest.approx(20_000 / n, rel=0.1)


def test_freed_tuples_come_back_late() -> None:
    """B43: a port that is freed is handed out again only after nearly all others (the server may be in TIME_WAIT)."""
    worker = probe.Worker(16, timeouts=(2**30,) * 4)
    seen = []
    for n in range(60_000):
        seen.append(worker.choose_local(REAL, [0x0102000A], n)[1])
        worker.close(0)
    assert len(set(seen)) == 60_000


def test_ended_tuples_in_turn() -> None:
    """B43: where every port is held by a connection that has ended, they are taken over in the order in which they were
    first used, so each rests as long as can be; and when none has ended, there is none."""
    worker = probe.Worker(70_000, timeouts=(2**30,) * 4)
    first = []
    for n in range(64_512):
        first.append(worker.choose_local(REAL, [0x0102000A], n))
        worker.end(n)
    assert [worker.choose_local(REAL, [0x0102000A], 100_000 + n) for n in range(64_512)] == first
    assert worker.choose_local(REAL, [0x0102000A], 200_000) is None


def test_the_order_is_not_the_ports_order() -> None:
    """RFC 6056: one port does not tell the next."""
    worker = probe.Worker(2048, timeouts=(2**30,) * 4)
    ports = [worker.choose_local(REAL, [0x0102000A], n)[1] for n in range(1000)]
    steps = {b - a for a, b in pairwise(ports)}
    assert len(steps) > 100
