"""Servers that go: removed with their connections, drained of them, down, or disabled. Both ends are real kernels."""

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.system.services import VIP, VirtualService, answers
from tools.lab import Laboratory

PEER = str(Path(__file__).with_name("tcp_peer.py"))
RPORT = 7001
MODES = ("idle", "pull", "push")
AT_ONCE = 1.0
"""Seconds from the command to both ends, jupiter-ctl's own start included; a machine under load needs some."""


@dataclass
class Held:
    """A connection of the client's."""

    mode: str
    process: subprocess.Popen[str]
    server: str

    def ending(self) -> tuple[str, float]:
        """How and when it ended; waits for that."""
        output, errors = self.process.communicate(timeout=10)
        assert not errors, errors
        mode, how, at = output.split()
        assert mode == self.mode
        return how, float(at)


@pytest.fixture(scope="module")
def peers(lab: Laboratory) -> list[subprocess.Popen[str]]:
    """tcp_peer on both servers."""
    processes = [server.start(sys.executable, PEER, "serve", str(server.address), str(RPORT)) for server in lab.servers]
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    return processes


@pytest.fixture
def held(lab: Laboratory, peers: list[subprocess.Popen[str]], ports: Iterator[int]) -> Iterator[VirtualService]:
    """A service whose connections end with its test."""
    service = VirtualService(lab, next(ports), rport=RPORT).add("rr")
    yield service
    if f" {service.port} " in lab.director.ctl("vs/list"):
        service.ctl("vs/del", "reset")


def hold(service: VirtualService, mode: str) -> Held:
    process = service.lab.client.start(sys.executable, PEER, "hold", VIP, str(service.port), mode)
    assert process.stdout
    word, server = process.stdout.readline().split()
    assert word == "ready"
    return Held(mode, process, server)


def established(service: VirtualService, server: int) -> int:
    """Connections that a server's kernel has with this service's port."""
    return len(
        service.lab.servers[server].run("ss", "-Htn", "state", "established", f"sport = :{RPORT}").stdout.splitlines()
    )


def expect_reset(service: VirtualService, gone: list[Held], line: tuple[str, ...], servers: list[int]) -> None:
    """After this command both kernels of each of these connections have got a RST, at once."""
    began = time.monotonic()
    service.ctl(*line)
    for connection in gone:
        how, at = connection.ending()
        assert how == "reset", connection
        assert at - began < AT_ONCE, connection
    for server in servers:
        assert established(service, server) == 0
    client = service.lab.client.run("ss", "-Htn", "state", "established", f"dport = :{service.port}").stdout
    assert len(client.splitlines()) == 0 if len(servers) == 2 else len(client.splitlines()) == len(MODES)


def server_endings(peer: subprocess.Popen[str], count: int) -> list[list[str]]:
    assert peer.stdout
    return [peer.stdout.readline().split() for _ in range(count)]


def test_a_removed_server_resets_both_ends(held: VirtualService, peers: list[subprocess.Popen[str]]) -> None:
    """B26: rs/del ... reset: idle connections and transfers in either direction end at both kernels with ECONNRESET, at
    once; those of the other server go on."""
    connections = [hold(held, mode) for mode in MODES for _ in range(2)]
    gone = [c for c in connections if c.server == "1.1.1.3"]
    assert [c.mode for c in gone] == list(MODES)
    expect_reset(held, gone, ("rs/del", held.server(0), "reset"), [0])
    assert sorted(line[:2] for line in server_endings(peers[0], 3)) == [[mode, "reset"] for mode in MODES]
    stay = [c for c in connections if c not in gone]
    before = held.sent_to_clients()
    time.sleep(0.5)  # what is tested is that they go on
    assert held.sent_to_clients() - before > 1 << 20
    assert all(c.process.poll() is None for c in stay)
    expect_reset(held, stay, ("vs/del", "reset"), [0, 1])
    assert sorted(line[:2] for line in server_endings(peers[1], 3)) == [[mode, "reset"] for mode in MODES]


def test_a_removed_service_resets_its_connections_alone(
    held: VirtualService, peers: list[subprocess.Popen[str]], ports: Iterator[int]
) -> None:
    """B26: vs/del ... reset; what another service has with the same servers goes on."""
    other = VirtualService(held.lab, next(ports), rport=RPORT).add("rr")
    bystander = hold(other, "pull")
    gone = [hold(held, mode) for mode in MODES for _ in range(2)]
    began = time.monotonic()
    held.ctl("vs/del", "reset")
    for connection in gone:
        how, at = connection.ending()
        assert how == "reset"
        assert at - began < AT_ONCE
    for peer in peers:
        assert sorted(line[:2] for line in server_endings(peer, 3)) == [[mode, "reset"] for mode in MODES]
    before = other.sent_to_clients()
    time.sleep(0.5)  # what is tested is that it goes on
    assert other.sent_to_clients() - before > 1 << 20
    assert bystander.process.poll() is None
    other.ctl("vs/del", "reset")
    assert bystander.ending()[0] == "reset"
    peer = peers[("1.1.1.3", "1.1.1.4").index(bystander.server)]
    assert server_endings(peer, 1)[0][:2] == ["pull", "reset"]


@pytest.mark.parametrize(
    ("out", "back", "column"),
    [
        (("rs/status", "down"), ("rs/status", "up"), ("status", "down", "up")),
        (("rs/disable",), ("rs/enable",), ("state", "disabled", "enabled")),
    ],
    ids=["down", "disabled"],
)
def test_no_new_connection_from_the_next_one_on(
    lab: Laboratory, ports: Iterator[int], out: tuple[str, ...], back: tuple[str, ...], column: tuple[str, str, str]
) -> None:
    """B27: and rs/list says why; back again it gets its share at once."""
    service = VirtualService(lab, next(ports)).add("rr")
    key, gone, here = column

    def said() -> list[str]:
        return [row[key] for row in sorted(lab.director.ask("rs/list", *service.name), key=lambda row: str(row["ip"]))]

    assert answers(service, 2) == {"server1", "server2"}
    service.ctl(out[0], service.server(0), *out[1:])
    assert said() == [gone, here]
    assert answers(service, 6) == {"server2"}
    service.ctl(back[0], service.server(0), *back[1:])
    assert said() == [here, here]
    assert answers(service, 2) == {"server1", "server2"}
    service.ctl("vs/del")
