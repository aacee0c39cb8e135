"""What runs on the hosts of a laboratory: commands, and the servers behind the director."""

import json
import os
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tools.lab.topology import Topology

ROOT = Path(__file__).resolve().parents[2]
PATH = f"{ROOT / '.venv/bin'}:/usr/sbin:/usr/bin:/sbin:/bin"


class LabError(Exception):
    """A command of the laboratory failed; the text says which, where and what it printed."""


class Host:
    """One network namespace. `init` is the host system's pid of the laboratory's PID 1."""

    def __init__(self, init: int, name: str, address: str | None = None) -> None:
        self.name = name
        self.address = address
        self._root = Path(f"/proc/{init}/root")
        self._enter = [
            "nsenter",
            "--target",
            str(init),
            "--mount",
            "--pid",
            "--",
            "ip",
            "netns",
            "exec",
            name,
            "env",
            f"PATH={PATH}",
        ]

    def run(self, *argv: str, check: bool = True, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run a command here to its end. A non-zero exit code raises LabError unless check is False."""
        done = subprocess.run(
            [*self._enter, *argv], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout
        )
        if check and done.returncode != 0:
            said = (done.stderr.strip() or done.stdout.strip())[-2000:]
            raise LabError(f"{self.name}# {shlex.join(argv)}: exit code {done.returncode}: {said}")
        return done

    def start(self, *argv: str) -> subprocess.Popen[str]:
        """Start a command here and leave it running, its output on pipes; it ends with the laboratory at the latest."""
        return subprocess.Popen(
            [*self._enter, *argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def path(self, absolute: str) -> Path:
        """Where a file of the laboratory's private tree lies as seen from outside."""
        return self._root / absolute.lstrip("/")


class Server(Host):
    """nginx on :80 and a DNS server on :53/udp. Both say who answered: the page by name, the record by address."""

    @property
    def home(self) -> str:
        return f"/run/{self.name}"

    def start_http(self) -> None:
        self.path(f"{self.home}/html").mkdir(parents=True)
        self.path(f"{self.home}/html/index.html").write_text(f"{self.name}\n")
        self.path(f"{self.home}/nginx.conf").write_text(NGINX.format(home=self.home))
        self.run("nginx", "-e", f"{self.home}/error.log", "-c", f"{self.home}/nginx.conf")

    def start_dns(self) -> None:
        self.run(
            "dnsmasq",
            "--conf-file=/dev/null",
            "--no-resolv",
            "--no-hosts",
            "--pid-file",
            "--user=root",
            "--port=53",
            "--bind-interfaces",
            f"--listen-address={self.address}",
            f"--address=/who.test/{self.address}",
        )

    def offer(self, name: str, content: bytes) -> None:
        """Put a file under http://.../name; the same once more does not disturb who downloads it just now."""
        file = self.path(f"{self.home}/html/{name}")
        if not file.exists() or file.read_bytes() != content:
            file.write_bytes(content)

    def requests(self) -> int:
        """HTTP requests in nginx's log."""
        return len(self.path(f"{self.home}/access.log").read_text().splitlines())

    def accepted(self) -> int:
        """TCP connections that this host's kernel has accepted; nginx's log lacks those on which no request came."""
        names, values = (line.split() for line in self.run("grep", "^Tcp:", "/proc/net/snmp").stdout.splitlines())
        return int(values[names.index("PassiveOpens")])


class Director(Host):
    """Where jupiter runs: /etc/jupiter/jupiter.cfg, /run, /var/lib and /var/log are the laboratory's own."""

    def configure(
        self,
        topology: Topology,
        dpdk: Mapping[str, str] = {},
        name: str = "jupiter",
        control: Mapping[str, str] = {},
        queues: int = 1,
        connections: Mapping[str, str] = {},
    ) -> None:
        """Write NAME.cfg for this topology; dpdk, control, connections: further or other keys of these
        sections; queues: of each device."""
        sections = {
            "DPDK": {"argv": eal_cores(), **dpdk},
            "CONTROL": dict(control),
            "CONNECTIONS": dict(connections),
        }
        for number, device in enumerate(topology.devices):
            sections[f"DEVICE{number}"] = {
                "name": device.name,
                "ipv4": device.ipv4,
                "netmask": "255.255.255.0",
                **({"gw": device.gateway} if device.gateway else {}),
                "mtu": str(device.mtu),
                "local-ipv4": device.local_ipv4,
                "vdev": device.vdev(number, queues),
            }
        text = "\n".join(
            f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items())
            for name, keys in sections.items()
        )
        self.path("/etc/jupiter").mkdir(exist_ok=True)
        self.path(f"/etc/jupiter/{name}.cfg").write_text(text)

    def ctl(self, *argv: str) -> str:
        """Output of a jupiter-ctl command."""
        return self.run("jupiter-ctl", *argv).stdout

    def ask(self, *argv: str) -> Any:
        """Answer of a reading jupiter-ctl command, from its --json."""
        return json.loads(self.ctl(*argv, "--json"))


def dns_queries(count: int) -> str:
    """A batch file for dig. A port for each query: random ones repeat, and a repeated port rides its old connection."""
    return "".join(f"-b 0.0.0.0#{20000 + number} who.test\n" for number in range(count))


def eal_cores(workers: int = 1) -> str:
    """EAL arguments for a main and so many worker lcores on the processors that we may use, be it a single one."""
    cpus = sorted(os.sched_getaffinity(0))
    lcores = [f"{lcore}@{cpus[lcore % len(cpus)]}" for lcore in range(workers + 1)]
    return f"--lcores {','.join(lcores)}"


NGINX = """\
user root;
worker_processes 1;
pid {home}/nginx.pid;
error_log {home}/error.log;
events {{ worker_connections 4096; }}
http {{
    log_format brief '$status $request';
    access_log {home}/access.log brief;
    keepalive_requests 1000000;
    sendfile on;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    server {{
        listen 80 backlog=4096;
        root {home}/html;
    }}
}}
"""
