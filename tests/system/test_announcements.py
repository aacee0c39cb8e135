"""Gratuitous ARP: a link hears of an address that has come to the director."""

from tests.system.services import VirtualService
from tools.lab import Laboratory, wait_until

ELSEWHERE = "02:00:00:00:00:99"


def mac_of(lab: Laboratory, address: str) -> str:
    """What the client's kernel knows."""
    line = lab.client.run("ip", "neigh", "show", address, "dev", "eth0").stdout.split()
    return line[line.index("lladdr") + 1] if "lladdr" in line else ""


def test_an_address_that_was_another_machines_is_taken_over(lab: Laboratory) -> None:
    """B40: the client's entry changes as soon as the service is added, not when it would have expired."""
    address = "1.1.1.100"
    lab.client.run("ip", "neigh", "replace", address, "lladdr", ELSEWHERE, "dev", "eth0", "nud", "stale")
    assert mac_of(lab, address) == ELSEWHERE
    ours = lab.director.run("cat", "/sys/class/net/jupiter0/address").stdout.strip()
    service = VirtualService(lab, 80, vip=address).add()
    wait_until(lambda: mac_of(lab, address) == ours, "the client to hear of the new place")
    service.ctl("vs/del")
