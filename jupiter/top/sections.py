"""What the screen says, as text: sections of columns and rows, and how much of them fits. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any, Final, NamedTuple, TypeVar, overload

from jupiter.top.rates import Key, Sample
from jupiter.top.watch import Watch

T = TypeVar("T")

GAP: Final = 2
"""Blanks between columns."""
_UNITS: Final = ("", "k", "M", "G", "T", "P", "E")
Cells = tuple[str, ...]


class Column(NamedTuple):
    """rank: those of high rank go first when the terminal is narrow; 0 always stays."""

    header: str
    rank: int = 0
    right: bool = True


class Rows(Sequence[Cells]):
    """The cells of each of these, made only of those that are looked at: of 10,000 services a screen shows some."""

    def __init__(self, of: Sequence[T], cells: Callable[[T], Cells]) -> None:
        self._of = of
        self._cells: Callable[[Any], Cells] = cells

    def __len__(self) -> int:
        return len(self._of)

    @overload
    def __getitem__(self, at: int) -> Cells: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Cells]: ...
    def __getitem__(self, at: int | slice) -> Cells | Sequence[Cells]:
        return [*map(self._cells, self._of[at])] if isinstance(at, slice) else self._cells(self._of[at])


@dataclass(frozen=True, slots=True)
class Section:
    """chosen: number of the row that is marked."""

    title: str
    columns: tuple[Column, ...]
    rows: Sequence[Cells]
    chosen: int | None = None

    @property
    def least(self) -> int:
        """Lines, of which there must be room for all: title, headers and a row, or the title alone."""
        return 3 if self.rows else 1

    def narrowed(self, width: int) -> "Section":
        """With as many columns as fit."""
        kept = list(range(len(self.columns)))

        def needs() -> int:
            lines = [[self.columns[i].header for i in kept], *([row[i] for i in kept] for row in self.rows)]
            return sum(max(map(len, column)) + GAP for column in zip(*lines, strict=True)) - GAP

        while needs() > width and any(self.columns[i].rank for i in kept):
            kept.remove(max(kept, key=lambda i: (self.columns[i].rank, i)))
        rows = [tuple(row[i] for i in kept) for row in self.rows]
        return replace(self, columns=tuple(self.columns[i] for i in kept), rows=rows)

    def cut(self, lines: int) -> "Section":
        """With that many rows, the chosen one among them."""
        if lines >= len(self.rows):
            return self
        start = 0 if self.chosen is None else max(0, min(self.chosen - lines // 2, len(self.rows) - lines))
        chosen = None if self.chosen is None else self.chosen - start
        title = f"{self.title}; rows {start + 1} to {start + lines} of {len(self.rows)}"
        return replace(self, title=title, rows=self.rows[start : start + lines], chosen=chosen)


def fitted(sections: Iterable[Section], width: int, height: int) -> list[Section]:
    """As much as a terminal of that size holds; the first sections are worth most, beyond their least all get alike."""
    shown = []
    for section in sections:
        if section.least <= height:
            height -= section.least
            shown.append(section)
    rows = [min(1, len(section.rows)) for section in shown]
    while height > 0 and any(n < len(s.rows) for n, s in zip(rows, shown, strict=True)):
        for i, section in enumerate(shown):
            if rows[i] < len(section.rows) and height > 0:
                rows[i] += 1
                height -= 1
    return [section.cut(n).narrowed(width) for section, n in zip(shown, rows, strict=True)]


def figure(number: float | None) -> str:
    """At most five characters and still exact to a per cent: 0.4, 37, 999, 1.23k, 45.6M."""
    if number is None:
        return "-"
    scaled, unit = float(number), 0
    while scaled >= 999.5 and unit < len(_UNITS) - 1:
        scaled, unit = scaled / 1000, unit + 1
    if unit == 0:
        decimals = 1 if isinstance(number, float) and 0 < number < 9.95 else 0
    else:
        decimals = 2 if scaled < 9.995 else 1 if scaled < 99.95 else 0
    return f"{scaled:.{decimals}f}{_UNITS[unit]}"


def bits(sample: Sample, counter: str) -> float | None:
    """A second, of a counter of bytes."""
    rate = sample.rates[counter]
    return None if rate is None else rate * 8


def _rate(*counters: str) -> Callable[[Sample], float]:
    return lambda sample: sum(sample.rates[c] or 0 for c in counters)


class Sort(NamedTuple):
    name: str
    value: Callable[[Sample], float]


SORTS: Final[Mapping[str, Sort]] = {
    "t": Sort("traffic", _rate("in_bytes", "out_bytes")),
    "p": Sort("packets", _rate("in_packets", "out_packets")),
    "a": Sort("active connections", lambda sample: float(sample.row["active"])),
    "n": Sort("new connections", _rate("total")),
    "d": Sort("drops", _rate("drops")),
}
"""Key of the keyboard -> by what services are ordered, the most first."""


def ordered(samples: Mapping[Key, Sample], sort: Sort) -> list[Key]:
    """Where that says nothing, by active connections, and else as the service has them."""
    return sorted(samples, key=lambda key: (-sort.value(samples[key]), -samples[key].row["active"]))


TRAFFIC: Final = (
    Column("Active", 1),
    Column("New/s", 3),
    Column("In pkt/s", 4),
    Column("Out pkt/s", 5),
    Column("In bit/s", 2),
    Column("Out bit/s", 2),
)


def _traffic(sample: Sample) -> Cells:
    rates = sample.rates
    return (
        figure(sample.row["active"]),
        figure(rates["total"]),
        figure(rates["in_packets"]),
        figure(rates["out_packets"]),
        figure(bits(sample, "in_bytes")),
        figure(bits(sample, "out_bytes")),
    )


def service_name(key: Key) -> str:
    return "{}:{} {}".format(*key)


def sections(watch: Watch, order: Sequence[Key], sort: Sort, chosen: Key | None) -> list[Section]:
    """All there is to say, the most important first. order: of the services."""
    return [services(watch, order, sort, chosen), servers(watch), workers(watch), drops(watch), devices(watch)]


def services(watch: Watch, order: Sequence[Key], sort: Sort, chosen: Key | None) -> Section:
    turns = watch.services
    title = f"Services: {len(order)}, by {sort.name}"
    if 0 < turns.seen < len(order):
        title += f"; a look takes {turns.seen}, all within {ceil(len(order) / turns.seen)} looks"
    columns = (
        *(Column("Service", right=False), Column("Sched", 7, right=False), Column("Servers", 6)),
        *(*TRAFFIC, Column("Drops/s", 3)),
    )

    def cells(key: Key) -> Cells:
        s = turns.sampler.samples[key]
        return service_name(key), s.row["sched"], str(s.row["servers"]), *_traffic(s), figure(s.rates["drops"])

    marked = order.index(chosen) if chosen in turns.sampler.samples else None
    return Section(title, columns, Rows(order, cells), marked)


def servers(watch: Watch) -> Section:
    title = f"Servers of {service_name(watch.shown)}" if watch.shown else "Servers"
    if not watch.all_servers:
        title += f"; the first {len(watch.servers.samples)}"
    columns = (
        *(Column("Server", right=False), Column("Status", right=False), Column("State", right=False)),
        *(Column("Weight", 6), *TRAFFIC),
    )
    rows = (
        (f"{s.row['ip']}:{s.row['port']}", s.row["status"], s.row["state"], str(s.row["weight"]), *_traffic(s))
        for s in watch.servers.samples.values()
    )
    return Section(title, columns, tuple(rows))


def workers(watch: Watch) -> Section:
    columns = (
        *(Column("Worker"), Column("Busy"), Column("Asleep", 4), Column("Pkt/s"), Column("Handed/s", 9)),
        *(Column("Per turn", 6), Column("Conns", 1), Column("Half-open", 5), Column("Room", 2)),
        *(Column("Ports left", 3), Column("To kernel", 7), Column("From kernel", 8), Column("Parked", 4)),
    )
    figures = (
        *("packets", "handed_in", "per_turn", "conns", "half_open", "conns_left", "lports_left"),
        *("to_kernel", "from_kernel", "parked"),
    )
    rows = (
        (str(w["lcore"]), f"{w['busy']:.1f} %", f"{w['asleep']:.1f} %", *(figure(w[key]) for key in figures))
        for w in watch.workers
    )
    return Section("Workers", columns, tuple(rows))


def drops(watch: Watch) -> Section:
    """Those that happen now, the most frequent first, then those that did."""
    counted = sorted((row for row in watch.drops if row["count"]), key=lambda row: (-row["rate"], -row["count"]))
    columns = (
        Column("Reason", right=False),
        Column("Drops/s"),
        Column("Count"),
        Column("What it means", 1, right=False),
    )
    rows = tuple((r["reason"], figure(r["rate"]), figure(r["count"]), r["description"]) for r in counted)
    return Section("Drops" if rows else "Drops: none", columns, rows)


def devices(watch: Watch) -> Section:
    columns = (
        *(Column("Device", right=False), Column("In pkt/s", 1), Column("Out pkt/s", 1), Column("In bit/s")),
        *(Column("Out bit/s"), Column("Errors", 2), Column("Missed", 3), Column("Dropped", 4)),
    )
    rows = []
    for s in watch.devices.samples.values():
        rates = figure(s.rates["RX-packets"]), figure(s.rates["TX-packets"])
        bandwidth = figure(bits(s, "RX-bytes")), figure(bits(s, "TX-bytes"))
        losses = (
            s.row["RX-errors"] + s.row["TX-errors"] + s.row["RX-nombuf"],
            s.row["RX-misses"],
            s.row["RX-dropped"] + s.row["TX-dropped"],
        )
        rows.append((s.row["dev"], *rates, *bandwidth, *map(figure, losses)))
    return Section("Devices", columns, tuple(rows))
