"""Commands that take or write files: apply, diff, check, save."""

import io
import json
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Self

import pytest

from jupiter import cli, exits
from jupiter.errors import JupiterError
from tests.control.running import ctl
from tests.control.scripted import ScriptedService

TEXT = "[VS 10.0.1.1:8888 tcp]\nscheduler = wrr\n"
DONE = {"added": 1, "changed": 0, "removed": 0, "servers_added": 2, "servers_changed": 0, "servers_removed": 0}


class FakeClient:
    """Remembers what was sent, in order."""

    sent: ClassVar[list[tuple[str, object]]] = []
    answers: ClassVar[dict[str, Any]] = {"apply": DONE, "check": {"services": 1, "servers": 2}, "diff": []}

    def __init__(self, path: str) -> None:
        self.sent.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def draft(self, text: str) -> None:
        self.sent.append(("draft", text))

    def call(self, method: str, **params: object) -> Any:
        self.sent.append((method, params))
        return self.answers[method]

    def rows(self, method: str, **params: object) -> Iterator[Any]:
        return iter(self.call(method, **params))


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, object]]:
    monkeypatch.setattr(cli, "Client", FakeClient)
    return FakeClient.sent


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "services.cfg"
    path.write_text(TEXT)
    return str(path)


@pytest.mark.parametrize("name", ["apply", "diff", "check"])
def test_a_file_goes_ahead_of_its_command(sent: list[tuple[str, object]], file: str, name: str) -> None:
    """B28: the service gets the text, and the name to use in errors; it need not be able to read the file itself."""
    assert cli.run([name, file]) == exits.DONE
    assert sent == [("draft", TEXT), (name, {"file": file})]


def test_standard_input_is_a_file(sent: list[tuple[str, object]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of which errors say that it is no file."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(TEXT.encode())))
    assert cli.run(["apply", "-", "reset"]) == exits.DONE
    assert sent == [("draft", TEXT), ("apply", {"file": "standard input", "policy": "reset"})]


def test_what_was_done_is_said_in_words_or_json(
    sent: list[tuple[str, object]], file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.run(["apply", file])
    assert capsys.readouterr().out == "Services: 1 added.\nServers: 2 added.\n"
    cli.run(["apply", file, "--json"])
    assert json.loads(capsys.readouterr().out) == DONE
    cli.run(["check", file])
    assert capsys.readouterr().out == "Valid: 1 service, 2 servers.\n"
    cli.run(["diff", file])
    assert capsys.readouterr().out == "Nothing would change.\n"
    cli.run(["diff", file, "--json"])
    assert json.loads(capsys.readouterr().out) == []


@pytest.mark.parametrize(("stdin", "name"), [("", "/none/x.cfg"), (None, "/")])
def test_a_file_that_cannot_be_read_reaches_nobody(sent: list[tuple[str, object]], stdin: str, name: str) -> None:
    sent[:] = []
    assert cli.run(["apply", name]) == exits.USAGE
    assert sent == []


@pytest.fixture
def saving(directory: Path) -> Iterator[ScriptedService]:
    lines = [f"line {n}" for n in range(3000)]
    with ScriptedService(directory / "jupiter.sock", {"save": lines}) as service:
        yield service


def test_what_runs_is_printed_or_written(saving: ScriptedService, directory: Path) -> None:
    """The same lines, in as many pages as they take."""
    where, text = f"--unixsock={saving.path}", "".join(f"line {n}\n" for n in range(3000))
    assert ctl("save", where).stdout == ctl("save", "-", where).stdout == text
    done = ctl("save", f"{directory}/services.cfg", where)
    assert (done.returncode, done.stdout, done.stderr) == (exits.DONE, "", "")
    assert (directory / "services.cfg").read_text() == text


def test_a_file_that_cannot_be_saved_whole_stays_as_it_was(saving: ScriptedService, directory: Path) -> None:
    """With its mode; and the exit code says so."""
    file = directory / "services.cfg"
    file.write_text("precious\n")
    file.chmod(0o600)

    pages = iter([["line"] * 2000, JupiterError("internal", "It broke.")])
    saving.script["save"] = lambda: next(pages)
    done = ctl("save", str(file), f"--unixsock={saving.path}")
    assert (done.returncode, done.stderr) == (exits.FAILED, "It broke.\n")
    assert file.read_text() == "precious\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert sorted(p.name for p in directory.iterdir()) == ["jupiter.sock", "services.cfg"]


def test_a_place_that_cannot_be_written_is_named(saving: ScriptedService) -> None:
    done = ctl("save", "/none/x.cfg", f"--unixsock={saving.path}")
    assert done.returncode == exits.FAILED
    assert done.stderr == "Cannot write /none/x.cfg: No such file or directory.\n"


def test_save_takes_one_file(saving: ScriptedService) -> None:
    done = ctl("save", "a", "b", f"--unixsock={saving.path}")
    assert done.returncode == exits.USAGE
    assert done.stderr == "Too many parameters for command save, expected save [FILE] [--json].\n"
