"""How jupiter-ctl ends: exit codes, errors for people and for programs, never a traceback."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from jupiter import cli, exits
from jupiter.errors import JupiterError
from tests.control.running import CTL, ROOT, ctl, environment
from tests.control.scripted import ScriptedService, server_row, service_row
from tests.control.traffic import Traffic
from tests.host.waiting import until

VS = ("10.0.1.1:8888", "tcp")
MANY = 20_000
"""Rows; far more than a pipe holds."""


@pytest.fixture
def scripted(directory: Path) -> Iterator[ScriptedService]:
    script = {
        **Traffic().script(),
        "vs/list": [service_row()],
        "rs/list": [server_row()],
        "vs/add": None,
        "vs/del": JupiterError("service-not-found", "Cannot find virt service 10.0.1.1:8888 tcp."),
        "rs/add": JupiterError("invalid-argument", "Invalid real server: 1.1.1.2 is the director's own on jupiter0."),
        "vs/traffic": [service_row(n) for n in range(MANY)],
        "version": {"version": "0.1.0"},
    }
    with ScriptedService(directory / "jupiter.sock", script) as service:
        yield service


def started(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*CTL, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment()
    )


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (["vs/list"], exits.DONE, ""),
        (["vs/add", *VS], exits.DONE, ""),
        (["--help"], exits.DONE, ""),
        (["--version"], exits.DONE, ""),
        (["vs/del", *VS], exits.FAILED, "Cannot find virt service 10.0.1.1:8888 tcp."),
        (
            ["rs/add", *VS, "1.1.1.2:80"],
            exits.USAGE,
            "Invalid real server: 1.1.1.2 is the director's own on jupiter0.",
        ),
        (["vs/lits"], exits.USAGE, "Unknown command vs/lits, did you mean vs/list?"),
        (
            ["vs/add", "10.0.1.1:0", "tcp"],
            exits.USAGE,
            "Invalid parameter: 10.0.1.1:0 tcp, expected VIP:VPORT tcp|udp",
        ),
        (["vs/list", "x"], exits.USAGE, "Too many parameters for command vs/list, expected vs/list [--json]."),
        (["--foo", "vs/list"], exits.USAGE, "No such option"),
        (["completion", "tcsh"], exits.USAGE, "Invalid value for '{bash|zsh|fish}'"),
        (["apply", "/none/services.cfg"], exits.USAGE, "Cannot read /none/services.cfg: No such file or directory."),
    ],
)
def test_each_end_has_its_code_and_its_line(scripted: ScriptedService, words: list[str], code: int, error: str) -> None:
    done = ctl(f"--unixsock={scripted.path}", *words)
    assert (done.returncode, done.stderr.count("\n")) == (code, int(bool(error)))
    assert done.stderr.startswith(error)


def test_a_service_that_does_not_run_is_one_clear_line(directory: Path) -> None:
    done = ctl("vs/list", f"--unixsock={directory}/none.sock")
    assert (done.returncode, done.stdout) == (exits.NO_SERVICE, "")
    assert done.stderr == f"jupiter-service does not answer on {directory}/none.sock: No such file or directory.\n"


def test_a_service_that_goes_away_while_it_answers_is_told(scripted: ScriptedService) -> None:
    """What had come is printed."""
    with started("vs/traffic", f"--unixsock={scripted.path}") as process:
        assert process.stdout is not None
        process.stdout.readline()
        scripted.silent = True
        scripted.hang_up()
        _, error = process.communicate(timeout=30)
    assert process.returncode == exits.NO_SERVICE
    assert error.startswith(f"jupiter-service on {scripted.path}")
    assert error.count("\n") == 1


def test_a_wrong_argument_is_found_without_the_service(directory: Path) -> None:
    done = ctl("vs/add", "10.0.1.1:0", "tcp", f"--unixsock={directory}/none.sock")
    assert done.returncode == exits.USAGE
    assert done.stderr.startswith("Invalid parameter: 10.0.1.1:0 tcp, expected VIP:VPORT tcp|udp")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["vs/del", *VS, "--json"], "service-not-found"),
        (["--json", "vs/del", *VS], "service-not-found"),
        (["--json", "vs/dell"], "unknown-command"),
        (["vs/list", "x", "--json"], "invalid-argument"),
        (["--json", "--foo"], "invalid-argument"),
        (["check", "/none", "--json"], "file-unreadable"),
    ],
)
def test_programs_get_errors_as_json(scripted: ScriptedService, words: list[str], code: str) -> None:
    """One object on stderr, with the stable code."""
    done = ctl(f"--unixsock={scripted.path}", *words)
    assert done.stdout == ""
    error = json.loads(done.stderr)["error"]
    assert error["code"] == code
    assert set(error) == {"code", "message"}


@pytest.mark.parametrize("words", [["vs/traffic"], ["vs/traffic", "--json"]])
def test_a_reader_that_leaves_is_no_error(scripted: ScriptedService, words: list[str]) -> None:
    """`| head`: nothing on stderr."""
    with started(*words, f"--unixsock={scripted.path}") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == exits.UNREAD


@pytest.mark.parametrize("words", [["version"], ["--help"], [], ["top", "--interval=0.1"]])
def test_a_reader_that_was_never_there_is_none_either(scripted: ScriptedService, words: list[str]) -> None:
    """Short answers, too, that Python would only write on its way out."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [*CTL, f"--unixsock={scripted.path}", *words],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        timeout=30,
        cwd=ROOT,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (exits.UNREAD, "")


def test_a_full_disk_is_one_line(scripted: ScriptedService) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*CTL, "version", f"--unixsock={scripted.path}"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=30,
            cwd=ROOT,
        )
    assert (done.returncode, done.stderr) == (
        exits.FAILED,
        "Cannot write the answer: No space left on device.\n",
    )


def test_ctrl_c_ends_it_without_a_word(scripted: ScriptedService) -> None:
    scripted.silent = True
    with started("version", f"--unixsock={scripted.path}") as process:
        assert until(lambda: scripted.connections)
        process.send_signal(signal.SIGINT)
        output, error = process.communicate(timeout=30)
    assert (process.returncode, output, error) == (exits.INTERRUPTED, "", "")


def test_a_fault_of_ours_is_one_line_and_with_debug_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("that should not be")

    monkeypatch.setattr(cli, "_run", broken)
    assert cli.run(["version"]) == exits.INTERNAL
    assert capsys.readouterr().err == "Unexpected ZeroDivisionError: that should not be (--debug shows more)\n"
    assert cli.run(["version", "--debug"]) == exits.INTERNAL
    assert "Traceback (most recent call last)" in capsys.readouterr().err
    assert cli.run(["version", "--json"]) == exits.INTERNAL
    assert json.loads(capsys.readouterr().err)["error"]["code"] == "internal"


@pytest.mark.parametrize("variable", ["JUPITER_SOCK", "JUPITER_INSTANCE"])
def test_the_environment_says_which_service_is_meant(directory: Path, variable: str) -> None:
    done = ctl("version", **{variable: f"{directory}/blue.sock" if variable == "JUPITER_SOCK" else "blue"})
    path = f"{directory}/blue.sock" if variable == "JUPITER_SOCK" else "/var/run/jupiter-blue.sock"
    assert done.stderr == f"jupiter-service does not answer on {path}: No such file or directory.\n"


def test_the_command_line_goes_before_the_environment(directory: Path) -> None:
    """An option behind the command before one ahead of it, JUPITER_SOCK before JUPITER_INSTANCE."""

    def asked(*words: str, **variables: str) -> str:
        return ctl(*words, **variables).stderr.removeprefix("jupiter-service does not answer on ").partition(":")[0]

    both = {"JUPITER_SOCK": f"{directory}/a.sock", "JUPITER_INSTANCE": "b"}
    assert asked("version", **both) == f"{directory}/a.sock"
    assert asked("version", "--instance=c", **both) == "/var/run/jupiter-c.sock"
    assert asked("--instance=c", "version", "--instance=d", **both) == "/var/run/jupiter-d.sock"
    assert asked("--unixsock", f"{directory}/e.sock", "version", **both) == f"{directory}/e.sock"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--instance=../x", "version"], "Invalid instance"),
        (["version", "--instance=a", "--unixsock=/b"], "Give --unixsock or --instance, not both"),
    ],
)
def test_a_service_that_is_named_wrongly_is_refused(words: list[str], text: str) -> None:
    done = ctl(*words)
    assert done.returncode == exits.USAGE
    assert done.stderr.startswith(text)


def test_a_reader_takes_long_answers_as_they_come(scripted: ScriptedService) -> None:
    """All rows of a long answer, in pages."""
    done = ctl("vs/traffic", f"--unixsock={scripted.path}")
    assert done.stdout.count("\n") == 1 + MANY
    assert len(json.loads(ctl("--json", "vs/traffic", f"--unixsock={scripted.path}").stdout)) == MANY
