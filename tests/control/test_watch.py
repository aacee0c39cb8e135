"""trace and capture through the channel: what a client gets, who may, and how it ends."""

import json
import os
import signal
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether
from scapy.utils import PcapNgReader

from jupiter import exits
from jupiter.control.client import Client
from jupiter.counters import Seen
from jupiter.errors import JupiterError
from jupiter.terms import Wanted
from tests.control.conftest import Service
from tests.control.running import CTL, ROOT, ctl, environment
from tests.host.waiting import until

FRAME = bytes(Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / IP(src="1.1.1.1", dst="10.0.1.1") / TCP())
SEEN = Seen(
    lcore=1,
    ns=1_700_000_000_123_456_789,
    kind="passed",
    device="jupiter0",
    length=len(FRAME),
    frame=FRAME,
    reason="no_service",
    reason_text="no such port",
    protocol="tcp",
    ends=("1.1.1.1:20", "10.0.1.1:80"),
    classified="go_on",
    scheduled="drop",
    verdict="drop",
)


@pytest.fixture
def seeing(service: Service) -> Service:
    """Five packets are there as soon as somebody watches."""
    service.datapath.seen = [SEEN._replace(ns=SEEN.ns + n) for n in range(5)]
    return service


@pytest.fixture
def read_only(directory: Path) -> Iterator[Service]:
    running = Service(directory, read_only=True).start()
    yield running
    running.stop()


def jupiter(service: Service, *words: str) -> subprocess.CompletedProcess[str]:
    return ctl(*words, f"--unixsock={service.path}")


def started(service: Service, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*CTL, *words, f"--unixsock={service.path}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environment(),
    )


def has_ended(service: Service) -> bool:
    return bool(service.datapath.watches) and service.datapath.watches[-1].ended


# What a client gets


def test_a_trace_in_words(seeing: Service) -> None:
    """A line for the packet, a line for each stage that it came to; it ends when it has as many as were asked for."""
    done = jupiter(seeing, "trace", "tcp", "client=1.1.1.1", "--count", "2")
    assert (done.returncode, done.stderr) == (exits.DONE, "")
    packet = [line.split("  ", 1)[1] for line in done.stdout.splitlines() if not line.startswith(" ")]
    assert packet == ["1.1.1.1:20 > 10.0.1.1:80 tcp S seq 0 win 8192 len 0 ttl 64, 54 bytes"] * 2
    stages = [line.strip() for line in done.stdout.splitlines() if line.startswith(" ")]
    assert stages[:4] == [
        "receive   by jupiter0",
        "classify  tcp 1.1.1.1:20 > 10.0.1.1:80",
        "lookup    no connection",
        "schedule  dropped, no_service: no such port",
    ]
    assert has_ended(seeing)


def test_a_trace_as_json(seeing: Service) -> None:
    rows = json.loads(jupiter(seeing, "trace", "--json", "--count=3").stdout)
    assert [row["time"] - SEEN.ns for row in rows] == [0, 1, 2]
    assert rows[0]["drop"] == "no_service"


def test_what_is_wanted_goes_down(seeing: Service) -> None:
    """Conditions, drop reason and snap length; a trace needs headers alone."""
    jupiter(seeing, "trace", "UDP", "drop=No_Server", "--count", "1")
    jupiter(seeing, "capture", "/dev/null", "vs=10.0.1.1:80", "--count", "1", "--snaplen", "96")
    (traced, *how), (captured, *how_captured) = seeing.datapath.watched
    assert (traced, how) == (Wanted("udp", (), "no_server"), [128, False])
    assert [(c.ends, str(c.network), c.port) for c in captured.conditions] == [(("vip",), "10.0.1.1/32", 80)]
    assert how_captured == [96, True]


def test_a_capture_is_a_file(seeing: Service, tmp_path: Path) -> None:
    """Whose owner alone reads it, for there is in it what clients send."""
    path = tmp_path / "x.pcapng"
    done = jupiter(seeing, "capture", str(path), "--count", "5")
    assert (done.returncode, done.stdout, done.stderr) == (exits.DONE, "", f"5 packets in {path}.\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with PcapNgReader(str(path)) as reader:
        assert [bytes(packet) for packet in reader] == [FRAME] * 5
    read = subprocess.run(
        ["tshark", "-n", "-r", str(path), "-T", "fields", "-e", "frame.comment", "-E", "aggregator=|"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert read.stdout.splitlines() == ["dropped, no_service: no such port|lcore 1"] * 5


def test_a_capture_through_a_pipe(seeing: Service) -> None:
    """`-` is standard output: as it comes, tshark reads it."""
    line = " ".join([f"'{word}'" for word in [*CTL, "capture", "-", f"--unixsock={seeing.path}", "--count", "5"]])
    done = subprocess.run(
        ["sh", "-c", f"{line} | tshark -l -r - 2>/dev/null"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment(),
    )
    assert done.stdout.count("1.1.1.1") == 5


def test_a_capture_as_json(seeing: Service) -> None:
    done = jupiter(seeing, "capture", "-", "--count", "2", "--json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(row["direction"], row["dev"]) for row in rows] == [("in", "jupiter0")] * 2


def test_lost_packets_are_told(seeing: Service, tmp_path: Path) -> None:
    """Of a trace where they are missing, of a capture at the end."""
    tracing = started(seeing, "trace", "--seconds", "1")
    assert until(lambda: bool(seeing.datapath.watches))
    seeing.datapath.watches[0].lost = 7
    output, _ = tracing.communicate(timeout=20)
    assert "... 7 packets are missing here" in output
    capturing = started(seeing, "capture", str(tmp_path / "x"), "--seconds", "1")
    assert until(lambda: len(seeing.datapath.watches) > 1)
    seeing.datapath.watches[1].lost = 8
    _, told = capturing.communicate(timeout=20)
    assert "5 packets in " in told
    assert ", 8 more are missing" in told


# How it ends


def test_it_ends_after_its_seconds(service: Service) -> None:
    done = jupiter(service, "trace", "--seconds", "1")
    assert (done.returncode, done.stdout) == (exits.DONE, "")
    assert has_ended(service)


def test_ctrl_c_ends_a_capture_as_a_whole_file(seeing: Service, tmp_path: Path) -> None:
    """What came until then is in it, and nothing is watched any more."""
    path = tmp_path / "x.pcapng"
    process = started(seeing, "capture", str(path))
    assert until(lambda: path.exists() and path.stat().st_size > 5 * len(FRAME))
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=20)
    assert (process.returncode, told) == (exits.DONE, f"5 packets in {path}.\n")
    with PcapNgReader(str(path)) as reader:
        assert len(list(reader)) == 5
    assert until(lambda: has_ended(seeing))


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_a_client_that_goes_away_ends_it(service: Service, end: int) -> None:
    """However it goes."""
    process = started(service, "trace", "--seconds", "3600")
    assert until(lambda: bool(service.datapath.watches))
    process.send_signal(end)
    process.communicate(timeout=20)
    assert until(lambda: has_ended(service))


def test_a_reader_that_leaves_ends_it(seeing: Service) -> None:
    """`trace | head` ends with the next packets."""
    seeing.datapath.seen = [SEEN] * 4000
    line = " ".join([f"'{word}'" for word in [*CTL, "trace", f"--unixsock={seeing.path}", "--count", "5000"]])
    done = subprocess.run(
        ["sh", "-c", f"{line} | head -n 1"], capture_output=True, cwd=ROOT, env=environment(), timeout=20
    )
    assert done.stderr == b""
    assert until(lambda: has_ended(seeing))


def test_one_at_a_time(service: Service) -> None:
    """The second is told who watches, and the first goes on; after its end another one may."""
    with service.client() as first, service.client() as second:
        page = first.call("trace", seconds=60)
        with pytest.raises(
            JupiterError, match=rf"already, by uid {os.getuid()} .*pid {os.getpid()}: one watch"
        ) as error:
            second.call("trace", seconds=60)
        assert error.value.code == "watch-busy"
        assert first.call("trace", seconds=60, cursor=page["cursor"])["cursor"]
        first.close()
        assert until(lambda: has_ended(service))
        second.call("capture", file="x", seconds=60)


def test_a_connection_begins_anew(service: Service) -> None:
    """Its own former watch does not stand in its way."""
    with service.client() as client:
        client.call("trace", seconds=60)
        client.call("capture", file="x", seconds=60)
    assert [watch.ended for watch in service.datapath.watches][:1] == [True]


# Who may, and what is wrong


@pytest.mark.parametrize(("method", "params"), [("trace", {}), ("capture", {"file": "x"})])
def test_not_on_the_read_only_socket(read_only: Service, method: str, params: dict[str, str]) -> None:
    """Counters are for many, payloads are not."""
    with Client(read_only.path) as client:
        with pytest.raises(JupiterError, match=f"Command {method} shows what is in packets") as error:
            client.call(method, **params)
        assert error.value.code == "read-only"
        assert client.call("version")
    assert read_only.datapath.watches == []


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["trace", "sctp"], "Invalid parameter: sctp, expected any of tcp, udp, icmp, arp, drop=REASON"),
        (["trace", "tcp", "udp"], "Invalid parameter: tcp udp, expected any of tcp"),
        (["trace", "drop=a", "drop=b"], "Invalid parameter: drop=a drop=b"),
        (["trace", "drop="], "Invalid parameter: drop="),
        (["trace", "server=1.1.1.1"], "Invalid parameter: server=1.1.1.1"),
        (["trace", ":1", ":2", ":3", ":4", ":5"], "Invalid parameter: :1 :2 :3 :4 :5"),
        (["trace", "--count", "0"], "Invalid parameter: 0, expected a number of packets from 1 to 10000."),
        (["trace", "--count"], "--count is without its N for command trace, expected trace [MATCH ...] [--count N]"),
        (["trace", "--seconds=3601"], "Invalid parameter: 3601, expected seconds from 1 to 3600."),
        (["capture"], "Too few parameters for command capture, expected capture FILE [MATCH ...]"),
        (["capture", "x", "--snaplen", "63"], "Invalid parameter: 63, expected bytes of each packet from 64 to 16384."),
    ],
)
def test_wrong_words_are_named(service: Service, words: list[str], text: str) -> None:
    done = jupiter(service, *words)
    assert (done.returncode, done.stdout) == (exits.USAGE, "")
    assert done.stderr.startswith(text)
    assert service.datapath.watches == []


def test_a_file_stays_when_nothing_can_be_captured(service: Service, tmp_path: Path) -> None:
    """It is emptied once the watch has begun, not before."""
    path = tmp_path / "x.pcapng"
    path.write_text("precious")
    with service.client() as other:
        other.call("trace", seconds=60)
        done = jupiter(service, "capture", str(path))
    assert done.returncode == exits.FAILED
    assert path.read_text() == "precious"


@pytest.mark.parametrize(("name", "reason"), [("no/where", "No such file or directory"), ("", "Is a directory")])
def test_a_file_that_cannot_be_written_is_named(service: Service, tmp_path: Path, name: str, reason: str) -> None:
    done = jupiter(service, "capture", f"{tmp_path}/{name}")
    assert (done.returncode, done.stderr) == (exits.FAILED, f"Cannot write {tmp_path}/{name}: {reason}.\n")
    assert until(lambda: has_ended(service))
