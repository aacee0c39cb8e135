"""What is not a virtual service's: the kernel behind jupiter0, ARP, and echo to the addresses of services."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.system.services import VirtualService, ab, drops
from tools.lab import Host, Laboratory, wait_until

FRAMES = str(Path(__file__).with_name("frames.py"))


def ping(host: Host, address: str, count: int = 3) -> tuple[int, int]:
    """(answers, of those duplicates)."""
    report = host.run("ping", "-c", str(count), "-i", "0.1", "-W", "1", "-s", "100", address, check=False).stdout
    found = re.search(r"(\d+) received(?:, \+(\d+) duplicates)?", report)
    assert found, report
    return int(found[1]), int(found[2] or 0)


def arp(lab: Laboratory, address: str) -> list[str]:
    """MACs that answered one ARP request of the client."""
    return lab.client.run(sys.executable, FRAMES, "arp", "eth0", address).stdout.split()


def kernel_mac(lab: Laboratory) -> str:
    return lab.director.run("cat", "/sys/class/net/jupiter0/address").stdout.strip()


def test_ping_to_the_director_is_the_kernels_and_comes_once(lab: Laboratory) -> None:
    """B9: echo to 1.1.1.2 crosses jupiter0 in both directions and is answered exactly once."""
    before = _received(lab)
    assert ping(lab.client, "1.1.1.2", count=5) == (5, 0)
    assert _received(lab) - before >= 5


def test_ping_to_the_director_stops_with_the_kernel_interface(lab: Laboratory) -> None:
    """B9: with jupiter0 down nobody answers ping or ARP for 1.1.1.2; up again, it and the services are back."""
    service = VirtualService(lab, 80).add()
    lab.director.run("ip", "link", "set", "jupiter0", "down")
    assert ping(lab.client, "1.1.1.2") == (0, 0)
    assert arp(lab, "1.1.1.2") == []
    lab.director.run("ip", "link", "set", "jupiter0", "up")
    wait_until(lambda: ping(lab.client, "1.1.1.2", count=1) == (1, 0), "the director to answer ping again")
    assert ab(service, "-n100") == (100, 0)
    service.ctl("vs/del")


def test_the_director_reaches_the_servers_itself(lab: Laboratory) -> None:
    """B9: what the kernel sends by jupiter0 leaves unchanged: the director's own connections, as of a health check."""
    assert lab.director.run("curl", "-s", "--max-time", "5", "http://1.1.1.3/").stdout == "server1\n"
    assert ping(lab.director, "1.1.1.4") == (3, 0)


def test_arp_for_the_director_is_answered_by_exactly_one(lab: Laboratory) -> None:
    """B9: one ARP request, one answer, and it is jupiter0's."""
    assert arp(lab, "1.1.1.2") == [kernel_mac(lab)]


def test_arp_for_addresses_of_services_is_answered(lab: Laboratory, ports: Iterator[int]) -> None:
    """B40: who takes a VIP or a local address to be on the link gets one answer; a stranger's address gets none."""
    service = VirtualService(lab, next(ports)).add()
    assert [len(arp(lab, address)) for address in ("10.0.1.1", "10.0.2.1", "10.0.1.77")] == [1, 1, 0]
    service.ctl("vs/del")


def test_echo_to_a_vip_and_a_local_address_is_answered(lab: Laboratory, ports: Iterator[int]) -> None:
    """B30: a VIP answers ping while it has a service and not after vs/del; a local address answers always."""
    assert ping(lab.client, "10.0.1.1") == (0, 0)
    service = VirtualService(lab, next(ports)).add()
    assert ping(lab.client, "10.0.1.1") == (3, 0)
    service.ctl("vs/del")
    assert ping(lab.client, "10.0.1.1") == (0, 0)
    assert ping(lab.client, "10.0.2.4") == (3, 0)


def test_garbage_on_the_wire_harms_nobody(lab: Laboratory) -> None:
    """B8: after thousands of broken frames the service forwards as before, and the drops are counted under reasons."""
    service = VirtualService(lab, 8888).add()
    for seed in ("1", "2"):
        lab.client.run(sys.executable, FRAMES, "garbage", "eth0", kernel_mac(lab), seed)
    assert ab(service, "-n500", "-c10") == (500, 0)
    assert sum(drops(lab).values()) > 100
    service.ctl("vs/del")


def _received(lab: Laboratory) -> int:
    """Packets that the kernel has received by jupiter0."""
    return int(lab.director.run("cat", "/sys/class/net/jupiter0/statistics/rx_packets").stdout)
