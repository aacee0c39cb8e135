"""Two services side by side on one director: sockets, EAL prefixes, netdevs of their own; one pool of huge pages."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.system.running import Service, pages, running
from tests.system.services import VirtualService, answers
from tools.lab import ONE_ARM, Laboratory, Topology, wait_until
from tools.lab.topology import Cable, Device, Route

BLUE = "--instance=blue"
BLUE_VIP = "10.1.1.1"
BLUE_DEVICE = Device("jupiter1", "2.2.2.2", "eth2", "10.1.2.1/32, 10.1.2.2/32")

TWO_NETWORKS = Topology(
    cables=(
        *ONE_ARM.cables,
        Cable("client", "eth1", "blue", "2.2.2.1/24"),
        # net_af_packet calls its fanout group pid ^ index, which is to be no other instance's: pids are small here.
        Cable("director", "eth2", "blue", index=1 << 15),
        Cable("server1", "eth1", "blue", "2.2.2.3/24"),
        Cable("server2", "eth1", "blue", "2.2.2.4/24"),
    ),
    routes=(
        *ONE_ARM.routes,
        Route("client", "10.1.1.0/24", "2.2.2.2"),
        Route("server1", "10.1.2.0/24", "2.2.2.2"),
        Route("server2", "10.1.2.0/24", "2.2.2.2"),
    ),
    devices=ONE_ARM.devices,
    server_addresses=ONE_ARM.server_addresses,
)
"""The one-arm laboratory, and the same hosts on a second network that instance blue serves."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Laboratory]:
    """Both instances are configured, none is started."""
    with Laboratory(TWO_NETWORKS) as laboratory:
        laboratory.director.configure(replace(TWO_NETWORKS, devices=(BLUE_DEVICE,)), name="blue")
        yield laboratory


def serves(service: Service) -> bool:
    """Whether a client reaches both servers through this instance, by a service added for it."""
    if "blue" not in service.full:
        web = VirtualService(service.lab, 8888)
        reals = [f"{server.address}:80" for server in service.lab.servers]
    else:
        web = VirtualService(service.lab, 8888, vip=BLUE_VIP)
        reals = ["2.2.2.3:80", "2.2.2.4:80"]
    if service.ctl("vs/list").count(web.vip) == 0:
        service.ctl("vs/add", *web.name, "rr")
        for real in reals:
            service.ctl("rs/add", *web.name, real)
    return answers(web, 4) == {"server1", "server2"}


def on_huge_pages(service: Service) -> bool:
    return 'eal="huge pages"' in service.log() and 'of="huge pages"' in service.log()


def test_two_instances_serve_side_by_side(lab: Laboratory) -> None:
    """Started at once, both on huge pages, each with its own files; one ends and the other serves on; all pages go."""
    before = pages()
    services = [Service(lab), Service(lab, BLUE)]
    first, blue = (service.wait_serving() for service in services)
    assert on_huge_pages(first)
    assert on_huge_pages(blue)
    assert serves(first)
    assert serves(blue)
    prefixes = {path.name for path in lab.director.path("/run/dpdk").iterdir()}
    assert {"jupiter", "jupiter-blue"} <= prefixes
    assert set(lab.director.run("ip", "-brief", "link", "show", "type", "tun").stdout.split()) >= {
        "jupiter0",
        "jupiter1",
    }
    assert first.stop() == 0
    assert serves(blue)
    assert on_huge_pages(blue)
    assert blue.stop() == 0
    wait_until(lambda: pages() == before, "all huge pages to be given back")
    assert [path.name for path in lab.director.path("/run").glob("jupiter*hugepages")] == []


def test_an_instance_is_refused_a_second_time_and_by_its_own_name_only(lab: Laboratory) -> None:
    """blue a second time: it is running, with its pid. The one without a name starts beside it."""
    with running(lab, BLUE) as blue:
        refused = lab.director.run("jupiter-service", BLUE, "--daemon", check=False)
        assert refused.returncode == 1
        assert f"jupiter-service is running. Its pid is {blue.pid}, in /var/run/jupiter-blue.pid." in refused.stderr
        with running(lab) as first:
            assert serves(first)
        assert serves(blue)


def test_the_pages_of_a_killed_instance_are_its_next_lifes(lab: Laboratory) -> None:
    """SIGKILL: the other serves on; its next start adopts the pages, and its end gives back what both lives added."""
    with running(lab) as first:
        killed = Service(lab, BLUE).wait_serving()
        added = killed.added_pages()
        killed.kill("KILL")
        assert killed.wait() != 0
        assert serves(first)
        with running(lab, BLUE) as blue:
            assert added <= blue.added_pages() < 2 * added, "others on this machine may have taken some meanwhile"
            assert on_huge_pages(blue)
            assert serves(blue)
            assert serves(first)
        assert blue.added_pages() == 0
        assert serves(first)
        assert on_huge_pages(first)
    assert first.added_pages() == 0


def test_the_pages_of_a_killed_instance_go_when_it_wants_none_any_more(lab: Laboratory) -> None:
    """Its next start is on normal pages: it gives back at once what its former life added."""
    killed = Service(lab, BLUE).wait_serving()
    added = killed.added_pages()
    killed.kill("KILL")
    killed.wait()
    assert killed.added_pages() == added
    lab.director.configure(replace(TWO_NETWORKS, devices=(BLUE_DEVICE,)), {"hugepages": "none"}, name="blue")
    try:
        with running(lab, BLUE) as blue:
            assert blue.added_pages() == 0
            assert serves(blue)
    finally:
        lab.director.configure(replace(TWO_NETWORKS, devices=(BLUE_DEVICE,)), name="blue")
