"""Text -> the man macros that groff and mandoc both understand (man(7)). Each function gives lines."""

import textwrap
from collections.abc import Iterable, Iterator
from datetime import date
from itertools import groupby

_SPECIAL = {"\\": "\\e", "-": "\\-", "'": "\\(aq", "`": "\\(ga", "^": "\\(ha", "~": "\\(ti", '"': "\\(dq"}


def escape(text: str) -> str:
    """Every character as it stands; other than ASCII by its number."""
    return "".join(_SPECIAL.get(c, c if c.isascii() else f"\\[u{ord(c):04X}]") for c in text)


def bold(text: str) -> str:
    return f"\\fB{escape(text)}\\fR"


def title(name: str, section: int, day: date, version: str, manual: str) -> Iterator[str]:
    yield f'.TH {escape(name.upper())} {section} {day.isoformat()} "{escape(version)}" "{escape(manual)}"'


def heading(text: str) -> Iterator[str]:
    yield f'.SH "{escape(text.upper())}"'


def subheading(text: str) -> Iterator[str]:
    yield f'.SS "{escape(text)}"'


def paragraphs(text: str, first: str = "", following: str = ".PP") -> Iterator[str]:
    """Blank lines part them, and lines indented by two blanks or more stand as they are.

    first, following: the macros ahead of the first one and of the others.
    """
    macro = first
    for paragraph in filter(str.strip, text.split("\n\n")):
        for indented, lines in groupby(paragraph.split("\n"), lambda line: line.startswith("  ")):
            if indented:
                yield from literal(textwrap.dedent("\n".join(lines)).split("\n"))
            else:
                yield from filter(None, [macro])
                yield from filled(" ".join(" ".join(lines).split()))
            macro = following


def filled(text: str) -> Iterator[str]:
    """Lines of moderate length."""
    for line in textwrap.wrap(text, 68, break_long_words=False, break_on_hyphens=False):
        yield _plain(line)


def item(terms: Iterable[str], text: str) -> Iterator[str]:
    """terms: as they are to look, each on a line of its own."""
    first, *others = terms
    yield from (".TP", first)
    for other in others:
        yield from (".TQ", other)
    yield from paragraphs(text, following=".IP")


def literal(lines: Iterable[str]) -> Iterator[str]:
    """Examples, indented, each line as it stands."""
    yield from (".sp", ".RS 4", ".nf")
    for line in lines:
        yield _plain(line)
    yield from (".fi", ".RE")


def _plain(line: str) -> str:
    """A line of text, also where it begins as a request does."""
    return ("\\&" if line.startswith(".") else "") + escape(line)
