"""UDP through the director: DNS servers, and a server that answers many times."""

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.services import VIP, VirtualService
from tools.lab import Laboratory, dns_queries

PEER = str(Path(__file__).with_name("udp_peer.py"))


@pytest.fixture(scope="module")
def burst_servers(lab: Laboratory) -> int:
    """udp_peer on both servers; returns its port."""
    for server in lab.servers:
        process = server.start(sys.executable, PEER, "serve", str(server.address), "7000")
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    return 7000


def test_dns_queries_are_answered_and_spread(lab: Laboratory) -> None:
    """B24: 300 queries, each from a port of its own, are all answered, half by each server; the counters agree."""
    service = VirtualService(lab, 53, "udp", rport=53).add("rr")
    lab.client.path("/run/queries").write_text(dns_queries(300))
    answers = Counter(lab.client.run("dig", f"@{VIP}", "+short", "+tries=1", "-f", "/run/queries").stdout.split())
    assert answers == {"1.1.1.3": 150, "1.1.1.4": 150}
    assert service.connections() == [150, 150]


def test_many_answers_to_one_request(lab: Laboratory, burst_servers: int, ports: Iterator[int]) -> None:
    """B18: 20 requests with 50 answers each ride one connection to one server; no answer is lost."""
    service = VirtualService(lab, next(ports), "udp", rport=burst_servers).add("rr")
    answers = lab.client.run(sys.executable, PEER, "ask", VIP, str(service.port), "20", "50").stdout.splitlines()
    assert len(set(answers)) == len(answers) == 20 * 50
    assert len({answer.split(" from ")[1] for answer in answers}) == 1
    assert sorted(service.connections()) == [0, 1]


def test_a_new_socket_is_a_new_connection(lab: Laboratory, burst_servers: int, ports: Iterator[int]) -> None:
    """B18, B24: two sockets of one client are two connections, on rr to two servers."""
    service = VirtualService(lab, next(ports), "udp", rport=burst_servers).add("rr")
    servers = {
        lab.client.run(sys.executable, PEER, "ask", VIP, str(service.port), "1", "1").stdout.split(" from ")[1].strip()
        for _ in range(2)
    }
    assert servers == {str(server.address) for server in lab.servers}
