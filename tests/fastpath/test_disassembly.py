"""What the compiler made of the worker's loop: no Python, no division, no locked instruction.

The call graph is followed from worker_main through the object; calls through pointers (a driver's burst functions, the
mempool's operations) and into DPDK's libraries leave it and are not ours.
"""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastpath import engine

OBJECT = Path(engine.__file__)
ROOT = "worker_main"
DPDK_FREE = ("rte_pktmbuf_free", "rte_pktmbuf_detach")
KNOWN_BAD = "run_once"
"""A Python-facing function of the same object: the checker must find it wanting."""

PYTHON = re.compile(r"^_?Py|^__Pyx")
DIVISION = re.compile(r"^v?i?div(?!p|s)")
LOCKED = re.compile(r"^(lock|xchg.*\(|mfence)")  # xchg with memory locks by itself
INSTRUCTION = re.compile(r"^\s+[0-9a-f]+:\t(.*)$")
FUNCTION = re.compile(r"^[0-9a-f]+ <(.+)>:$")
CALL = re.compile(r"\b(?:call|jmp)\s+[0-9a-f]+ <([^>+]+)")

Function = list[str]


@pytest.fixture(scope="module")
def functions() -> dict[str, Function]:
    """Every function of the object: its instructions."""
    command = ["objdump", "-d", "--no-show-raw-insn", str(OBJECT)]
    found: dict[str, Function] = {}
    current: Function = []
    for line in subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines():
        if named := FUNCTION.match(line):
            current = found.setdefault(named[1], [])
        elif instruction := INSTRUCTION.match(line):
            current.append(instruction[1].strip())
    return found


def named(functions: dict[str, Function], part: str) -> str:
    """The one function whose name ends with this."""
    found = [name for name in functions if re.search(rf"{part}(\.\w+)*$", name) and functions[name]]
    assert len(found) >= 1, f"{part} is not in {OBJECT}"
    return max(found, key=lambda name: len(functions[name]))


def reachable(functions: dict[str, Function], start: str) -> Iterator[tuple[str, str]]:
    """(function, instruction) of start and of all that it calls or jumps to inside the object."""
    seen, waiting = {start}, [start]
    while waiting:
        name = waiting.pop()
        for instruction in functions[name]:
            yield name, instruction
            for target in CALL.findall(instruction):
                if target not in seen and target in functions and not target.endswith("@plt"):
                    seen.add(target)
                    waiting.append(target)


def python_calls(functions: dict[str, Function], start: str) -> set[str]:
    called = {t for _, text in reachable(functions, start) for t in CALL.findall(text)}
    return {name for name in called if PYTHON.match(name) and not name.startswith("__pyx_f_")}


def matching(functions: dict[str, Function], start: str, pattern: re.Pattern[str]) -> list[str]:
    return [f"{name}: {text}" for name, text in reachable(functions, start) if pattern.match(text)]


def test_the_whole_turn_is_seen(functions: dict[str, Function]) -> None:
    """The checker itself: what it follows is the whole turn, compiled in, not a call that leads elsewhere."""
    assert sum(1 for _ in reachable(functions, named(functions, ROOT))) > 1000


def test_no_python(functions: dict[str, Function]) -> None:
    """The worker's loop calls no function of Python or of Cython's runtime."""
    assert python_calls(functions, named(functions, ROOT)) == set()


def test_no_division(functions: dict[str, Function]) -> None:
    """The worker's loop divides by nothing that is not a constant."""
    assert matching(functions, named(functions, ROOT), DIVISION) == []


def test_locked_instructions(functions: dict[str, Function]) -> None:
    """No locked instruction but these: the buffer's reference count in DPDK's free; fences before a turn that gave
    something to the kernel loop, or to other workers, asks whether they sleep; when lying down, and RCU's of going
    online, at the start and after a sleep."""
    count = dict.fromkeys(("worker_main", "worker_turn", *DPDK_FREE), 0)
    for found in matching(functions, named(functions, ROOT), LOCKED):
        name, text = found.split(": ")
        owner = next((part for part in count if re.search(rf"{part}(\.\w+)*$", name)), None)
        assert owner, found
        assert owner not in DPDK_FREE or text.startswith("lock sub"), found
        count[owner] += 1
    assert count["worker_main"] <= 3
    assert count["worker_turn"] <= 2


def test_the_checker_finds_python(functions: dict[str, Function]) -> None:
    """The checker itself: a function that Python calls is found to call Python."""
    assert python_calls(functions, named(functions, KNOWN_BAD))
