"""A copy of the sources in which the environment can switch off each rule: JUPITER_MUTANT is a mutation's number.

One build serves all mutations. The checkout itself, and what is built from it, know nothing of this.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from tools.behaviours.data import ROOT, BehavioursError, Mutation

COPY = ROOT / "build/behaviours"
COPIED = ("fastpath", "jupiter", "tests", "tools", "etc", "setup.py", "pyproject.toml", "README.md", "Makefile")
BUILT = ("*.so", "*.c", "__pycache__")
VARIABLE = "JUPITER_MUTANT"

# After a module's comments, docstring and __future__.
HEAD = re.compile(r'\A(?:#[^\n]*\n)*(?:""".*?"""\n)?(?:\s*from __future__[^\n]*\n)?', re.DOTALL)
CYTHON = f'''"""Which rule is switched off."""

cdef extern from *:
    """
    #include <stdlib.h>
    static int mutant_number;
    __attribute__((constructor)) static void read_mutant(void) {{
        const char *number = getenv("{VARIABLE}");
        mutant_number = number ? atoi(number) : 0;
    }}
    #define mutant(number) (mutant_number == (number))
    """
    bint mutant(int number) noexcept nogil
'''
PYTHON = f'''"""Which rule is switched off."""

import os


def mutant(number: int) -> bool:
    return os.environ.get("{VARIABLE}") == str(number)
'''


def edited(file: str, text: str, mutations: Iterable[Mutation]) -> str:
    """The file's text with all edits made: each old text stands there once, and no two overlap."""
    places: list[tuple[int, int, str, Mutation]] = []
    for mutation in mutations:
        for old, new in mutation.edits:
            if (n := text.count(old)) != 1:
                raise BehavioursError(
                    f"{mutation.line}, {mutation.what!r}: {file} has this text {n} times, expected once: {old!r}"
                )
            at = text.index(old)
            guarded = re.sub(r"\bMUTANT\b", f"mutant({mutation.number})", new)
            places.append((at, at + len(old), guarded, mutation))
    places.sort(key=lambda place: place[0])
    for before, after in pairwise(places):
        if after[0] < before[1]:
            raise BehavioursError(
                f"{file}: {before[3].line}, {before[3].what!r} and {after[3].line}, {after[3].what!r} change the same "
                "text."
            )
    for start, end, new, _ in reversed(places):
        text = text[:start] + new + text[end:]
    return text


def _with_imports(text: str, imports: Iterable[str]) -> str:
    head = HEAD.match(text)
    assert head
    return text[: head.end()] + "".join(f"\n{line}" for line in imports) + "\n" + text[head.end() :]


def mutated(mutations: Iterable[Mutation], root: Path = ROOT) -> dict[str, str]:
    """Path -> text of every file that differs from the checkout's, or is not there."""
    by_file: dict[str, list[Mutation]] = {}
    for mutation in mutations:
        by_file.setdefault(mutation.file, []).append(mutation)
    files = {"fastpath/mutants.pxd": CYTHON, "jupiter/mutants.py": PYTHON}
    imports: dict[str, dict[str, None]] = {}
    for file, own in by_file.items():
        if not (root / file).is_file():
            raise BehavioursError(f"{own[0].line}, {own[0].what!r}: there is no file {file}.")
        files[file] = edited(file, (root / file).read_text("utf-8"), own)
        module = "fastpath/engine.pyx" if file.endswith(".pxi") else file
        line = "from jupiter.mutants import mutant" if file.endswith(".py") else "from fastpath.mutants cimport mutant"
        wanted = imports.setdefault(module, {})
        wanted[line] = None
        wanted |= dict.fromkeys(mutation.imported for mutation in own if mutation.imported)
    for module, lines in imports.items():
        text = files.get(module) or (root / module).read_text("utf-8")
        files[module] = _with_imports(text, lines)
    return files


def environment(number: int = 0) -> dict[str, str]:
    return {**os.environ, VARIABLE: str(number)}


def _digest(files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(f"{path.relative_to(COPY)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def _compiled_from() -> list[Path]:
    suffixes = {".pyx", ".pxd", ".pxi", ".h"}
    return [COPY / "setup.py", *(path for path in COPY.rglob("*") if path.suffix in suffixes)]


def make(mutations: Iterable[Mutation]) -> bool:
    """Bring the copy up to date and build it; False: it was built already."""
    files = mutated(mutations)
    COPY.mkdir(parents=True, exist_ok=True)
    kept = {path.relative_to(COPY): path for path in COPY.rglob("*.so")}
    for name in COPIED:
        source, target = ROOT / name, COPY / name
        if source.is_dir():
            _empty(target)
            shutil.copytree(source, target, ignore=shutil.ignore_patterns(*BUILT), dirs_exist_ok=True)
        else:
            shutil.copy2(source, target)
    for file, text in files.items():
        (COPY / file).write_text(text, "utf-8")
    stamp, digest = COPY / "built", _digest(_compiled_from())
    if kept and stamp.is_file() and stamp.read_text() == digest:
        return False
    stamp.unlink(missing_ok=True)
    _build()
    stamp.write_text(digest)
    return True


def _empty(directory: Path) -> None:
    """Of everything but what was built."""
    for path in directory.rglob("*"):
        if path.is_file() and path.suffix != ".so":
            path.unlink()


def _build() -> None:
    done = subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "--inplace", "-j2"],
        cwd=COPY,
        env={**os.environ, "JUPITER_DEVELOPMENT": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        raise BehavioursError(f"The copy with all rules that can be switched off does not build:\n{done.stdout[:4000]}")


def check_engine() -> None:
    """That tests in the copy meet the copy's engine, not the checkout's."""
    command = [sys.executable, "-c", "from fastpath import engine; print(engine.__file__)"]
    found = subprocess.run(command, cwd=COPY, capture_output=True, text=True, check=True).stdout.strip()
    if not Path(found).is_relative_to(COPY):
        raise BehavioursError(f"Tests in {COPY} would meet {found}.")
