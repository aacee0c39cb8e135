"""What real stacks are told when a packet comes to nothing: at once, by whom, about what."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system.probing import PORT, serve_udp
from tests.system.services import VIP, VirtualService
from tools.lab import ROUTED, Host, Laboratory

PEER = (sys.executable, str(Path(__file__).with_name("icmp_peer.py")))
CLOSED = 7001
"""Nobody listens there, on any server."""
AT_ONCE = 0.9
"""Seconds; a SYN is sent again after one."""
CLIENT, DIRECTOR, SERVER2 = "1.1.1.1", "1.1.1.2", 1
UNREACHABLE, PORT_UNREACHABLE = 3, 3
TIME_EXCEEDED, IN_TRANSIT = 11, 0


@pytest.fixture(scope="module")
def lab() -> Iterator[Laboratory]:
    """server2 is behind a router."""
    with Laboratory(ROUTED) as laboratory:
        laboratory.director.run("jupiter-service", "--daemon")
        serve_udp(laboratory)
        yield laboratory


def asked(host: Host, *arguments: object) -> Any:
    return json.loads(host.run(*PEER, *map(str, arguments)).stdout)


def behind_the_router(lab: Laboratory, port: int, protocol: str, rport: int) -> VirtualService:
    """A service whose only server is server2."""
    service = VirtualService(lab, port, protocol, rport).add("rr", weights=())
    service.ctl("rs/add", service.server(SERVER2))
    return service


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_an_unserved_port_refuses(lab: Laboratory, ports: Iterator[int], protocol: str) -> None:
    """B9: a client that asks a port of the VIP on which there is no service is refused at once."""
    other = VirtualService(lab, next(ports), protocol).add()
    told = asked(lab.client, "refused", other.vip, next(ports), protocol)
    assert told["error"] == "ECONNREFUSED"
    assert told["seconds"] < AT_ONCE


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_service_without_servers_refuses(lab: Laboratory, ports: Iterator[int], protocol: str) -> None:
    """B27: a service all of whose servers are disabled or at weight 0 refuses as if it were not there, at once."""
    service = VirtualService(lab, next(ports), protocol, 80 if protocol == "tcp" else PORT).add("rr", weights=(0, 1))
    service.ctl("rs/disable", service.server(1))
    told = asked(lab.client, "refused", service.vip, service.port, protocol)
    assert told["error"] == "ECONNREFUSED"
    assert told["seconds"] < AT_ONCE
    service.ctl("rs/enable", service.server(1))
    assert asked(lab.client, "hops", service.vip, service.port, protocol, 64) == ["answered"]


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_server_that_does_not_listen_refuses(lab: Laboratory, ports: Iterator[int], protocol: str) -> None:
    """B15, B31: what a server's own kernel says of a closed port, a RST or a port unreachable, reaches the client."""
    service = VirtualService(lab, next(ports), protocol, CLOSED).add()
    told = asked(lab.client, "refused", service.vip, service.port, protocol)
    assert told["error"] == "ECONNREFUSED"
    assert told["seconds"] < AT_ONCE


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_traceroute(lab: Laboratory, ports: Iterator[int], protocol: str) -> None:
    """B4, B31: of packets with a TTL of 1, 2 and 3 the first ends at the director, which says so by its own address,
    the second at the router behind it, whose word comes from the VIP, and the third is answered; each error quotes the
    packet as the client sent it."""
    service = behind_the_router(lab, next(ports), protocol, 80 if protocol == "tcp" else PORT)
    assert asked(lab.client, "hops", VIP, service.port, protocol, 1, 2, 3) == [
        [DIRECTOR, CLIENT, TIME_EXCEEDED, IN_TRANSIT, True],
        [VIP, CLIENT, TIME_EXCEEDED, IN_TRANSIT, True],
        "answered",
    ]


def test_traceroute_to_a_closed_port(lab: Laboratory, ports: Iterator[int]) -> None:
    """B31: the end of a traceroute by UDP: the server's port unreachable comes from the VIP."""
    service = behind_the_router(lab, next(ports), "udp", CLOSED)
    assert asked(lab.client, "hops", VIP, service.port, "udp", 3) == [
        [VIP, CLIENT, UNREACHABLE, PORT_UNREACHABLE, True]
    ]


def test_a_client_that_has_gone(lab: Laboratory, ports: Iterator[int]) -> None:
    """B32: the answer to a client whose socket is closed makes its kernel say so, and the server's socket hears it."""
    late = lab.servers[SERVER2].start(*PEER, "late", str(lab.servers[SERVER2].address), str(CLOSED + 1))
    assert late.stdout
    assert late.stdout.readline() == "ready\n"
    service = behind_the_router(lab, next(ports), "udp", CLOSED + 1)
    lab.client.run(*PEER, "goodbye", VIP, str(service.port))
    assert late.communicate(timeout=20)[0] == "ECONNREFUSED\n"
