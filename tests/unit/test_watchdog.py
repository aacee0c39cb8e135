"""What counts as a hang, and what comes of it. The real ones are in tests/system/test_watchdog.py."""

import logging
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupiter import exits, notify
from jupiter.watchdog import MAIN, MAIN_PATIENCE, Stalls, Watchdog


def test_a_counter_that_stands_still_is_timed() -> None:
    """From the look that first saw its value; any change begins anew."""
    stalls = Stalls(longest=5)
    assert stalls.look(100, {"a": 1, "b": 1}) == {"a": 0, "b": 0}
    assert stalls.look(101, {"a": 1, "b": 2}) == {"a": 1, "b": 0}
    assert stalls.look(103, {"a": 1, "b": 2}) == {"a": 3, "b": 2}
    assert stalls.look(104, {"a": 0, "b": 2}) == {"a": 0, "b": 3}


def test_a_process_that_was_stopped_does_not_hang() -> None:
    """An hour between two looks counts as `longest`: the looking thread was stopped as well."""
    stalls = Stalls(longest=2)
    stalls.look(0, {"a": 1})
    assert stalls.look(3600, {"a": 1}) == {"a": 2}
    assert stalls.look(3601, {"a": 1}) == {"a": 3}


@given(st.lists(st.tuples(st.floats(0, 100), st.booleans()), min_size=1))
def test_against_a_naive_oracle(looks: list[tuple[float, bool]]) -> None:
    """The sum of the gaps, each cut at `longest`, since the last move."""
    stalls, now, value, expected = Stalls(longest=3), 0.0, 0, 0.0
    stalls.look(now, {"a": value})
    for gap, moves in looks:
        now, value = now + gap, value + moves
        expected = 0.0 if moves else expected + min(gap, 3)
        assert stalls.look(now, {"a": value})["a"] == pytest.approx(expected)


class Process:
    """A process to watch: its workers' turns, and the code that it was ended with."""

    def __init__(self, workers: int) -> None:
        self.turns = [0] * workers
        self.frozen: set[int] = set()
        self.code: int | None = None
        self.ended = threading.Event()
        self.asked = 0

    def progress(self) -> list[int]:
        """Each worker takes a turn whenever somebody looks."""
        self.asked += 1
        self.turns = [n + (i not in self.frozen) for i, n in enumerate(self.turns)]
        return self.turns

    def end(self, code: int) -> None:
        self.code = code
        self.ended.set()


@pytest.fixture
def process() -> Process:
    return Process(2)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set whenever the service manager hears that all is well."""
    heard = threading.Event()
    monkeypatch.setattr(notify, "alive", heard.set)
    return heard


def watch(process: Process, limit: float) -> Watchdog:
    return Watchdog(limit, ["worker lcore 1", "worker lcore 2"], process.progress, process.end, end_seconds=0.3)


def test_a_worker_that_hangs_ends_the_process(process: Process, caplog: pytest.LogCaptureFixture) -> None:
    """With a code of its own and one line that names the lcore; the other worker does not count for it."""
    process.frozen = {1}
    with watch(process, 0.2):
        assert process.ended.wait(10)
    assert process.code == exits.HUNG
    [record] = caplog.records
    assert (record.levelno, record.getMessage()) == (logging.CRITICAL, "worker lcore 2 hangs: ending the process")


def test_a_main_loop_that_hangs_ends_the_process(process: Process, caplog: pytest.LogCaptureFixture) -> None:
    """It has more patience with it, and names it."""
    with watch(process, 0.3) as dog:
        for _ in range(10):
            dog.beat()
            assert not process.ended.wait(0.3 * MAIN_PATIENCE / 9)
        assert process.ended.wait(10)
    assert caplog.records[0].getMessage() == f"{MAIN} hangs: ending the process"


def test_a_log_that_hangs_too_does_not_keep_the_process_alive(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What everybody waits for may be the log."""
    forever = threading.Event()
    monkeypatch.setattr(logging.getLogger("jupiter.watchdog"), "critical", lambda *_, **__: forever.wait())
    process.frozen = {0}
    with watch(process, 0.1):
        assert process.ended.wait(10)
    forever.set()


def test_with_0_it_ends_nothing(process: Process) -> None:
    """And with no service manager nobody even looks."""
    process.frozen = {0, 1}
    with watch(process, 0):
        assert not process.ended.wait(0.2)
    assert process.asked == 0


def test_an_end_that_hangs_is_ended(process: Process, caplog: pytest.LogCaptureFixture) -> None:
    """After its block nobody asks the workers, which are being ended; but the process has to end too."""
    with watch(process, 0.1) as dog:
        dog.beat()
    asked = process.asked
    assert process.ended.wait(10)
    assert (process.asked, process.code) == (asked, exits.HUNG)
    assert caplog.records[0].getMessage() == "end of the service hangs: ending the process"


@pytest.mark.parametrize("hangs", ["nothing", "a worker", "the main loop"])
def test_the_service_manager_hears_of_progress_only(
    hangs: str, process: Process, told: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """WATCHDOG=1 says that every worker and the main loop have moved since the last one."""
    monkeypatch.setattr(notify, "watchdog_seconds", lambda: 0.4)
    with watch(process, 0) as dog:
        for _ in range(3):
            dog.beat()
            assert told.wait(10)
            told.clear()
        process.frozen = {0} if hangs == "a worker" else set()
        heard = 0
        for _ in range(20):
            if hangs != "the main loop":
                dog.beat()
            heard += told.wait(0.05)
            told.clear()
    assert (heard > 3) if hangs == "nothing" else (heard <= 2)
