"""Which worker gets a packet, on cards that QEMU emulates: what they do by themselves, and what they only claim.

Not part of `make test`: `make vm-test` runs it.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.vm.walk import FILE, WITHOUT_DIRECTOR, ask, balance, card_of, configure, forget_neighbours, serve, service
from tools.lab.host import ROOT, Host
from tools.lab.laboratory import Laboratory, wait_until
from tools.lab.topology import VIP
from tools.vm.machine import CARDS, Machine

MODELS = ("e1000", "igb", "vmxnet3")
CROWD = str(ROOT / "tests/vm/crowd.py")
PORT = 9000
EACH = 120
"""Connections of each protocol."""
ROUND = 1.5
"""Seconds between two looks at what the workers do: what they show is of the last second."""
FOUND_OUT = 20.0
"""Seconds until a card that does not do what it claims is found out; the emulated processors are slow."""

# Of `netdev/hwinfo`:
STEERING, REASON = "steering", "steering-reason"
# Of `worker/stats`:
PACKETS, CONNECTIONS, HANDED_OUT, HANDED_IN, STRAYS = "packets", "conns", "handed_out", "handed_in", "strays"


@pytest.fixture(scope="module")
def site() -> Iterator[tuple[Laboratory, Machine]]:
    """Client and servers; a machine with five processors and a card of each kind."""
    cards = [card for card in CARDS if card.model in MODELS]
    with (
        Laboratory(WITHOUT_DIRECTOR) as lab,
        Machine(Host(lab.pid, "switch"), cards=cards, iommu=False, nodes=[range(5)]) as machine,
    ):
        for module in ("tun", "uio_pci_generic", *(card.module for card in cards)):
            machine.run("modprobe", module)
        for server in lab.servers:
            server.offer("file", FILE)
            peer = server.start("python", CROWD, "serve", str(server.address), str(PORT))
            assert peer.stdout is not None
            assert peer.stdout.readline() == "ready\n"
        yield lab, machine


@contextmanager
def running(director: Machine, driver: str, workers: int, steering: str = "auto") -> Iterator[None]:
    """jupiter with this card and so many workers."""
    device = "" if steering == "auto" else f"steering = {steering}"
    configure(director, card_of(director, driver), f"argv = -l 0-{workers}", device)
    with service(director):
        yield


class Crowd:
    """Connections that last as long as the block; afterwards `report` says how they fared."""

    def __init__(self, director: Machine, lab: Laboratory, each: int = EACH) -> None:
        for protocol in ("tcp", "udp"):
            balance(director, lab, PORT, protocol, PORT)
        forget_neighbours(lab)
        self._stop = lab.client.path("/run/crowd-stop")
        self._stop.unlink(missing_ok=True)
        self._peer = lab.client.start("python", CROWD, "ask", VIP, str(PORT), str(each), "/run/crowd-stop")
        self._each = each
        self.report: dict[str, Any] = {}

    def wait_for_all(self) -> None:
        """Each connection has had an answer."""
        assert self._peer.stdout is not None
        assert self._peer.stdout.readline() == "ready\n", self._peer.communicate()

    def end(self) -> None:
        self._stop.touch()
        said, complaints = self._peer.communicate(timeout=120)
        self.report = json.loads(said.splitlines()[-1]) if said else {}
        assert self.report, complaints
        for protocol in ("tcp", "udp"):
            assert self.report[protocol]["lost"] == [], self.report
            assert self.report[protocol]["connections"] == self._each, self.report


def steering_of(director: Machine) -> tuple[str, str]:
    """What the only device does, and why."""
    [hardware] = ask(director, "netdev/hwinfo")
    return hardware[STEERING], hardware[REASON]


def watch(director: Machine, rounds: int = 4) -> list[list[dict[str, Any]]]:
    """The workers' rows, several times."""
    return [pause_and_ask(director) for _ in range(rounds)]


def pause_and_ask(director: Machine) -> list[dict[str, Any]]:
    director.run("sleep", str(ROUND))
    rows: list[dict[str, Any]] = ask(director, "worker/stats")
    return rows


def most(seen: list[list[dict[str, Any]]], column: str) -> list[int]:
    """Of each worker, the highest value that was seen."""
    return [max(rows[worker][column] for rows in seen) for worker in range(len(seen[0]))]


def observe(director: Machine, lab: Laboratory) -> tuple[list[list[dict[str, Any]]], str, str]:
    """What the workers do while a crowd talks, and how packets are steered, and why. Nothing of it may be lost."""
    crowd = Crowd(director, lab)
    crowd.wait_for_all()
    seen = watch(director)
    steering, reason = steering_of(director)
    crowd.end()
    serve(director, lab)
    return seen, steering, reason


@pytest.mark.parametrize("workers", [2, 4])
def test_rss(site: tuple[Laboratory, Machine], workers: int) -> None:
    """igb brings each packet to the worker that owns it: all have their part, none hands anything over."""
    lab, director = site
    with running(director, "igb", workers):
        seen, steering, reason = observe(director, lab)
    assert (steering, len(seen[0])) == ("rss", workers), reason
    assert reason
    assert all(most(seen, PACKETS)), seen
    # Both protocols' connections, spread by their ports: under half of its part would be no chance.
    assert min(most(seen, CONNECTIONS)) > 2 * EACH / workers / 2, seen
    assert sum(most(seen, CONNECTIONS)) == 2 * EACH, seen
    for column in (HANDED_OUT, HANDED_IN, STRAYS):
        assert not any(most(seen, column)), (column, seen)


@pytest.mark.parametrize("workers", [2, 4])
def test_one_queue(site: tuple[Laboratory, Machine], workers: int) -> None:
    """e1000 has one queue: rings carry packets to their owners, who all have their part."""
    lab, director = site
    with running(director, "e1000", workers):
        seen, steering, reason = observe(director, lab)
    assert steering == "ring"
    assert "offers no RSS" in reason
    assert all(most(seen, PACKETS)), seen
    assert min(most(seen, CONNECTIONS)) > 2 * EACH / workers / 2, seen
    assert all(most(seen, HANDED_IN)[1:]), seen


def test_an_empty_claim(site: tuple[Laboratory, Machine]) -> None:
    """vmxnet3 offers RSS and brings all to one queue: its driver does not say by which key, or the traffic shows it;
    rings carry packets to their owners, the device says why, and no connection is lost."""
    lab, director = site
    with running(director, "vmxnet3", 2):
        seen, _, _ = observe(director, lab)
        wait_until(lambda: steering_of(director)[0] == "ring", "vmxnet3 to be found out", FOUND_OUT)
        assert steering_of(director)[1]
    assert all(most(seen, PACKETS)), seen
    assert min(most(seen, CONNECTIONS)) > 2 * EACH / 2 / 2, seen


def test_a_card_that_takes_no_rules(site: tuple[Laboratory, Machine]) -> None:
    """igb refuses a rule for a local address: a device that is to be steered by flow says so, and does not start."""
    _, director = site
    configure(director, card_of(director, "igb"), "argv = -l 0-2", "steering = flow")
    refused = director.run("jupiter-service", "--daemon", check=False)
    assert refused.returncode == 1
    said = refused.stdout + refused.stderr
    assert re.search(r"Device jupiter0, pci = \S+: .* cannot be steered by flow: .* takes no rule", said), said
