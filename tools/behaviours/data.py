"""behaviours.toml, read and judged."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(__file__).with_name("behaviours.toml")
KEYS = {"what", "file", "edits", "import"}


class BehavioursError(Exception):
    """What is wrong, in words for who called."""


@dataclass(frozen=True)
class Mutation:
    """A rule switched off. number: what the environment names it by, from 1 on over all lines."""

    line: str
    number: int
    what: str
    file: str
    edits: tuple[tuple[str, str], ...]
    imported: str = ""


@dataclass(frozen=True)
class Line:
    """A sentence of the acceptance list. system: its system tests are run as well."""

    name: str
    sentence: str
    off: tuple[Mutation, ...]
    system: bool = False


def _mutation(line: str, number: int, entry: dict[str, object]) -> Mutation:
    where = f"{DATA.name}: [[{line}.off]] {entry.get('what', '')!r}"
    if unknown := set(entry) - KEYS:
        raise BehavioursError(
            f"{where}: unknown keys {', '.join(sorted(unknown))}, expected {', '.join(sorted(KEYS))}."
        )
    what, file, edits = entry.get("what"), entry.get("file"), entry.get("edits")
    if not (isinstance(what, str) and isinstance(file, str) and isinstance(edits, list) and edits):
        raise BehavioursError(f"{where}: expected what, file, and edits = [[old, new], ...].")
    if any(len(edit) != 2 for edit in edits) or not any("MUTANT" in new for _, new in edits):
        raise BehavioursError(f"{where}: expected pairs of old and new text, new with MUTANT in it.")
    return Mutation(line, number, what, file, tuple((old, new) for old, new in edits), str(entry.get("import", "")))


def read(path: Path = DATA) -> dict[str, Line]:
    """Every line by its name, in the file's order."""
    lines: dict[str, Line] = {}
    number = 0
    for name, entry in tomllib.loads(path.read_text("utf-8")).items():
        off = []
        for mutation in entry.get("off", []):
            number += 1
            off.append(_mutation(name, number, mutation))
        lines[name] = Line(name, entry["sentence"], tuple(off), entry.get("system", False))
    return lines
