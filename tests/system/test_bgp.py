"""BGP through the kernel interface: BIRD on the director, with etc/bird.conf as it stands, and on those around it.

In UNROUTED nobody knows a way: the client none to the VIP, the router none to local addresses, the director none to
server2, which is behind the router.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.system.bird import Bird, neighbour
from tests.system.probing import PORT, flow, probing, serve_udp, without_next_hop
from tests.system.services import VirtualService, ab, answers
from tools.lab import ROOT, UNROUTED, Host, Laboratory, wait_until

PORTS = itertools.count(7300)
DIRECTORS = (ROOT / "etc/bird.conf").read_text()


@dataclass
class Network:
    """The laboratory and its speakers, all of them running, all sessions established."""

    lab: Laboratory
    director: Bird
    router: Bird

    def has_converged(self) -> bool:
        hosts = (self.lab.client, self.lab.director, self.lab.routers["router"])
        return all(learned(host) for host in hosts)


def learned(host: Host) -> str:
    """Routes that BIRD has put into the host's kernel."""
    return host.run("ip", "route", "show", "proto", "bird").stdout


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    with Laboratory(UNROUTED) as lab:
        lab.director.configure(UNROUTED, {"hugepages": "none"})  # restarted here; nothing to wait for
        lab.director.run("jupiter-service", "--daemon")
        serve_udp(lab)
        Bird(lab.client, neighbour("1.1.1.1", 65002))
        router = Bird(lab.routers["router"], neighbour("1.1.1.254", 65003, "3.3.3.0/24"))
        network = Network(lab, Bird(lab.director, DIRECTORS), router)
        wait_until(network.has_converged, "routes to be learned", 20)
        yield network


def reaches(service: VirtualService) -> bool:
    return service.lab.client.run("curl", "-sf", "--max-time", "0.5", service.url, check=False).returncode == 0


def test_clients_learn_virtual_addresses(network: Network) -> None:
    """The client has a way to the VIP while BIRD on the director announces it, and reaches the service by it."""
    lab, service = network.lab, VirtualService(network.lab, next(PORTS)).add("rr", weights=(1,))
    assert "10.0.1.1 via 1.1.1.2" in learned(lab.client)
    assert ab(service, "-n200", "-c5") == (200, 0)
    network.director.stop()
    wait_until(lambda: not learned(lab.client), "the client to forget the VIP", 2)
    assert not reaches(service)
    network.director.start()
    wait_until(network.has_converged, "routes to be learned again", 20)
    assert ab(service, "-n200", "-c5") == (200, 0)


def test_routes_to_servers_are_learned(network: Network) -> None:
    """The director reaches server2 by a learned route; when it is withdrawn it does not, and does when it is back."""
    lab, service = network.lab, VirtualService(network.lab, next(PORTS)).add("rr", weights=())
    service.ctl("rs/add", service.server(1))
    assert "3.3.3.0/24 via 1.1.1.254 dev jupiter0" in learned(lab.director)
    assert answers(service, 4) == {"server2"}
    network.router.say("disable", "own")
    wait_until(lambda: not learned(lab.director), "the route to be withdrawn", 5)
    before = without_next_hop(lab)
    wait_until(lambda: not reaches(service), "server2 to be out of reach")
    wait_until(lambda: without_next_hop(lab) > before, "what waited in vain to be counted")
    network.router.say("enable", "own")
    wait_until(lambda: learned(lab.director), "the route to be learned again", 5)
    wait_until(lambda: reaches(service), "server2 to serve again")
    assert answers(service, 4) == {"server2"}


def test_learned_routes_survive_the_interface(network: Network) -> None:
    """jupiter0 down and up: no packet lacks its next hop, though Linux forgets the learned one for a while."""
    lab, service = network.lab, VirtualService(network.lab, next(PORTS), "udp", rport=PORT).add("rr")
    before = without_next_hop(lab)
    with probing(service):
        lab.director.run("ip", "link", "set", "jupiter0", "down")
        wait_until(lambda: not learned(lab.director), "BIRD on the director to notice")
        flow(service)
        lab.director.run("ip", "link", "set", "jupiter0", "up")
        flow(service)
        wait_until(network.has_converged, "routes to be learned again", 20)
        flow(service)
    assert without_next_hop(lab) == before


def test_a_killed_speaker(network: Network) -> None:
    """kill -9 of BIRD on the director: clients turn away at once, and the next BIRD takes up what it left."""
    network.director.kill()
    wait_until(lambda: not learned(network.lab.client), "the client to forget the VIP", 2)
    network.director.start()
    wait_until(network.has_converged, "routes to be learned again", 20)
    service = VirtualService(network.lab, next(PORTS)).add("rr")
    assert answers(service, 4) == {"server1", "server2"}


def test_jupiter_restarts(network: Network) -> None:
    """jupiter-service ends and begins while BIRD runs on: sessions over the new jupiter0 come by themselves."""
    director = network.lab.director
    director.ctl("stop")
    wait_until(lambda: not director.path("/run/jupiter.sock").exists(), "jupiter-service to end")
    wait_until(lambda: not learned(director), "its routes to go with jupiter0")
    director.run("jupiter-service", "--daemon")
    service = VirtualService(network.lab, next(PORTS)).add("rr")
    wait_until(network.has_converged, "routes to be learned again", 20)
    wait_until(lambda: reaches(service), "the service to be reached")
    assert answers(service, 4) == {"server1", "server2"}
