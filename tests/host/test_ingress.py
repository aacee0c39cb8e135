"""A netdev given over to DPDK: the kernel is deaf on it, a packet socket is not."""

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from scapy.layers.l2 import ARP, Ether

from jupiter.errors import JupiterError
from jupiter.host.ingress import KernelIngressDrop, netdevs_of

from .namespace import Namespace
from .waiting import until

ROOT = Path(__file__).parents[2]
SILENCE = 0.3  # the kernel answers ARP within the softirq that brings the request, microseconds after
INSTALL_AND_WAIT = """
import signal
from jupiter.host.ingress import KernelIngressDrop
KernelIngressDrop(["eth1"]).install()
print("installed", flush=True)
signal.pause()
"""


class Sniffer:
    """A packet socket on a netdev: what DPDK's af_packet port would see."""

    def __init__(self, namespace: Namespace, ifname: str) -> None:
        with namespace:
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003))
        self.socket.bind((ifname, 0x0003))
        self.socket.setblocking(False)

    def sees(self, operation: int, seconds: float = 20.0) -> bool:
        """An ARP frame with that operation (1 request, 2 answer) arrives within that time."""
        return until(lambda: self._next() == operation, seconds)

    def _next(self) -> int | None:
        try:
            frame = Ether(self.socket.recv(2048))
        except BlockingIOError:
            return None
        return frame[ARP].op if frame.haslayer(ARP) else None


class Wire:
    """director's eth1 (1.1.1.2) and the far end, with a packet socket on both."""

    def __init__(self, director: Namespace, network: Namespace) -> None:
        director.connect("eth1", network, "lan0")
        director.run("ip addr add 1.1.1.2/24 dev eth1")
        self.near, self.far = Sniffer(director, "eth1"), Sniffer(network, "lan0")
        self.mac = "02:00:00:00:00:99"

    def ask(self) -> None:
        request = Ether(src=self.mac, dst="ff:ff:ff:ff:ff:ff") / ARP(
            op=1, hwsrc=self.mac, psrc="1.1.1.9", pdst="1.1.1.2"
        )
        self.far.socket.send(bytes(request))
        assert self.near.sees(1)


@pytest.fixture
def wire(director: Namespace, network: Namespace) -> Iterator[Wire]:
    wire = Wire(director, network)
    yield wire
    wire.near.socket.close()
    wire.far.socket.close()


def test_kernel_does_not_answer_but_packet_sockets_see(director: Namespace, wire: Wire) -> None:
    """B9: from install() to remove() the kernel answers no ARP on the netdev; a packet socket still sees requests."""
    wire.ask()
    assert wire.far.sees(2)
    drop = KernelIngressDrop(["eth1"])
    drop.install()
    drop.install()
    wire.ask()
    assert not wire.far.sees(2, SILENCE)
    drop.remove()
    drop.remove()
    wire.ask()
    assert wire.far.sees(2)
    assert director.run("nft list tables") == ""


def test_other_netdevs_are_left_alone(director: Namespace, network: Namespace, wire: Wire) -> None:
    """The drop is for the netdev it names and for no other."""
    director.connect("eth2", network, "lan2")
    drop = KernelIngressDrop(["eth2"])
    drop.install()
    wire.ask()
    assert wire.far.sees(2)
    drop.remove()


def test_table_left_over_by_a_killed_process(director: Namespace, wire: Wire) -> None:
    """A director that was killed leaves its table; the next one installs over it and takes all of it away."""
    killed = subprocess.Popen([sys.executable, "-c", INSTALL_AND_WAIT], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert killed.stdout is not None
    assert killed.stdout.readline() == "installed\n"
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    killed.stdout.close()
    wire.ask()
    assert not wire.far.sees(2, SILENCE)

    drop = KernelIngressDrop(["eth1"])
    drop.install()
    wire.ask()
    assert not wire.far.sees(2, SILENCE)
    drop.remove()
    wire.ask()
    assert wire.far.sees(2)
    assert director.run("nft list tables") == ""


def test_left_over_table_with_another_content(director: Namespace, wire: Wire, tmp_path: Path) -> None:
    """A table of our name that lets packets pass, say of another version, is replaced, not added to."""
    leftover = tmp_path / "leftover.nft"
    hook = 'type filter hook ingress device "eth1" priority -500; policy drop;'
    leftover.write_text(f"table netdev jupiter-eth1 {{\nchain ingress {{ {hook} accept\n}}\n}}\n")
    director.run(f"nft -f {leftover}")
    wire.ask()
    assert wire.far.sees(2)
    drop = KernelIngressDrop(["eth1"])
    drop.install()
    wire.ask()
    assert not wire.far.sees(2, SILENCE)
    drop.remove()


def test_netdev_is_raised_and_put_back(director: Namespace, network: Namespace) -> None:
    """A netdev that was down is up while DPDK uses it and down again after; one that was up stays up."""
    director.connect("eth1", network, "lan0")
    director.connect("eth2", network, "lan2")
    director.run("ip link set dev eth1 down")
    drop = KernelIngressDrop(["eth1", "eth2"])
    drop.install()
    assert all("UP" in director.run(f"ip -o link show dev {name}").split(">")[0] for name in ("eth1", "eth2"))
    drop.install()
    drop.remove()
    assert "UP" not in director.run("ip -o link show dev eth1").split(">")[0]
    assert "UP" in director.run("ip -o link show dev eth2").split(">")[0]


def test_a_netdev_that_went_away_meanwhile(director: Namespace, network: Namespace) -> None:
    """Removing works when the netdev itself is gone (a virtual machine's NIC that was unplugged)."""
    director.connect("eth1", network, "lan0")
    drop = KernelIngressDrop(["eth1"])
    drop.install()
    director.run("ip link del dev eth1")
    drop.remove()
    assert director.run("nft list tables") == ""


@pytest.mark.parametrize("missing", ["nosuch0", 'x" drop; }', "a-name-of-16-byt"])
def test_a_missing_netdev_is_named_and_nothing_stays(director: Namespace, network: Namespace, missing: str) -> None:
    """One netdev that does not exist: an error that names it, and the others are as they were."""
    director.connect("eth1", network, "lan0")
    director.run("ip link set dev eth1 down")
    with pytest.raises(JupiterError) as error:
        KernelIngressDrop(["eth1", missing]).install()
    assert error.value.code == "netdev-unavailable"
    assert missing in error.value.text
    assert director.run("nft list tables") == ""
    assert "UP" not in director.run("ip -o link show dev eth1").split(">")[0]


def test_without_nft_the_package_is_named(
    director: Namespace, network: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine without the program nft gets the name of the package that has it."""
    director.connect("eth1", network, "lan0")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(JupiterError, match="nftables") as error:
        KernelIngressDrop(["eth1"]).install()
    assert error.value.code == "nft-missing"


@pytest.mark.parametrize(
    ("vdev", "netdev"),
    [
        ("net_af_packet0,iface=eth1", "eth1"),
        ("net_af_packet0,qpairs=2,iface=eth1.5,blocksz=4096", "eth1.5"),
        ("eth_af_packet1,iface=eth1", "eth1"),
        ("net_af_xdp7,iface=wlan_0,start_queue=1", "wlan_0"),
        (" net_af_packet0,iface=eth1 ", "eth1"),
        ("net_af_packet0", None),
        ("net_tap0,iface=dtap0", None),
        ("net_pcap0,rx_iface=eth1", None),
        ("net_ring0", None),
        ("", None),
    ],
)
def test_netdev_of_a_vdev(vdev: str, netdev: str | None) -> None:
    """The netdev is found in the vdev strings whose driver shares one with the kernel, and in no other."""
    assert netdevs_of(vdev) == netdev
