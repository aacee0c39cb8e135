"""Path MTU discovery through the director: large transfers with DF set, by real stacks, where a link on the way is
smaller than those at both ends, or the director's own devices differ."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.system import datagrams
from tests.system.services import VirtualService
from tests.system.transfers import PORT, Transfers
from tools.lab import ONE_ARM, TWO_ARM, Laboratory, Topology
from tools.lab.topology import Cable, Route

CLIENTS_SIDE, SERVERS_SIDE = 1300, 1200
LINKS = {"near": CLIENTS_SIDE, "far": CLIENTS_SIDE, "close": SERVERS_SIDE, "remote": SERVERS_SIDE}
BETWEEN = 1400
CLIENTS_ROUTE, SERVERS_ROUTE = ("10.0.1.0/24", "via", "1.1.1.2"), ("10.0.2.0/24", "via", "2.2.2.2")
CONNECTIONS, BYTES = 2, 4 << 20

# server1 is on the director's network; the client and server2 are each behind two routers, between which the link is
# smaller than at both ends: so no segment size of a handshake tells of it, and only the router before that link knows.
#   client - far - (narrow) - near - director's network - close - (thin) - remote - server2
NARROW = Topology(
    cables=(
        Cable("director", "eth1", "lan"),
        Cable("server1", "eth0", "lan", "1.1.1.3/24"),
        Cable("near", "eth0", "lan", "1.1.1.253/24"),
        Cable("near", "eth1", "narrow", "6.6.6.2/24"),
        Cable("far", "eth1", "narrow", "6.6.6.1/24"),
        Cable("far", "eth0", "clients", "5.5.5.1/24"),
        Cable("client", "eth0", "clients", "5.5.5.2/24"),
        Cable("close", "eth0", "lan", "1.1.1.254/24"),
        Cable("close", "eth1", "thin", "7.7.7.1/24"),
        Cable("remote", "eth1", "thin", "7.7.7.2/24"),
        Cable("remote", "eth0", "rack", "3.3.3.1/24"),
        Cable("server2", "eth0", "rack", "3.3.3.4/24"),
    ),
    routes=(
        Route("client", "default", "5.5.5.1"),
        Route("far", "10.0.1.0/24", "6.6.6.2"),
        Route("near", "10.0.1.0/24", "dev eth0"),
        Route("near", "5.5.5.0/24", "6.6.6.1"),
        Route("server1", "10.0.2.0/24", "dev eth0"),
        Route("close", "10.0.2.0/24", "dev eth0"),
        Route("close", "3.3.3.0/24", "7.7.7.2"),
        Route("remote", "10.0.2.0/24", "7.7.7.1"),
        Route("server2", "default", "3.3.3.1"),
    ),
    devices=(replace(ONE_ARM.devices[0], gateway="1.1.1.254"),),
    server_addresses=("1.1.1.3", "3.3.3.4"),
    routers=("near", "far", "close", "remote"),
)


@pytest.fixture(scope="module")
def narrow() -> Iterator[tuple[Laboratory, Transfers]]:
    with Laboratory(NARROW) as lab:
        for router, mtu in LINKS.items():
            lab.routers[router].run("ip", "link", "set", "eth1", "mtu", str(mtu))
        lab.director.run("jupiter-service", "--daemon")
        yield lab, Transfers(lab)


def behind(lab: Laboratory, port: int, number: int) -> VirtualService:
    """A service with this server alone. Nobody knows any path yet: what a host has learned of one limits the segments
    that it asks for."""
    for host in (lab.client, *lab.servers):
        host.run("ip", "route", "flush", "cache")
    service = VirtualService(lab, port, rport=PORT).add("rr", weights=())
    service.ctl("rs/add", service.server(number))
    return service


def test_a_smaller_link_on_the_servers_side(narrow: tuple[Laboratory, Transfers], ports: Iterator[int]) -> None:
    """B31: uploads to a server behind a smaller link are whole; the client has learned that link's MTU from a router
    that knows of a local address only."""
    lab, transfers = narrow
    ends = transfers.run(behind(lab, next(ports), 1), CONNECTIONS, up=BYTES, servers=[1])
    assert ends.whole()
    assert {report["mtu"] for report in ends.clients} == {SERVERS_SIDE}


def test_a_smaller_link_on_the_clients_side(narrow: tuple[Laboratory, Transfers], ports: Iterator[int]) -> None:
    """B32: downloads to a client behind a smaller link are whole; the server has learned that link's MTU from a router
    that knows of the VIP only."""
    lab, transfers = narrow
    ends = transfers.run(behind(lab, next(ports), 0), CONNECTIONS, down=BYTES, servers=[0])
    assert ends.whole()
    assert {report["mtu"] for report in ends.servers} == {CLIENTS_SIDE}


def smaller(number: int) -> Topology:
    """The two-arm shape with a smaller device of that number."""
    device = replace(TWO_ARM.devices[number], mtu=BETWEEN)
    return replace(TWO_ARM, devices=tuple(device if n == number else d for n, d in enumerate(TWO_ARM.devices)))


@pytest.fixture(scope="module", params=[0, 1], ids=["clients' device", "servers' device"])
def two_arm(request: pytest.FixtureRequest) -> Iterator[tuple[Laboratory, int]]:
    """A network of less than 1500 behind one device. Its hosts claim more in their handshakes: else nobody would ever
    send a segment that is too long for it."""
    number = request.param
    with Laboratory(smaller(number)) as lab:
        hosts, route = ([lab.client], CLIENTS_ROUTE) if number == 0 else (lab.servers, SERVERS_ROUTE)
        for host in hosts:
            host.run("ip", "link", "set", "eth0", "mtu", str(BETWEEN))
            host.run("ip", "route", "replace", *route, "advmss", "1460")
        lab.director.run("jupiter-service", "--daemon")
        datagrams.serve(lab)
        yield lab, number


def test_devices_of_different_size(two_arm: tuple[Laboratory, int], ports: Iterator[int]) -> None:
    """B33: what is too long for the device that it has to leave by is not sent: the director tells its sender the MTU
    of that device, and transfers in both directions are whole."""
    lab, number = two_arm
    service = VirtualService(lab, next(ports), rport=PORT).add("rr")
    ends = Transfers(lab).run(service, CONNECTIONS, up=BYTES, down=BYTES)
    assert ends.whole()
    taught = ends.servers if number == 0 else ends.clients
    assert {report["mtu"] for report in taught} == {BETWEEN}


def test_datagrams_that_may_be_fragmented(two_arm: tuple[Laboratory, int], ports: Iterator[int]) -> None:
    """B33: without DF what is too long for the device that it has to leave by goes on in pieces, and is whole at its
    end, in both directions."""
    lab, _ = two_arm
    service = VirtualService(lab, next(ports), "udp", rport=datagrams.PORT).add("rr")
    assert [datagrams.ask(service, "1.1.1.1", "kernel", "kernel", 1470) for _ in range(4)] == ["whole"] * 4
