"""The connection table against a dict."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fastpath import probe

TCP, UDP = 6, 17
FOREVER = (2**30,) * 4


def flows(n: int) -> tuple[tuple[int, int, int, int], tuple[int, int, int, int]]:
    """Both tuples of connection number n."""
    return (n, 1, n & 0xFFFF, 80), (2, 3, 80, n & 0xFFFF)


class Oracle:
    """A worker's table and the dict that it should equal: number -> index."""

    def __init__(self, capacity: int, n_buckets: int) -> None:
        self.worker = probe.Worker(capacity, n_buckets, timeouts=FOREVER)
        self.capacity = capacity
        self.open: dict[int, int] = {}

    def insert(self, n: int) -> None:
        if n in self.open:
            return
        index = self.worker.open(*flows(n), TCP)
        assert (index is None) == (len(self.open) == self.capacity)
        if index is not None:
            assert index not in self.open.values()
            self.open[n] = index

    def remove(self, n: int) -> None:
        if n in self.open:
            self.worker.close(self.open.pop(n))

    def check(self, n: int) -> None:
        index = self.open.get(n)
        for direction, flow in enumerate(flows(n)):
            assert self.worker.find(flow, TCP) == (None if index is None else (index, direction))
            assert self.worker.find(flow, UDP) is None

    def check_all(self, numbers: range) -> None:
        for n in numbers:
            self.check(n)
        assert self.worker.counts[0] == len(self.open)
        assert self.worker.tags == 2 * len(self.open)


OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["insert", "insert", "remove", "check"]), st.integers(0, 40)), max_size=200
)


@given(OPERATIONS)
def test_any_sequence(operations: list[tuple[str, int]]) -> None:
    """B11: any sequence of insert, find and remove in a small, crowded table answers as a dict does."""
    oracle = Oracle(32, 10)  # 80 slots for 64 entries
    for name, n in operations:
        getattr(oracle, name)(n)
    oracle.check_all(range(41))


@pytest.mark.parametrize(("capacity", "n_buckets"), [(32, 10), (64, 20), (500, 150), (2000, 590)])
def test_long_run_at_high_load(capacity: int, n_buckets: int) -> None:
    """B11: thousands of random steps around the full table, at the load that the region plans and above."""
    random = Random(capacity)
    oracle = Oracle(capacity, n_buckets)
    numbers = range(capacity + capacity // 4)
    spilled = 0
    for step in range(6000):
        n = random.choice(numbers)
        (oracle.insert if random.random() < 0.7 else oracle.remove)(n)
        oracle.check(random.choice(numbers))
        if step % 500 == 0:
            oracle.check_all(numbers)
            spilled = max(spilled, oracle.worker.spilled)
    assert spilled > 0
    for n in list(oracle.open):
        oracle.remove(n)
    assert (oracle.worker.spilled, oracle.worker.tags, oracle.worker.counts) == (0, 0, (0, 0, 0))


def test_planned_load() -> None:
    """The region's own sizes: a full table has 0.8 of its slots in use and few entries outside their bucket."""
    oracle = Oracle(4096, 0)
    for n in range(4096):
        oracle.insert(n)
    oracle.check_all(range(4200))
    assert oracle.worker.spilled < 0.2 * 2 * 4096


def test_colliding_tags_and_buckets() -> None:
    """B11: flows of one bucket and one tag are told apart by their addresses."""
    worker = probe.Worker(64, 1, timeouts=FOREVER)
    first = flows(0)[0]
    tag = worker.place(first, TCP)[1]
    twin = next(f for n in range(1, 2_000_000) if worker.place(f := flows(n)[0], TCP)[1] == tag)
    one = worker.open(first, (9, 9, 9, 1), TCP)
    two = worker.open(twin, (9, 9, 9, 2), TCP)
    assert (worker.find(first, TCP), worker.find(twin, TCP)) == ((one, 0), (two, 0))
    worker.close(one)
    assert (worker.find(first, TCP), worker.find(twin, TCP)) == (None, (two, 0))


def test_buckets_and_tags_are_even() -> None:
    """The homes of sequential clients spread over buckets, the tags over their values."""
    worker = probe.Worker(4096, timeouts=FOREVER)
    places = [worker.place(((n & 255) << 24 | n >> 8, 1, 0x1234, 80), TCP) for n in range(20000)]
    assert max(tag for _, tag in places) > 65000
    assert min(tag for _, tag in places) >= 1
    assert len({tag for _, tag in places}) > 17000  # 65,535 values: 17,220 expected
    homes = [home for home, _ in places]
    counts = [homes.count(home) for home in range(0, 1296, 13)]
    assert max(counts) < 40  # 15.4 expected
