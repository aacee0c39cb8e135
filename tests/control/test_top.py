"""`jupiter-ctl top` in a real terminal, against a service that answers from a script."""

import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jupiter import exits
from tests.control.running import CTL, ROOT, ctl, environment
from tests.control.scripted import ScriptedService
from tests.control.terminal import Terminal, terminal
from tests.control.traffic import Traffic

TOP = f'{sys.executable} -c "{CTL[-1]}" top --interval=0.2'


@pytest.fixture
def scripted(directory: Path) -> Iterator[ScriptedService]:
    with ScriptedService(directory / "jupiter.sock", Traffic(5).script()) as service:
        yield service


@pytest.fixture
def shell(directory: Path) -> Iterator[Terminal]:
    """In which `top` runs as an operator's command; echo says whether the terminal is as it was."""
    variables = {**environment(JUPITER_SOCK=str(directory / "jupiter.sock")), "PYTHONPATH": str(ROOT)}
    with terminal(["bash", "--norc", "-i"], variables) as opened:
        opened.wait_for(lambda screen: screen.strip())
        opened.type("PS1='ready> '; clear")
        opened.press("Enter")
        opened.wait_for(lambda screen: screen.strip() == "ready>")
        opened.type(f"{TOP}; echo code $?; stty -a | tr ' ' '\\n' | grep -x -e -*echo -e -*icanon")
        opened.press("Enter")
        yield opened


def assert_restored(shell: Terminal, code: int) -> None:
    """The prompt is back, what is typed is seen, and nothing of the screen is left."""
    screen = shell.wait_for(f"code {code}\nicanon\necho\nready>")
    assert "Workers" not in screen
    assert shell.tmux("display-message", "-p", "#{cursor_flag}#{alternate_on}") == "10\n"


def pid_of_top(shell: Terminal) -> int:
    """The only child of the shell."""
    bash = int(shell.tmux("display-message", "-p", "#{pane_pid}"))
    return int(Path(f"/proc/{bash}/task/{bash}/children").read_text().split()[0])


def test_services_servers_workers_drops_and_devices_are_seen_live(scripted: ScriptedService, shell: Terminal) -> None:
    """With rates, the busiest service first, and its servers."""
    busiest = re.compile(r"^10\.0\.0\.4:8888 tcp +wrr +2 +4 +\d+ +[34]\.\d+k", re.M)
    screen = shell.wait_for(lambda screen: busiest.search(screen) and "Servers of 10.0.0.4:8888 tcp" in screen)
    for text in ("1.1.1.104:80  down    disabled", "100.0 %", "ttl_expired", "jupiter0"):
        assert text in screen
    shell.wait_for(lambda later: later.splitlines()[0] != screen.splitlines()[0])
    shell.press("q")
    assert_restored(shell, exits.DONE)


def test_a_service_is_chosen_and_the_order_changed_by_keys(scripted: ScriptedService, shell: Terminal) -> None:
    shell.wait_for("Servers of 10.0.0.4:8888 tcp")
    shell.press("Down", "Down", "Down")
    shell.wait_for("Servers of 10.0.0.2:8888 tcp")
    shell.press("Up")
    shell.wait_for("Servers of 10.0.0.3:8888 tcp")
    shell.press("n")
    shell.wait_for("Services: 5, by new connections")
    shell.press("Escape")
    shell.wait_for("Servers of 10.0.0.4:8888 tcp")
    shell.press("Q")
    assert_restored(shell, exits.DONE)


def test_the_screen_follows_the_size_of_the_terminal(scripted: ScriptedService, shell: Terminal) -> None:
    """At once, not at the next look; columns that do not fit are left out."""
    shell.wait_for("Sched")
    for columns, lines in ((60, 20), (30, 8), (140, 45)):
        shell.resize(columns, lines)
        shell.wait_for(lambda screen, wide=columns > 100: ("Sched" in screen) == wide and "Services" in screen)
    shell.press("q")
    shell.wait_for("ready>")


def test_a_restart_of_the_service_is_survived(directory: Path, shell: Terminal) -> None:
    """It is shown as away, with what was seen last, and is found again."""
    shell.wait_for("Away since")
    with ScriptedService(directory / "jupiter.sock", Traffic(5).script()):
        shell.wait_for("Servers of 10.0.0.4:8888 tcp")
    screen = shell.wait_for("Away since")
    assert "10.0.0.4:8888 tcp" in screen
    with ScriptedService(directory / "jupiter.sock", Traffic(2).script()):
        screen = shell.wait_for("Servers of 10.0.0.1:8888 tcp")
        assert "Away" not in screen
        assert "Services: 2" in screen
        shell.press("q")
        assert_restored(shell, exits.DONE)


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, exits.INTERRUPTED)],
    ids=["SIGTERM", "SIGHUP", "SIGINT"],
)
def test_the_terminal_is_as_before_however_it_ends(
    scripted: ScriptedService, shell: Terminal, number: signal.Signals, code: int
) -> None:
    shell.wait_for("Workers")
    os.kill(pid_of_top(shell), number)
    if number is signal.SIGINT:  # bash takes a Ctrl-C of its child for one of its own line
        shell.wait_for(lambda screen: "Workers" not in screen and screen.rstrip().endswith("ready>"))
    else:
        assert_restored(shell, code)


def test_an_error_in_the_middle_restores_it_too(scripted: ScriptedService, shell: Terminal) -> None:
    shell.wait_for("Workers")
    scripted.script["drops"] = []
    scripted.script["netdev/stats"] = [{"unexpected": 1}]
    assert_restored(shell, exits.INTERNAL)


def test_ctrl_z_gives_the_terminal_back_and_fg_takes_it_again(scripted: ScriptedService, shell: Terminal) -> None:
    shell.wait_for("Workers")
    shell.press("C-z")
    shell.wait_for(lambda screen: "Stopped" in screen and "Workers" not in screen)
    shell.type("fg")
    shell.press("Enter")
    shell.wait_for("Workers")
    shell.press("q")
    shell.wait_for(lambda screen: "Workers" not in screen and screen.rstrip().endswith("ready>"))


def test_once_prints_one_screen_for_scripts(scripted: ScriptedService) -> None:
    """So it does where stdout is no terminal; without control sequences, 50 lines of 160 or what is asked for."""
    where = f"--unixsock={scripted.path}"
    for words in (["top", "--once", "--interval=0.2", where], ["top", "--interval=0.2", where]):
        done = ctl(*words)
        assert (done.returncode, done.stderr) == (exits.DONE, "")
        assert "\x1b" not in done.stdout
        assert re.search(r"^10\.0\.0\.4:8888 tcp +wrr +2 +4 +\d+ +[34]\.\d+k", done.stdout, re.M)
        assert re.search(r"^1\.1\.1\.4:80 +up +enabled +7 +4 +\d+", done.stdout, re.M)
        assert len(done.stdout.splitlines()) <= 50
    assert ctl(*words, COLUMNS="many", LINES="").returncode == exits.DONE
    small = ctl(*words, COLUMNS="40", LINES="10").stdout.splitlines()
    assert len(small) == 10
    assert max(map(len, small)) <= 40


def test_once_without_a_service_is_an_error(directory: Path) -> None:
    done = ctl("top", "--once", f"--unixsock={directory}/none.sock")
    assert (done.returncode, done.stdout) == (exits.NO_SERVICE, "")
    assert done.stderr == f"jupiter-service does not answer on {directory}/none.sock: No such file or directory.\n"


@pytest.mark.parametrize("interval", ["0", "-1", "x", "nan"])
def test_an_interval_that_is_none_is_refused(interval: str) -> None:
    done = ctl("top", f"--interval={interval}")
    assert done.returncode == exits.USAGE
    assert done.stderr.startswith("Invalid value for '--interval'")


def test_a_terminal_that_can_do_nothing_gets_one_screen(scripted: ScriptedService, directory: Path) -> None:
    """TERM=dumb, as editors have it."""
    variables = {**environment(JUPITER_SOCK=str(directory / "jupiter.sock")), "PYTHONPATH": str(ROOT)}
    with terminal(["bash", "--norc", "-i"], variables) as opened:
        opened.type(f"clear; TERM=dumb {TOP}; echo code $?")
        opened.press("Enter")
        assert "Servers of 10.0.0.4:8888 tcp" in opened.wait_for("code 0\n")
