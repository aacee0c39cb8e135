"""Ticks per packet with one worker, with several at once, and from worker to worker, on net_ring, in process.

One process a number of workers (one EAL each), run by this one. Ticks of the TSC of whole turns of the shipped engine,
over their packets: medians of the best of some runs, as the machine does other things. A generator shares its worker's
core, and its own time is not counted: packets per second are what the ticks allow, not a wall clock's.
"""

import json
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import time
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
LANE_FRAMES = 1 << 14
"""Frames of a worker's generator, as in lanes.pyx."""
PER_WORKER = 16384
"""Connections."""
OPENED = 8192
"""Connections of a worker, for the cost of opening one."""
PAUSE = 0.02
WORKERS = (1, 2, 4, 8, 14)
OPENERS = (1, 2, 4, 8, 14)
RSS_KEY = bytes.fromhex("6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa")
Row = tuple[int, int, int, int]
"""Of a turn: ticks, packets, of these taken from others, given to others."""
Race = list[tuple[list[Row], int]]


def open_engine(workers: int, capacity: int, buffers: int, card: bool = False) -> Lanes:
    """Worker lcores each on its own CPU as far as there are; they share from then on.

    capacity: connections of a worker; buffers: packets of all.
    """
    cpus = sorted(os.sched_getaffinity(0))
    lcores = ",".join([f"0@{cpus[0]}", *(f"{i + 1}@{cpus[-1 - i % len(cpus)]}" for i in range(workers))])
    memory = ["--no-huge", "-m", str(96 + buffers * 5 // 2000)]
    argv = ["--lcores", lcores, "--no-pci", "--no-telemetry", "--no-shconf", "--log-level", "3", *memory]
    prefix = ["--file-prefix", f"scaling-{os.getpid()}"]
    environment = engine.init([*argv, *prefix], workers * capacity * 2, buffers=buffers)
    steers = (RSS_KEY, bytes(i % workers for i in range(128))) if card else None
    port = engine.add_ring_port("bench", card=steers)
    engine.set_local_addresses(0, [socket.inet_aton(f"10.0.2.{i}") for i in range(1, 17)])
    servers = tuple(engine.Server(i, socket.inet_aton(f"10.0.3.{i + 1}"), 80, 7) for i in range(4))
    engine.publish([engine.Service(0, VIRTUAL, 80, TCP, WRR, 0, servers)])
    for server in servers:
        engine.set_next_hop(server.id, 0, bytes([2, 0, 0, 0, 1, server.id]))
    os.sched_setaffinity(0, {cpus[-1]})
    handles = [engine.handles(worker) for worker in range(workers)]
    return Lanes(handles, environment.worker_lcores, port.mac, VIRTUAL, 80, workers * capacity)


def close_engine() -> None:
    engine.close()
    shutil.rmtree(f"/var/run/dpdk/scaling-{os.getpid()}", ignore_errors=True)


def both(connections: Sequence[int]) -> list[int]:
    """Entries of these connections, from client and from server."""
    return [2 * i + direction for i in connections for direction in range(2)]


def cost(rows: list[Row], over: Callable[[Row], int] = lambda row: row[1], least: int = BURST) -> float | None:
    """Median ticks per packet of turns that had a whole burst or more; over: how many of its packets count."""
    found = [row[0] / over(row) for row in rows if row[1] >= least and over(row)]
    return statistics.median(found) if len(found) > 20 else None


def best(
    rounds: int, measure: Callable[[], list[float | None]], choose: Callable[..., float | None] = min
) -> list[float | None]:
    """Each figure's lowest (or `choose`) of some runs, apart in time: others disturb for longer than one takes."""
    runs = []
    for _ in range(rounds):
        runs.append(measure())
        time.sleep(PAUSE)
    columns = [[x for x in column if x is not None] for column in zip(*runs, strict=True)]
    return [choose(column) if column else None for column in columns]


class Child:
    """The measurements of one number of workers."""

    def __init__(self, workers: int, rounds: int) -> None:
        self.n, self.rounds = workers, rounds
        self.lanes = open_engine(workers, PER_WORKER + OPENED, 17_000 * workers + 8192)
        self.own = [range(i * PER_WORKER, (i + 1) * PER_WORKER) for i in range(workers)]
        for worker in range(workers):
            self.lanes.open(worker, PER_WORKER)

    def feed(self, *what: Sequence[int], size: int = BURST) -> None:
        """Each worker's connections."""
        for worker in range(self.n):
            self.lanes.feed(worker, both(what[worker]) if worker < len(what) else [], size)

    def race(self, depth: int = 256, threads: bool = True) -> Race:
        """All workers; nothing may be lost but what elephant() loses on purpose."""
        before = sum(engine.drops().values())
        race: Race = self.lanes.race(range(self.n), depth, threads)
        if depth and sum(engine.drops().values()) != before:
            raise RuntimeError(f"Frames were dropped: {engine.drops()}")
        return race

    def every(self, over: Callable[[Row], int] = lambda row: row[1], least: int = BURST) -> list[float | None]:
        """Of each worker."""
        return best(self.rounds, lambda: [cost(rows, over, least) for rows, _ in self.race()])

    def home(self, size: int = BURST) -> dict[str, Any]:
        """Every packet comes to its owner."""
        self.feed(*self.own, size=size)
        alone = best(self.rounds, lambda: [cost(self.lanes.race([0])[0][0], least=size)])[0]
        return {"alone": alone, "together": self.every(least=size)}

    def from_first(self, connections: Sequence[int], depth: int, threads: bool, least: int) -> list[float | None]:
        """All comes to worker 0: ticks of a packet there, and at the worker that takes with the least of them."""
        self.feed(connections)

        def once() -> list[float | None]:
            (giver, _), *takers = self.race(depth, threads)
            taking = [ticks for ticks in (cost(rows, least=least) for rows, _ in takers) if ticks is not None]
            return [cost(giver), min(taking, default=None)]

        return best(self.rounds, once)

    def steering(self) -> dict[str, list[float | None]]:
        others, everything = range(PER_WORKER, self.n * PER_WORKER), range(self.n * PER_WORKER)
        whole, part = BURST // (self.n - 1), BURST // self.n
        return {
            "given: one thread": self.from_first(others, 64, False, whole),
            "given: a thread each, ring nearly empty": self.from_first(others, 64, True, whole),
            "given: a thread each, ring half full": self.from_first(others, 256, True, whole),
            "all: one thread": self.from_first(everything, 64, False, part // 2),
            "all: a thread each": self.from_first(everything, 64, True, part // 2),
        }

    def all_to_all(self) -> list[float | None]:
        """Packets come to any worker; ticks over those that a worker sends."""
        self.feed(*[range(self.n * PER_WORKER)] * self.n)
        return self.every(lambda row: row[1] - row[3])

    def elephant(self, share: int) -> dict[str, Any]:
        """One flow of worker 1 at worker 0, `share` eighths of what comes there; both have traffic of their own."""
        few = list(self.own[0][:2048])
        self.feed(few + [PER_WORKER] * (len(few) * share // (8 - share)), self.own[1])
        before, handed = engine.drops(), engine.worker_counters()[0].handed_out

        def once() -> list[float | None]:
            first, second = (rows for rows, _ in self.race(depth=0)[:2])
            return [cost(first), cost(second, lambda row: 1), cost(second)]

        first, turn, second = best(self.rounds, once, statistics.median)
        dropped = {k: n - before[k] for k, n in engine.drops().items() if n != before[k]}
        full = dropped.get("handover_full", 0)
        offered = engine.worker_counters()[0].handed_out - handed + full
        return {"offered": offered, "dropped": dropped, "first": first, "turn": turn, "second": second}

    def one_address(self) -> dict[str, Any]:
        """All clients behind one address."""
        first, each = PER_WORKER * self.n, OPENED // self.n // BURST * BURST
        for worker in range(self.n):
            self.lanes.open(worker, each, True)
        self.feed(*[range(first + i * each, first + (i + 1) * each) for i in range(self.n)])
        return {"spread": self.lanes.spread(64000), "ticks": self.every()}

    def run(self) -> dict[str, Any]:
        result: dict[str, Any] = {"workers": self.n, "hz": self.lanes.hz, "home": self.home()}
        result["home, bursts of 16"] = self.home(16)
        if self.n > 1:
            result["steering"] = self.steering()
            result["all to all"] = self.all_to_all()
            result["elephant"] = {str(share): self.elephant(share) for share in (0, 4, 7)}
        result["one address"] = self.one_address()
        return result


def opening(workers: int, card: bool) -> dict[str, Any]:
    """Ticks of a SYN that opens a connection, at one worker of so many."""
    lanes = open_engine(workers, OPENED, 8192, card)
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
        close_engine()


def text(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def show(title: str, headings: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    table = Table(title=title, title_justify="left", title_style="bold")
    for heading in headings:
        table.add_column(heading, justify="right" if heading != headings[0] or heading == "workers" else "left")
    for row in rows:
        table.add_row(*[cell if isinstance(cell, str) else text(cell) for cell in row])  # type: ignore[arg-type]
    Console(width=120).print(table)


def show_home(races: list[dict[str, Any]]) -> None:
    rows = []
    for race in races:
        alone, together, hz = race["home"]["alone"], race["home"]["together"], race["hz"]
        total = sum(hz / ticks for ticks in together)
        efficiency = total / (hz / alone * len(together))
        spread = f"{min(together):.0f} - {max(together):.0f}"
        rows.append([race["workers"], alone, spread, f"{total / 1e6:.1f}", f"{efficiency * 100:.0f} %"])
    show(
        "1. Every packet comes to its owner: ticks a packet",
        ["workers", "one alone", "all at once", "Mpps, all", "efficiency"],
        rows,
    )


def show_steering(race: dict[str, Any]) -> None:
    home, half, n = race["home"]["alone"], race["home, bursts of 16"]["alone"], race["workers"]
    rows = [["home, bursts of 32", home, ""], ["home, bursts of 16", half, ""]]
    rows += [[name, *ticks] for name, ticks in race["steering"].items()]
    show(
        f"2. {n} workers, all traffic comes to worker 0; `given`: all of it another's: ticks a packet",
        ["", "receiver", "taker"],
        rows,
    )
    sent = ", ".join(map(text, race["all to all"]))
    Console().print(f"3. {n} workers, packets come to any of them: {sent} ticks a packet sent\n")


def show_elephant(race: dict[str, Any]) -> None:
    rows = []
    for share, figures in race["elephant"].items():
        lost = figures["dropped"].get("handover_full", 0) / max(figures["offered"], 1)
        background = BURST / figures["turn"] * race["hz"] / 1e6
        others = sum(n for reason, n in figures["dropped"].items() if reason != "handover_full")
        mice = f"{background:.1f}"
        rows.append([f"{share}/8", figures["first"], figures["second"], mice, f"{lost * 100:.1f} %", f"{others}"])
    headings = ["elephant's share at worker 0", "ticks there", "ticks at worker 1", "Mpps of worker 1's own"]
    show(
        f"4. {race['workers']} workers, one flow of worker 1 comes to worker 0 as fast as it can",
        [*headings, "elephant dropped", "other drops"],
        rows,
    )


def show_one_address(races: list[dict[str, Any]]) -> None:
    rows = []
    for race in races:
        spread, ticks = race["one address"]["spread"], race["one address"]["ticks"]
        mean = sum(spread) / len(spread)
        low, high = (min(spread) / mean - 1) * 100, (max(spread) / mean - 1) * 100
        rows.append([race["workers"], f"{low:+.1f} % .. {high:+.1f} %", f"{min(ticks):.0f} - {max(ticks):.0f}"])
    show("5. 64,000 clients behind one address", ["workers", "a worker's share", "ticks a packet"], rows)


def show_opening(opened: list[dict[str, Any]]) -> None:
    rows = []
    for n in OPENERS:
        hashed, card = (next(o for o in opened if (o["workers"], o["card"]) == (n, c)) for c in (False, True))
        rate = f"{hashed['hz'] / hashed['ticks'] / 1e6:.2f}"
        rows.append([n, hashed["ticks"], rate, card["ticks"], f"{card['hz'] / card['ticks'] / 1e6:.2f}"])
    show(
        "6. Opening a connection (SYN), at one of so many workers",
        ["workers", "ticks, our hash", "M/s a worker", "ticks, RSS card", "M/s a worker"],
        rows,
    )


@click.command()
@click.option("--rounds", default=40, show_default=True, help="Runs of each measurement; the best counts.")
@click.option("--json", "json_path", type=click.Path(), help="Write figures and machine to this file.")
def command(rounds: int, json_path: str | None) -> None:
    """Ticks per packet with one worker, with several, and from worker to worker."""
    prefer_this_process()
    cpus = len(os.sched_getaffinity(0))
    if cpus < 2:
        console.print("One CPU, shared by all workers: figures of several at once say nothing.", style="red")
    races = [child("race", n, rounds) for n in WORKERS if n <= max(cpus, 2)]
    opened = [child("open", n, card) for n in OPENERS for card in (0, 1)]
    console.print(f"{cpus} CPUs, {platform.processor() or platform.machine()}, TSC {races[0]['hz'] / 1e6:.0f} MHz")
    show_home(races)
    for race in races[1:]:
        show_steering(race)
        show_elephant(race)
    show_one_address(races)
    show_opening(opened)
    if json_path:
        figures = {"machine": platform.uname()._asdict(), "cpus": cpus, "races": races, "opening": opened}
        Path(json_path).write_text(json.dumps(figures, indent=1))


def main() -> None:
    if sys.argv[1:2] == ["child"]:
        work(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    else:
        command()


if __name__ == "__main__":
    main()
