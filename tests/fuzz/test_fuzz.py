"""The packet path under AddressSanitizer and UndefinedBehaviorSanitizer: kept inputs, and mutations of them (B8)."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.__main__ import BUILD, HERE, sanitizers
from tests.fuzz.campaign import MAX_LEN

ROOT = HERE.parent.parent
CORPUS = HERE / "corpus"
RUNS = 500_000


def fuzz(*arguments: str, **environment: str) -> str:
    """What the fuzzer says; it must end well."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", *arguments],
        cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, errors="replace", timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-6000:]
    return done.stderr


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    assert list(BUILD.glob("fastpath/engine.*.so")), "build/fuzz is missing: make test builds it"


def test_kept_inputs() -> None:
    """B8: no kept input makes a turn read or write outside a frame, lose a packet, or disagree with its counters; each
    does the same twice and leaves nothing behind, so that a finding needs nothing but its input."""
    said = fuzz(str(CORPUS), "-runs=0", JUPITER_FUZZ_TWICE="1")
    files = re.search(r"(\d+) files found", said)
    assert files
    assert int(files[1]) == len(list(CORPUS.iterdir())) > 100
    assert "packets left" in said


def test_mutations(tmp_path: Path) -> None:
    """B8: nor does any of half a million mutations of them, the same in every run: a failure comes back."""
    kept = tmp_path / "kept"
    kept.write_text(",".join(map(str, sorted(CORPUS.iterdir()))))  # a directory has its files in any order
    said = fuzz(
        f"-seed_inputs=@{kept}", f"-runs={RUNS}", "-seed=1", f"-max_len={MAX_LEN}", f"-artifact_prefix={tmp_path}/"
    )
    assert f"Done {RUNS} runs" in said


@pytest.mark.parametrize("length", [1, 13, 14, 60, 61, 1500])
def test_a_frame_ends_where_it_ends(length: int) -> None:
    """The measure itself: the last byte of a frame can be read, the one behind it is a finding."""
    touch = "from tests.fuzz.__main__ import open_harness; open_harness().fuzz_touch({}, {})"
    for at, ends_well in ((length - 1, True), (length, False)):
        done = subprocess.run(
            [sys.executable, "-c", touch.format(length, at)],
            cwd=ROOT, env={**os.environ, **sanitizers()}, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert (done.returncode == 0) == ends_well
        assert ("AddressSanitizer: use-after-poison" in done.stderr) != ends_well
