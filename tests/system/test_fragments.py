"""Datagrams that are larger than a packet, by real stacks and by hand, in both directions. One local address.

The director's port is net_pcap's: net_af_packet never shows a fragment, it has the kernel put them together.
"""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.system import datagrams
from tests.system.services import VIP, VirtualService, drops
from tools.lab import ONE_ARM, Laboratory

CLIENT, CLIENTS = "1.1.1.100", 8
ONE_ADDRESS = replace(ONE_ARM, devices=(replace(ONE_ARM.devices[0], local_ipv4="10.0.2.1/32", defragments=False),))


@pytest.fixture(scope="module")
def lab() -> Iterator[Laboratory]:
    with Laboratory(ONE_ADDRESS) as laboratory:
        for number in range(CLIENTS):
            laboratory.client.run("ip", "address", "add", f"1.1.1.{100 + number}/24", "dev", "eth0")
        datagrams.serve(laboratory)
        laboratory.director.run("jupiter-service", "--daemon")
        yield laboratory


@pytest.fixture
def service(lab: Laboratory, ports: Iterator[int]) -> VirtualService:
    return VirtualService(lab, next(ports), "udp", rport=datagrams.PORT).add("rr")


def ask(service: VirtualService, there: str, back: str, size: int) -> str:
    return datagrams.ask(service, CLIENT, there, back, size)


@pytest.mark.parametrize("size", [4000, 60000])
def test_large_datagrams_of_real_stacks(service: VirtualService, size: int) -> None:
    """B35: a request and its answer, each in as many fragments as the kernels make, come back whole."""
    assert [ask(service, "kernel", "kernel", size) for _ in range(4)] == ["whole"] * 4
    assert service.connections() == [2, 2]


@pytest.mark.parametrize(("there", "back"), [("ordered", "ordered"), ("reversed", "kernel"), ("kernel", "reversed")])
@pytest.mark.parametrize("size", [4000, 20000])
def test_fragments_in_any_order(service: VirtualService, there: str, back: str, size: int) -> None:
    """B35: the first fragment last, of a request or of an answer: whole all the same."""
    assert ask(service, there, back, size) == "whole"


@pytest.mark.parametrize(("there", "back"), [("overlapping", "kernel"), ("kernel", "overlapping")])
def test_overlapping_fragments(service: VirtualService, there: str, back: str) -> None:
    """B35: a fragment that covers a part of another is dropped under fragment_overlap, and its datagram with it, in
    both directions; the next one is whole."""
    before = drops(service.lab)["fragment_overlap"]
    assert ask(service, there, back, 4000) == "none"
    assert drops(service.lab)["fragment_overlap"] > before
    assert ask(service, "kernel", "kernel", 4000) == "whole"


@pytest.mark.parametrize(("there", "back"), [("missing", "kernel"), ("kernel", "missing")])
def test_a_missing_fragment(service: VirtualService, there: str, back: str) -> None:
    """B35: of a datagram whose middle is missing nothing is made up; the next one is whole."""
    assert ask(service, there, back, 4000) == "none"
    assert ask(service, "kernel", "kernel", 4000) == "whole"


def test_a_large_ping(service: VirtualService) -> None:
    """B30, B35: an echo request of 4,000 bytes to the VIP, in fragments, is answered with the same."""
    said = service.lab.client.run("ping", "-c3", "-i0.2", "-W2", "-s4000", VIP, check=False).stdout
    assert "3 received" in said


def test_many_clients_with_the_same_id(lab: Laboratory, ports: Iterator[int]) -> None:
    """B5, B35: eight clients whose fragments of the same IP id come by turns, all to one server from one local address,
    are not mixed up: each has its own datagram back."""
    service = VirtualService(lab, next(ports), "udp", rport=datagrams.PORT).add("rr", weights=(1,))
    assert datagrams.ask_together(service, CLIENT, CLIENTS, 4000) == CLIENTS
