"""python -m tools.lab.demo: the mission's walk-through, each step as it happens, and what came of it.

The exit code is 0 only if all of it held.
"""

import re
import shlex
import signal
import sys
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table

from tools.lab.host import Host, LabError, dns_queries
from tools.lab.laboratory import Laboratory

WEB = "10.0.1.1:8888"
DNS = "10.0.1.1:53"
WEIGHT = 7
LOADS = ("-n 2000", "-n 6000 -c 50", "-n 12000 -c 50 -k")
QUERIES = 600
AB_SHOWS = (
    "Concurrency",
    "Complete requests",
    "Failed requests",
    "Non-2xx",
    "Keep-Alive requests",
    "Requests per second",
    "Transfer rate",
)
PICTURE = """\
  client 1.1.1.1 ──┐                               ┌── server1 1.1.1.3  nginx :80, DNS :53
                   ├── bridge 1.1.1.0/24 (Linux) ──┤
director 1.1.1.2 ──┘                               └── server2 1.1.1.4  nginx :80, DNS :53
jupiter0, DPDK port net_af_packet on a veth;  VIP 10.0.1.1, local addresses 10.0.2.1-4
"""


@dataclass
class Demo:
    lab: Laboratory
    console: Console
    checks: list[tuple[str, bool]] = field(default_factory=list)

    def type(self, host: Host, line: str, show: tuple[str, ...] = ()) -> str:
        """Run an operator's line; show it and its output (with `show`: lines that start so); returns the output."""
        self.console.print(f"[bold cyan]{host.name}#[/] [bold]{line}[/]", highlight=False)
        output = host.run(*shlex.split(line)).stdout
        for text in output.splitlines():
            if text.startswith(show) if show else text:
                self.console.print(f"    {text}", style="dim", highlight=False, markup=False)
        return output

    def check(self, sentence: str, held: bool) -> None:
        self.checks.append((sentence, held))

    def heading(self, text: str) -> None:
        self.console.print(f"\n[bold]{text}[/]")


def figure(name: str, output: str) -> float:
    """A figure of ab's report; 0 where ab leaves the line out."""
    found = re.search(rf"^{name}:\s+([\d.]+)", output, re.MULTILINE)
    return float(found[1]) if found else 0.0


def web(demo: Demo) -> list[tuple[str, ...]]:
    """A TCP service in front of two nginx. Returns the rows of the throughput table."""
    lab = demo.lab
    demo.type(lab.director, f"jupiter-ctl vs/add {WEB} tcp wrr")
    for server in lab.servers:
        demo.type(lab.director, f"jupiter-ctl rs/add {WEB} tcp {server.address}:80 {WEIGHT}")
    rows: list[tuple[str, ...]] = []
    for load in LOADS:
        output = demo.type(lab.client, f"ab -q {load} http://{WEB}/", AB_SHOWS)
        complete, failed, non_2xx = (
            int(figure(name, output)) for name in ("Complete requests", "Failed requests", "Non-2xx responses")
        )
        demo.check(f"ab {load}: every request succeeded", (complete, failed, non_2xx) == (int(load.split()[1]), 0, 0))
        rows.append(
            (
                f"ab {load}",
                str(complete),
                str(failed + non_2xx),
                f"{figure('Requests per second', output):,.0f}",
                f"{figure('Transfer rate', output):,.0f} KB/s",
            )
        )
    return rows


def names(demo: Demo) -> dict[str, int]:
    """A UDP service in front of two DNS servers. Returns how many queries each server address answered."""
    lab = demo.lab
    demo.type(lab.director, f"jupiter-ctl vs/add {DNS} udp rr")
    for server in lab.servers:
        demo.type(lab.director, f"jupiter-ctl rs/add {DNS} udp {server.address}:53")
    lab.client.path("/run/queries").write_text(dns_queries(QUERIES))
    answers = demo.type(lab.client, "dig @10.0.1.1 +short +tries=1 -f /run/queries", show=(";",)).split()
    by_server = {str(server.address): answers.count(str(server.address)) for server in lab.servers}
    demo.check(f"{QUERIES} DNS queries: every one was answered", sum(by_server.values()) == len(answers) == QUERIES)
    demo.console.print(f"    {QUERIES} queries, answered {by_server}", style="dim", highlight=False)
    return by_server


def shares_hold(counts: list[int]) -> bool:
    """True if equal weights gave equal shares; a scheduler is off by one connection at most."""
    return sum(counts) > 0 and max(counts) - min(counts) <= 1


def compare(demo: Demo, answers: dict[str, int]) -> Table:
    """What the servers saw beside what the director counted."""
    lab = demo.lab
    table = Table(
        "server",
        "requests",
        "connections (nginx)",
        "connections (jupiter)",
        "DNS answers",
        "DNS flows (jupiter)",
        title="Who served what",
    )
    tcp, udp = [], []
    for server in lab.servers:
        requests, accepted = server.requests(), server.accepted()
        tcp.append(director_counts(lab, f"{WEB} tcp", f"{server.address}:80"))
        udp.append(director_counts(lab, f"{DNS} udp", f"{server.address}:53"))
        answered = answers[str(server.address)]
        table.add_row(server.name, *(f"{n:,}" for n in (requests, accepted, tcp[-1], answered, udp[-1])))
        demo.check(f"{server.name}: the director's connections are those that it accepted", accepted == tcp[-1])
        demo.check(f"{server.name}: the director's counters agree with its DNS answers", answered == udp[-1])
    demo.check("connections are spread by weight", shares_hold(tcp))
    demo.check("DNS queries are spread evenly", shares_hold(udp))
    return table


def director_counts(lab: Laboratory, service: str, real: str) -> int:
    """Connections that the director has ever made to this real server."""
    stats: dict[str, Any] = lab.director.ask("rs/stats", *service.split(), real)
    return int(stats["history-conns"])


def walk(demo: Demo) -> None:
    lab = demo.lab
    demo.heading("A service daemon on the director")
    demo.type(lab.director, "jupiter-service --daemon")
    demo.heading("TCP: two web servers behind one address")
    rows = web(demo)
    demo.heading("UDP: two DNS servers behind one address")
    answers = names(demo)
    demo.heading("What the director says")
    for line in ("vs/list", f"rs/list {WEB} tcp", f"vs/stats {WEB} tcp", f"vs/stats {DNS} udp", "netdev/stats"):
        demo.type(lab.director, f"jupiter-ctl {line}")

    throughput = Table("load", "complete", "failed", "requests/s", "received", title="Throughput")
    for row in rows:
        throughput.add_row(*row)
    demo.console.print("", throughput, compare(demo, answers))
    demo.type(lab.director, "jupiter-ctl stop")
    for sentence, held in demo.checks:
        demo.console.print(f"  {'[green]held  [/]' if held else '[red]FAILED[/]'}  {sentence}", highlight=False)


def main() -> int:
    console = Console(soft_wrap=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        console.print(PICTURE, highlight=False)
        with Laboratory() as lab:
            demo = Demo(lab, console)
            walk(demo)
        return 0 if demo.checks and all(held for _, held in demo.checks) else 1
    except LabError as error:
        console.print(str(error), style="red", highlight=False, markup=False)
        return 1
    except KeyboardInterrupt:
        console.print("interrupted; the laboratory is closed")
        return 130


if __name__ == "__main__":
    sys.exit(main())
