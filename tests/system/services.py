"""What the system tests say to the director and ask of its clients."""

import hashlib
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from tools.lab import Laboratory, wait_until

VIP = "10.0.1.1"


@dataclass(frozen=True)
class VirtualService:
    """A service of this director in front of its laboratory's servers."""

    lab: Laboratory
    port: int
    protocol: str = "tcp"
    rport: int = 80
    vip: str = VIP

    @property
    def name(self) -> tuple[str, str]:
        return f"{self.vip}:{self.port}", self.protocol

    @property
    def url(self) -> str:
        return f"http://{self.vip}:{self.port}"

    def server(self, number: int) -> str:
        return f"{self.lab.servers[number].address}:{self.rport}"

    def add(self, scheduler: str = "wrr", weights: Sequence[int] = (1, 1)) -> "VirtualService":
        self.lab.director.ctl("vs/add", *self.name, scheduler)
        for number, weight in enumerate(weights):
            self.ctl("rs/add", self.server(number), str(weight))
        return self

    def ctl(self, command: str, *arguments: str) -> str:
        return self.lab.director.ctl(command, *self.name, *arguments)

    def connections(self) -> list[int]:
        """Connections ever made to each server."""
        return [
            int(self.lab.director.ask("rs/stats", *self.name, self.server(n))["history-conns"])
            for n in range(len(self.lab.servers))
        ]

    def sent_to_clients(self) -> int:
        """Bytes."""
        return int(self.lab.director.ask("vs/stats", *self.name)["[v2c]bytes"])


def ab(service: VirtualService, *options: str) -> tuple[int, int]:
    """(requests that succeeded, requests that did not) of an ab run."""
    report = service.lab.client.run("ab", "-q", *options, f"{service.url}/").stdout

    def figure(name: str) -> int:
        found = re.search(rf"^{name}:\s+(\d+)", report, re.MULTILINE)
        return int(found[1]) if found else 0

    bad = figure("Failed requests") + figure("Non-2xx responses") + figure("Write errors")
    return figure("Complete requests") - bad, bad


def drops(lab: Laboratory) -> dict[str, int]:
    """Packets that the director has dropped, by reason."""
    return {row["reason"]: row["count"] for row in lab.director.ask("drops")}


def answers(service: VirtualService, count: int) -> set[str]:
    """Names of the servers that answered `count` requests, each on a connection of its own."""
    return {service.lab.client.run("curl", "-sf", "--max-time", "5", service.url).stdout.strip() for _ in range(count)}


class Download:
    """A download through a service by curl, held at so many megabytes a second; every server offers the same file."""

    def __init__(self, service: VirtualService, content: bytes, megabytes_a_second: int | None = None) -> None:
        for server in service.lab.servers:
            server.offer("file", content)
        self._service = service
        self._sha256 = hashlib.sha256(content).hexdigest()
        limit = f"--limit-rate {megabytes_a_second}M" if megabytes_a_second else ""
        self._before = service.sent_to_clients()
        self._curl = service.lab.client.start(
            "sh", "-c", f"curl -sS --max-time 100 {limit} {service.url}/file | sha256sum"
        )

    def wait_under_way(self) -> None:
        """Return when a megabyte has come."""
        wait_until(
            lambda: self._service.sent_to_clients() - self._before > 1 << 20, "the first megabyte of the download"
        )

    @property
    def running(self) -> bool:
        return self._curl.poll() is None

    def matches(self) -> bool:
        """Wait for its end; True when every byte is the server's."""
        try:
            output, errors = self._curl.communicate(timeout=110)
        except subprocess.TimeoutExpired:
            self._curl.kill()
            raise
        assert not errors, errors
        return output.split()[0] == self._sha256
