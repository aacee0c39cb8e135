"""The comments of a configuration file: what stands ahead of a setting explains it."""

import re
from collections.abc import Iterator
from typing import NamedTuple

_SECTION = re.compile(r"\[.+\]")
_SETTING = re.compile(r"(#\s?)?((cql\s+)?[\w.:/-]+\s*=|\[).*")


class Part(NamedTuple):
    """prose, with blank lines between its paragraphs, about a section, about settings, or about neither. Lines of it
    that are indented by two blanks or more are examples.

    lines: the settings as they stand, those that are commented out with their `#`.
    """

    prose: str
    section: str = ""
    lines: tuple[str, ...] = ()


def parts(text: str) -> Iterator[Part]:
    """In the order of the file."""
    prose: list[str] = []
    lines: list[str] = []

    def settings() -> Iterator[Part]:
        if lines:
            yield Part(_text(prose), lines=tuple(lines))
            prose.clear()
            lines.clear()

    for line in [*map(str.strip, text.splitlines()), ""]:
        if _SECTION.fullmatch(line):
            yield from settings()
            yield Part(_text(prose), section=line)
            prose.clear()
        elif _SETTING.fullmatch(line):
            lines.append(line)
        else:
            yield from settings()
            if line.startswith("#"):
                prose.append(line.removeprefix("#").removeprefix(" "))
            elif not line and prose:
                yield Part(_text(prose))
                prose.clear()


def _text(prose: list[str]) -> str:
    return "\n".join(prose).strip("\n")
