"""What an operator sees of packets on a director that carries traffic: trace and capture."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.system.services import VIP, VirtualService, ab, answers
from tools.lab import Laboratory, wait_until

CLIENT, LOCAL, SERVER = "1.1.1.1", "10.0.2.", "1.1.1.3"
FILE = "/run/watch.pcapng"
FIELDS = ("ip.src", "ip.dst", "tcp.flags.str", "frame.packet_flags_direction", "frame.interface_name", "frame.comment")


@pytest.fixture
def service(lab: Laboratory, ports: Iterator[int]) -> VirtualService:
    return VirtualService(lab, next(ports)).add("rr", (1,))


def watches(lab: Laboratory) -> int:
    """That have begun so far."""
    return lab.director.path("/var/log/jupiter.log").read_text().count("packets are watched")


@contextmanager
def watching(lab: Laboratory, *words: str) -> Iterator[subprocess.Popen[str]]:
    """jupiter-ctl, from when the service watches for it."""
    before = watches(lab)
    process = lab.director.start("jupiter-ctl", *words)
    try:
        wait_until(lambda: watches(lab) > before or process.poll() is not None, "the watch to begin")
        yield process
    finally:
        process.communicate(timeout=60)


def tshark(path: Path) -> list[dict[str, str]]:
    fields = [word for field in FIELDS for word in ("-e", field)]
    command = ["tshark", "-n", "-r", str(path), "-T", "fields", "-E", "separator=/t", "-E", "aggregator=|", *fields]
    read = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    return [dict(zip(FIELDS, line.split("\t"), strict=True)) for line in read.stdout.splitlines()]


def test_a_download_through_the_director_is_captured_on_both_sides(lab: Laboratory, service: VirtualService) -> None:
    """tshark shows curl's connection four times: from the client, to the server, and back; with comments, whole."""
    match = f"vip={VIP}:{service.port}"
    with watching(lab, "capture", FILE, "tcp", match, "--seconds", "3"):
        assert answers(service, 1) == {"server1"}
        lab.client.run("curl", "-s", "--max-time", "0.3", f"http://{VIP}:{service.port + 1}", check=False)
    rows = tshark(lab.director.path(FILE))
    assert {row["frame.interface_name"] for row in rows} == {"jupiter0"}
    assert all("lcore 1" in row["frame.comment"] for row in rows)
    opening = [
        (
            row["ip.src"],
            row["ip.dst"],
            row["tcp.flags.str"].strip("\u00b7"),
            int(row["frame.packet_flags_direction"], 16),
        )
        for row in rows[:4]
    ]
    local = opening[1][0]
    assert local.startswith(LOCAL)
    assert opening == [
        *((CLIENT, VIP, "S", 1), (local, SERVER, "S", 2)),
        *((SERVER, local, "A\u00b7\u00b7S", 1), (VIP, CLIENT, "A\u00b7\u00b7S", 2)),
    ]
    pairs = {(row["ip.src"], row["ip.dst"]) for row in rows}
    assert pairs == {(CLIENT, VIP), (local, SERVER), (SERVER, local), (VIP, CLIENT)}
    command = ["tshark", "-n", "-r", str(lab.director.path(FILE)), "-o", "tcp.check_checksum:TRUE", "-Y"]
    wrong = subprocess.run([*command, "tcp.checksum.status == 0"], check=True, capture_output=True, text=True)
    assert wrong.stdout == ""


def test_drops_are_captured_with_their_reason(lab: Laboratory, service: VirtualService) -> None:
    """drop=no_service: a comment says why, and no packet that was forwarded is among them."""
    with watching(lab, "capture", FILE, "drop=no_service", "--seconds", "2"):
        answers(service, 1)
        lab.client.run("curl", "-s", "--max-time", "0.3", f"http://{VIP}:9", check=False)
    rows = tshark(lab.director.path(FILE))
    assert rows
    assert {(row["ip.src"], row["ip.dst"]) for row in rows} == {(CLIENT, VIP)}
    assert {row["frame.comment"] for row in rows} == {
        "dropped, no_service: a virtual address, and no service on this port, the sender is told|lcore 1"
    }


def test_a_connection_is_traced(lab: Laboratory, service: VirtualService) -> None:
    """Which server it got from which local address, and how its state went on, for each packet of both directions."""
    with watching(lab, "trace", f"rs={service.server(0)}", "--count", "6", "--seconds", "20", "--json") as process:
        answers(service, 1)
        output, _ = process.communicate(timeout=60)
    rows = json.loads(output)
    assert len(rows) == 6
    assert rows[0]["lookup"] == "no connection"
    assert rows[0]["schedule"].startswith(f"server {service.server(0)} from {LOCAL}")
    assert [row["track"] for row in rows[:3]] == ["SYN_SENT", "SYN_SENT -> SYN_RECV", "SYN_RECV -> ESTABLISHED"]
    assert {row["dispatch"] for row in rows} == {"sent by jupiter0"}


def test_watching_under_load_loses_no_request(lab: Laboratory, service: VirtualService) -> None:
    """While everything is captured, as much as can be, every request of ab succeeds; the rest is told as missing."""
    with watching(lab, "capture", FILE, "--count", "1000000", "--seconds", "5") as process:
        assert ab(service, "-n", "3000", "-c", "20")[1] == 0
        _, told = process.communicate(timeout=60)
    assert "packets in" in told
    assert len(tshark(lab.director.path(FILE))) == int(told.split()[0])
