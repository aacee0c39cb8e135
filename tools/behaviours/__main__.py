"""`python -m tools.behaviours [LINE...]`: the table, for all lines or these; exit code 1 unless all hold.

`python -m tools.behaviours --into FILE...` writes the last whole result into these files, between their markers.
"""

import argparse
import sys
import time
from pathlib import Path

from tools.behaviours import mutate, report
from tools.behaviours.data import BehavioursError, read
from tools.behaviours.judge import NOT_YET, judge
from tools.behaviours.tests import collect


def tell(text: str) -> None:
    print(f"-- {text}", flush=True)


def measure(wanted: list[str]) -> int:
    started = time.monotonic()
    lines = read()
    if unknown := [name for name in wanted if name not in lines]:
        raise BehavioursError(f"No such line: {', '.join(unknown)}; expected some of {', '.join(lines)}.")
    tell("the copy with all rules that can be switched off")
    mutate.make(mutation for line in lines.values() for mutation in line.off)
    mutate.check_engine()
    verdicts = judge([line for name, line in lines.items() if not wanted or name in wanted], collect(), tell)
    report.show(verdicts)
    if not wanted:
        report.write(verdicts)
        tell(f"written to {report.RESULT.relative_to(report.ROOT)}")
    results = [verdict.text for verdict in verdicts]
    off = sum(len(verdict.fates) for verdict in verdicts)
    print(
        f"{len(results)} lines: {results.count('proved')} proved by {off} rules switched off, {results.count(NOT_YET)} "
        f"not yet, {len(results) - results.count('proved') - results.count(NOT_YET)} wrong; "
        f"{time.monotonic() - started:.0f} s"
    )
    return 0 if set(results) <= {"proved", NOT_YET} else 1


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools.behaviours", description=__doc__)
    parser.add_argument("lines", nargs="*", metavar="LINE", help="such as B4; none: all")
    parser.add_argument("--into", nargs="+", type=Path, metavar="FILE", help="write the last result into these files")
    arguments = parser.parse_args()
    try:
        if not arguments.into:
            return measure(arguments.lines)
        markdown = report.as_markdown(report.load())
        for path in arguments.into:
            report.put_into(path, markdown)
    except BehavioursError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
