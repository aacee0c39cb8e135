"""The file in which what was set by hand survives a restart."""

import contextlib
import logging
import os
from collections.abc import Iterable
from pathlib import Path

from jupiter import handmade
from jupiter.ini import ConfigError, load_text
from jupiter.model import ServiceKey, Services

log = logging.getLogger(__name__)

_HEADER = """\
# What was set by hand since the configuration was last applied. jupiter-service writes this file after each change, and
# reads it when it starts (state = keep).

"""


class StateFile:
    """Whole at any time: a new one takes the former's place in one step."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> list[handmade.Handmade]:
        """Nothing where there is no file. One that nobody understands is set aside, for we must serve."""
        if not self._path.exists():
            return []
        try:
            return handmade.parse(load_text(self._path), str(self._path))
        except ConfigError as error:
            aside = self._path.with_suffix(".bad")
            with contextlib.suppress(OSError):
                self._path.replace(aside)
            log.error("what was set by hand is lost, the file is set aside as %s: %s", aside, error.text)
            return []

    def save(self, text: str) -> None:
        """Raises OSError."""
        fresh = self._path.with_suffix(".new")
        self._path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        with fresh.open("w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(_HEADER)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)
        directory = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)  # else the new name may be lost, and the file's content with it
        finally:
            os.close(directory)


class Notes:
    """What the hand has done as text, kept by service: what did not change is not written again."""

    def __init__(self) -> None:
        self._sections: dict[ServiceKey, str] = {}

    def follow(self, base: Services, running: Services, keys: Iterable[ServiceKey]) -> str:
        """Look at these services again; the whole text."""
        for key in keys:
            if deed := handmade.between(base.get(key), running.get(key)):
                self._sections[key] = "".join(f"{line}\n" for line in handmade.lines([deed]))
            else:
                self._sections.pop(key, None)
        return "".join(self._sections.values())
