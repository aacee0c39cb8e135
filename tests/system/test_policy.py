"""What clients are told of what is not served: [POLICY] of jupiter.cfg, with real TCP and UDP stacks."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.running import running
from tests.system.services import VIP, VirtualService, drops
from tools.lab import ONE_ARM, Laboratory

PEER = str(Path(__file__).with_name("tcp_peer.py"))
ASK = """
import socket, sys
kind = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}[sys.argv[1]]
try:
    with socket.socket(socket.AF_INET, kind) as s:
        s.settimeout(2)
        s.connect((sys.argv[2], int(sys.argv[3])))
        s.send(b"?")
        print("answered" if s.recv(1) else "closed")
except OSError as error:
    print(type(error).__name__)
"""
GRACE = 10
"""Seconds: more than a start and the client's next retransmission take."""
REFUSED, SILENT = "ConnectionRefusedError", "TimeoutError"


@pytest.fixture(scope="module")
def idle() -> Iterator[Laboratory]:
    """With no service running."""
    with Laboratory() as lab:
        yield lab


def configure(lab: Laboratory, **policy: object) -> None:
    lab.director.configure(ONE_ARM, {"hugepages": "none"})
    with lab.director.path("/etc/jupiter/jupiter.cfg").open("a") as file:
        file.write("[POLICY]\n" + "".join(f"{key} = {value}\n" for key, value in policy.items()))


def told(lab: Laboratory, protocol: str, port: int) -> str:
    """What a client learns of a port."""
    return lab.client.run(sys.executable, "-c", ASK, protocol, VIP, str(port)).stdout.strip()


@pytest.mark.parametrize(("unserved", "learns"), [("refuse", REFUSED), ("silent", SILENT)])
def test_what_is_not_served_is_refused_or_dropped_in_silence(idle: Laboratory, unserved: str, learns: str) -> None:
    """B9, B27: a port of a virtual address that no service has, and a service whose servers are all disabled; counted
    either way."""
    configure(idle, unserved=unserved)
    with running(idle):
        service = VirtualService(idle, 8888).add(weights=(1,))
        assert [told(idle, protocol, 9999) for protocol in ("tcp", "udp")] == [learns, learns]
        service.ctl("rs/disable", service.server(0))
        assert told(idle, "tcp", 8888) == learns
        counted = drops(idle)
        assert counted["no_service"] >= 2
        assert counted["no_server"] >= 1
        service.ctl("rs/del", service.server(0))
        idle.director.ctl("vs/del", *service.name)


def test_a_connection_that_is_not_known_is_reset_when_the_grace_is_over(idle: Laboratory) -> None:
    """B19: it was made through an earlier life of the service; its client is told nothing within the grace after the
    start, and then that the connection is gone."""
    server = idle.servers[0].start(sys.executable, PEER, "serve", str(idle.servers[0].address), "7000")
    assert server.stdout
    assert server.stdout.readline() == "ready\n"
    configure(idle, unknown="reset", grace=GRACE)
    with running(idle):
        service = VirtualService(idle, 8889, rport=7000).add(weights=(1,))
        client = idle.client.start(sys.executable, PEER, "hold", VIP, "8889", "push")
        assert client.stdout
        assert client.stdout.readline().startswith("ready")
    begin = time.monotonic()
    with running(idle):
        mode, how, at = client.stdout.readline().split()
        idle.director.ctl("vs/del", *service.name)
    server.kill()
    assert (mode, how) == ("push", "reset")
    assert float(at) - begin >= GRACE
