"""Instructions that a worker spends on an established packet, rx to tx, by valgrind: the same on a busy machine.

python -m tools.bench.instructions prints them. Two runs that differ by one round over the frames: what the round adds,
over its packets, is free of start-up and of opening the connections.
"""

import re
import subprocess
import sys

from tools.bench.__main__ import open_engine

FRAMES = 1 << 16
CONNECTIONS = 1024
COLLECTED = re.compile(r"Collected : (\d+)")


def work(rounds: int) -> None:
    """What runs under valgrind."""
    drive = open_engine(CONNECTIONS, huge=False)
    drive.open(CONNECTIONS)
    for direction in range(2):
        drive.measure(direction, rounds)


def count(rounds: int) -> int:
    """Instructions within worker turns of a whole run."""
    command = [
        "valgrind", "--tool=callgrind", "--toggle-collect=*engine_take_turn*", "--callgrind-out-file=/dev/null",
        sys.executable, "-m", "tools.bench.instructions", str(rounds),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    collected = COLLECTED.search(done.stderr)
    if done.returncode or not collected:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr[-1000:]}")
    return int(collected[1])


def per_packet() -> float:
    """Mean of both directions."""
    return (count(2) - count(1)) / (2 * FRAMES)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        work(int(sys.argv[1]))
    else:
        print(f"{per_packet():.1f} instructions per established TCP packet")
