"""Cycles per established packet on net_ring, in process, without a NIC; beside it what the bare ring costs.

One worker's complete turns (rx, every stage, state, counters, timers, tx) of the shipped engine with its default
configuration. Ticks of the TSC for each burst of 32, over the burst: the median holds up when the machine does other
things; mean and p99 show how much it did.
"""

import json
import os
import platform
import socket
import statistics
from array import array
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from fastpath import engine
from jupiter.errors import JupiterError
from jupiter.host import hugepages
from jupiter.instance import PAGES_LOCK, instance
from tools.bench.drive import Drive

BURST = 32
EAL_MEGABYTES = 512
BUFFERS = 80_000  # more than the driver's 65,536 frames
SIZES = {"1k": 1 << 10, "100k": 100_000 // BURST * BURST, "1M": 1_000_000}
TCP, WRR = engine.TCP, engine.SCHEDULERS["wrr"]
VIRTUAL = socket.inet_aton("10.0.1.1")
console = Console(stderr=True)


def prefer_this_process() -> None:
    """Out of the session's scheduling group, where `nice` does nothing, into one of its own, first in line (root)."""
    with suppress(OSError):
        os.setsid()
        Path("/proc/self/autogroup").write_text("-20")


def open_engine(capacity: int, huge: bool) -> Drive:
    memory = ["--in-memory" if huge else "--no-huge", "-m", str(EAL_MEGABYTES)]
    main, worker = min(os.sched_getaffinity(0)), max(os.sched_getaffinity(0))
    environment = engine.init(
        ["--lcores", f"0@{main},1@{worker}", "--no-pci", "--no-telemetry", "--no-shconf", "--log-level", "3", *memory],
        connections=capacity + capacity // 4,
        buffers=BUFFERS,
    )
    console.print(f"connection region: {environment.region_bytes >> 20} MB on {environment.region_pages}")
    port = engine.add_ring_port("bench")
    engine.set_local_addresses(0, [socket.inet_aton(f"10.0.2.{i}") for i in range(1, 17)])
    servers = tuple(engine.Server(i, socket.inet_aton(f"10.0.3.{i + 1}"), 80, 7) for i in range(4))
    engine.publish([engine.Service(0, VIRTUAL, 80, TCP, WRR, 0, servers)])
    for server in servers:
        engine.set_next_hop(server.id, 0, bytes([2, 0, 0, 0, 1, server.id]))
    os.sched_setaffinity(0, {worker})
    return Drive(engine.handles(), port.mac, VIRTUAL, 80, capacity)


def summary(bursts: "array[int]") -> dict[str, float]:
    ticks = sorted(bursts)
    return {
        "median": statistics.median(ticks) / BURST,
        "mean": statistics.fmean(ticks) / BURST,
        "p99": ticks[len(ticks) * 99 // 100] / BURST,
    }


def run(drive: Drive, rounds: int) -> list[dict[str, Any]]:
    rows = []
    for name, size in SIZES.items():
        drive.open(size)
        io = summary(drive.measure_io(rounds))["median"]
        for direction, label in enumerate(("to server", "to client")):
            row = {"connections": name, "direction": label, "io": io, **summary(drive.measure(direction, rounds))}
            rows.append(row)
            console.print(f"{name:>5} {label}: {row['median']:.0f} ticks")
    return rows


def show(rows: list[dict[str, Any]], hz: int) -> None:
    table = Table(
        title=f"Ticks of the TSC ({hz / 1e6:.0f} MHz) per established TCP packet\n64 B, bursts of 32, without a NIC"
    )
    for heading in ("connections", "direction"):
        table.add_column(heading)
    for heading in ("median", "mean", "p99", "ns", "ring io", "times io"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            row["connections"],
            row["direction"],
            f"{row['median']:.0f}",
            f"{row['mean']:.0f}",
            f"{row['p99']:.0f}",
            f"{row['median'] / hz * 1e9:.0f}",
            f"{row['io']:.1f}",
            f"{row['median'] / row['io']:.0f}",
        )
    Console().print(table)


def reserve_huge_pages(wanted: bool | None, undo: ExitStack) -> hugepages.Reservation | None:
    """None: the run has none. wanted None: where they can be had."""
    if wanted is False:
        return None
    megabytes = EAL_MEGABYTES + 64 + (engine.region_bytes(SIZES["1M"] * 5 // 4) >> 20)
    try:
        reservation = hugepages.reserve(megabytes, hugepages.Account(instance("bench").pages, PAGES_LOCK))
    except JupiterError as error:
        if wanted:
            raise click.ClickException(error.text) from error
        console.print(f"normal pages: {error.text}")
        return None
    undo.callback(reservation.release)
    return reservation


@click.command()
@click.option("--rounds", default=8, show_default=True, help="Runs over 65,536 frames for each row.")
@click.option("--huge/--no-huge", default=None, help="Huge pages; default: where they can be had.")
@click.option("--json", "json_path", type=click.Path(), help="Write figures and machine to this file.")
def main(rounds: int, huge: bool | None, json_path: str | None) -> None:
    """Cycles per packet, beside what the bare ring costs."""
    prefer_this_process()
    with ExitStack() as undo:
        reservation = reserve_huge_pages(huge, undo)
        drive = open_engine(SIZES["1M"], reservation is not None)
        undo.callback(engine.close)
        if reservation:
            reservation.settle()
        rows = run(drive, rounds)
        console.print(f"{drive.verified} frames verified; drops: { {k: v for k, v in engine.drops().items() if v} }")
    show(rows, drive.hz)
    if json_path:
        figures = {"machine": platform.uname()._asdict(), "tsc_hz": drive.hz, "rows": rows}
        Path(json_path).write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
