"""Captures as other programs read them."""

import json
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether
from scapy.utils import PcapNgReader

from jupiter.pcapng import INTERFACE, PACKET, SECTION, Capture

NS = 1_700_000_000_123_456_789
FRAME = bytes(
    Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / IP(src="1.1.1.1", dst="10.0.1.1") / TCP(dport=80)
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Two devices, both directions, a comment, two comments, a frame that was cut, one of odd length."""
    capture = Capture("jupiter-ctl 0", 64)
    path = tmp_path / "test.pcapng"
    path.write_bytes(
        capture.begin()
        + capture.packet("jupiter0", NS, FRAME, len(FRAME), arrives=True, comments=["dropped, no_service", "lcore 1"])
        + capture.packet("jupiter1", NS + 1, FRAME, 1514, arrives=False, comments=["caf\u00e9"])
        + capture.packet("jupiter0", NS + 2, FRAME + b"x", len(FRAME) + 1, arrives=False)
    )
    return path


def blocks(data: bytes) -> list[tuple[int, bytes]]:
    """(type, body) of each; every length stands at both ends."""
    found = []
    while data:
        kind, length = struct.unpack_from("<II", data)
        assert length % 4 == 0
        assert struct.unpack_from("<I", data, length - 4) == (length,)
        found.append((kind, data[8 : length - 4]))
        data = data[length:]
    return found


def test_the_blocks_and_their_order(file: Path) -> None:
    """A section, and each interface before its first packet."""
    kinds = [kind for kind, _ in blocks(file.read_bytes())]
    assert kinds == [SECTION, INTERFACE, PACKET, INTERFACE, PACKET, PACKET]


def test_each_byte_of_a_packet_block() -> None:
    """By the draft's figures: interface, time in two halves, both lengths, data and options padded, their end."""
    capture = Capture("x", 64)
    interface, packet = blocks(capture.packet("j0", NS, b"abcde", 9, arrives=False, comments=["hi"]))
    assert interface == (1, b"\1\0\0\0\x40\0\0\0\2\0\2\0j0\0\0\x09\0\1\0\x09\0\0\0\0\0\0\0")
    when = struct.pack("<II", NS >> 32, NS & 0xFFFFFFFF)
    data = b"\5\0\0\0\x09\0\0\0abcde\0\0\0\1\0\2\0hi\0\0\2\0\4\0\2\0\0\0\0\0\0\0"
    assert packet == (6, b"\0\0\0\0" + when + data)


def test_tshark_reads_all_of_it(file: Path) -> None:
    """Times to the nanosecond, devices, directions, comments, what was cut."""
    command = ["tshark", "-n", "-r", str(file), "-T", "json"]
    read = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    assert "damaged" not in read.stderr
    frames: list[dict[str, Any]] = [
        packet["_source"]["layers"] for packet in json.loads(read.stdout, object_pairs_hook=last_wins)
    ]
    heads = [layers["frame"] for layers in frames]
    assert [head["frame.time_epoch"] for head in heads] == [
        *("1700000000.123456789", "1700000000.123456790", "1700000000.123456791"),
    ]
    assert [head["frame.interface_id_tree"]["frame.interface_name"] for head in heads] == [
        *("jupiter0", "jupiter1", "jupiter0"),
    ]
    directions = [int(head["frame.packet_flags_tree"]["frame.packet_flags_direction"], 16) for head in heads]
    assert directions == [1, 2, 2]
    assert [(head["frame.len"], head["frame.cap_len"]) for head in heads] == [
        ("54", "54"),
        ("1514", "54"),
        ("55", "55"),
    ]
    assert frames[0]["tcp"]["tcp.dstport"] == "80"


def last_wins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return dict(pairs)


def test_tshark_shows_every_comment(file: Path) -> None:
    command = ["tshark", "-n", "-r", str(file), "-T", "fields", "-e", "frame.comment", "-E", "aggregator=|"]
    read = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    assert read.stdout.splitlines() == ["dropped, no_service|lcore 1", "caf\u00e9", ""]


def test_scapy_reads_the_frames(file: Path) -> None:
    with PcapNgReader(str(file)) as reader:
        packets = list(reader)
    assert [bytes(packet) for packet in packets] == [FRAME, FRAME, FRAME + b"x"]
    assert [packet.wirelen for packet in packets] == [54, 1514, 55]


def test_a_file_without_a_packet_is_a_file(tmp_path: Path) -> None:
    """Also cut off between any two blocks, as by Ctrl-C."""
    path = tmp_path / "empty.pcapng"
    path.write_bytes(Capture("x", 64).begin())
    read = subprocess.run(["tshark", "-r", str(path)], check=True, capture_output=True, text=True, timeout=60)
    assert read.stdout == ""
