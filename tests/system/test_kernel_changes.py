"""What an operator and the network change while traffic flows: the kernel interface, addresses, routes, MACs, servers.

In ROUTED: server1 is on the director's own network, server2 behind the default gateway.
"""

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.system.probing import PORT, Fate, flow, probing, serve_udp, serve_udp_at, without_next_hop
from tests.system.services import VIP, Download, VirtualService, answers, drops
from tools.lab import ROUTED, Host, Laboratory, wait_until

OFFENDER = str(Path(__file__).with_name("offender.py"))
PORTS = itertools.count(7100)


@pytest.fixture(scope="module")
def routed() -> Iterator[Laboratory]:
    with Laboratory(ROUTED) as lab:
        lab.director.configure(ROUTED, {"hugepages": "none"})
        lab.director.run("jupiter-service", "--daemon")
        serve_udp(lab)
        yield lab


@pytest.fixture
def queries(routed: Laboratory) -> VirtualService:
    """A UDP service in front of both servers."""
    return VirtualService(routed, next(PORTS), "udp", rport=PORT).add("rr")


@pytest.fixture
def near(routed: Laboratory) -> VirtualService:
    """The same with server1 alone."""
    return VirtualService(routed, next(PORTS), "udp", rport=PORT).add("rr", weights=(1,))


@contextmanager
def nothing_lost(service: VirtualService) -> Iterator[None]:
    """Old and new connections are served through the block as if nothing happened.

    The director's own counter is exact; queries may get lost where others burden this machine.
    """
    before = without_next_hop(service.lab)
    with probing(service) as fate:
        flow(service)
        yield
        flow(service)
    assert without_next_hop(service.lab) == before
    assert fate.lost <= fate.old["sent"] / 50, fate


def type_lines(host: Host, *lines: str) -> None:
    for line in lines:
        host.run(*line.split())


def interfaces_in_arp(lab: Laboratory) -> set[str]:
    return {row["Iface"] for row in lab.director.ask("arp/list")}


def own_address(lab: Laboratory) -> str:
    return str(lab.director.ask("netdev/ipaddr")[0]["kni-ip"])


def offender(service: VirtualService) -> str:
    """Whose ICMP error a client gets whose packet's time is exceeded."""
    return service.lab.client.run(sys.executable, OFFENDER, VIP, str(service.port)).stdout.strip()


def has_default_route(lab: Laboratory) -> bool:
    return "via 1.1.1.254" in lab.director.run("ip", "route", "show", "default").stdout


def answers_ping(lab: Laboratory, address: str) -> bool:
    return lab.client.run("ping", "-c1", "-W1", address, check=False).returncode == 0


def passes_the_router(service: VirtualService) -> bool:
    """Whether the router forwards what flows just now."""

    def forwarded() -> int:
        report = router(service.lab).run("grep", "^Ip:", "/proc/net/snmp").stdout
        names, values = (line.split() for line in report.splitlines())
        return int(values[names.index("ForwDatagrams")])

    before = forwarded()
    flow(service)
    return forwarded() > before + 20


def router(lab: Laboratory) -> Host:
    return lab.routers["router"]


def test_interface_down_and_up(routed: Laboratory, queries: VirtualService) -> None:
    """With jupiter0 down services go on, old connections and new; up again it serves Linux, default route and all."""
    web = VirtualService(routed, next(PORTS)).add("rr")
    log = routed.director.path("/var/log/jupiter.log")
    with nothing_lost(queries):
        type_lines(routed.director, "ip link set jupiter0 down")
        wait_until(lambda: "jupiter0 is down" in log.read_text(), "the log to say so")
        assert not answers_ping(routed, "1.1.1.2")
        assert answers(web, 4) == {"server1", "server2"}
        type_lines(routed.director, "ip link set jupiter0 up")
        wait_until(lambda: has_default_route(routed), "the default route to be back")
        wait_until(lambda: answers_ping(routed, "1.1.1.2"), "the director to answer ping")
    assert log.read_text().count("jupiter0 is down") == 1


def test_download_while_the_interface_goes_down_and_up(routed: Laboratory) -> None:
    """A download from behind the gateway does not notice, byte for byte."""
    web = VirtualService(routed, next(PORTS)).add("rr", weights=())
    web.ctl("rs/add", web.server(1))
    download = Download(web, os.urandom(48 << 20), megabytes_a_second=8)
    download.wait_under_way()
    type_lines(routed.director, "ip link set jupiter0 down")
    flow(web)
    type_lines(routed.director, "ip link set jupiter0 up")
    wait_until(lambda: has_default_route(routed), "the default route to be back")
    assert download.running, "the download ended before the interface was up: nothing was shown"
    assert download.matches()


@pytest.mark.parametrize("down", [False, True], ids=["live", "down"])
def test_interface_renamed(routed: Laboratory, queries: VirtualService, down: bool) -> None:
    """By another name jupiter0 is what it was: no query is lost, arp/list has the new name, what is new is found."""
    for old, new in (("jupiter0", "foo0"), ("foo0", "jupiter0")):
        with nothing_lost(queries):
            if down:
                type_lines(routed.director, f"ip link set {old} down")
            type_lines(routed.director, f"ip link set {old} name {new}", f"ip link set {new} up")
            wait_until(lambda new=new: interfaces_in_arp(routed) == {new}, f"arp/list to name {new}")
            wait_until(lambda: has_default_route(routed), "the default route")
    web = VirtualService(routed, next(PORTS)).add("rr")
    assert answers(web, 2) == {"server1", "server2"}


@pytest.mark.parametrize("address", ["1.1.1.2", "1.1.1.9"])
def test_readdressed_by_ifconfig(routed: Laboratory, queries: VirtualService, address: str) -> None:
    """`ifconfig jupiter0 1.1.1.2/24 up`: no query is lost; the director speaks with the new address, then the old."""
    for now in (address, "1.1.1.2"):
        with nothing_lost(queries):
            type_lines(routed.director, f"ifconfig jupiter0 {now}/24 up")
            wait_until(lambda now=now: own_address(routed) == now, f"netdev/ipaddr to show {now}")
            wait_until(lambda now=now: answers_ping(routed, now), f"the director to answer at {now}")
            assert offender(queries) == now
            wait_until(lambda: has_default_route(routed), "the default route")


def test_readdressed_by_ip(routed: Laboratory, queries: VirtualService) -> None:
    """A second address, the first one taken away, and given back: no query is lost, the primary address is followed."""
    with nothing_lost(queries):
        type_lines(routed.director, "ip address add 1.1.2.2/24 dev jupiter0")
        assert own_address(routed) == "1.1.1.2"
        type_lines(routed.director, "ip address del 1.1.2.2/24 dev jupiter0", "ip address del 1.1.1.2/24 dev jupiter0")
        wait_until(lambda: own_address(routed) == "None", "netdev/ipaddr to show none")
        type_lines(routed.director, "ip address add 1.1.1.8/24 dev jupiter0")
        wait_until(lambda: own_address(routed) == "1.1.1.8", "netdev/ipaddr to show it")
        assert offender(queries) == "1.1.1.8"
        type_lines(routed.director, "ifconfig jupiter0 1.1.1.2/24 up")
        wait_until(lambda: own_address(routed) == "1.1.1.2", "netdev/ipaddr to show the first")


def test_server_moves_behind_a_gateway_and_back(routed: Laboratory, near: VirtualService) -> None:
    """A host route leads to server1 by way of the router, then directly again; no query is lost."""
    type_lines(router(routed), "ip route add 1.1.1.3 dev eth0")
    with nothing_lost(near):
        type_lines(routed.director, "ip route add 1.1.1.3 via 1.1.1.254")
        wait_until(lambda: passes_the_router(near), "queries to pass the router")
        type_lines(routed.director, "ip route del 1.1.1.3")
        wait_until(lambda: not passes_the_router(near), "queries to go to server1 directly")


def test_gateway_changes(routed: Laboratory) -> None:
    """The gateway to server2 is replaced by another one, and the first is gone; no query is lost."""
    far = VirtualService(routed, next(PORTS), "udp", rport=PORT).add("rr", weights=())
    far.ctl("rs/add", far.server(1))
    with nothing_lost(far):
        type_lines(router(routed), "ip address add 1.1.1.253/24 dev eth0")
        type_lines(routed.director, "ip route add 3.3.3.0/24 via 1.1.1.253")
        wait_until(lambda: "1.1.1.253" in routed.director.ctl("arp/list"), "the new gateway to be known")
        flow(far)
        type_lines(routed.director, "ip route replace 3.3.3.0/24 via 1.1.1.254", "ip route del 3.3.3.0/24")


def mac_changes(service: VirtualService, mac: str, announced: bool, seconds: float) -> Fate:
    """server1 gets another MAC while queries are under way, until all is well again, at most so many seconds later."""
    server = service.lab.servers[0]
    type_lines(server, f"sysctl -qw net.ipv4.conf.eth0.arp_notify={int(announced)}")
    with probing(service) as fate:
        type_lines(server, f"ip link set eth0 address {mac}")
        wait_until(lambda: mac in service.lab.director.ctl("arp/list"), "the new MAC to be known", seconds)
        flow(service)
    return fate


def test_server_announces_its_new_mac(near: VirtualService) -> None:
    """A server that changes its MAC and says so is followed at once: an instant without answers."""
    fate = mac_changes(near, "02:00:00:00:00:01", announced=True, seconds=2)
    assert fate.gap < 0.5, fate


def test_server_changes_its_mac_in_silence(near: VirtualService) -> None:
    """One that does not say so is found out within 6 s, with the kernel's neighbour settings as they come."""
    fate = mac_changes(near, "02:00:00:00:00:02", announced=False, seconds=7)
    assert fate.gap < 7, fate


def test_server_unreachable_when_added(routed: Laboratory) -> None:
    """B40: a server that appears after it was added, and says nothing, serves within 2 s."""
    service = VirtualService(routed, next(PORTS), "udp", rport=PORT).add("rr", weights=())
    service.ctl("rs/add", f"1.1.1.5:{PORT}")
    type_lines(routed.servers[0], "sysctl -qw net.ipv4.conf.eth0.arp_notify=0")
    wait_until(lambda: "1.1.1.5" in routed.director.run("ip", "neigh", "show", "nud", "failed").stdout, "a vain search")
    type_lines(routed.servers[0], "ip address add 1.1.1.5/24 dev eth0")
    began = time.monotonic()
    serve_udp_at(routed.servers[0], "1.1.1.5")
    with probing(service):
        assert time.monotonic() - began < 3  # the interpreters that serve and ask take their time too


def connect(lab: Laboratory, port: int) -> subprocess.Popen[str]:
    """A client that connects, and prints how many seconds that took."""
    line = ("curl", "-s", "-o", "/dev/null", "-w", "%{time_connect}", "--max-time", "3", f"http://{VIP}:{port}/")
    return lab.client.start(*line)


def test_a_server_that_comes_in_time_gets_the_first_packet(routed: Laboratory) -> None:
    """B40: a server that appears within a second of the first SYN gets that very SYN; one that does not costs it, under
    next_hop_unresolved."""
    service = VirtualService(routed, next(PORTS)).add("rr", weights=())
    service.ctl("rs/add", "1.1.1.6:80")
    type_lines(routed.servers[0], "sysctl -qw net.ipv4.conf.eth0.arp_notify=1")
    before = drops(routed)["next_hop_unresolved"]
    output, _ = connect(routed, service.port).communicate(timeout=10)
    assert float(output) == 0
    wait_until(lambda: drops(routed)["next_hop_unresolved"] > before, "the parked packets to be dropped", 3)
    wait_until(lambda: parked(routed) == 0, "no packet to be parked any more", 3)
    before = drops(routed)["next_hop_unresolved"]
    connecting = connect(routed, service.port)
    wait_until(lambda: parked(routed) == 1, "the SYN to be parked", 2)
    type_lines(routed.servers[0], "ip address add 1.1.1.6/24 dev eth0")
    output, _ = connecting.communicate(timeout=10)
    assert 0 < float(output) < 1, "the client had to send its SYN again"
    assert drops(routed)["next_hop_unresolved"] == before


def parked(lab: Laboratory) -> int:
    return sum(int(worker["parked"]) for worker in lab.director.ask("worker/stats"))


def test_neighbours_flushed(routed: Laboratory, queries: VirtualService) -> None:
    """`ip neigh flush`: no query is lost."""
    with nothing_lost(queries):
        type_lines(routed.director, "ip neigh flush dev jupiter0")
        wait_until(
            lambda: "1.1.1.3" in routed.director.run("ip", "neigh", "show", "nud", "reachable").stdout, "1.1.1.3"
        )
