"""Completion: in real shells, from a running service, without one, and with one that does not answer."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import pytest

from jupiter.completion import PATIENCE
from tests.control.running import CTL, ROOT
from tests.control.scripted import PAGE, ScriptedService, server_row, service_row
from tests.control.terminal import Terminal, terminal
from tests.control.traffic import drop_row
from tests.host.waiting import until

SHELLS = {
    "bash": (["bash", "--norc", "-i"], 'PS1="ready> "; eval "$(jupiter-ctl completion bash)"'),
    "zsh": (
        ["zsh", "-f", "-i"],
        'PS1="ready> "; autoload -U compinit; compinit -u -D; eval "$(jupiter-ctl completion zsh)"',
    ),
    "fish": (
        ["fish", "--no-config", "-i"],
        'function fish_prompt; printf "ready> "; end; jupiter-ctl completion fish | source',
    ),
}


@pytest.fixture
def scripted(directory: Path) -> Iterator[ScriptedService]:
    script = {
        "vs/list": [service_row(1), service_row(2, "udp", ip="10.9.0.1", port=53)],
        "drops": [drop_row("no_service", 1, 0, "No service."), drop_row("ttl_exceeded", 0, 0, "No time.")],
        "rs/list": [server_row(3, ip="1.1.1.3"), server_row(4, ip="2.1.1.4", port=8080)],
        "vs/cql/list": [{"ip": "9.9.9.9", "qps": 0}, {"ip": "8.8.8.8", "qps": 7}],
    }
    with ScriptedService(directory / "jupiter.sock", script) as service:
        yield service


@pytest.fixture
def variables(directory: Path) -> Mapping[str, str]:
    """Of a shell that finds jupiter-ctl, and jupiter-ctl the scripted service."""
    bin = directory / "bin"
    bin.mkdir()
    (bin / "jupiter-ctl").write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -c "{CTL[-1]}" "$@"\n')
    (bin / "jupiter-ctl").chmod(0o755)
    (directory / "services.cfg").touch()
    return {
        "PATH": f"{bin}:{os.environ['PATH']}",
        "HOME": str(directory),
        "LANG": "C.UTF-8",
        "JUPITER_SOCK": str(directory / "jupiter.sock"),
    }


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, variables: Mapping[str, str]) -> Iterator[Terminal]:
    command, setup = SHELLS[request.param]
    if not shutil.which(command[0]):
        pytest.skip(f"{request.param} is not installed")
    with terminal(command, variables) as opened:
        opened.wait_for(lambda screen: screen.strip())
        opened.type(f"cd {variables['HOME']}; {setup}; clear")
        opened.press("Enter")
        opened.wait_for(lambda screen: screen.strip() == "ready>")
        yield opened


def completes(shell: Terminal, completed: str) -> bool:
    """Again where the machine was so busy that the service's answer came too late."""
    shell.press("Tab")
    return until(lambda: f"ready> jupiter-ctl {completed}" in "\n".join(shell.screen()), seconds=5)


@pytest.mark.parametrize("shell", SHELLS, indirect=True)
def test_a_tab_completes_what_is_typed(scripted: ScriptedService, shell: Terminal) -> None:
    """Commands, services with the colon in them, their protocols and servers, fixed words, files and options."""
    for typed, completed in {
        "vs/sche": "vs/scheduler",
        "rs/list 10.0": "rs/list 10.0.0.1:8888",
        "rs/list 10.0.0.1:8": "rs/list 10.0.0.1:8888",
        "rs/list 10.9.0.1:53 ": "rs/list 10.9.0.1:53 udp",
        "rs/weight 10.0.0.1:8888 tcp 2": "rs/weight 10.0.0.1:8888 tcp 2.1.1.4:8080",
        "rs/weight 10.0.0.1:8888 tcp 2.1.1.4:8": "rs/weight 10.0.0.1:8888 tcp 2.1.1.4:8080",
        "vs/add 10.0.7.7:80 tcp wr": "vs/add 10.0.7.7:80 tcp wrr",
        "rs/status 10.0.0.1:8888 tcp 1.1.1.3:80 d": "rs/status 10.0.0.1:8888 tcp 1.1.1.3:80 down",
        "conn/find cl": "conn/find client=",
        "rs/add 10.0.7.7:80 tcp 1.1.1.3:80 7 max": "rs/add 10.0.7.7:80 tcp 1.1.1.3:80 7 max_conns=",
        "vs/cql/del 10.0.0.1:8888 tcp 9": "vs/cql/del 10.0.0.1:8888 tcp 9.9.9.9",
        "vs/persistence 10.0.0.1:8888 tcp 300 a": "vs/persistence 10.0.0.1:8888 tcp 300 address",
        "apply ser": "apply services.cfg",
        "apply services.cfg r": "apply services.cfg reset",
        "vs/list --js": "vs/list --json",
        "--instance=none vs/del 10.0.0.1:8888 u": "--instance=none vs/del 10.0.0.1:8888 udp",
    }.items():
        shell.type(f"jupiter-ctl {typed}")
        assert until(partial(completes, shell, completed))
        shell.press("C-u")
        shell.wait_for(lambda screen: screen.strip() == "ready>")


@pytest.mark.parametrize("shell", ["zsh", "fish"], indirect=True)
def test_a_choice_says_what_each_is(scripted: ScriptedService, shell: Terminal) -> None:
    shell.type("jupiter-ctl vs/del 10.")
    shell.press("Tab")
    screen = shell.wait_for("10.9.0.1:53")
    assert "tcp wrr" in screen
    assert "udp wrr" in screen


def complete(line: str, variables: Mapping[str, str]) -> tuple[list[str], float]:
    """What bash is told, and how long that takes in seconds."""
    asked = {"_LINE": line, "_BREAKS": "\"'><=;|&(:", "": "bash_complete"}
    begin = time.monotonic()
    done = subprocess.run(
        ["jupiter-ctl"],
        env={**variables, **{f"_JUPITER_CTL_COMPLETE{k}": v for k, v in asked.items()}},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split(), time.monotonic() - begin


@pytest.mark.parametrize(
    ("line", "lines"),
    [
        ("jupiter-ctl vs/del 10.0.0.1:", ["plain,8888"]),
        ("jupiter-ctl vs/del ", ["plain,10.0.0.1:8888", "plain,10.9.0.1:53"]),
        ("jupiter-ctl vs/add ", []),
        ("jupiter-ctl rs/add 10.0.0.1:8888 tcp ", []),
        ("jupiter-ctl rs/del 10.0.0.1:8888 tcp ", ["plain,1.1.1.3:80", "plain,2.1.1.4:8080"]),
        ("jupiter-ctl rs/del 10.0.0.1:8888 tcp 1.1.1.3:80 ", ["plain,keep", "plain,reset"]),
        ("jupiter-ctl rs/del 10.0.0.1:8888 tcp 1.1.1.3:80 keep ", []),
        ("jupiter-ctl vs/cql/add 10.0.0.1:8888 tcp ", []),
        ("jupiter-ctl vs/cql/del 10.0.0.1:8888 tcp ", ["plain,9.9.9.9", "plain,8.8.8.8"]),
        (
            "jupiter-ctl rs/add 10.0.0.1:8888 tcp 1.1.1.9:80 7 max_conns=5 ",
            ["plain,max_conns=", "plain,backup", "plain,disabled", "plain,down"],
        ),
        ("jupiter-ctl rs/backup 10.0.0.1:8888 tcp 1.1.1.3:80 ", ["plain,on", "plain,off"]),
        ("jupiter-ctl vs/list x y z", []),
        ("jupiter-ctl completion z", ["plain,zsh"]),
        ("jupiter-ctl save ", ["file,"]),
        ("jupiter-ctl save services.cfg ", []),
        ("jupiter-ctl apply '", ["file,"]),
        ("jupiter-ctl vs/conn-report 10.0.0.1:8888 tcp ", []),
        ("jupiter-ctl trace cl", ["plain,client="]),
        ("jupiter-ctl trace tcp --count 5 drop=no_", ["plain,no_service"]),
        ("jupiter-ctl trace --count ", []),
        ("jupiter-ctl trace --c", ["plain,--count"]),
        ("jupiter-ctl capture ", ["file,"]),
        ("jupiter-ctl capture x.pcapng ic", ["plain,icmp"]),
    ],
)
def test_only_what_may_stand_there_is_suggested(
    scripted: ScriptedService, variables: Mapping[str, str], line: str, lines: list[str]
) -> None:
    """Nothing that is there already where a command adds something new."""
    assert until(lambda: complete(line, variables)[0] == lines)  # or the machine was too busy


def test_no_service_is_no_error(variables: Mapping[str, str]) -> None:
    assert complete("jupiter-ctl vs/del 1", variables)[0] == []
    assert complete("jupiter-ctl vs/del 1.1.1.1:80 ", variables)[0] == ["plain,tcp", "plain,udp"]
    assert complete("jupiter-ctl --instance=a/b vs/del 1", variables)[0] == []
    assert complete("jupiter-ctl nothing ", variables)[0] == []


def test_a_service_that_does_not_answer_costs_little_time(
    scripted: ScriptedService, variables: Mapping[str, str]
) -> None:
    """At most twice the patience, well under half a second."""
    assert 2 * PATIENCE <= 0.3
    without = min(complete("jupiter-ctl vs/add ", variables)[1] for _ in range(3))
    scripted.silent = True
    silent = [complete("jupiter-ctl vs/del ", variables) for _ in range(3)]
    assert [lines for lines, _ in silent] == [[]] * 3
    assert min(seconds for _, seconds in silent) - without < 0.5


def test_ten_thousand_services_are_suggested_as_far_as_time_allows(
    scripted: ScriptedService, variables: Mapping[str, str]
) -> None:
    scripted.script["vs/list"] = [service_row(n) for n in range(10_000)]
    assert until(lambda: len(complete("jupiter-ctl vs/del 10.", variables)[0]) >= PAGE)
