"""jupiter-service before there is a data plane: its options, its configuration, its pid file, its background."""

import subprocess
import sys
from pathlib import Path

import pytest

from jupiter.daemon import PidFile
from jupiter.errors import JupiterError

ROOT = Path(__file__).parents[2]
SERVICE = [sys.executable, "-c", "from jupiter.service import main; main()"]


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, cwd=ROOT)


def service(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*SERVICE, *arguments], capture_output=True, text=True, timeout=30, cwd=ROOT)


def test_a_right_file_passes_the_check() -> None:
    done = service("--check", "--conf=etc/jupiter.cfg")
    assert (done.returncode, done.stdout) == (0, f"{ROOT}/etc/jupiter.cfg is valid.\n")


@pytest.mark.parametrize("options", [["--check"], [], ["--daemon"]])
def test_a_wrong_file_ends_it_with_2_and_all_problems_on_stderr(tmp_path: Path, options: list[str]) -> None:
    path = tmp_path / "wrong.cfg"
    path.write_text("[DPDK]\nargv = -l 0\nhugepages = some\n")
    done = service(f"--conf={path}", *options)
    assert (done.returncode, done.stdout) == (2, "")
    problems = done.stderr.splitlines()
    assert len(problems) == 3
    assert [line.partition(" ")[0] for line in problems] == [f"{path}:2:", f"{path}:3:", f"{path}:"]
    assert "at least two lcores, one main and one or more workers" in done.stderr


def test_a_missing_file_is_named() -> None:
    done = service("--conf=/nonexistent/jupiter.cfg")
    assert (done.returncode, done.stderr) == (
        2,
        "/nonexistent/jupiter.cfg: cannot read it: No such file or directory\n",
    )


def test_options_are_explained() -> None:
    done = service("--help")
    assert done.returncode == 0
    for option in ("--conf", "--daemon", "--check", "--unixsock", "--pidfile", "--log", "--version"):
        assert option in done.stdout
    assert service("--version").stdout == "jupiter-service, version 0.1.0\n"


def test_only_one_holds_the_pid_file(tmp_path: Path) -> None:
    path = tmp_path / "jupiter.pid"
    hold = f"from pathlib import Path; from jupiter.daemon import PidFile; PidFile(Path({str(path)!r})).__enter__()"
    with PidFile(path):
        assert path.read_text().strip().isdigit()
        done = python(hold)
        assert "JupiterError: jupiter-service is running." in done.stderr
    assert not path.exists()
    assert python(hold).returncode == 0


def test_a_pid_file_left_by_a_killed_service_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "jupiter.pid"
    path.write_text("999999999 and more\n")
    with PidFile(path):
        assert path.read_text().strip().isdigit()


def test_a_pid_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(JupiterError, match=r"Cannot write pid file .*/no/jupiter.pid: No such file"),
        PidFile(tmp_path / "no/jupiter.pid"),
    ):
        pass


@pytest.mark.parametrize(
    ("background", "code", "text"),
    [
        ("report(None)", 0, ""),
        ("report('no memory')", 1, "no memory\n"),
        ("raise SystemExit(3)", 1, "jupiter-service ended while it started; its log is {log}.\n"),
    ],
)
def test_the_foreground_tells_how_the_background_started(tmp_path: Path, background: str, code: int, text: str) -> None:
    """It returns when the service answers, or says why it cannot."""
    log = tmp_path / "log"
    done = python(
        f"from pathlib import Path; from jupiter.daemon import detach; report = detach(Path({str(log)!r}));"
        f"print('from the background', flush=True); {background}"
    )
    assert (done.returncode, done.stderr, done.stdout) == (code, text.format(log=log), "")
    assert log.read_text() == "from the background\n"
