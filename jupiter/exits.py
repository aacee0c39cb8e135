"""How our commands end: with an exit code and, where something is wrong, one line about it; never a traceback.

A traceback is for developers: they ask for it with --debug. Exit codes are API, as the codes of errors are.
"""

import logging
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import click

from jupiter import output
from jupiter.errors import JupiterError
from jupiter.log import one_line

log = logging.getLogger(__name__)

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2
HUNG: Final = 3
"""jupiter-service: ended by its watchdog."""
NO_SERVICE: Final = 3
"""jupiter-ctl."""
INTERNAL: Final = 70
"""EX_SOFTWARE of sysexits.h."""
INTERRUPTED: Final = 128 + signal.SIGINT
UNREAD: Final = 128 + signal.SIGPIPE

MEANINGS: Final[Mapping[int, str]] = {
    DONE: "Done.",
    FAILED: "The service refused it, or FILE could not be written.",
    USAGE: "Wrong usage: an unknown command or option, an invalid argument, a wrong FILE, or one that cannot be read.",
    NO_SERVICE: "The service does not run, or does not answer.",
    INTERNAL: "A fault in jupiter-ctl itself; --debug shows where.",
    INTERRUPTED: "Interrupted, by Ctrl-C.",
    UNREAD: "The reader of the output left before its end, as `| head` does.",
}
"""Of jupiter-ctl's; jupiter-service says its own in --help."""

_BY_ERROR = {
    "unknown-command": USAGE,
    "invalid-argument": USAGE,
    "invalid-instance": USAGE,
    "invalid-config": USAGE,
    "file-unreadable": USAGE,
    "not-running": NO_SERVICE,
    "no-answer": NO_SERVICE,
    "invalid-answer": NO_SERVICE,
}
"""Code of an error -> exit code; all others are FAILED."""


class Terminated(BaseException):
    """A signal that ends the command, wherever it is. No Exception, for nothing is to go on after it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Verdict(NamedTuple):
    """What an operator is told (lines only where a JupiterError has them), the exit code, the error's stable name."""

    text: str
    code: int
    name: str


def verdict(error: BaseException) -> Verdict:
    match error:
        case JupiterError():
            return Verdict(error.text, _BY_ERROR.get(error.code, FAILED), error.code)
        case click.ClickException():
            return Verdict(error.format_message(), USAGE, "invalid-argument")
        case Terminated():
            return Verdict(f"Interrupted by {signal.Signals(error.number).name}.", 128 + error.number, "interrupted")
        case KeyboardInterrupt() | click.Abort():
            return Verdict("Interrupted.", INTERRUPTED, "interrupted")
    return Verdict(f"Unexpected {one_line(error)}", INTERNAL, "internal")


def run(work: Callable[[], object], tell: Callable[[Verdict], None], *, debug: bool) -> int:
    """Do it; the exit code. tell: says what was wrong, if anything was."""
    try:
        outcome = work()
        sys.stdout.flush()
        return outcome if isinstance(outcome, int) else DONE
    except SystemExit:
        raise
    except BrokenPipeError:  # who closed our stdout wants no more of it: as if SIGPIPE had ended us
        output.forget()
        return UNREAD
    except BaseException as error:
        found = verdict(error)
        if debug and found.name == "internal":
            traceback.print_exception(error)
        tell(found)
        return found.code


def invoke(command: click.Command, name: str, words: Sequence[str]) -> int:
    """Carry out a command line, without what click's own main() makes of errors; the exit code."""
    try:
        with command.make_context(name, list(words)) as ctx:
            command.invoke(ctx)
    except click.exceptions.Exit as end:
        return end.exit_code
    return DONE


def say(found: Verdict) -> None:
    """To the log where there is one, else to stderr."""
    if not logging.getLogger().hasHandlers():
        click.echo(found.text, err=True)
        return
    for line in found.text.splitlines():
        log.critical("%s", line)
