"""The tests that name a line in their docstring, and runs of them in the copy: one pytest process a file."""

import ast
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from tools.behaviours import mutate
from tools.behaviours.data import ROOT, BehavioursError

ROOMS = ("packets", "fastpath", "unit", "control")
"""Whose tests are run, those that see whole packets first. system: where a line says so."""
COUNTED = (*ROOMS, "host", "system")
NAMED = re.compile(r"B\d+(?:, B\d+)*(?=[:,.])")
LIMIT = 120
"""Seconds for what a file says of one line, many times what any needs: a mutant may go round for ever."""
ALL_LIMIT = 400


class Test(NamedTuple):
    """A test function."""

    file: str
    function: str
    lines: tuple[str, ...]

    @property
    def room(self) -> str:
        return Path(self.file).parts[1]

    def __str__(self) -> str:
        return f"{self.file}::{self.function}"


def named_in(docstring: str) -> tuple[str, ...]:
    """`B11, B16: what the test says` -> B11 and B16."""
    found = NAMED.match(docstring)
    return tuple(found[0].split(", ")) if found else ()


def collect(root: Path = ROOT) -> list[Test]:
    """Every test that names a line."""
    found = []
    for room in COUNTED:
        for path in sorted((root / "tests" / room).glob("test_*.py")):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                    lines = named_in(ast.get_docstring(node) or "")
                    if lines:
                        found.append(Test(str(path.relative_to(root)), node.name, lines))
    return found


@dataclass
class Run:
    """What one process said: how many cases of each function passed, which failed, or how it ended without a word."""

    cases: dict[str, int] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    ended: str | None = None

    def bad(self, function: str) -> str | None:
        """What is wrong with this function, if anything."""
        return self.ended or next((case for case in self.failed if case.partition("[")[0] == function), None)


def _killed(process: subprocess.Popen[str], limit: float) -> tuple[str, bool]:
    """Its output, and whether it had to be ended: it and all that it started."""
    try:
        return process.communicate(timeout=limit)[0], False
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return process.communicate()[0], True


def run(file: str, functions: Iterable[str], mutant: int = 0, first_only: bool = False) -> Run:
    """These functions of a file of the copy, with one rule switched off."""
    limit = ALL_LIMIT if mutant == 0 else LIMIT
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch, "report.xml")
        command = [sys.executable, "-m", "pytest", "--color=no", "-p", "no:cacheprovider", f"--junitxml={report}"]
        command += ["-x"] if first_only else []
        with subprocess.Popen(
            [*command, *(f"{file}::{function}" for function in functions)],
            cwd=mutate.COPY,
            env=mutate.environment(mutant),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process:
            text, late = _killed(process, limit)
        if late:
            return Run(ended=f"no end within {limit} s")
        if process.returncode < 0 or process.returncode > 128:
            return Run(ended=f"ended by signal {-process.returncode}")
        if process.returncode not in (0, 1) or not report.is_file():
            raise BehavioursError(f"pytest ended with {process.returncode} over {file}:\n{text[-3000:]}")
        return _read(report)


def _read(report: Path) -> Run:
    result = Run()
    for case in ElementTree.parse(report).iter("testcase"):
        name = case.get("name", "")
        function = name.partition("[")[0]
        outcomes = {child.tag for child in case} & {"failure", "error", "skipped"}
        if outcomes - {"skipped"}:
            result.failed.append(name)
        elif not outcomes:
            result.cases[function] = result.cases.get(function, 0) + 1
    return result
