"""Several workers: on devices with one queue each, and on one with two. The kernel's packet sockets steer nothing."""

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.system.services import VIP, Download, VirtualService, ab, drops
from tools.lab import ONE_ARM, TWO_ARM, Laboratory, Topology, dns_queries, eal_cores, wait_until


@dataclass(frozen=True)
class Shape:
    topology: Topology
    workers: int
    queues: int


SHAPES = {
    "two-arm-one-queue": Shape(TWO_ARM, 2, 1),
    "two-queues": Shape(ONE_ARM, 2, 2),
    "three-on-two-queues": Shape(ONE_ARM, 3, 2),
}
PEER = str(Path(__file__).with_name("tcp_crowd.py"))
ECHO, DEAF = 7003, 7004
PATIENCE = 60
"""Seconds."""
CROWD = 60
"""Connections."""


@pytest.fixture(scope="module", params=SHAPES.values(), ids=SHAPES)
def shape(request: pytest.FixtureRequest) -> Shape:
    assert isinstance(request.param, Shape)
    return request.param


@pytest.fixture(scope="module")
def several(shape: Shape) -> Iterator[Laboratory]:
    with Laboratory(shape.topology) as lab:
        argv = {"argv": eal_cores(shape.workers), "hugepages": "none"}
        lab.director.configure(shape.topology, argv, queues=shape.queues)
        lab.director.run("jupiter-service", "--daemon")
        for server in lab.servers:
            echo = server.start(sys.executable, PEER, "serve", str(server.address), str(ECHO))
            assert echo.stdout
            assert echo.stdout.readline() == "ready\n"
        yield lab


@pytest.fixture
def service(several: Laboratory, ports: Iterator[int]) -> Iterator[VirtualService]:
    """In front of nginx."""
    yield from watched(VirtualService(several, next(ports)).add("rr"))


def watched(virtual: VirtualService) -> Iterator[VirtualService]:
    """No test of it finds a worker that does not know its connection."""
    before = drops(virtual.lab)["no_connection"]
    yield virtual
    after = drops(virtual.lab)["no_connection"]
    virtual.ctl("vs/del", "reset")
    assert after == before


@pytest.fixture
def echo(several: Laboratory, ports: Iterator[int]) -> Iterator[VirtualService]:
    """As `service`, in front of tcp_crowd."""
    yield from watched(VirtualService(several, next(ports), rport=ECHO).add("rr"))


def workers(lab: Laboratory) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = lab.director.ask("worker/stats")
    return rows


def test_steering_is_told(several: Laboratory, shape: Shape) -> None:
    """netdev/hwinfo says how many queues there are, that packets are handed over, and why."""
    rows = several.director.ask("netdev/hwinfo")
    print(rows)
    assert {(row["rxq-num"], row["txq-num"], row["steering"]) for row in rows} == {(shape.queues, shape.queues, "ring")}
    assert all(row["steering-reason"] for row in rows)
    assert len(workers(several)) == shape.workers


@pytest.mark.parametrize("options", [("-n2000", "-c50"), ("-n4000", "-c50", "-k")], ids=["concurrent", "keep-alive"])
def test_every_request_succeeds(service: VirtualService, options: tuple[str, ...]) -> None:
    """B1, B2: every answer comes back whole, and no packet is lost between workers; servers get their shares to a
    connection for each worker."""
    before = handover_full(service.lab)
    assert ab(service, *options) == (int(options[0][2:]), 0)
    assert handover_full(service.lab) == before
    first, second = service.connections()
    assert abs(first - second) <= len(workers(service.lab))


def test_a_download_arrives_as_it_was_sent(service: VirtualService) -> None:
    """B1: 50 MB, byte for byte. Workers that share the processors with both ends may be handed more than they take: few
    packets of many."""
    before = handover_full(service.lab)
    assert Download(service, os.urandom(50 << 20)).matches()
    assert handover_full(service.lab) - before < 0.05 * (50 << 20) / 1448


def test_queries_are_answered(several: Laboratory) -> None:
    """B24: 300 queries by UDP are all answered, half by each server to one for each worker."""
    service = VirtualService(several, 53, "udp", rport=53).add("rr")
    several.client.path("/run/queries").write_text(dns_queries(300))
    answers = Counter(several.client.run("dig", f"@{VIP}", "+short", "+tries=1", "-f", "/run/queries").stdout.split())
    assert sum(answers.values()) == 300
    first, second = service.connections()
    assert sorted(answers.values()) == sorted([first, second])
    assert abs(first - second) <= len(workers(several))


def test_every_worker_carries_its_part(echo: VirtualService, shape: Shape) -> None:
    """B21: under load every worker carries packets and owns connections, of which all are found; what comes to another
    one is handed over, and what a worker without a queue has to send, too."""
    with crowd(echo) as told:
        time.sleep(2.2)  # worker/stats tells of a whole second
        rows = workers(echo.lab)
        found = found_connections(echo)
    print(rows)
    assert len(found) == CROWD
    assert {row["state"] for row in found} == {"ESTABLISHED"}
    assert all(row["packets"] > 100 and row["conns"] > CROWD / shape.workers / 3 for row in rows), rows
    for row in rows[shape.queues :]:  # those without a queue
        assert row["handed_in"] >= row["packets"] * 0.9
        assert row["handed_out"] >= row["packets"] * 0.9
    assert all(row["handed_in"] + row["handed_out"] > 100 for row in rows), rows
    assert sum(ends["open"] for ends in told.values()) == CROWD
    assert not any(ends["reset"] or ends["wrong"] for ends in told.values())


def test_a_removed_server_resets_the_connections_of_every_worker(echo: VirtualService) -> None:
    """B26: rs/del ... reset under traffic: all of that server's connections, whichever worker owns them, end with a
    RST; those of the other go on."""
    first, second = (str(server.address) for server in echo.lab.servers)
    with crowd(echo) as told:
        echo.ctl("rs/del", echo.server(0), "reset")
        wait_until(lambda: {row["rip"] for row in established(echo)} == {second}, "the first server's to be reset")
        time.sleep(0.3)  # what is tested is that the others go on
    assert told[first]["reset"] + told[second]["open"] == CROWD
    assert told[first]["open"] == told[second]["reset"] == told[second]["wrong"] == 0
    assert told[second]["answers"] > 10 * told[second]["open"]


def test_services_come_and_go_beside_traffic(echo: VirtualService, ports: Iterator[int]) -> None:
    """B28: other services are added, change and go while this one's connections ask and are answered: none is reset."""
    with crowd(echo) as told:
        for _ in range(5):
            other = VirtualService(echo.lab, next(ports)).add("wrr")
            other.ctl("rs/weight", other.server(0), "7")
            other.ctl("rs/del", other.server(1), "reset")
            other.ctl("vs/del", "reset")
    assert sum(ends["open"] for ends in told.values()) == CROWD
    assert not any(ends["reset"] or ends["wrong"] for ends in told.values())


def test_an_elephant_stops_nobody(several: Laboratory, ports: Iterator[int]) -> None:
    """One UDP flow as fast as its client can beside requests of others: they all succeed, more slowly: those of the
    same worker share its losses, as they would a card's queue. What is lost is counted, as handover_full or tx_full;
    what is sent again for so long that its connection has ended finds none."""
    lab = several
    service = VirtualService(lab, next(ports)).add("rr")
    began = time.monotonic()
    assert ab(service, "-n1000", "-c10") == (1000, 0)
    alone = time.monotonic() - began
    for server in lab.servers:
        process = server.start(sys.executable, "-c", SINK, str(server.address), str(DEAF))
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    sink = VirtualService(lab, next(ports), "udp", rport=DEAF).add("rr")
    before = drops(lab)
    stop = lab.client.path("/run/blast.stop")
    stop.unlink(missing_ok=True)
    blast = lab.client.start(sys.executable, "-c", BLAST, VIP, str(sink.port), "/run/blast.stop")
    try:
        wait_until(lambda: int(lab.director.ask("vs/stats", *sink.name)["[c2v]packets"]) > 1000, "the blast")
        began = time.monotonic()
        assert ab(service, "-n1000", "-c10") == (1000, 0)
        beside = time.monotonic() - began
    finally:
        stop.touch()
        blast.communicate(timeout=10)
    lost = {reason: n - before.get(reason, 0) for reason, n in drops(lab).items() if n != before.get(reason, 0)}
    stats = lab.director.ask("vs/stats", *sink.name)
    print(f"alone {alone:.2f} s, beside {beside:.2f} s; {lost}; {stats}")
    sink.ctl("vs/del")
    assert set(lost) <= {"handover_full", "tx_full", "no_connection"}
    assert stats["[c2v]packets"] == stats["[v2r]packets"]
    assert beside < PATIENCE


SINK = """
import socket, sys, time
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind((sys.argv[1], int(sys.argv[2])))
print("ready", flush=True)
time.sleep(1000)
"""
BLAST = """
import os, socket, sys
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.connect((sys.argv[1], int(sys.argv[2])))
while not os.path.exists(sys.argv[3]):
    for _ in range(1000):
        sock.send(bytes(64))
"""


@contextmanager
def crowd(service: VirtualService) -> Iterator[dict[str, Counter[str]]]:
    """So many connections that ask and are answered; what became of them, by server, is known after the block."""
    client = service.lab.client
    stop = client.path("/run/crowd.stop")
    stop.unlink(missing_ok=True)
    argv = (sys.executable, PEER, "ask", VIP, str(service.port), str(CROWD), "/run/crowd.stop")
    process = client.start(*argv)
    told: dict[str, Counter[str]] = {str(server.address): Counter() for server in service.lab.servers}
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    try:
        yield told
    finally:
        stop.touch()
        output, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    told.update({server: Counter(ends) for server, ends in json.loads(output).items()})
    print({server: dict(ends) for server, ends in told.items()})


def found_connections(service: VirtualService) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = service.lab.director.ask("conn/find", "tcp", f"vip={VIP}:{service.port}")
    return rows


def established(service: VirtualService) -> list[dict[str, Any]]:
    return [row for row in found_connections(service) if row["state"] == "ESTABLISHED"]


def handover_full(lab: Laboratory) -> int:
    return drops(lab)["handover_full"]
