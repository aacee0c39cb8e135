"""What happened between two looks: counters that only grow -> figures a second. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Row = Mapping[str, Any]
Key = tuple[Any, ...]
Rates = Mapping[str, float | None]
"""By the counter's key; None where it is not known: at the first look, or when a counter has gone back."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A row, and what its counters did up to then. when: seconds of a monotonic clock. round: see Turns."""

    row: Row
    when: float
    rates: Rates
    round: int


@dataclass(slots=True)
class Sampler:
    """Rates of rows of one kind. names: the values of a row that tell it from the others."""

    names: tuple[str, ...]
    counters: tuple[str, ...]
    samples: dict[Key, Sample] = field(default_factory=dict)

    def key(self, row: Row) -> Key:
        return tuple(row[name] for name in self.names)

    def take(self, rows: Iterable[Row], when: float, round: int = 0) -> None:
        for row in rows:
            key = self.key(row)
            self.samples[key] = Sample(row, when, self._rates(self.samples.get(key), row, when), round)

    def replace(self, rows: Iterable[Row], when: float) -> None:
        """These rows are all there are."""
        rows = list(rows)
        self.take(rows, when)
        self.samples = {key: self.samples[key] for key in map(self.key, rows)}

    def forget_before(self, round: int) -> None:
        self.samples = {key: sample for key, sample in self.samples.items() if sample.round >= round}

    def _rates(self, before: Sample | None, row: Row, when: float) -> Rates:
        if before is None or when <= before.when:
            return dict.fromkeys(self.counters)
        seconds = when - before.when
        grown = {counter: row[counter] - before.row[counter] for counter in self.counters}
        return {counter: n / seconds if n >= 0 else None for counter, n in grown.items()}


@dataclass(slots=True)
class Turns:
    """A list too long for one look: each look takes some pages, the next one those that follow, round after round.

    cursor: of the page to take next. seen: rows of the last look.
    """

    sampler: Sampler
    cursor: str = ""
    seen: int = 0
    _round: int = 0

    def add(self, page: Mapping[str, Any], when: float) -> bool:
        """Whether more is to come in this round; at its end, rows that were not in it are forgotten."""
        self.seen += len(page["rows"])
        self.sampler.take(page["rows"], when, self._round)
        self.cursor = page["cursor"] or ""
        if self.cursor:
            return True
        self.sampler.forget_before(self._round)
        self._round += 1
        return False
