"""The kernel interface: a TAP device, made, configured and gone again on the real kernel."""

import os
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

import pytest
from scapy.layers.inet import ICMP, IP
from scapy.layers.l2 import ARP, Ether

from jupiter.errors import JupiterError
from jupiter.host.netlink import Hop, Netlink
from jupiter.host.tap import Tap, configure, open_tap

from .namespace import Namespace
from .waiting import until

MAC = bytes.fromhex("02000a0b0c0d")
PEER = "02:00:00:00:00:99"
ADDRESS = IPv4Interface("1.1.1.2/24")


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def frames_until(tap: Tap, wanted: type) -> Ether:
    """The first frame with that layer that the kernel sends out of the TAP."""
    found: list[Ether] = []

    def read() -> bool:
        try:
            frame = Ether(os.read(tap.fd, 2048))
        except BlockingIOError:
            return False
        found.append(frame)
        return frame.haslayer(wanted)

    assert until(read), found
    return found[-1]


def test_has_the_mac_and_mtu_that_were_asked_for(director: Namespace) -> None:
    """The interface carries the port's MAC and the configured MTU, and is gone with close()."""
    tap = open_tap("jupiter0", MAC, 1400)
    shown = director.run("ip link show dev jupiter0")
    assert "mtu 1400" in shown
    assert MAC.hex(":") in shown
    with Netlink() as kernel:
        assert kernel.link("jupiter0").index == tap.index
    tap.close()
    tap.close()
    assert "jupiter0" not in director.run("ip link")


def test_carries_frames_both_ways(director: Namespace) -> None:
    """B9: what is written reaches the kernel, and what the kernel sends is read, byte for byte without a header."""
    tap = open_tap("jupiter0", MAC, 1500)
    configure(tap, ADDRESS, None)
    request = Ether(src=PEER, dst="ff:ff:ff:ff:ff:ff") / ARP(op=1, hwsrc=PEER, psrc="1.1.1.9", pdst="1.1.1.2")
    os.write(tap.fd, bytes(request))
    answer = frames_until(tap, ARP)
    assert (answer.dst, answer[ARP].op, answer[ARP].psrc, answer[ARP].hwsrc) == (PEER, 2, "1.1.1.2", MAC.hex(":"))

    echo = Ether(src=PEER, dst=MAC.hex(":")) / IP(src="1.1.1.9", dst="1.1.1.2") / ICMP(id=7, seq=9) / (b"x" * 500)
    os.write(tap.fd, bytes(echo))
    answer = frames_until(tap, ICMP)
    assert (answer[ICMP].type, answer[ICMP].id, answer[ICMP].seq, bytes(answer[ICMP].payload)) == (0, 7, 9, b"x" * 500)
    tap.close()


def test_reading_does_not_block(director: Namespace) -> None:
    """The descriptor is non-blocking: an idle interface does not hold up the kernel loop."""
    tap = open_tap("jupiter0", MAC, 1500)
    with pytest.raises(BlockingIOError):
        os.read(tap.fd, 2048)
    tap.close()


def test_default_route_through_the_gateway(director: Namespace) -> None:
    """With a gateway the kernel reaches the rest of the world through the interface; twice is once."""
    tap = open_tap("jupiter0", MAC, 1500)
    for _ in range(2):
        configure(tap, ADDRESS, IPv4Address("1.1.1.254"))
    assert director.run("ip -4 route show default").count("default via 1.1.1.254 dev jupiter0") == 1
    with Netlink() as kernel:
        assert kernel.next_hop(IPv4Address("8.8.8.8")) == Hop(tap.index, IPv4Address("1.1.1.254"))
    tap.close()


def test_a_default_route_elsewhere_stays_in_force(director: Namespace, network: Namespace) -> None:
    """The host keeps the default route it had: the operator's own connection does not move to jupiter's port."""
    director.connect("eth0", network, "far0")
    director.run("ip addr add 10.9.9.2/24 dev eth0", "ip route add default via 10.9.9.1")
    tap = open_tap("jupiter0", MAC, 1500)
    configure(tap, ADDRESS, IPv4Address("1.1.1.254"))
    with Netlink() as kernel:
        assert kernel.next_hop(IPv4Address("8.8.8.8")) == Hop(kernel.link("eth0").index, IPv4Address("10.9.9.1"))
    assert "via 1.1.1.254" in director.run("ip route show default dev jupiter0")
    tap.close()


@pytest.mark.parametrize("gateway", ["1.1.2.254", "1.1.1.2"])
def test_a_gateway_outside_the_network_is_refused(director: Namespace, gateway: str) -> None:
    """A gateway that is not another address of the interface's network is an error that names all three."""
    tap = open_tap("jupiter0", MAC, 1500)
    with pytest.raises(JupiterError, match=rf"{gateway} of jupiter0.*1\.1\.1\.0/24") as error:
        configure(tap, ADDRESS, IPv4Address(gateway))
    assert error.value.code == "invalid-gateway"
    tap.close()


@pytest.mark.parametrize(
    ("name", "mac", "mtu", "sentence"),
    [
        ("", MAC, 1500, "Invalid interface name"),
        ("a-name-of-16-byt", MAC, 1500, "Invalid interface name a-name-of-16-byt"),
        ("with/slash", MAC, 1500, "Cannot create interface with/slash"),
        ("jupiter0", MAC[:5], 1500, "Invalid MAC 02:00:0a:0b:0c of jupiter0"),
        ("jupiter0", b"\x01" + MAC[1:], 1500, "Invalid MAC 01:.* of jupiter0"),
        ("jupiter0", MAC, 1 << 20, "Cannot create interface jupiter0 .*MTU 1048576.*: mtu"),
        ("lo", MAC, 1500, "Cannot create interface lo"),
    ],
)
def test_what_the_kernel_refuses_is_named(director: Namespace, name: str, mac: bytes, mtu: int, sentence: str) -> None:
    """A bad name, MAC or MTU, or a name that is taken, is a JupiterError that says which, and leaves nothing behind."""
    before = open_descriptors(), director.run("ip -o link")
    with pytest.raises(JupiterError, match=sentence) as error:
        open_tap(name, mac, mtu)
    assert error.value.code == "interface-unavailable"
    assert (open_descriptors(), director.run("ip -o link")) == before


def test_a_name_in_use_by_another_process_is_refused(director: Namespace) -> None:
    """A second director cannot take the interface of the first."""
    first = open_tap("jupiter0", MAC, 1500)
    with pytest.raises(JupiterError, match="Cannot create interface jupiter0"):
        open_tap("jupiter0", MAC, 1500)
    first.close()
