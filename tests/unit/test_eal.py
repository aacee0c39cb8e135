"""EAL arguments: what the operator's say, and what is added."""

import re
from pathlib import Path

import pytest

from jupiter.eal import MAX_WORKERS, PortSource, arguments, forbidden, given, lcores, megabytes

VETH = PortSource(vdevs=("net_af_packet0,iface=eth1",))
CARD = PortSource(pci=("0000:01:00.2",))


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ("-l 0,1", {0, 1}),
        ("-l0-2,5", {0, 1, 2, 5}),
        ("-c 0xf00 -n 4", {8, 9, 10, 11}),
        ("-cf", {0, 1, 2, 3}),
        ("--lcores 0@0,1@0", {0, 1}),
        ("--lcores=0@(0-1),1@1", {0, 1}),
        ("--lcores (0-2)@1,7", {0, 1, 2, 7}),
        ("-n 4 --no-huge", None),
        ("", None),
    ],
)
def test_lcores_are_read_in_every_spelling(argv: str, expected: set[int] | None) -> None:
    assert lcores(argv.split()) == expected


@pytest.mark.parametrize("argv", ["-l", "-l a", "-c 0xzz", "--lcores 0@", "-l 1,"])
def test_lcores_that_are_none_raise(argv: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  (any ValueError means the same to the caller)
        lcores(argv.split())


def test_huge_pages_need_no_mount() -> None:
    assert arguments(["-l", "0,1"], [VETH], huge_pages=True) == [
        *("-l", "0,1", "--in-memory", "-m", "256", "--file-prefix", "jupiter"),
        *("--vdev", "net_af_packet0,iface=eth1", "--no-pci"),
    ]


def test_without_huge_pages_memory_has_a_size() -> None:
    assert arguments([], [CARD], huge_pages=False) == [
        *("--no-huge", "--no-shconf", "-m", "256", "--file-prefix", "jupiter", "-a", "0000:01:00.2"),
    ]


@pytest.mark.parametrize(("buffers", "expected"), [(0, 256), (192 << 20, 256), (193 << 20, 257), (1 << 30, 1088)])
def test_memory_grows_with_packet_buffers(buffers: int, expected: int) -> None:
    """In megabytes, with 64 for rings and queues, and no less than ever."""
    assert megabytes(buffers) == expected


def test_the_most_workers_are_the_data_planes() -> None:
    layout = Path(__file__).parents[2] / "fastpath/layout.h"
    assert re.findall(r"MAX_WORKERS = (\d+)", layout.read_text()) == [str(MAX_WORKERS)]


def test_each_instance_has_memory_and_a_prefix_of_its_own() -> None:
    """None: EAL takes memory as it needs it, and is told no size."""
    assert arguments([], [CARD], True, 300, "jupiter-a")[:5] == [
        "--in-memory",
        "-m",
        "300",
        "--file-prefix",
        "jupiter-a",
    ]
    assert "-m" not in arguments([], [CARD], True, None)


@pytest.mark.parametrize(
    ("argv", "never_added"),
    [
        (["--no-huge"], "--in-memory"),
        (["--huge-dir=/mnt/huge"], "--in-memory"),
        (["--in-memory"], "--no-huge"),
        (["-m", "512"], "-m"),
        (["--socket-mem=512"], "-m"),
        (["--file-prefix=mine"], "--file-prefix"),
        (["-a", "0000:05:00.0"], "--no-pci"),
        (["--vdev", "net_af_packet0,iface=eth9"], "net_af_packet0,iface=eth1"),
    ],
)
@pytest.mark.parametrize("huge", [True, False])
def test_what_the_operator_says_is_not_overridden(argv: list[str], never_added: str, huge: bool) -> None:
    result = arguments(argv, [VETH], huge)
    assert result[: len(argv)] == argv
    assert never_added not in result[len(argv) :]


def test_a_card_that_the_operator_allowed_with_options_is_not_named_again() -> None:
    result = arguments(["-a", "0000:01:00.2,promisc=0"], [CARD], huge_pages=True)
    assert result.count("-a") == 1


def test_several_members_make_a_bond() -> None:
    """The bond is the port; its members are devices of EAL all the same."""
    pair = PortSource(pci=("0000:01:00.0", "0000:01:00.1"), bond_mode=1)
    result = arguments([], [VETH, pair], huge_pages=True)
    assert result[-8:] == [
        *("--vdev", "net_af_packet0,iface=eth1", "-a", "0000:01:00.0", "-a", "0000:01:00.1"),
        *("--vdev", "net_bonding1,mode=1,slave=0000:01:00.0,slave=0000:01:00.1"),
    ]
    assert (VETH.port_name(0), pair.port_name(1), CARD.port_name(2)) == (
        "net_af_packet0",
        "net_bonding1",
        "0000:01:00.2",
    )


def test_options_are_found_in_every_spelling() -> None:
    assert given(["-m512"], ["-m"])
    assert given(["--socket-mem=1"], ["--socket-mem"])
    assert not given(["-n", "4"], ["-m"])


def test_options_that_make_eal_exit_are_found() -> None:
    assert forbidden(["-l", "0,1", "--help"]) == "--help"
    assert forbidden(["-l", "0,1"]) is None
