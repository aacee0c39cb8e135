"""How a command of ours ends: with an exit code and, where something is wrong, one line about it; never a traceback.

A traceback is for developers: they ask for it with --debug.
"""

import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

import click

from jupiter.errors import JupiterError
from jupiter.log import one_line

log = logging.getLogger(__name__)

DONE, FAILED, INVALID, HUNG = 0, 1, 2, 3
"""Done; not done, for a reason that was said; configuration or command line are wrong; ended by the watchdog."""
_INVALID_CODES = ("invalid-config", "invalid-instance")
"""Codes of JupiterError that end a command with INVALID."""


class Terminated(BaseException):
    """A signal that ends the command, wherever it is. No Exception, for nothing is to go on after it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def run(command: Callable[[], object], debug: bool | None = None) -> NoReturn:
    """Run a command of click, or any other function, and end the process. debug None: what the command line says.

    Exit code: click's own, or what verdict() says. What is wrong goes to the log where there is one, else to stderr.
    """
    try:
        outcome = command(standalone_mode=False) if isinstance(command, click.Command) else command()
        code = outcome if isinstance(outcome, int) else DONE
        sys.stdout.flush()
    except SystemExit:
        raise
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except BaseException as error:
        text, code = verdict(error)
        if isinstance(error, BrokenPipeError) and not _logging():
            code = _end_of_pipe()
        elif _expected(error):
            _say(text)
        else:
            _say_unexpected(error, text, "--debug" in sys.argv[1:] if debug is None else debug)
    sys.exit(code)


def verdict(error: BaseException) -> tuple[str, int]:
    """What an operator is told of it (lines only where a JupiterError has them), and the exit code."""
    match error:
        case JupiterError():
            return error.text, INVALID if error.code in _INVALID_CODES else FAILED
        case Terminated():
            return f"Interrupted by {signal.Signals(error.number).name}.", 128 + error.number
        case KeyboardInterrupt() | click.Abort():
            return "Interrupted.", 128 + signal.SIGINT
    return f"Unexpected {one_line(error)}", FAILED


def _end_of_pipe() -> int:
    """Who closed our stdout wants no more of it: as if SIGPIPE had ended us, without a word."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return 128 + signal.SIGPIPE


def _expected(error: BaseException) -> bool:
    return isinstance(error, JupiterError | Terminated | KeyboardInterrupt | click.Abort)


def _say_unexpected(error: BaseException, text: str, debug: bool) -> None:
    if _logging():
        log.critical("unexpected end", exc_info=error)
    elif debug:
        traceback.print_exception(error)
    else:
        click.echo(text, err=True)


def _say(text: str) -> None:
    if not _logging():
        click.echo(text, err=True)
        return
    for line in text.splitlines():
        log.critical("%s", line)


def _logging() -> bool:
    return logging.getLogger().hasHandlers()
