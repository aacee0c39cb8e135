"""Instructions that workers spend on an established packet, rx to tx, by valgrind: the same on a busy machine. Where
another worker owns it: those of both.

python -m tools.bench.instructions prints them. Two runs that differ by one round over the frames: what the round adds,
over its packets, is free of start-up and of opening the connections.
"""

import re
import subprocess
import sys

from tools.bench.__main__ import open_engine
from tools.bench.scaling import LANE_FRAMES, close_engine
from tools.bench.scaling import open_engine as open_lanes

FRAMES = 1 << 16
CONNECTIONS = 1024
COLLECTED = re.compile(r"Collected : (\d+)")


def work(rounds: int) -> None:
    """What runs under valgrind."""
    drive = open_engine(CONNECTIONS, huge=False)
    drive.open(CONNECTIONS)
    for direction in range(2):
        drive.measure(direction, rounds)


def work_handed(rounds: int) -> None:
    """The same for two workers on one core: the second owns all, the first receives all."""
    lanes = open_lanes(2, CONNECTIONS, 2 * LANE_FRAMES)
    lanes.open(1, CONNECTIONS)
    lanes.feed(0, range(2 * CONNECTIONS))
    lanes.feed(1, [])
    for _ in range(rounds):
        lanes.race(range(2), depth=32, threads=False)
    close_engine()


def count(what: str, rounds: int) -> int:
    """Instructions within worker turns of a whole run."""
    command = [
        "valgrind", "--tool=callgrind", "--toggle-collect=*engine_take_turn*", "--callgrind-out-file=/dev/null",
        sys.executable, "-m", "tools.bench.instructions", what, str(rounds),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    collected = COLLECTED.search(done.stderr)
    if done.returncode or not collected:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr[-1000:]}")
    return int(collected[1])


def per_packet() -> float:
    """Mean of both directions."""
    return (count("own", 2) - count("own", 1)) / (2 * FRAMES)


def per_handed_packet() -> float:
    """Of both workers together, both directions mixed."""
    return (count("handed", 2) - count("handed", 1)) / LANE_FRAMES


if __name__ == "__main__":
    if len(sys.argv) > 1:
        {"own": work, "handed": work_handed}[sys.argv[1]](int(sys.argv[2]))
    else:
        print(f"{per_packet():.1f} instructions per established TCP packet")
        print(f"{per_handed_packet():.1f} when another worker owns it, of both")
