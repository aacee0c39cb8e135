"""Watches that everything goes on: every worker takes its turns, and the main loop its own. Ends the process otherwise.

It runs in a thread of its own, for the main loop may itself be waiting for the worker that hangs. Nothing is cleaned up
then: what a killed process leaves behind the next start takes over.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

from jupiter import exits, notify
from jupiter.log import fields

log = logging.getLogger(__name__)

LIMIT = 10.0
"""Seconds without a turn after which a worker hangs. One turn takes microseconds."""
MAIN_PATIENCE = 6
"""The main loop gets that many times the limit: it has large changes to make, and packets flow without it."""
END_SECONDS = 90.0
"""Within this time after the block the process must be gone."""
_LOOKS = 20
"""In the time of the limit, at least one a second."""
MAIN = "main loop"
THE_END = "end of the service"


class Stalls:
    """For how long each of several counters has not moved. Pure.

    Of the time between two looks not more than `longest` counts: while the whole process was stopped, or its machine
    suspended, nobody could move.
    """

    def __init__(self, longest: float) -> None:
        self._longest = longest
        self._seen: dict[str, int] = {}
        self._stalled: dict[str, float] = {}
        self._last: float | None = None

    def look(self, now: float, counters: Mapping[str, int]) -> Mapping[str, float]:
        """Counter -> seconds for which it has been what it is. now: seconds, never going back."""
        passed = 0.0 if self._last is None else min(now - self._last, self._longest)
        self._last = now
        self._stalled = {
            name: self._stalled[name] + passed if self._seen.get(name) == value else 0.0
            for name, value in counters.items()
        }
        self._seen = dict(counters)
        return self._stalled


class Watchdog:
    """Looks on from enter to exit of its block; afterwards it sees to it that the process ends.

    limit: seconds, 0 to end nothing. progress(): a number for each worker that changes with its turns, in the order of
    names; called from another thread. end(code): ends the process at once. end_seconds: how long an end may take.
    """

    def __init__(
        self,
        limit: float,
        names: Sequence[str],
        progress: Callable[[], Sequence[int]],
        end: Callable[[int], object] = os._exit,
        end_seconds: float = END_SECONDS,
    ) -> None:
        self._limit = limit
        self._end_seconds = end_seconds
        self._names = names
        self._progress = progress
        self._end = end
        self._manager = notify.watchdog_seconds()
        self._beats = 0
        self._ending = False
        self._asking = threading.Lock()
        """After exit nobody calls progress() any more."""
        self._fresh: set[str] = set()
        """What has moved since the service manager last heard of us."""
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def __enter__(self) -> Self:
        if self._limit or self._manager:
            self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        with self._asking:
            self._ending = True

    def beat(self) -> None:
        """The main loop goes on. To be called at least every few seconds, also in the middle of what takes long."""
        self._beats += 1

    def _run(self) -> None:
        interval = min([1.0, *(t / _LOOKS for t in (self._limit, self._manager) if t)])
        stalls = Stalls(2 * interval)
        while self._all_well(stalls.look(time.monotonic(), self._counters())):
            time.sleep(interval)

    def _counters(self) -> Mapping[str, int]:
        with self._asking:
            if self._ending:
                return {THE_END: 0}
            return dict(zip(self._names, self._progress(), strict=True)) | {MAIN: self._beats}

    def _all_well(self, stalled: Mapping[str, float]) -> bool:
        """If so the service manager hears of it, if not the process ends."""
        for name, seconds in stalled.items():
            if self._limit and seconds >= self._patience(name):
                self._bite(name, seconds)
                return False
        self._fresh |= {name for name, seconds in stalled.items() if not seconds}
        if self._fresh >= stalled.keys():
            self._fresh.clear()
            notify.alive()
        return True

    def _patience(self, name: str) -> float:
        return {MAIN: self._limit * MAIN_PATIENCE, THE_END: self._end_seconds}.get(name, self._limit)

    def _bite(self, name: str, seconds: float) -> None:
        """Say which, unless the log itself is what everybody waits for, and end."""
        why = fields(seconds=round(seconds, 1), exit_code=exits.HUNG)
        say = threading.Thread(
            target=log.critical, args=("%s hangs: ending the process", name), kwargs={"extra": why}, daemon=True
        )
        say.start()
        say.join(1.0)
        self._end(exits.HUNG)
