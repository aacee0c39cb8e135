"""Names of packet fanout groups, on the real kernel."""

import os
import socket
import struct

import pytest

from jupiter.errors import JupiterError
from jupiter.host import fanout

from .namespace import Namespace


@pytest.fixture
def two_netdevs(director: Namespace, network: Namespace) -> Namespace:
    """A namespace with eth1 and eth2, both up."""
    director.connect("eth1", network, "far1")
    director.connect("eth2", network, "far2")
    return director


def take(netdev: str, name: int) -> socket.socket:
    """As net_af_packet of another process does."""
    packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    packets.bind((netdev, fanout.ETH_P_ALL))
    packets.setsockopt(fanout.SOL_PACKET, fanout.PACKET_FANOUT, struct.pack("HH", name, fanout.HASH_DEFRAG_ROLLOVER))
    return packets


def test_a_name_that_another_netdev_has_is_found(two_netdevs: Namespace) -> None:
    """The error names netdev, group and pid; with the other process the group goes."""
    name = os.getpid() ^ socket.if_nametoindex("eth2")
    with take("eth1", name & 0xFFFF):
        assert fanout.is_taken("eth2")
        assert not fanout.is_taken("eth1")
        with pytest.raises(
            JupiterError, match=rf"netdev eth2 .* group {name & 0xFFFF}, .* pid, {os.getpid()}\."
        ) as error:
            fanout.refuse_taken("eth2")
        assert error.value.code == "netdev-unavailable"
    assert not fanout.is_taken("eth2")
    fanout.refuse_taken("eth2")


def test_another_pid_comes_to_another_name(two_netdevs: Namespace) -> None:
    """Which is why starting again helps."""
    with take("eth1", (os.getpid() ^ socket.if_nametoindex("eth2")) & 0xFFFF):
        child = os.fork()
        if not child:
            os._exit(fanout.is_taken("eth2"))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_what_is_not_there_is_not_taken(director: Namespace) -> None:
    """The driver's own words about it are better than ours."""
    assert not fanout.is_taken("eth9")
