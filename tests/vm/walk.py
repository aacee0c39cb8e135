"""What the checks on a virtual machine share: the laboratory around it, jupiter's life in it, a walk through."""

import hashlib
import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tools.lab.host import ROOT
from tools.lab.laboratory import Laboratory, wait_until
from tools.lab.topology import ONE_ARM, VIP, Topology
from tools.vm.machine import Machine

FILE = random.Random(7).randbytes(2 << 20)
WITHOUT_DIRECTOR = Topology(
    cables=tuple(cable for cable in ONE_ARM.cables if cable.host != "director"),
    routes=ONE_ARM.routes,
    devices=(),
    server_addresses=ONE_ARM.server_addresses,
)
PID_FILE = "/run/jupiter.pid"


def card_of(director: Machine, driver: str) -> str:
    """PCI address of the card that this driver of Linux's has."""
    cards = json.loads(director.run("jupiter-devbind", "status", "--json").stdout)
    return next(card["address"] for card in cards if card["driver"] == driver)


def configure(director: Machine, card: str, dpdk: str = "argv = -l 0,1", device: str = "") -> None:
    """The file that comes with jupiter, as it is but for the card: it fits the laboratory's addresses.

    card: its PCI address, or a vdev. dpdk: lines in place of argv; device: further ones for the card.
    """
    sample = (ROOT / "etc/jupiter.cfg").read_text().splitlines()
    source = "pci" if card[0].isdigit() else "vdev"
    other = {"argv": dpdk, "pci": f"{source} = {card}\n{device}"}
    text = "\n".join(other.get(line.partition(" = ")[0], line) for line in sample)
    director.run("mkdir", "-p", "/etc/jupiter")
    director.run("rm", "-rf", "/var/lib/jupiter")  # what was set by hand beside the last card
    director.run("sh", "-c", 'printf "%s\n" "$1" >/etc/jupiter/jupiter.cfg', "sh", text)
    director.run("jupiter-service", "--check")


@contextmanager
def service(director: Machine) -> Iterator[None]:
    """Runs with what configure() wrote; afterwards nothing of it is left."""
    director.run("jupiter-service", "--daemon")
    try:
        yield
    finally:
        director.run("jupiter-ctl", "stop")
        wait_until(lambda: director.run("test", "-e", PID_FILE, check=False).returncode, f"{PID_FILE} to go", 60)


def ask(director: Machine, *argv: str) -> Any:
    return json.loads(director.run("jupiter-ctl", *argv, "--json").stdout)


def balance(director: Machine, lab: Laboratory, port: int, protocol: str, server_port: int) -> tuple[str, str]:
    """The operator's lines for a service of all servers; its name."""
    name = (f"{VIP}:{port}", protocol)
    director.run("jupiter-ctl", "vs/add", *name, "rr")
    for server in lab.servers:
        director.run("jupiter-ctl", "rs/add", *name, f"{server.address}:{server_port}")
    return name


def forget_neighbours(lab: Laboratory) -> None:
    """The last card's MAC."""
    for host in (lab.client, *lab.servers):
        host.run("ip", "neighbour", "flush", "all")


def serve(director: Machine, lab: Laboratory) -> None:
    """As many downloads as there are servers are whole, and the director's own address answers."""
    name = balance(director, lab, 8888, "tcp", 80)
    forget_neighbours(lab)
    for _ in lab.servers:
        done = lab.client.run("sh", "-c", f"curl -sS --max-time 90 http://{VIP}:8888/file | sha256sum")
        assert done.stdout.split()[0] == hashlib.sha256(FILE).hexdigest(), done.stderr
    stats = [ask(director, "rs/stats", *name, f"{server.address}:80") for server in lab.servers]
    assert sum(each["history-conns"] for each in stats) == len(stats), stats
    lab.client.run("ping", "-c1", "-W10", "1.1.1.2")
