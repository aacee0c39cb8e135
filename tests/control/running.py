"""jupiter-ctl as a process of its own."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
CTL = [sys.executable, "-c", "from jupiter.cli import main; main()"]


def environment(**variables: str) -> Mapping[str, str]:
    """Without those of the operator who runs the tests."""
    return {k: v for k, v in os.environ.items() if not k.startswith("JUPITER_")} | variables


def ctl(*words: str, stdin: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs to its end with these environment variables."""
    return subprocess.run(
        [*CTL, *words],
        input=stdin,
        encoding="utf-8",
        capture_output=True,
        timeout=30,
        cwd=ROOT,
        env=environment(**variables),
    )
