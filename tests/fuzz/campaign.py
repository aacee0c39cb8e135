"""Fuzz for long: python -m tests.fuzz.campaign (--runs N | --seconds N) [--jobs N]; `make fuzz RUNS=N`, `SECONDS=N`.

Begins with the kept corpus and what former campaigns found (build/fuzzing/corpus). Prints executions, coverage
and findings; exit code 1 if there are any, each an input in build/fuzzing to run again: python -m tests.fuzz INPUT.
"""

import argparse
import os
import re
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
OUT = ROOT / "build" / "fuzzing"
EXECUTED = re.compile(r"stat::number_of_executed_units: (\d+)")
COVERAGE = re.compile(r"cov: (\d+) ft: (\d+) corp: (\d+)/")
LAST_COUNT = re.compile(r"^#(\d+)\t", re.MULTILINE)
FINDING = re.compile(
    r"finding: .*|ERROR: AddressSanitizer.*|runtime error: .*|ERROR: libFuzzer: (?:timeout|out-of-memory).*"
)
MAX_LEN = 4096


def start(job: int, runs: int, seconds: int) -> subprocess.Popen[bytes]:
    limits = [f"-runs={runs}", f"-max_total_time={seconds}", f"-max_len={MAX_LEN}", "-timeout=60"]
    limits.append("-print_final_stats=1")
    places = [str(OUT / "corpus"), str(HERE / "corpus"), f"-artifact_prefix={OUT}/"]
    with (OUT / f"{job}.log").open("wb") as log:
        command = [sys.executable, "-m", "tests.fuzz", *limits, *places]
        return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)


def executions(log: str) -> int:
    """libFuzzer's own count, or the last that it spoke of."""
    found = EXECUTED.findall(log) or LAST_COUNT.findall(log)
    return int(found[-1]) if found else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.campaign")
    parser.add_argument("--runs", type=int, default=-1, help="executions altogether")
    parser.add_argument("--seconds", type=int, default=0, help="0: until the executions are done")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="processes side by side")
    asked = parser.parse_args()
    if asked.runs < 0 and asked.seconds == 0:
        parser.error("say how long: --runs or --seconds")
    (OUT / "corpus").mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    runs = -(-asked.runs // asked.jobs) if asked.runs >= 0 else -1
    jobs = [start(job, runs, asked.seconds) for job in range(asked.jobs)]
    codes = [job.wait() for job in jobs]
    took = time.monotonic() - began
    logs = [(OUT / f"{job}.log").read_text(errors="replace") for job in range(asked.jobs)]
    total = sum(map(executions, logs))
    for log in logs:
        covered = COVERAGE.findall(log)
        print("coverage: {} edges, {} features, {} inputs".format(*covered[-1]) if covered else log[-2000:])
        print(*re.findall(r".*drop reasons never met.*", log), sep="\n")
    findings = [found for log in logs for found in FINDING.findall(log)]
    print(f"{total} executions in {took:.0f} s, {total / took:.0f} a second, {len(findings)} findings", *findings)
    return 1 if findings or any(codes) else 0


if __name__ == "__main__":
    sys.exit(main())
