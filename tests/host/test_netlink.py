"""What rtnetlink is asked, and how its refusals come back; the rest is proved by those who use it."""

import errno
from ipaddress import IPv4Address

import pytest

from jupiter.host.netlink import PART_SIZE, Hop, Netlink

from .namespace import Namespace


def test_next_hop_by_type_of_route(director: Namespace, network: Namespace) -> None:
    """Only a unicast route leads anywhere: none to the host itself, a broadcast or multicast address or a hole."""
    director.connect("jupiter0", network, "lan0")
    director.run("ip addr add 1.1.1.2/24 dev jupiter0", "ip route add default via 1.1.1.254")
    for hole in ("unreachable", "prohibit", "blackhole", "throw"):
        director.run(f"ip route add {hole} 10.{len(hole)}.0.0/16")
    with Netlink() as kernel:
        jupiter0 = kernel.link("jupiter0").index
        assert kernel.next_hop(IPv4Address("1.1.1.3")) == Hop(jupiter0, IPv4Address("1.1.1.3"))
        assert kernel.next_hop(IPv4Address("8.8.8.8")) == Hop(jupiter0, IPv4Address("1.1.1.254"))
        for nowhere in (
            "1.1.1.2",
            "127.0.0.1",
            "1.1.1.255",
            "255.255.255.255",
            "224.0.0.5",
            "10.11.0.1",
            "10.8.0.1",
            "10.9.0.1",
        ):
            assert kernel.next_hop(IPv4Address(nowhere)) is None, nowhere
        director.run("ip route del default")
        assert kernel.next_hop(IPv4Address("8.8.8.8")) is None
        assert kernel.next_hop(IPv4Address("10.5.0.1")) is None


def test_a_refusal_has_errno_and_the_kernels_sentence(director: Namespace, network: Namespace) -> None:
    """An operator reads the kernel's own explanation where it gives one; the next request is answered as ever."""
    director.connect("jupiter0", network, "lan0")
    with Netlink() as kernel:
        with pytest.raises(OSError, match="No such device") as unknown:
            kernel.link("nosuch0")
        assert unknown.value.errno == errno.ENODEV
        index = kernel.link("jupiter0").index
        with pytest.raises(OSError, match="Nexthop has invalid gateway") as gateway:
            kernel.add_default_route(index, IPv4Address("8.8.8.8"))
        assert gateway.value.errno == errno.ENETUNREACH
        assert kernel.link("jupiter0").index == index


def test_default_route_of_either_family(director: Namespace, network: Namespace) -> None:
    """A default route counts whether IPv4 or IPv6, for the interface it leaves through and no other."""
    director.connect("eth1", network, "lan1")
    director.connect("eth2", network, "lan2")
    director.run("ip addr add 2001:db8::2/64 dev eth1 nodad", "ip addr add 1.1.2.2/24 dev eth2")
    with Netlink() as kernel:
        first, second = kernel.link("eth1").index, kernel.link("eth2").index
        assert not kernel.has_default_route(first)
        director.run("ip -6 route add default via 2001:db8::1")
        assert (kernel.has_default_route(first), kernel.has_default_route(second)) == (True, False)
        director.run("ip route add default nexthop via 1.1.2.7 dev eth2 nexthop via 1.1.2.8 dev eth2")
        assert kernel.has_default_route(second)


def test_link_by_name_and_index(director: Namespace, network: Namespace) -> None:
    """An interface is found either way, by its index also under another name; what is gone is ENODEV."""
    director.connect("jupiter0", network, "lan0")
    with Netlink() as kernel:
        index = kernel.link("jupiter0").index
        director.run("ip link set dev jupiter0 down", "ip link set dev jupiter0 name foo0")
        assert kernel.link(index).name == "foo0"
        director.run("ip link del dev foo0")
        for which in (index, "foo0"):
            with pytest.raises(OSError, match="No such device") as gone:
                kernel.link(which)
            assert gone.value.errno == errno.ENODEV


def test_neighbours_of_an_interface_in_parts(director: Namespace, network: Namespace) -> None:
    """Only those of that interface, each once, in several datagrams where one is too small."""
    director.connect("jupiter0", network, "lan0")
    director.connect("eth0", network, "lan1")
    director.batch(
        f"neigh add 1.1.1.{n} lladdr 02:00:00:00:00:01 nud permanent dev {i}\n"
        for n in range(1, 201)
        for i in ("jupiter0", "eth0")
    )
    with Netlink(PART_SIZE) as kernel:
        jupiter0 = kernel.link("jupiter0").index
        parts = list(kernel.neighbours(jupiter0))
    assert len([part for part in parts if part]) > 1
    assert sorted(hop for part in parts for hop, _ in part) == [
        Hop(jupiter0, IPv4Address(f"1.1.1.{n}")) for n in range(1, 201)
    ]


def test_a_probe_needs_a_mac(director: Namespace, network: Namespace) -> None:
    """Of a neighbour that the kernel does not know, or has no MAC of, there is nothing to verify."""
    director.connect("jupiter0", network, "lan0")
    director.run("ip addr add 1.1.1.2/24 dev jupiter0")
    with Netlink() as kernel:
        hop = Hop(kernel.link("jupiter0").index, IPv4Address("1.1.1.3"))
        with pytest.raises(OSError, match="No such file") as unknown:
            kernel.probe(hop)
        assert unknown.value.errno == errno.ENOENT
        kernel.solicit(hop)
        with pytest.raises(OSError, match="No link layer address") as unresolved:
            kernel.probe(hop)
        assert unresolved.value.errno == errno.EINVAL
        director.run("ip neigh replace 1.1.1.3 lladdr 02:00:00:00:00:01 nud stale dev jupiter0")
        kernel.probe(hop)
        assert "PROBE" in director.run("ip neigh show 1.1.1.3")
