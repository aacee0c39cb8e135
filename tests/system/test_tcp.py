"""TCP through the director: nginx, ab, downloads. Each sentence holds with huge pages and without."""

import os
from collections.abc import Iterator

import pytest

from tests.system.services import Download, VirtualService, ab, answers
from tools.lab import Laboratory

MEGABYTE = 1 << 20


@pytest.fixture
def service(each_memory: Laboratory, ports: Iterator[int]) -> Iterator[VirtualService]:
    """A virtual service of its own for each test, without servers yet."""
    virtual = VirtualService(each_memory, next(ports))
    yield virtual
    virtual.ctl("vs/del")


@pytest.mark.parametrize(
    "options", [("-n500",), ("-n2000", "-c50"), ("-n4000", "-c50", "-k")], ids=["serial", "concurrent", "keep-alive"]
)
def test_every_request_succeeds(service: VirtualService, options: tuple[str, ...]) -> None:
    """B1, B2: ab's requests reach nginx and every answer comes back whole."""
    service.add()
    assert ab(service, *options) == (int(options[0][2:]), 0)


def test_connections_are_spread_by_weight(service: VirtualService) -> None:
    """B24: weights 3 and 1 send three quarters of the connections to the first server, off by one at most."""
    service.add("wrr", weights=(3, 1))
    ab(service, "-n1000", "-c20")
    first, second = service.connections()
    assert first + second >= 1000  # ab may open a few more than it needs
    assert first - 3 * second == pytest.approx(0, abs=3)


def test_counters_agree_with_what_the_servers_accepted(service: VirtualService) -> None:
    """rs/stats counts the connections that each server's kernel has accepted, no more and no fewer."""
    service.add()
    before = [server.accepted() for server in service.lab.servers]
    ab(service, "-n600", "-c10")
    after = [server.accepted() for server in service.lab.servers]
    assert [new - old for old, new in zip(before, after, strict=True)] == service.connections()


def test_iponly_keeps_a_client_on_one_server(service: VirtualService) -> None:
    """B25: iponly hashes the client's address alone: one client, one server."""
    service.add("iponly")
    ab(service, "-n300", "-c10")
    fewest, most = sorted(service.connections())
    assert fewest == 0
    assert most >= 300


def test_ipport_spreads_one_client_over_the_servers(service: VirtualService) -> None:
    """B25: ipport hashes the port too: of one client's 2,000 connections each of two servers gets 40 % at least."""
    service.add("ipport")
    ab(service, "-n2000", "-c20")
    assert min(service.connections()) > 0.4 * sum(service.connections())


def test_a_large_download_arrives_as_it_was_sent(service: VirtualService) -> None:
    """B1: 100 MB, byte for byte."""
    service.add()
    assert Download(service, os.urandom(100 * MEGABYTE)).matches()


def test_a_removed_server_finishes_its_download(service: VirtualService) -> None:
    """B11, B26: rs/del and rs/add in mid-download lose nothing; new connections go elsewhere meanwhile."""
    service.add("rr")
    download = Download(service, os.urandom(24 * MEGABYTE), megabytes_a_second=8)
    download.wait_under_way()
    busy = service.connections().index(1)
    service.ctl("rs/del", service.server(busy))
    assert answers(service, 6) == {service.lab.servers[1 - busy].name}
    service.ctl("rs/add", service.server(busy))
    assert answers(service, 6) == {server.name for server in service.lab.servers}
    assert download.running, "the download ended before the servers were changed: nothing was shown"
    assert download.matches()


def test_weight_zero_drains(service: VirtualService) -> None:
    """B26: a server at weight 0 gets no new connection and finishes its old one."""
    service.add("wrr")
    download = Download(service, os.urandom(24 * MEGABYTE), megabytes_a_second=8)
    download.wait_under_way()
    busy = service.connections().index(1)
    service.ctl("rs/weight", service.server(busy), "0")
    assert answers(service, 6) == {service.lab.servers[1 - busy].name}
    assert download.running, "the download ended before the server was drained: nothing was shown"
    assert download.matches()
    assert service.connections()[busy] == 1
