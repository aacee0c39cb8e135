"""Ticks per packet with one worker, with several at once, and from worker to worker, on net_ring, in process.

One process a number of workers (one EAL each), run by this one. Ticks of the TSC of whole turns of the shipped engine, over
their packets: medians of the best of some runs, as the machine does other things. A generator shares its worker's core, and
its own time is not counted: packets per second are what the ticks allow, not a wall clock's.
"""

import json
import os
import platform
import socket
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from fastpath import engine
from tools.bench.__main__ import TCP, VIRTUAL, WRR, console, prefer_this_process
from tools.bench.lanes import Lanes

BURST = 32
PER_WORKER = 16384
"""Connections."""
OPENED = 8192
"""Connections of a worker, for the cost of opening one."""
WORKERS = (1, 2, 4, 8, 14)
OPENERS = (1, 2, 4, 8, 14)
RSS_KEY = bytes.fromhex("6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa")
Row = tuple[int, int, int, int]
"""Of a turn: ticks, packets, of these taken from others, given to others."""
Race = list[tuple[list[Row], int]]


def open_engine(workers: int, capacity: int, card: bool = False) -> Lanes:
    """Worker lcores each on its own CPU as far as there are; they share from then on."""
    cpus = sorted(os.sched_getaffinity(0))
    lcores = ",".join([f"0@{cpus[0]}", *(f"{i + 1}@{cpus[-1 - i % len(cpus)]}" for i in range(workers))])
    memory = ["--no-huge", "-m", str(192 + 56 * workers)]
    argv = ["--lcores", lcores, "--no-pci", "--no-telemetry", "--log-level", "3", *memory]
    environment = engine.init(
        [*argv, "--file-prefix", f"scaling-{os.getpid()}"], max(4096, capacity * 2), buffers=workers * 20_000
    )
    steers = (RSS_KEY, bytes(i % workers for i in range(128))) if card else None
    port = engine.add_ring_port("bench", card=steers)
    engine.set_local_addresses(0, [socket.inet_aton(f"10.0.2.{i}") for i in range(1, 17)])
    servers = tuple(engine.Server(i, socket.inet_aton(f"10.0.3.{i + 1}"), 80, 7) for i in range(4))
    engine.publish([engine.Service(0, VIRTUAL, 80, TCP, WRR, 0, servers)])
    for server in servers:
        engine.set_next_hop(server.id, 0, bytes([2, 0, 0, 0, 1, server.id]))
    os.sched_setaffinity(0, {cpus[-1]})
    handles = [engine.handles(worker) for worker in range(workers)]
    return Lanes(handles, environment.worker_lcores, port.mac, VIRTUAL, 80, capacity)


def both(connections: Sequence[int]) -> list[int]:
    """Entries of these connections, from client and from server."""
    return [2 * i + direction for i in connections for direction in range(2)]


def cost(rows: list[Row], over: Callable[[Row], int] = lambda row: row[1], least: int = BURST) -> float | None:
    """Median ticks per packet of turns that had a whole burst or more; over: how many of its packets count."""
    found = [row[0] / over(row) for row in rows if row[1] >= least and over(row)]
    return statistics.median(found) if len(found) > 20 else None


def best(rounds: int, measure: Callable[[], list[float | None]]) -> list[float | None]:
    """Each figure's lowest of some runs."""
    runs = [measure() for _ in range(rounds)]
    return [min((x for x in column if x is not None), default=None) for column in zip(*runs, strict=True)]


class Child:
    """The measurements of one number of workers."""

    def __init__(self, workers: int, rounds: int) -> None:
        self.n, self.rounds = workers, rounds
        self.lanes = open_engine(workers, PER_WORKER * workers + OPENED)
        self.own = [range(i * PER_WORKER, (i + 1) * PER_WORKER) for i in range(workers)]
        for worker in range(workers):
            self.lanes.open(worker, PER_WORKER)

    def feed(self, *what: Sequence[int]) -> None:
        """Each worker's connections."""
        for worker, connections in enumerate(what):
            self.lanes.feed(worker, both(connections))

    def drops(self, worker: int | None = None) -> int:
        return sum(engine.drops(worker).values())

    def home(self) -> dict[str, Any]:
        """Every packet comes to its owner."""
        self.feed(*self.own)
        alone = best(self.rounds, lambda: [cost(self.lanes.race([0])[0][0])])[0]
        every = best(self.rounds, lambda: [cost(rows) for rows, _ in self.lanes.race(range(self.n))])
        return {"alone": alone, "together": every}

    def given(self, threads: bool, depth: int) -> dict[str, Any]:
        """All that worker 0 receives belongs to the others, which have no other traffic."""
        others = range(PER_WORKER, self.n * PER_WORKER)
        self.feed(others, *[()] * (self.n - 1))

        def once() -> list[float | None]:
            (giver, _), *takers = self.lanes.race(range(self.n), depth, threads)
            taking = [c for c in (cost(rows, least=BURST // self.n) for rows, _ in takers) if c is not None]
            return [cost(giver), min(taking, default=None)]

        give, take = best(self.rounds, once)
        return {"give": give, "take": take}

    def one_receiver(self) -> dict[str, Any]:
        """Worker 0 receives everything, and keeps what is its own."""
        self.feed(range(self.n * PER_WORKER), *[()] * (self.n - 1))

        def once() -> list[float | None]:
            (giver, _), *takers = self.lanes.race(range(self.n), 64)
            taking = [c for c in (cost(rows, least=8) for rows, _ in takers) if c is not None]
            return [cost(giver), min(taking, default=None)]

        receiver, take = best(self.rounds, once)
        return {"receiver": receiver, "take": take}

    def all_to_all(self) -> list[float | None]:
        """Packets come to any worker; ticks over those that a worker sends."""
        self.feed(*[range(self.n * PER_WORKER)] * self.n)
        return best(
            self.rounds,
            lambda: [cost(rows, lambda row: row[1] - row[3]) for rows, _ in self.lanes.race(range(self.n))],
        )

    def elephant(self, share: int) -> dict[str, Any]:
        """One flow of worker 1 at worker 0, `share` eighths of what comes there; both have traffic of their own."""
        mine = list(self.own[0])
        self.feed(mine + [PER_WORKER] * (len(mine) * share // (8 - share)), self.own[1])
        before = self.drops(), engine.drops()["handover_full"]
        handed = engine.worker_counters()[0].handed_out
        (first, _), (second, _) = self.lanes.race([0, 1], depth=0)
        full = engine.drops()["handover_full"] - before[1]
        if self.drops() - before[0] != full:
            raise RuntimeError("Drops under another reason than handover_full.")
        offered = engine.worker_counters()[0].handed_out - handed + full
        return {
            "offered": offered,
            "dropped": full,
            "first": cost(first, lambda row: row[1] - row[2]),
            "second turn": statistics.median(row[0] for row in second if row[1] >= BURST),
            "second": cost(second),
        }

    def one_address(self) -> dict[str, Any]:
        """All clients behind one address."""
        first = PER_WORKER * self.n
        each = OPENED // self.n // BURST * BURST
        for worker in range(self.n):
            self.lanes.open(worker, each, True)
        self.feed(*[range(first + i * each, first + (i + 1) * each) for i in range(self.n)])
        ticks = best(self.rounds, lambda: [cost(rows) for rows, _ in self.lanes.race(range(self.n))])
        return {"spread": self.lanes.spread(64000), "ticks": ticks}

    def run(self) -> dict[str, Any]:
        result: dict[str, Any] = {"workers": self.n, "hz": self.lanes.hz, "home": self.home()}
        if self.n > 1:
            result["given"] = {
                "one thread": self.given(threads=False, depth=0),
                "threads, ring near empty": self.given(threads=True, depth=64),
                "threads, ring half full": self.given(threads=True, depth=256),
            }
            result["one receiver"] = self.one_receiver()
            result["all to all"] = self.all_to_all()
            result["elephant"] = {str(share): self.elephant(share) for share in (0, 4, 7)}
        result["one address"] = self.one_address()
        return result


def opening(workers: int, card: bool) -> dict[str, Any]:
    """Ticks of a SYN that opens a connection, at one worker of so many, and how many candidates the port search tries."""
    lanes = open_engine(workers, OPENED, card)
    bursts = sorted(lanes.open(workers - 1, OPENED))
    return {"workers": workers, "card": card, "ticks": statistics.median(bursts) / BURST, "hz": lanes.hz}


def child(*words: object) -> dict[str, Any]:
    """A measurement in a process of its own."""
    command = [sys.executable, "-m", "tools.bench.scaling", "child", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise click.ClickException(f"{' '.join(command)}: {done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def work(what: str, workers: int, extra: int) -> None:
    """What a child does: `extra` is how many runs, or whether a card steers."""
    try:
        result = Child(workers, extra).run() if what == "race" else opening(workers, bool(extra))
        print(json.dumps(result))
    finally:
        engine.close()


def main() -> None:
    if sys.argv[1:2] == ["child"]:
        work(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    else:
        command()


if __name__ == "__main__":
    main()
