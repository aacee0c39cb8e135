"""How large the control plane can be: 10,000 services applied, changed, asked, dumped, while traffic flows (root).

A service of its own (--instance=bench) in a laboratory: a flow of UDP packets goes through it during changes and dumps,
and every packet that does not come out of it is counted as lost. Server addresses are all different, behind one router,
so that the mirror of the kernel's routes has as much to do as it can have.
"""

import json
import os
import platform
import random
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from jupiter.control.client import Client
from jupiter.errors import JupiterError
from tools.bench.flow import OVER
from tools.lab import ROOT, ROUTED, Laboratory, wait_until

FLOW_SCRIPT = str(ROOT / "tools/bench/flow.py")
NAME = "bench"
SOCKET = f"/run/jupiter-{NAME}.sock"
FLOW = "10.0.1.1:7000 udp"
FLOOD = "10.0.1.1:7001 udp"
RATE = 5_000
"""Packets a second of the flow."""
CLIENTS, COMMANDS = 50, 2_000
CONNECTIONS = 1_000_000
PING = 0.01
"""Seconds between two `version` calls of the bystander."""
FIXED = f"""\
[{FLOW}]
scheduler = rr
1.1.1.3:7000 = 1

[{FLOOD}]
scheduler = rr
est_timeout = 3600
""" + "".join(f"{host}:{port} = 1\n" for host in ("1.1.1.3", "3.3.3.4") for port in range(9000, 9004))
console = Console(stderr=True)


def service(n: int) -> str:
    return f"11.{n >> 16}.{n >> 8 & 255}.{n & 255}:80 tcp"


def server(n: int) -> str:
    return f"{20 + (n >> 24)}.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}:8080"


def configuration(services: int, servers: int, scheduler: str) -> str:
    parts = [FIXED]
    for n in range(services):
        parts.append(f"[{service(n)}]\nscheduler = {scheduler}\n")
        parts += [f"{server(n * servers + k)} = {1 + k % 7}\n" for k in range(servers)]
    return "".join(parts)


def figures(seconds: list[float]) -> dict[str, float]:
    """Milliseconds."""
    ordered = sorted(seconds)
    last = len(ordered) - 1
    return {
        name: round(1000 * ordered[min(last, len(ordered) * share // 1000)], 2)
        for name, share in (("p50", 500), ("p99", 990), ("max", 1000))
    }


def timed(call: Callable[[], object]) -> float:
    begin = time.monotonic()
    call()
    return time.monotonic() - begin


class Bench:
    """The service that is measured, and what was found out: rows of (what, {figure: value})."""

    def __init__(self, lab: Laboratory) -> None:
        self.lab = lab
        self.rows: list[tuple[str, dict[str, Any]]] = []
        self.path = lab.director.path(SOCKET)
        self._process: subprocess.Popen[str] | None = None
        lab.director.configure(ROUTED, {"hugepages": "none"}, NAME)
        configured = lab.director.path(f"/etc/jupiter/{NAME}.cfg")
        configured.write_text(f"[CONNECTIONS]\ncapacity = {CONNECTIONS * 5 // 4}\n" + configured.read_text())

    def note(self, what: str, **values: Any) -> None:
        self.rows.append((what, values))
        console.print(f"{what}: {told(values)}", highlight=False)

    def client(self) -> Client:
        return Client(self.path, timeout=300)

    def start(self) -> float:
        """Seconds until it answers."""
        begin = time.monotonic()
        line = f"exec jupiter-service --instance={NAME} --log-level=warning 2>/run/{NAME}.stderr"
        self._process = self.lab.director.start("sh", "-c", line)
        wait_until(lambda: self.path.exists() or self._process.poll() is not None, "the service to answer", 300)
        if self._process.poll() is not None:
            raise click.ClickException(self.lab.director.path(f"/run/{NAME}.stderr").read_text()[-2000:])
        with self.client() as jupiter:
            jupiter.call("version")
        return time.monotonic() - begin

    def stop(self) -> None:
        assert self._process
        with self.client() as jupiter:
            jupiter.call("stop")
        self._process.wait(60)

    def rss(self) -> int:
        """Bytes."""
        pid = self.lab.director.path(f"/run/jupiter-{NAME}.pid").read_text().strip()
        status = self.lab.director.path(f"/proc/{pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) * 1024

    def apply(self, text: str) -> float:
        """Seconds that `jupiter-ctl apply FILE` takes."""
        self.lab.director.path("/run/services.cfg").write_text(text)
        ctl = ("jupiter-ctl", f"--unixsock={SOCKET}", "apply", "/run/services.cfg")
        return timed(lambda: self.lab.director.run(*ctl, timeout=600))

    @contextmanager
    def bystander(self) -> Iterator[list[float]]:
        """Another client that calls `version` all the time; seconds of each call."""
        calls: list[float] = []
        over = threading.Event()

        def ask() -> None:
            with self.client() as jupiter:
                while not over.wait(PING):
                    calls.append(timed(lambda: jupiter.call("version")))

        thread = threading.Thread(target=ask)
        thread.start()
        try:
            yield calls
        finally:
            over.set()
            thread.join()

    @contextmanager
    def flow(self, what: str) -> Iterator[None]:
        """A steady flow through the service meanwhile; its loss is noted."""
        self.lab.director.path(str(OVER)).unlink(missing_ok=True)
        receiver = self.lab.servers[0].start("python", FLOW_SCRIPT, "receive", "7000")
        sender = None
        try:
            assert receiver.stdout
            receiver.stdout.readline()
            sender = self.lab.client.start("python", FLOW_SCRIPT, "send", "10.0.1.1", "7000", str(RATE))
            begin = time.monotonic()
            yield
            seconds = time.monotonic() - begin
            self.lab.director.path(str(OVER)).touch()
            sent = int(sender.communicate(timeout=60)[0])
            came = int(receiver.communicate(timeout=60)[0])
            self.note(f"packets of a flow, {what}", sent=sent, lost=sent - came, per_second=round(came / seconds))
        finally:
            for process in (receiver, sender):
                if process and process.poll() is None:
                    process.kill()


def measure_changes(bench: Bench, services: int, servers: int, rounds: int, what: str) -> None:
    """One change at a time, from the call to its answer: the packets follow it by then."""
    took: dict[str, list[float]] = {}
    with bench.client() as jupiter:

        def change(method: str, **arguments: Any) -> None:
            begin = time.monotonic()
            try:
                jupiter.call(method, **arguments)
            except JupiterError as error:
                if error.code != "service-not-found" or not what:  # what was just added goes with another's apply
                    raise
            took.setdefault(method, []).append(time.monotonic() - begin)

        for n in range(rounds):
            at = random.randrange(services)
            change("rs/weight", service=service(at), server=server(at * servers), weight=1 + n % 9)
            change("vs/add", service=f"12.0.{n >> 8}.{1 + (n & 255) % 250}:80 tcp", scheduler="ipport")
            change("rs/add", service=f"12.0.{n >> 8}.{1 + (n & 255) % 250}:80 tcp", server="1.1.1.4:80", weight=1)
            change("vs/del", service=f"12.0.{n >> 8}.{1 + (n & 255) % 250}:80 tcp")
    for method, seconds in took.items():
        bench.note(f"{method}{what}", **figures(seconds), n=len(seconds))


def measure_apply(bench: Bench, services: int, servers: int, schedulers: tuple[str, ...]) -> None:
    before = bench.rss()
    for scheduler in schedulers:
        bench.apply(FIXED)
        with bench.bystander() as calls:
            seconds = bench.apply(configuration(services, servers, scheduler))
        bench.note(f"apply {services:,} x {servers:,} {scheduler}", seconds=round(seconds, 2))
        bench.note("  version meanwhile", **figures(calls), n=len(calls))
        after = bench.rss()
        bench.note(
            "  memory", resident_mb=after >> 20, grown_mb=after - before >> 20,
            kb_per_service_with_servers=round((after - before) / services / 1024, 2),
        )  # fmt: skip


def measure_busy_changes(bench: Bench, services: int, servers: int) -> None:
    """Single changes while others apply all of it again, differently."""
    text = [configuration(services, servers, scheduler) for scheduler in ("wrr", "ipport")]
    over = threading.Event()

    def apply() -> None:
        with bench.client() as jupiter:
            for n in range(10):
                if not over.is_set():
                    jupiter.apply(text[n % 2])

    thread = threading.Thread(target=apply)
    thread.start()
    try:
        measure_changes(bench, services, servers, 50, " while applying")
    finally:
        over.set()
        thread.join()


def measure_crowd(bench: Bench, services: int, servers: int, seconds: float) -> None:
    """Many clients, each at its share of the rate; none may get an error."""
    took: list[float] = []
    failed: list[str] = []
    gate = time.monotonic() + 1

    def one(me: int) -> None:
        dice = random.Random(me)
        mine = f"12.1.0.{me + 1}:80 tcp"
        with bench.client() as jupiter:
            for n in range(int(seconds * COMMANDS / CLIENTS)):
                time.sleep(max(0.0, gate + (n + me / CLIENTS) * CLIENTS / COMMANDS - time.monotonic()))
                at = dice.randrange(services)
                choice: tuple[str, dict[str, Any]] = [
                    ("rs/weight", {"service": service(at), "server": server(at * servers), "weight": n % 9}),
                    ("vs/stats", {"service": service(at)}),
                    ("rs/list", {"service": service(at)}),
                    ("vs/del" if n // 4 % 2 else "vs/add", {"service": mine}),
                ][n % 4]
                try:
                    took.append(timed(lambda: jupiter.call(choice[0], **choice[1])))  # noqa: B023 called at once
                except JupiterError as error:
                    failed.append(error.text)

    threads = [threading.Thread(target=one, args=(n,)) for n in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rate = round(len(took) / (time.monotonic() - gate))
    bench.note(f"{CLIENTS} clients, {COMMANDS} commands/s", **figures(took), per_second=rate, failed=len(failed))


def measure_dump(bench: Bench) -> None:
    with bench.client() as jupiter:
        mac = jupiter.call("netdev/hwinfo")[0]["mac"]
        begin = time.monotonic()
        sent = bench.lab.client.run(
            "python", FLOW_SCRIPT, "flood", "10.0.1.1", "7001", mac, str(CONNECTIONS), timeout=120
        )
        there = jupiter.call("udp/conn/stats")[0]["inuse_conns"]
        bench.note("connections", made=there, of=int(sent.stdout), seconds=round(time.monotonic() - begin, 1))
    with bench.flow("alone"):
        time.sleep(5)
    with bench.flow("during udp/conn/dump"):
        measure_rows(bench, "udp/conn/dump")
    measure_rows(bench, "conn/find", conditions="client=20.15.0.1")


def measure_rows(bench: Bench, method: str, **arguments: Any) -> None:
    with bench.bystander() as calls, bench.client() as jupiter:
        begin = time.monotonic()
        rows = sum(1 for _ in jupiter.rows(method, **arguments))
        seconds = time.monotonic() - begin
    bench.note(method, rows=rows, seconds=round(seconds, 2))
    bench.note("  version meanwhile", **figures(calls or [0.0]), n=len(calls))


def measure_start(bench: Bench, services: int, servers: int) -> None:
    """With such a configuration in services.d."""
    folder = bench.lab.director.path("/etc/jupiter/services.d")
    folder.mkdir(exist_ok=True)
    file = folder / "bench.cfg"
    file.write_text(configuration(services, servers, "wrr"))
    bench.stop()
    bench.note(f"start with {services:,} x {servers:,}", seconds=round(bench.start(), 1), resident_mb=bench.rss() >> 20)


def told(values: dict[str, Any]) -> str:
    return "  ".join(f"{name} {value:,}" if isinstance(value, int | float) else f"{name} {value}"
                     for name, value in values.items())  # fmt: skip


def show(rows: list[tuple[str, dict[str, Any]]]) -> None:
    table = Table("what", "figures (latencies in ms)", title="The control plane's scale")
    for what, values in rows:
        table.add_row(what, told(values))
    Console().print(table)


@click.command()
@click.option("--services", default=10_000, show_default=True)
@click.option("--million", is_flag=True, help="Also 1,000,000 servers: applied, and started with (minutes).")
@click.option("--connections/--no-connections", default=True, help="Dump a million connections.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write figures and machine to this file.")
def main(services: int, million: bool, connections: bool, json_path: Path | None) -> None:
    """Times and memory of the control plane with thousands of services."""
    with ExitStack() as undo:
        bench = Bench(undo.enter_context(Laboratory(ROUTED)))
        bench.note("start, no service", seconds=round(bench.start(), 2), resident_mb=bench.rss() >> 20)
        measure_apply(bench, services, 1, ("wrr",))
        measure_apply(bench, services, 10, ("ipport", "wrr"))
        measure_changes(bench, services, 10, 100, "")
        with bench.flow("during all applies and changes"):
            measure_busy_changes(bench, services, 10)
            measure_crowd(bench, services, 10, 10)
        if connections:
            measure_dump(bench)
        if million:
            measure_apply(bench, services, 100, ("wrr",))
            measure_start(bench, services, 100)
        load = os.getloadavg()
        bench.stop()
    show(bench.rows)
    console.print(f"load of the machine at the end: {load}")
    if json_path:
        json_path.write_text(json.dumps({"machine": platform.uname()._asdict(), "load": load, "rows": bench.rows}))


if __name__ == "__main__":
    main()
