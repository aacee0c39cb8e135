"""Run the fuzzer: python -m tests.fuzz [LIBFUZZER-ARGUMENT...]; `make fuzz` builds what it needs, into build/fuzz.

An argument of libFuzzer's: a corpus directory, an input to run again, or an option (-help=1 lists them). With
JUPITER_FUZZ_TWICE=1 each input runs twice, must do the same both times, and is searched for traces in memory.
"""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUILD = HERE.parent.parent / "build" / "fuzz"
ADDR_NO_RANDOMIZE = 0x0040000
SYMBOLS = "external_symbolizer_path=/usr/bin/addr2line"


def sanitizers() -> dict[str, str]:
    """What a process needs in its environment. AddressSanitizer's library must be loaded before all others."""
    ask = ["clang-14", "-print-file-name=libclang_rt.asan-x86_64.so"]
    library = subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip()
    return {
        "LD_PRELOAD": library,
        "ASAN_OPTIONS": f"detect_leaks=0:{SYMBOLS}",
        "UBSAN_OPTIONS": f"print_stacktrace=1:{SYMBOLS}",
    }


def words(numbers: list[int]) -> ctypes.Array[ctypes.c_uint64]:
    return (ctypes.c_uint64 * len(numbers))(*numbers)


def open_harness() -> ctypes.CDLL:
    """The fuzzed engine, with its scene."""
    import fastpath

    fastpath.__path__.insert(0, str(BUILD / "fastpath"))
    from fastpath import engine
    from tests.fuzz.scene import open_scene

    handles, copied, areas = open_scene(f"jupiter-fuzz-{os.getpid()}")
    pairs = [words([n for area in some for n in (area.address, area.length)]) for some in (copied, areas)]
    harness = ctypes.CDLL(engine.__file__)  # engine, harness and libFuzzer are one object
    twice = int(os.environ.get("JUPITER_FUZZ_TWICE", "0"))
    harness.fuzz_open(words(handles), pairs[0], len(copied), pairs[1], len(areas), twice)
    return harness


def main() -> int:
    command = [sys.executable, "-m", "tests.fuzz"]
    if "LD_PRELOAD" not in os.environ:
        ctypes.CDLL(None).personality(ADDR_NO_RANDOMIZE)  # the same addresses: the same run; where it may not, no harm
        os.execve(sys.executable, [*command, *sys.argv[1:]], os.environ | sanitizers())
    # libFuzzer starts itself again, by its first argument, when it merges.
    arguments = [" ".join(command), *sys.argv[1:]]
    argv = (ctypes.c_char_p * (len(arguments) + 1))(*[argument.encode() for argument in arguments], None)
    return int(open_harness().fuzz_run(len(arguments), argv))


if __name__ == "__main__":
    sys.exit(main())
