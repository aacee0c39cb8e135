"""What an idle worker costs, and what its sleep costs the first packet after a silence: idle = poll beside adaptive.

In a laboratory of its own: an echo request to the virtual address, which the worker answers itself, after a silence of
10 to 30 ms; 1,000 such silences. The processor time of the worker's thread while nothing comes is the scheduler's
(/proc/PID/task/TID/schedstat, nanoseconds). net_af_packet has descriptors to wait for, net_af_xdp has none. At full
load (full_load.py) the least of several runs counts, since the machine does other things, too.
"""

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from tools.lab import ONE_ARM, Laboratory
from tools.lab.host import ROOT
from tools.lab.topology import VIP

PROBER = Path(__file__).with_name("silence.py")
PORTS = {"af_packet": "net_af_packet0,iface={},qpairs=1", "af_xdp": "net_af_xdp0,iface={}"}
MODES = ("poll", "adaptive")


def worker_thread(lab: Laboratory) -> Path:
    """The directory of the worker's thread in the laboratory's /proc, which this process sees under its own."""
    pid = lab.director.run("cat", "/run/jupiter.pid").stdout.strip()
    for task in lab.director.path(f"/proc/{pid}/task").iterdir():
        if (task / "comm").read_text().startswith(("lcore-worker", "rte-worker")):
            return task
    raise click.ClickException("the service has no worker thread")


def busy_share(thread: Path, seconds: float) -> float:
    """Of one processor, in percent."""

    def spent() -> int:
        return int((thread / "schedstat").read_text().split()[0])

    before, began = spent(), time.monotonic_ns()
    time.sleep(seconds)
    return 100 * (spent() - before) / (time.monotonic_ns() - began)


def measure(port: str, mode: str, silences: int, seconds: float) -> dict[str, float]:
    with Laboratory() as lab:
        interface = ONE_ARM.devices[0].interface
        lab.director.configure(ONE_ARM, {"idle": mode})
        file = lab.director.path("/etc/jupiter/jupiter.cfg")
        text = file.read_text()
        file.write_text(text.replace(PORTS["af_packet"].format(interface), PORTS[port].format(interface)))
        lab.director.run("jupiter-service", "--daemon")
        lab.director.ctl("vs/add", f"{VIP}:80", "tcp", "rr")
        idle = busy_share(worker_thread(lab), seconds)
        answer = lab.client.run(sys.executable, str(PROBER), VIP, str(silences), timeout=600).stdout
        trips = json.loads(answer)
        return {
            "idle_percent": idle,
            "median_us": statistics.median(trips),
            "p99_us": statistics.quantiles(trips, n=100)[98],
            "worst_us": max(trips),
        }


def full_load(runs: int) -> dict[str, float]:
    """Ticks per packet by mode, the modes in turns."""
    found: dict[str, list[float]] = {mode: [] for mode in MODES}
    for mode in MODES * runs:
        argv = [sys.executable, "-m", "tools.bench.full_load", mode]
        done = subprocess.run(argv, check=True, capture_output=True, text=True, cwd=ROOT)
        found[mode].append(float(done.stdout))
    return {mode: min(ticks) for mode, ticks in found.items()}


@click.command()
@click.option("--silences", default=1000, show_default=True, help="Round trips to measure.")
@click.option("--seconds", default=10.0, show_default=True, help="How long to watch the idle thread.")
@click.option("--runs", default=5, show_default=True, help="Runs of each mode at full load.")
@click.option("--json", "as_json", is_flag=True, help="Figures for a program.")
def main(silences: int, seconds: float, runs: int, as_json: bool) -> None:
    """What an idle worker costs, and what its sleep costs the first packet after a silence."""
    found = {(port, mode): measure(port, mode, silences, seconds) for port in PORTS for mode in MODES}
    loaded = full_load(runs)
    if as_json:
        rows = [{"port": port, "idle": mode, **row} for (port, mode), row in found.items()]
        click.echo(json.dumps({"silences": rows, "full_load_ticks": loaded}))
        return
    table = Table("port", "idle =", "processor", "first packet", "more than poll", "p99", "worst")
    for (port, mode), row in found.items():
        more = row["median_us"] - found[port, "poll"]["median_us"]
        table.add_row(
            port, mode, f"{row['idle_percent']:.2f} %", f"{row['median_us']:.0f} us", f"{more:+.0f} us",
            f"{row['p99_us']:.0f} us", f"{row['worst_us']:.0f} us",
        )  # fmt: skip
    console = Console()
    console.print(table)
    share = 100 * (loaded["adaptive"] / loaded["poll"] - 1)
    console.print(
        f"Full load, ticks a packet: {loaded['poll']:.2f} poll, {loaded['adaptive']:.2f} adaptive, {share:+.1f} %"
    )


if __name__ == "__main__":
    main()
