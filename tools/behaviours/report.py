"""The verdicts as a table, as JSON, and as the table of a README."""

import json
import re
import subprocess
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tools.behaviours.data import ROOT, BehavioursError, Line
from tools.behaviours.judge import NOT_YET, Verdict

RESULT = ROOT / "build/behaviours.json"
BEGIN, END = "<!-- behaviours: written by `make behaviours-readme` -->", "<!-- /behaviours -->"
ROW = re.compile(r"^\| (B\d+) \| (.*?) \| (.*?) \| (.*?) \|$", re.MULTILINE)


def show(verdicts: list[Verdict]) -> None:
    table = Table("Line", "Sentence", "Tests", "Switched off", "Noticed by")
    for verdict in verdicts:
        if verdict.bad or not verdict.fates:
            mark = "yellow" if verdict.text == NOT_YET else "red"
            outcomes = [("", f"[{mark}]{escape(verdict.text)}[/]")]
        else:
            outcomes = []
        for fate in verdict.fates:
            by = f"[green]{escape(fate.by.removeprefix('tests/'))}[/]" if fate.by else "[red]SURVIVED[/]"
            outcomes.append((escape(fate.mutation.what), by))
        head = (verdict.line.name, escape(verdict.line.sentence), f"{len(verdict.tests)} ({verdict.cases} cases)")
        for n, outcome in enumerate(outcomes):
            table.add_row(*(head if n == 0 else ("", "", "")), *outcome)
        table.add_section()
    Console(width=200).print(table)


def as_json(verdicts: list[Verdict]) -> dict[str, object]:
    return {
        "revision": revision(),
        "lines": [
            {
                "line": verdict.line.name,
                "sentence": verdict.line.sentence,
                "result": verdict.text,
                "tests": [str(test) for test in verdict.tests],
                "cases": verdict.cases,
                "fails": verdict.bad,
                "mutations": [
                    {
                        "off": fate.mutation.what,
                        "file": fate.mutation.file,
                        "noticed_by": fate.by,
                        "seconds": fate.seconds,
                    }
                    for fate in verdict.fates
                ],
            }
            for verdict in verdicts
        ],
    }


def revision() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"], cwd=ROOT, capture_output=True, text=True
    )
    return done.stdout.strip() or "unknown"


def write(verdicts: list[Verdict]) -> None:
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(as_json(verdicts), indent=1, ensure_ascii=False) + "\n", "utf-8")


def load() -> dict[str, object]:
    if not RESULT.is_file():
        raise BehavioursError(f"{RESULT.relative_to(ROOT)} is not there: `make behaviours` writes it.")
    found: dict[str, object] = json.loads(RESULT.read_text("utf-8"))
    return found


def as_markdown(found: dict[str, object]) -> str:
    """Tests: functions, and in brackets their cases. Switched off: how many rules, and how many were noticed."""
    rows = ["| Line | What it says | Tests | Switched off |", "|---|---|---|---|"]
    lines = found["lines"]
    assert isinstance(lines, list)
    for line in lines:
        n = len(line["mutations"])
        noticed = sum(mutation["noticed_by"] is not None for mutation in line["mutations"])
        result = f"{noticed} of {n} noticed" if n and not line["fails"] else line["result"]
        tests = f"{len(line['tests'])} ({line['cases']})"
        rows.append(f"| {line['line']} | {line['sentence']} | {tests} | {result} |")
    return "\n".join([*rows, "", f"Revision {found['revision']}."])


def put_into(path: Path, markdown: str) -> None:
    """Between the markers of this file."""
    text = path.read_text("utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise BehavioursError(f"{path}: expected the lines {BEGIN} and {END}.")
    path.write_text(f"{before}{BEGIN}\n{markdown}\n{END}{after}", "utf-8")


def differences(text: str, lines: dict[str, Line]) -> list[str]:
    """What the table between the markers of this text says otherwise than the data; only lines and sentences."""
    inside = text.partition(BEGIN)[2].partition(END)[0]
    shown = {name: sentence for name, sentence, _, _ in ROW.findall(inside)}
    wrong = [f"{name} is not in the table" for name in lines if name not in shown]
    wrong += [f"{name} is not in the data" for name in shown if name not in lines]
    wrong += [f"{name}: {shown[name]!r}, not {line.sentence!r}" for name, line in lines.items()
              if name in shown and shown[name] != line.sentence]  # fmt: skip
    return wrong
