"""jupiter-ctl as an operator uses it: a process of its own, text and JSON on stdout, errors on stderr."""

import json
from pathlib import Path

import pytest

from jupiter import exits
from tests.control.conftest import Service
from tests.control.running import ctl

VS = ("10.0.1.1:8888", "tcp")


def out(service: Service, *words: str) -> str:
    """What a command prints that succeeds."""
    done = ctl(*words, f"--unixsock={service.path}")
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.fixture
def configured(service: Service) -> Service:
    """With the mission's service, typed as the mission says."""
    assert out(service, "vs/add", *VS, "wrr") == ""
    assert out(service, "rs/add", *VS, "1.1.1.3:80", "7") == ""
    assert out(service, "rs/add", *VS, "1.1.1.4:80", "7") == ""
    return service


def test_lists_are_tables(configured: Service) -> None:
    assert out(configured, "vs/list").splitlines() == [
        "IP        Port  Type  Sched   Max_conns  synproxy  toa  est_timeout  "
        "max_rate  cql  persistence  persistence_scope  mss",
        "10.0.1.1  8888  tcp   wrr    2147483647         0    0            0  "
        "       0    0            0  service              0",
    ]
    assert out(configured, "rs/list", *VS).splitlines() == [
        "IP       Port  Type  Status  Weight  State     Max_conns  Backup",
        "1.1.1.3    80  tcp   up           7  enabled  2147483647  off",
        "1.1.1.4    80  tcp   up           7  enabled  2147483647  off",
    ]


def test_weight_is_asked_and_set(configured: Service) -> None:
    assert out(configured, "rs/weight", *VS, "1.1.1.3:80") == "weight: 7\n"
    assert out(configured, "rs/weight", *VS, "1.1.1.3:80", "0") == ""
    assert json.loads(out(configured, "rs/weight", *VS, "1.1.1.3:80", "--json")) == {"weight": 0}


def test_counters_are_a_line_each(configured: Service) -> None:
    lines = out(configured, "vs/stats", *VS).splitlines()
    assert lines[:3] == ["active-conns: 1", "history-conns: 20", "[c2v]packets: 307"]
    assert out(configured, "netdev/stats").splitlines()[:2] == ["dev: jupiter0", "  RX-packets: 1"]


@pytest.mark.parametrize(
    "words",
    [
        ["vs/list"],
        ["rs/list", *VS],
        ["vs/stats", *VS],
        ["rs/stats", *VS, "1.1.1.3:80"],
        ["netdev/ipaddr"],
        ["netdev/stats"],
        ["drops"],
        ["arp/list"],
        ["tcp/conn/dump"],
        ["udp/conn/dump"],
        ["version"],
        ["list-command"],
    ],
    ids=lambda words: words[0],
)
def test_every_reading_command_has_json(configured: Service, words: list[str]) -> None:
    """--json before or after the command, and the same either way."""
    after = json.loads(out(configured, *words, "--json"))
    assert after
    assert json.loads(out(configured, "--json", *words)) == after


def test_an_empty_list_is_one_in_json_too(service: Service) -> None:
    assert json.loads(out(service, "vs/list", "--json")) == []


def test_a_dump_is_a_line_for_each_connection(service: Service) -> None:
    lines = out(service, "tcp/conn/dump").splitlines()
    assert len(lines) == 2500
    assert lines[-1] == (
        "cip: 1.1.1.1, cport: 3523, vip: 10.0.1.1, vport: 80, lip: 10.0.2.1, lport: 5000, rip: 1.1.1.3, rport: 80, "
        "flags: 0, state: OPEN, usetime: 1, timeout: 60"
    )


def test_unixsock_comes_anywhere(service: Service) -> None:
    socket = f"--unixsock={service.path}"
    for words in ([socket, "version"], ["version", socket], ["version", "--unixsock", str(service.path)]):
        assert ctl(*words).stdout == "version: 0.1.0\n"


@pytest.mark.parametrize("name", ["stop", "exit", "quit"])
def test_stop_has_three_names(service: Service, name: str) -> None:
    assert out(service, name) == ""
    assert service.stopped.wait(10)


@pytest.mark.parametrize(
    ("words", "text", "code"),
    [
        (["vs/del", "10.0.9.9:1", "udp"], "Cannot find virt service 10.0.9.9:1 udp.", exits.FAILED),
        (["vs/add", *VS], "Virt service 10.0.1.1:8888 tcp already exists.", exits.FAILED),
        (
            ["rs/add", *VS, "1.1.1.5:80", "-1"],
            "Invalid parameter: -1, expected a weight from 0 to 65535.",
            exits.USAGE,
        ),
        (["foo"], "Unknown command foo, list-command lists them.", exits.USAGE),
    ],
)
def test_errors_are_one_line_on_stderr(configured: Service, words: list[str], text: str, code: int) -> None:
    done = ctl(f"--unixsock={configured.path}", *words)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", f"{text}\n")


def test_what_runs_is_saved_judged_and_applied(configured: Service, directory: Path) -> None:
    """B28: a file that was saved says what runs; a server taken out of it is removed, and nothing else."""
    file = str(directory / "services.cfg")
    assert out(configured, "save", file) == ""
    assert out(configured, "check", file) == "Valid: 1 service, 2 servers.\n"
    assert out(configured, "diff", file) == "Nothing would change.\n"
    assert out(configured, "apply", file) == "Nothing changed.\n"
    assert out(configured, "rs/weight", *VS, "1.1.1.4:80", "3") == ""
    assert "1.1.1.4:80" in out(configured, "diff", file)
    assert "1 changed" in out(configured, "apply", file)
    assert out(configured, "rs/weight", *VS, "1.1.1.4:80") == "weight: 7\n"
