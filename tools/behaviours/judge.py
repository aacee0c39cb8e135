"""What the tests say of each line: first with every rule in force, then with each of its rules switched off."""

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from tools.behaviours.data import Line, Mutation
from tools.behaviours.tests import COUNTED, ROOMS, Run, Test, run

AT_ONCE = 2
"""Processes."""

NOT_YET = "not yet"


@dataclass
class Fate:
    """Of a mutation. by: the test that failed then; None: it survived."""

    mutation: Mutation
    by: str | None
    seconds: float


@dataclass
class Verdict:
    """Of a line. cases: of the tests that were run; bad: what failed with every rule in force."""

    line: Line
    tests: list[Test]
    cases: int = 0
    bad: list[str] = field(default_factory=list)
    fates: list[Fate] = field(default_factory=list)

    @property
    def survivors(self) -> list[Fate]:
        return [fate for fate in self.fates if fate.by is None]

    @property
    def text(self) -> str:
        if self.bad:
            return f"fails: {self.bad[0]}"
        if not self.line.off:
            return NOT_YET
        if not self.cases:
            return "no test"
        return f"{len(self.survivors)} SURVIVED" if self.survivors else "proved"


def rooms_of(line: Line) -> tuple[str, ...]:
    return (*ROOMS, "system") if line.system else ROOMS


def _unmutated(lines: Iterable[Line], tests: Iterable[Test]) -> dict[str, Run]:
    """Each file's tests of these lines, once."""
    rooms = {line.name: rooms_of(line) for line in lines}
    files: dict[str, list[str]] = {}
    for test in tests:
        if any(test.room in rooms.get(name, ()) for name in test.lines):
            files.setdefault(test.file, []).append(test.function)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        runs = {file: pool.submit(run, file, functions) for file, functions in files.items()}
        return {file: each.result() for file, each in runs.items()}


def _in_order(line: Line, tests: Iterable[Test], runs: dict[str, Run]) -> list[tuple[str, list[str]]]:
    """Files with this line's functions: rooms in their order, then those with most to say."""
    files: dict[str, list[str]] = {}
    for test in tests:
        if test.room in rooms_of(line):
            files.setdefault(test.file, []).append(test.function)
    rooms = list(COUNTED)

    def place(file: str) -> tuple[int, int]:
        return rooms.index(file.split("/")[1]), -sum(runs[file].cases.get(name, 0) for name in files[file])

    return [(file, files[file]) for file in sorted(files, key=place)]


def _fate(mutation: Mutation, files: list[tuple[str, list[str]]]) -> Fate:
    started = time.monotonic()
    by = None
    for file, functions in files:
        found = run(file, functions, mutation.number, first_only=True)
        if found.ended or found.failed:
            by = f"{file}: {found.ended}" if found.ended else f"{file}::{found.failed[0]}"
            break
    return Fate(mutation, by, round(time.monotonic() - started, 1))


def judge(lines: list[Line], tests: list[Test], tell: Callable[[str], None]) -> list[Verdict]:
    """One verdict a line, in their order."""
    verdicts = [Verdict(line, [test for test in tests if line.name in test.lines]) for line in lines]
    tell("every rule in force")
    runs = _unmutated(lines, tests)
    for verdict in verdicts:
        for test in verdict.tests:
            if test.room in rooms_of(verdict.line):
                verdict.cases += runs[test.file].cases.get(test.function, 0)
                bad = runs[test.file].bad(test.function)
                verdict.bad += [f"{test.file}: {bad}"] if bad else []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        waiting = {
            mutation.number: pool.submit(_fate, mutation, _in_order(verdict.line, verdict.tests, runs))
            for verdict in verdicts
            for mutation in (verdict.line.off if verdict.cases else ())
        }
        for verdict in verdicts:
            for mutation in verdict.line.off if verdict.cases else ():
                fate = waiting[mutation.number].result()
                verdict.fates.append(fate)
                tell(f"{mutation.line}, {mutation.what}: {fate.by or 'SURVIVED'} ({fate.seconds} s)")
    return verdicts
