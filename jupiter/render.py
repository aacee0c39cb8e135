"""Answers as text for people."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any

from jupiter.commands import Answer, Column, Command

_MEASURED = 1024
"""Rows that decide a table's column widths: the rest is printed as it comes, however long the table is."""


def text(command: Command, answer: Any) -> Iterator[str]:
    """Lines. answer: the command's JSON, or for a paged command all its rows."""
    match command.answer:
        case Answer.TABLE:
            return table(command.columns, answer)
        case Answer.LINES:
            return (", ".join(f"{c.header}: {_cell(row[c.key])}" for c in command.columns) for row in answer)
        case Answer.RECORD:
            return record(answer)
        case Answer.RECORDS:
            return chain.from_iterable(map(_headed_record, answer))
        case Answer.NOTHING:
            return iter(())


def table(columns: Sequence[Column], rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Aligned columns under their headers, two blanks apart."""
    cells = ([_cell(row[c.key]) for c in columns] for row in rows)
    first = [[c.header for c in columns], *islice(cells, _MEASURED)]
    widths = [max(map(len, column)) for column in zip(*first, strict=True)]
    for line in chain(first, cells):
        yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()


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


def _cell(value: Any) -> str:
    return "-" if value is None else str(value)
