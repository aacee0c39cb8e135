"""Long answers come in pages, each a request of its own, so that others are served in between. Pure."""

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any, Final, TypeVar

from jupiter.errors import JupiterError, shorten

PAGE: Final = 1024
"""Rows in one answer: well under the protocol's message size, and milliseconds of work."""

Row = TypeVar("Row")
Json = Any


def page(rows: Iterable[Row], cursor: str, row: Callable[[Row], Json], size: int = PAGE) -> Json:
    """The rows that begin at cursor (a row's number as text; "": the first), no more than `size`."""
    start = _page_start(cursor)
    taken = list(islice(rows, start, start + size + 1))
    return {"rows": [row(each) for each in taken[:size]], "cursor": str(start + size) if len(taken) > size else None}


def _page_start(cursor: str) -> int:
    if cursor == "":
        return 0
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= 9):
        raise JupiterError("invalid-argument", f"Invalid cursor {shorten(cursor)}, expected that of an earlier answer.")
    return int(cursor)
