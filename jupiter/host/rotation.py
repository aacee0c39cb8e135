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
        self._attended: OrderedDict[Key, float] = (
            OrderedDict()
        )  # when; those for which that is longest ago are in front
        self._urgent: OrderedDict[Key, float] = OrderedDict()  # since when
        self._allowance, self._counted = 0.0, -math.inf

    def __contains__(self, key: Key) -> bool:
        return key in self._attended

    def __len__(self) -> int:
        return len(self._attended)

    def add(self, key: Key, now: float) -> None:
        """Attended to now: due in a period. Once more does nothing."""
        self._attended.setdefault(key, now)

    def hurry(self, key: Key, now: float) -> None:
        """Due now, not only after a period; for a key that was added."""
        self._urgent.setdefault(key, now)

    def discard(self, key: Key) -> None:
        self._attended.pop(key, None)
        self._urgent.pop(key, None)

    def due(self, now: float) -> Iterator[Key]:
        """Those that are to be attended to now, the one that has waited for longest first.

        What is not asked for does not add up beyond a second's worth.
        """
        self._allowance = min(self._rate, self._allowance + (now - self._counted) * self._rate)
        self._counted = now
        while self._allowance >= 1 and (key := self._next(now)) is not None:
            self._allowance -= 1
            self._attended[key] = now
            self._attended.move_to_end(key)
            yield key

    def _next(self, now: float) -> Key | None:
        key, since = next(iter(self._attended.items()), (None, math.inf))
        since += self._period
        urgent, urgent_since = next(iter(self._urgent.items()), (None, math.inf))
        if urgent_since <= since:
            key, since = urgent, urgent_since
        if key is None or since > now:
            return None
        self._urgent.pop(key, None)
        return key
