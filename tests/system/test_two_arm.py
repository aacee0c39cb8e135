"""Clients on one port of the director, servers on another."""

import os
from collections.abc import Iterator

import pytest

from tests.system.services import Download, VirtualService, ab
from tools.lab import TWO_ARM, Laboratory


@pytest.fixture(scope="module")
def two_arm() -> Iterator[Laboratory]:
    with Laboratory(TWO_ARM) as lab:
        lab.director.run("jupiter-service", "--daemon")
        yield lab


def test_requests_cross_from_port_to_port(two_arm: Laboratory) -> None:
    """B1, two-arm: every request succeeds, spread by weight, in by one device and out by the other."""
    service = VirtualService(two_arm, 8888).add("wrr", weights=(2, 1))
    assert ab(service, "-n600", "-c10") == (600, 0)
    first, second = service.connections()
    assert first - 2 * second == pytest.approx(0, abs=2)
    inside = {device["dev"]: device["TX-packets"] for device in two_arm.director.ask("netdev/stats")}
    assert min(inside["jupiter0"], inside["jupiter1"]) > 600


def test_a_download_crosses_from_port_to_port(two_arm: Laboratory, ports: Iterator[int]) -> None:
    """B1, two-arm: 20 MB, byte for byte."""
    service = VirtualService(two_arm, next(ports)).add("rr")
    assert Download(service, os.urandom(20 << 20)).matches()


def test_both_kernel_interfaces_answer(two_arm: Laboratory) -> None:
    """B9: each device has its own kernel interface: the client reaches 1.1.1.2, the servers 2.2.2.2."""
    two_arm.client.run("ping", "-c1", "-W2", "1.1.1.2")
    two_arm.servers[0].run("ping", "-c1", "-W2", "2.2.2.2")
