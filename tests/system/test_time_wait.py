"""Local ports that go round faster than the servers' TIME_WAIT: B43, with Linux at both ends.

nginx closes first, so that TIME_WAIT (60 s) is the server's. All connections take one local address to one server:
after 64,512 of them each new one gets a port on which the server still waits.
"""

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import cycle

import pytest

from tests.system.services import Download, VirtualService, ab, drops
from tools.lab import ONE_ARM, Host, Laboratory

PORTS = 64512
"""Of one local address."""
TIME_WAIT = 60
"""Seconds, of Linux."""
CLIENTS = [f"1.1.1.{n}" for n in range(11, 15)]
"""Each has sequence numbers and timestamps of its own."""
ROUND = 10000
"""No divisor of PORTS: the connection before may be of any other kind."""
ROUNDS = 8
"""15,488 connections more than ports."""
STALLED = 3
"""SYNs of 80,000 that may be sent twice: a machine that stands still for a second. Without the offset it is half of
those that meet a port in TIME_WAIT."""
MEGABYTE = 1 << 20

ON, OFF = (1, 1), (0, 0)
TIMESTAMPS = {"on": [ON], "off": [OFF], "mixed": [ON, (0, 1), (1, 0), OFF]}
"""net.ipv4.tcp_timestamps of clients and server, for one round after the other."""


@pytest.fixture
def service() -> Iterator[VirtualService]:
    """A virtual service with one server, behind a director with one local address."""
    device = replace(ONE_ARM.devices[0], local_ipv4="10.0.2.1/32")
    with Laboratory(replace(ONE_ARM, devices=(device,))) as lab:
        lab.director.configure(lab.topology)
        lab.director.run("jupiter-service", "--daemon")
        for client in CLIENTS:
            lab.client.run("ip", "address", "add", f"{client}/24", "dev", "eth0")
        lab.servers[0].run("sysctl", "-qw", "net.ipv4.tcp_max_tw_buckets=262144")
        yield VirtualService(lab, 80).add("rr", weights=(1,))


def set_timestamps(host: Host, on: int) -> None:
    host.run("sysctl", "-qw", f"net.ipv4.tcp_timestamps={on}")


def counters(host: Host) -> dict[str, int]:
    """TcpExt of a host's kernel."""
    names, values = (line.split() for line in host.run("grep", "^TcpExt:", "/proc/net/netstat").stdout.splitlines())
    return dict(zip(names[1:], map(int, values[1:]), strict=True))


def in_time_wait(host: Host) -> int:
    words = host.run("grep", "^TCP:", "/proc/net/sockstat").stdout.split()
    return int(words[words.index("tw") + 1])


def one_round(service: VirtualService) -> int:
    """ROUND connections, a request each, of all clients at once; how many requests failed."""
    options = [f"-n{ROUND // len(CLIENTS)}", "-c16"]
    with ThreadPoolExecutor(len(CLIENTS)) as pool:
        done = list(pool.map(lambda client: ab(service, *options, "-B", client), CLIENTS))
    return ROUND - sum(good for good, _ in done)


@pytest.mark.parametrize("timestamps", TIMESTAMPS.values(), ids=TIMESTAMPS)
def test_ports_in_time_wait(service: VirtualService, timestamps: list[tuple[int, int]]) -> None:
    """B38, B43: more connections than there are local ports, so that ports are used again within TIME_WAIT: the server
    refuses no SYN, none has to be sent twice, no request fails, nothing is dropped; a download through such a port is
    whole."""
    client, server = service.lab.client, service.lab.servers[0]
    before = counters(client)["TCPSynRetrans"]
    began = time.monotonic()
    for (of_client, of_server), _ in zip(cycle(timestamps), range(ROUNDS), strict=False):
        set_timestamps(client, of_client)
        set_timestamps(server, of_server)
        assert one_round(service) == 0
    rate = ROUNDS * ROUND / (time.monotonic() - began)
    print(f"{rate:.0f} connections a second, {in_time_wait(server)} in TIME_WAIT")
    assert rate > PORTS / TIME_WAIT, "too slow: nothing was shown"
    assert in_time_wait(server) > 0.9 * PORTS
    assert counters(server)["PAWSTimewait"] == 0
    assert counters(client)["TCPSynRetrans"] - before <= STALLED
    assert not any(drops(service.lab).values())
    assert Download(service, os.urandom(8 * MEGABYTE)).matches()
