"""Expiry against a naive list of deadlines."""

from random import Random

import pytest

from tests.fastpath import probe

ESTABLISHED, TRANSITORY, CLOSED, UDP = TIMEOUTS = (90_000, 20_000, 3_000, 7_000)
"""Milliseconds."""
LATE = 2 * probe.WHEEL_TICK
"""How much later than its timeout a connection may go: a slot of the wheel, and the slot that it waits for."""
STATES = {"ESTABLISHED": ESTABLISHED, "FIN_WAIT": TRANSITORY, "CLOSE": CLOSED, "UDP": UDP}
HALF_OPEN = {"SYN_SENT": TRANSITORY, "SYN_RECV": TRANSITORY}


class Oracle:
    """A worker, and for each open connection when it was last seen and what it is allowed."""

    def __init__(self, start: int, random: Random) -> None:
        self.worker = probe.Worker(2000, timeouts=TIMEOUTS)
        self.random = random
        self.deadlines: dict[int, tuple[int, int]] = {}
        self.opened = self.turns = self.calls = 0
        self.now = 0
        while self.now < start:
            self.now = min(self.now + 2**30, start)
            self.run()

    def run(self) -> None:
        """Turns until there is nothing to do."""
        self.calls += 1
        self.worker.turn(self.now & 0xFFFFFFFF)
        self.turns += 1
        while self.worker.behind:
            self.worker.turn(self.now & 0xFFFFFFFF)
            self.turns += 1

    def open(self, states: dict[str, int]) -> None:
        state = self.random.choice(sorted(states))
        n = self.opened
        index = self.worker.open((n, 0, 1, 2), (3, n, 4, 5), 6, probe.STATES[state])
        if index is not None:
            self.opened += 1
            self.deadlines[index] = (self.now, states[state])

    def touch(self) -> None:
        if self.deadlines:
            index = self.random.choice(sorted(self.deadlines))
            self.worker.touch(index)
            self.deadlines[index] = (self.now, self.deadlines[index][1])

    def check(self) -> None:
        """Nothing freed early, nothing late."""
        for index, (seen, timeout) in list(self.deadlines.items()):
            age = self.now - seen
            if self.worker.is_open(index):
                assert age < timeout + LATE
            else:
                assert age >= timeout
                del self.deadlines[index]
        assert self.worker.counts[0] == len(self.deadlines)


@pytest.mark.parametrize("start", [0, 12_345_678, 2**31 - 60_000, 2**32 - 60_000])
@pytest.mark.parametrize("step", [60, 300, 5_000, 40_000])
def test_random_traffic(start: int, step: int) -> None:
    """B17: with random traffic and clock steps, also where 32-bit milliseconds change sign or wrap, each connection is
    freed not before its timeout and at most two slots of the wheel later."""
    random = Random(step)
    oracle = Oracle(start, random)
    for _ in range(60_000 // step + 30):
        oracle.now += random.randrange(2 * step)
        oracle.run()
        oracle.check()
        for _ in range(random.randrange(8)):
            oracle.open(STATES)
            oracle.touch()
    oracle.now += ESTABLISHED + LATE
    oracle.run()
    oracle.check()
    assert oracle.worker.counts == (0, 0, 0)


def test_half_open_in_order() -> None:
    """B17, B23: half-open connections are freed after the transitory timeout, in a list of their own."""
    oracle = Oracle(0, Random(1))
    for _ in range(300):
        oracle.now += oracle.random.randrange(500)
        oracle.run()
        oracle.check()
        oracle.open(HALF_OPEN)
        assert oracle.worker.counts[1] == len(oracle.deadlines)
    oracle.now += TRANSITORY
    oracle.run()
    assert oracle.worker.counts == (0, 0, 0)


def test_a_busy_connection_is_visited_once_a_timeout() -> None:
    """B17: connections that see a packet every 100 ms cost one visit a timeout, not one a packet or slot."""
    oracle = Oracle(0, Random(2))
    for _ in range(1000):
        oracle.open({"UDP": UDP})
    turns, slots, calls = oracle.turns, oracle.worker.wheel_time, oracle.calls
    seconds = 70
    for _ in range(seconds * 10):
        oracle.now += 100
        for index in oracle.deadlines:
            oracle.worker.touch(index)
        oracle.run()
    budget = 8 * (oracle.turns - turns - (oracle.calls - calls))
    visits = budget - (oracle.worker.wheel_time - slots)
    assert visits <= 1000 * (seconds * 1000 / UDP + 1)
    assert oracle.worker.counts[0] == 1000


HORIZON = 8192 * 1024
EDGES = [1, 1023, 1024, 1025, HORIZON - 1, HORIZON, HORIZON + 1, 3 * HORIZON]


@pytest.mark.parametrize("timeout", EDGES)
@pytest.mark.parametrize("begin", [0, 1, 511, 1023])
def test_timeouts_around_slots_and_horizon(timeout: int, begin: int) -> None:
    """B17: a timeout at the edge of a slot or of the wheel's horizon is kept like any other."""
    worker = probe.Worker(16, timeouts=(timeout,) * 4)

    def run(now: int) -> int:
        worker.turn(now)
        while worker.behind:
            worker.turn(now)
        return worker.counts[0]

    now = 5 * probe.WHEEL_TICK + begin
    assert run(now) == 0
    worker.open((1, 2, 3, 4), (5, 6, 7, 8), 17)
    assert run(now + timeout - 1) == 1
    assert run(now + timeout + LATE) == 0
