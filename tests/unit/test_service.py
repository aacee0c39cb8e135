"""jupiter-service before there is a data plane: its options, its configuration, its pid file, its background."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from jupiter.daemon import PidFile
from jupiter.errors import JupiterError
from tests.host.waiting import until

ROOT = Path(__file__).parents[2]
SERVICE = [sys.executable, "-c", "from jupiter.service import main; main()"]


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=30, cwd=ROOT
    )


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
    for option in ("--conf", "--daemon", "--check", "--unixsock", "--pidfile", "--log", "--version", "--instance"):
        assert option in done.stdout
    for text in (
        "/var/run/jupiter-NAME.sock",
        "Examples:",
        "jupiter-service --instance=blue",
        "Exit codes:",
        "130, 143",
    ):
        assert text in done.stdout
    assert service("--version").stdout == "jupiter-service, version 0.1.0\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--instance=blue"], "/etc/jupiter/blue.cfg: cannot read it"),
        (["--instance=blue", "--conf=/nonexistent/own.cfg"], "/nonexistent/own.cfg: cannot read it"),
        (["--instance=../blue"], "Invalid instance ../blue"),
        (["--watchdog=-1"], "--watchdog"),
        (["--log-level=loud"], "--log-level"),
    ],
)
def test_an_instance_has_a_configuration_of_its_own(arguments: list[str], said: str) -> None:
    """By its name, unless another one is given; a wrong option ends it with 2 as a wrong configuration does."""
    done = service(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


@pytest.mark.parametrize(("options", "traceback"), [([], False), (["--debug"], True)])
def test_an_error_that_nobody_thought_of_is_one_line(tmp_path: Path, options: list[str], traceback: bool) -> None:
    """On stderr and, with --daemon, in the foreground's words too; a traceback only with --debug."""
    broken = (
        "from jupiter import service; import sys\n"
        "def run(*_): raise ZeroDivisionError('no way')\n"
        "service.run = run; service.main()"
    )
    line = "ZeroDivisionError: no way (--debug shows more)\n"
    paths = ["--conf=etc/jupiter.cfg", f"--log={tmp_path}/log"]
    done = python(broken, *paths, *options)
    assert (done.returncode, "Traceback" in done.stderr) == (70, traceback)
    assert done.stderr.endswith(f" CRITICAL Unexpected {line}")
    done = python(broken, *paths, *options, "--daemon")
    assert (done.returncode, done.stderr) == (70, f"Unexpected {line}")
    assert until(lambda: ("Traceback" if traceback else line) in (tmp_path / "log").read_text())


def test_a_wrong_file_is_an_error_in_the_journal(tmp_path: Path) -> None:
    """Each line of it with its priority."""
    with (tmp_path / "journal").open("w") as journal:
        stream = os.fstat(journal.fileno())
        done = subprocess.run(
            [*SERVICE, "--conf=/nonexistent/jupiter.cfg"],
            stderr=journal,
            cwd=ROOT,
            env=os.environ | {"JOURNAL_STREAM": f"{stream.st_dev}:{stream.st_ino}"},
        )
    said = "<2>/nonexistent/jupiter.cfg: cannot read it: No such file or directory\n"
    assert (done.returncode, (tmp_path / "journal").read_text()) == (2, said)


def test_a_thread_that_dies_takes_the_process_along() -> None:
    """One line that names it, and a code; else the service would go on without its packets or its watchdog."""
    done = python(
        "from jupiter import daemon, log; import threading, time\n"
        "log.setup(); daemon.end_with_any_thread()\n"
        "threading.Thread(target=lambda: 1 / 0, name='kernel_loop').start(); time.sleep(30)"
    )
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert "CRITICAL thread died: kernel_loop: ZeroDivisionError: division by zero (--debug shows more)" in line


SIGNALS = """
import os, signal, sys
from jupiter import daemon, exits
def serve():
    def reload(): print("reload", flush=True)
    def stop(): print("stop", flush=True); daemon.ignore_signals(); os.kill(os.getpid(), signal.SIGTERM); sys.exit(0)
    os.kill(os.getpid(), signal.SIGHUP)
    {first}
    daemon.call_on_signals(stop, reload)
    print("serving", flush=True)
    os.kill(os.getpid(), signal.SIGHUP)
    os.kill(os.getpid(), signal.SIGTERM)
daemon.terminate_on_signals()
sys.exit(exits.run(serve, exits.say, debug=False))
"""


def test_sighup_reloads_and_one_that_came_early_is_not_lost() -> None:
    """While it starts SIGHUP waits; then it calls reload, as each later one does. After stop no signal disturbs."""
    done = python(SIGNALS.format(first=""))
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, ["reload", "serving", "reload", "stop"], "")


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_while_it_starts_ends_it_with_its_number(name: str, code: int) -> None:
    """128 and the signal's number, as a shell says it, and one line."""
    done = python(SIGNALS.format(first=f"os.kill(os.getpid(), signal.{name})"))
    assert (done.returncode, done.stdout, done.stderr) == (code, "", f"Interrupted by {name}.\n")


def test_only_one_holds_the_pid_file(tmp_path: Path) -> None:
    """The second is refused, with the pid of the first; then the file is gone."""
    path = tmp_path / "jupiter.pid"
    hold = f"from pathlib import Path; from jupiter.daemon import PidFile; PidFile(Path({str(path)!r})).__enter__()"
    with PidFile(path):
        assert path.read_text().strip().isdigit()
        done = python(hold)
        assert f"jupiter-service is running. Its pid is {os.getpid()}, in {path}." in done.stderr
    assert not path.exists()
    assert python(hold).returncode == 0


@pytest.mark.parametrize("left", [b"999999999\n", b"", b"many\n", b"\xff\x00" * 1000, b"%d\n" % os.getppid()])
def test_a_pid_file_that_nobody_holds_is_taken_over(tmp_path: Path, left: bytes) -> None:
    """Whatever is in it: a dead one's pid, one that is another process by now, rubbish."""
    path = tmp_path / "jupiter.pid"
    path.write_bytes(left)
    with PidFile(path):
        assert path.read_text() == f"{os.getpid()}\n"


def test_a_pid_file_with_rubbish_that_is_held_is_refused_all_the_same(tmp_path: Path) -> None:
    """The lock says that it is running, not what stands in the file."""
    path = tmp_path / "jupiter.pid"
    with PidFile(path):
        path.write_text("rubbish")
        with pytest.raises(JupiterError, match=r"^jupiter-service is running\.$"), PidFile(path):
            pass


@pytest.mark.parametrize(("pid", "taken"), [("999999999", True), (str(os.getpid()), False)])
def test_one_that_is_just_being_ended_is_waited_for(tmp_path: Path, pid: str, taken: bool) -> None:
    """The kernel takes a killed process apart before it gives back its locks; one that lives is refused at once."""
    path = tmp_path / "jupiter.pid"
    hold = (
        f"import fcntl, sys; f = open({str(path)!r}, 'w'); fcntl.flock(f, fcntl.LOCK_EX); f.write({pid!r}); f.flush()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", f"{hold}; print(flush=True); sys.stdin.read()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout
    holder.stdout.readline()
    threading.Timer(0.3, holder.communicate).start()
    try:
        with PidFile(path):
            assert taken
    except JupiterError as error:
        assert (error.code, taken) == ("already-running", False)
    holder.wait(10)


def test_a_pid_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(JupiterError, match=r"Cannot write pid file .*/no/jupiter.pid: No such file"),
        PidFile(tmp_path / "no/jupiter.pid"),
    ):
        pass


def test_a_process_that_is_unfit_goes_on_as_another(tmp_path: Path) -> None:
    """The background has another pid then, and the foreground hears of it all the same."""
    done = python(
        "import os; from pathlib import Path; from jupiter import daemon;"
        f"report = daemon.detach(Path({str(tmp_path)!r}, 'log'));"
        "first = os.getpid(); daemon.move_on_while(lambda: os.getpid() == first);"
        "report(f'another: {os.getpid() != first}', 0)"
    )
    assert (done.returncode, done.stderr) == (0, "another: True\n")


@pytest.mark.parametrize(
    ("background", "code", "text"),
    [
        ("report(None, 0)", 0, ""),
        ("report('no memory', 1)", 1, "no memory\n"),
        ("report('line 1\\nline 2', 2)", 2, "line 1\nline 2\n"),
        ("report(None, 0); report('no memory', 1)", 0, ""),
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
