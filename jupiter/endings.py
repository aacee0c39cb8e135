"""Exit codes of jupiter-ctl: API, as the codes of errors are."""

from collections.abc import Mapping
from typing import Final

from jupiter.errors import JupiterError

DONE: Final = 0
REFUSED: Final = 1
USAGE: Final = 2
NO_SERVICE: Final = 3
INTERNAL: Final = 70
"""EX_SOFTWARE of sysexits.h."""
INTERRUPTED: Final = 130
"""128 + SIGINT, as shells have it."""
UNREAD: Final = 141
"""128 + SIGPIPE."""

MEANINGS: Final[Mapping[int, str]] = {
    DONE: "Done.",
    REFUSED: "The service refused it, or FILE could not be written.",
    USAGE: "Wrong usage: an unknown command or option, an invalid argument, a FILE that cannot be read.",
    NO_SERVICE: "The service does not run, or does not answer.",
    INTERNAL: "A fault in jupiter-ctl itself; --debug shows where.",
    INTERRUPTED: "Interrupted, by Ctrl-C.",
    UNREAD: "The reader of the output left before its end, as `| head` does.",
}

_BY_ERROR = {
    "unknown-command": USAGE,
    "invalid-argument": USAGE,
    "invalid-instance": USAGE,
    "file-unreadable": USAGE,
    "not-running": NO_SERVICE,
    "no-answer": NO_SERVICE,
    "invalid-answer": NO_SERVICE,
}


def code_of(error: JupiterError) -> int:
    return _BY_ERROR.get(error.code, REFUSED)
