"""Standard output: whoever reads it may leave, the disk behind it may be full."""

import os
import sys
from collections.abc import Iterable

from jupiter.errors import JupiterError


def write(lines: Iterable[str], *, at_once: bool = False) -> None:
    """As they come; at_once: each is there to be read before the next is waited for. Raises BrokenPipeError where the
    reader has left, and "file-unwritable"."""
    try:
        for line in lines:
            sys.stdout.write(f"{line}\n")
            if at_once:
                sys.stdout.flush()
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        forget()
        raise JupiterError("file-unwritable", f"Cannot write the answer: {error.strerror or error}.") from None


def forget() -> None:
    """What could not be written: else Python would try once more on its way out, and complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
