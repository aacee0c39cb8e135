"""Answers as text for people."""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any, Final

from jupiter.commands import Answer, Column, Command

_MEASURED = 1024
"""Rows that decide a table's column widths: the rest is printed as it comes, however long the table is."""


def text(command: Command, answer: Any) -> Iterator[str]:
    """Lines. answer: the command's JSON, or for a paged command all its rows."""
    if command.name in _IN_WORDS:
        return _IN_WORDS[command.name](command, answer)
    match command.answer:
        case Answer.TABLE:
            return table(command.columns, answer)
        case Answer.LINES:
            return (", ".join(f"{c.header}: {_cell(row[c.key])}" for c in command.columns) for row in answer)
        case Answer.RECORD:
            return record(answer)
        case Answer.RECORDS:
            return chain.from_iterable(map(_headed_record, answer))
        case Answer.TEXT:
            return iter(answer)
        case Answer.TRACE:
            return chain.from_iterable(map(_traced, answer))
        case Answer.PACKETS:
            return (json.dumps(row) for row in answer)
        case Answer.NOTHING:
            return iter(())


def table(columns: Sequence[Column], rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Aligned columns under their headers, two blanks apart, numbers to the right."""
    values = ([row[c.key] for c in columns] for row in rows)
    first = list(islice(values, _MEASURED))
    headers = [c.header for c in columns]
    numeric = [_is_numeric([row[i] for row in first]) for i in range(len(columns))]
    lines = [headers, *([_cell(v) for v in row] for row in first)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in chain(lines, ([_cell(v) for v in row] for row in values)):
        aligned = zip(line, widths, numeric, strict=True)
        yield "  ".join(cell.rjust(width) if right else cell.ljust(width) for cell, width, right in aligned).rstrip()


def record(values: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    """`key: value`, a line for each value."""
    for key, value in values.items():
        for item in value if isinstance(value, list) else [value]:
            yield f"{indent}{key}: {_cell(item)}"


def _headed_record(values: Mapping[str, Any]) -> Iterator[str]:
    """The first value is the heading."""
    heading, *rest = values.items()
    yield from record(dict([heading]))
    yield from record(dict(rest), "  ")


_STAGES: Final = ("receive", "classify", "lookup", "schedule", "track", "rewrite", "dispatch")


def _traced(row: Mapping[str, Any]) -> Iterator[str]:
    """A packet, and a line for each stage that had something to do with it."""
    if "lost" in row:
        yield f"... {row['lost']} packets are missing here: more came than could be read"
        return
    seconds, nanoseconds = divmod(row["time"], 1_000_000_000)
    clock = time.strftime("%H:%M:%S", time.localtime(seconds))
    yield f"{clock}.{nanoseconds:09} lcore {row['lcore']}  {row['packet']}"
    yield from (f"    {stage:<8}  {row[stage]}" for stage in _STAGES if row[stage] is not None)


def _cell(value: Any) -> str:
    return "-" if value is None else f"{value:.1f}" if isinstance(value, float) else str(value)


def _is_numeric(column: Sequence[Any]) -> bool:
    """A `-` among numbers is one of them."""
    return any(v is not None for v in column) and all(v is None or isinstance(v, int | float) for v in column)


def _changes(_command: Command, counts: Mapping[str, int]) -> Iterator[str]:
    """What `apply` did: a line for services and one for servers, as far as there is something to say."""
    if not any(counts.values()):
        yield "Nothing changed."
    for what, prefix in (("Services", ""), ("Servers", "servers_")):
        done = [(counts[prefix + verb], verb) for verb in ("added", "changed", "removed")]
        if any(n for n, _ in done):
            yield f"{what}: " + ", ".join(f"{n} {verb}" for n, verb in done if n) + "."


def _differences(command: Command, rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    rows = iter(rows)
    first = list(islice(rows, 1))
    return table(command.columns, chain(first, rows)) if first else iter(["Nothing would change."])


def _verdict(_command: Command, counts: Mapping[str, int]) -> Iterator[str]:
    yield f"Valid: {_count(counts['services'], 'service')}, {_count(counts['servers'], 'server')}."


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"


_IN_WORDS: Final[Mapping[str, Callable[[Command, Any], Iterator[str]]]] = {
    "apply": _changes,
    "reload": _changes,
    "diff": _differences,
    "check": _verdict,
}
"""Commands whose answers a person wants to hear in words."""
