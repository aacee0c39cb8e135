"""INI files as the ancestor had them: `#` comments anywhere, `;` comments on lines of their own, UTF-8; by configobj.

What is wrong with a file is found whole, and each problem names its line.
"""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from configobj import ConfigObj, ConfigObjError

from jupiter.errors import JupiterError, shorten

MAX_PROBLEMS = 1000
"""Told at once: a file of a million wrong lines is told from its beginning."""

_SECTION = re.compile(r"\s*\[\s*(.*?)\s*\]\s*(#.*)?")
_KEY = re.compile(r"""\s*["']?(.*?)["']?\s*=""")


class Problem(NamedTuple):
    """One wrong value of a file; an empty key means the section itself, an empty section the file."""

    section: str
    key: str
    value: str
    expected: str

    def __str__(self) -> str:
        given = f"{shorten(self.key)} = {shorten(self.value)}"
        what = f"{given}: expected {self.expected}" if self.key else self.expected
        return f"[{shorten(self.section)}] {what}" if self.section else what


class ConfigError(JupiterError):
    """All that is wrong with one or several files; text has a line for each problem."""

    def __init__(self, problems: Iterable[str]) -> None:
        lines = list(islice(problems, MAX_PROBLEMS + 1))
        if len(lines) > MAX_PROBLEMS:
            lines[MAX_PROBLEMS] = "and more"
        super().__init__("invalid-config", "\n".join(lines))


class IniFile:
    """The sections of a text; path only names it. Values are text, as they stand there."""

    def __init__(self, text: str, path: Path | str, spec: str = "") -> None:
        """spec: a configspec to validate() against. Raises ConfigError for what is no INI file."""
        self.path = path
        self._lines = ["" if line.lstrip().startswith(";") else line for line in text.splitlines()]
        options = {"list_values": False, "interpolation": False}
        try:
            configspec = ConfigObj(spec.splitlines(), _inspec=True, **options)
            self.values: Any = ConfigObj(self._lines, configspec=configspec, **options)
        except ConfigObjError as error:
            wrong = getattr(error, "errors", None) or [error]
            raise ConfigError(f"{path}:{each.line_number}: {each}" for each in wrong) from None

    def take_sections(self, wanted: re.Pattern[str]) -> dict[str, Mapping[str, Any]]:
        """The sections whose names match, taken out."""
        return {name: self.values.pop(name) for name in list(self.values.sections) if wanted.fullmatch(name)}

    def told(self, problem: Problem) -> str:
        """The problem with its place."""
        line = self._line_of(problem.section, problem.key.partition(",")[0])
        return f"{self.path}:{line}: {problem}" if line else f"{self.path}: {problem}"

    def _line_of(self, section: str, key: str) -> int | None:
        """Of the key, or of its section where the key is not there."""
        return self._places.get((section, key)) or self._places.get((section, None))

    @cached_property
    def _places(self) -> dict[tuple[str, str | None], int]:
        """Line of each section (key None) and key. configobj keeps none: looked for when the first is needed."""
        places: dict[tuple[str, str | None], int] = {}
        current = ""
        for number, line in enumerate(self._lines, 1):
            if header := _SECTION.fullmatch(line):
                current = header[1]
                places.setdefault((current, None), number)
            elif found := _KEY.match(line):
                places.setdefault((current, found[1]), number)
        return places


def load_text(path: Path) -> str:
    """Raises ConfigError."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError([f"{path}: cannot read it: {error.strerror}"]) from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError([f"{path}:{line}: expected UTF-8"]) from None


def hint(name: str, known: Sequence[str]) -> str:
    """The end of a sentence about an unknown name."""
    close = difflib.get_close_matches(name, known, 1)
    return f"; did you mean {close[0]}?" if close else ""
