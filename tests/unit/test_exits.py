"""How our commands end: an exit code and one line, whatever happens."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def ends(body: str, *arguments: str, before: str = "") -> subprocess.CompletedProcess[str]:
    """A command whose function has this body."""
    code = (
        "import click, os, signal\n"
        "from jupiter import exits, log\n"
        "from jupiter.errors import JupiterError\n"
        "@click.command()\n@click.option('--debug', is_flag=True)\n"
        f"def command(debug):\n    {body}\n"
        f"{before}\n"
        "import sys\n"
        "words = sys.argv[1:]\n"
        "run = lambda: exits.invoke(command, 'command', words)\n"
        "sys.exit(exits.run(run, exits.say, debug='--debug' in words))\n"
    )
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=30, cwd=ROOT
    )


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        ("pass", 0, ""),
        ("raise SystemExit(7)", 7, ""),
        ("raise JupiterError('service-not-found', 'No service 1.1.1.1:80.')", 1, "No service 1.1.1.1:80.\n"),
        ("raise JupiterError('invalid-config', 'a\\nb')", 2, "a\nb\n"),
        ("raise ValueError('no\\nway')", 70, "Unexpected ValueError: no way (--debug shows more)\n"),
        ("raise ValueError", 70, "Unexpected ValueError (--debug shows more)\n"),
        ("raise KeyboardInterrupt", 130, "Interrupted.\n"),
        ("os.kill(os.getpid(), signal.SIGINT)", 130, "Interrupted.\n"),
        ("raise exits.Terminated(signal.SIGTERM)", 143, "Interrupted by SIGTERM.\n"),
        ("raise MemoryError", 70, "Unexpected MemoryError (--debug shows more)\n"),
        (
            "(lambda f: f(f))(lambda f: f(f))",
            70,
            "Unexpected RecursionError: maximum recursion depth exceeded (--debug shows more)\n",
        ),
    ],
)
def test_one_line_and_a_code(body: str, code: int, said: str) -> None:
    """Text of an error that we know; type and text of one that we do not; never a traceback."""
    done = ends(body)
    assert (done.returncode, done.stderr, done.stdout) == (code, said, "")


def test_debug_shows_the_traceback() -> None:
    """Only of what nobody thought of."""
    done = ends("raise ValueError('no way')", "--debug")
    assert done.returncode == 70
    assert done.stderr.startswith("Traceback")
    assert "ValueError: no way\n" in done.stderr
    assert ends("raise JupiterError('x', 'No.')", "--debug").stderr == "No.\n"


def test_a_wrong_command_line_ends_with_2() -> None:
    """click says what is wrong with it."""
    done = ends("pass", "--nonsense")
    assert (done.returncode, done.stdout) == (2, "")
    assert "No such option '--nonsense'" in done.stderr
    assert ends("pass", "--help").returncode == 0


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        ("raise ValueError('no way')", 70, " CRITICAL Unexpected ValueError: no way (--debug shows more)\n"),
        ("raise JupiterError('x', 'No.')", 1, " CRITICAL No.\n"),
    ],
)
def test_where_there_is_a_log_it_goes_there(body: str, code: int, said: str) -> None:
    """With its time, or the journal's priority."""
    done = ends(body, before="log.setup()")
    assert done.returncode == code
    assert done.stderr.endswith(said)
    assert len(done.stderr.splitlines()) == 1


def test_who_closes_our_stdout_ends_us_quietly() -> None:
    """jupiter-ctl ... | head: as if SIGPIPE had ended it, and no word."""
    code = (
        "import sys; from jupiter import exits; "
        "sys.exit(exits.run(lambda: [print('x' * 1000) for _ in range(10000)], exits.say, debug=False))"
    )
    done = subprocess.run(
        ["bash", "-c", f'{sys.executable} -c "{code}" | head -1 >/dev/null; exit ${{PIPESTATUS[0]}}'],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")
