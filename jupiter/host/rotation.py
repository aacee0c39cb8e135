"""Who is next, of many that are to be attended to again and again at a bounded cost. Pure."""

import math
from collections import OrderedDict
from collections.abc import Iterator
from typing import Generic, TypeVar

Key = TypeVar("Key")


class Rotation(Generic[Key]):
    """Each key is due once in `period` seconds, or as often as `rate`, keys a second for all of them, allows.

    Times are seconds of any clock that does not go back.
    """

    def __init__(self, period: float, rate: float) -> None:
        self._period, self._rate = period, rate
        self._attended: OrderedDict[Key, float] = OrderedDict()  # the one that was last attended to first is in front
        self._allowance, self._counted = 0.0, -math.inf

    def __contains__(self, key: Key) -> bool:
        return key in self._attended

    def __len__(self) -> int:
        return len(self._attended)

    def add(self, key: Key, now: float) -> None:
        """Attended to now: due in a period. Once more does nothing."""
        self._attended.setdefault(key, now)

    def hurry(self, key: Key) -> None:
        """Due at once, before all others; for a key that was added."""
        self._attended[key] = -math.inf
        self._attended.move_to_end(key, last=False)

    def discard(self, key: Key) -> None:
        self._attended.pop(key, None)

    def due(self, now: float) -> Iterator[Key]:
        """Those that are to be attended to now. What was not asked for does not add up beyond a second's worth."""
        self._allowance = min(self._rate, self._allowance + (now - self._counted) * self._rate)
        self._counted = now
        while self._allowance >= 1 and self._attended:
            key, attended = next(iter(self._attended.items()))
            if attended + self._period > now:
                break
            self._allowance -= 1
            self._attended[key] = now
            self._attended.move_to_end(key)
            yield key
