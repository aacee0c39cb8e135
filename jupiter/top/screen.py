"""The screen of `top`: what was seen, drawn by rich for a terminal of some size. Pure."""

import time
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from jupiter.top.rates import Key
from jupiter.top.sections import GAP, SORTS, Section, Sort, fitted, ordered, sections
from jupiter.top.watch import Watch

HINTS = "q quit  up/down service  esc first  sort: t traffic  p packets  a active  n new  d drops"


@dataclass(slots=True)
class View:
    """What the person at the keyboard wants to see. chosen: a service; none: the first one, whichever that is."""

    sort: Sort = SORTS["t"]
    chosen: Key | None = None

    def order(self, watch: Watch) -> list[Key]:
        return ordered(watch.services.sampler.samples, self.sort)

    def first(self, watch: Watch) -> Key | None:
        """The service whose servers are to be seen."""
        if self.chosen in watch.services.sampler.samples:
            return self.chosen
        order = self.order(watch)
        return order[0] if order else None

    def press(self, key: str, watch: Watch) -> bool:
        """False when that is not to change anything."""
        if key in SORTS:
            self.sort = SORTS[key]
        elif key == "escape":
            self.chosen = None
        elif key in ("up", "down"):
            self._step(-1 if key == "up" else 1, self.order(watch))
        else:
            return False
        return True

    def _step(self, by: int, order: list[Key]) -> None:
        if order:
            at = order.index(self.chosen) + by if self.chosen in order else 0
            self.chosen = order[max(0, min(at, len(order) - 1))]


def draw(watch: Watch, view: View, where: str, width: int, height: int, hints: bool = True) -> RenderableType:
    """where: which service that is, and how often it is looked at."""
    lines: list[RenderableType] = [_line(f"jupiter {watch.version}  {where}  {time.strftime('%H:%M:%S')}", "bold")]
    if watch.away:
        since = time.strftime("%H:%M:%S", time.localtime(watch.away_since))
        lines.append(_line(f"Away since {since}: {watch.away}", "bold red"))
    if hints:
        lines.append(_line(HINTS, "dim"))
    style = "dim" if watch.away else ""  # what was seen last
    for section in fitted(sections(watch, view.order(watch), view.sort, view.chosen), width, height - len(lines)):
        lines.append(_line(section.title.ljust(width), "reverse"))
        if section.rows:
            lines.append(_table(section, style))
    return Group(*lines)


def _line(text: str, style: str) -> Text:
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def _table(section: Section, style: str) -> Table:
    table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="bold")
    for column in section.columns:
        table.add_column(column.header, justify="right" if column.right else "left", no_wrap=True)
    for number, row in enumerate(section.rows):
        table.add_row(*map(Text, row), style="bold reverse" if number == section.chosen else style)
    return table
