"""The terminal of `top`: keys as they are pressed, and everything as it was before, however it ends."""

import contextlib
import os
import re
import select
import signal
import sys
import termios
import time
import tty
from collections import deque
from collections.abc import Iterator
from types import FrameType
from typing import Final

from rich.console import Console

_KEYS: Final = {b"\x1b[A": "up", b"\x1bOA": "up", b"\x1b[B": "down", b"\x1bOB": "down", b"\x1b": "escape"}
_KEY = re.compile(rb"\x1b(?:\[[0-9;]*[A-Za-z~]|O[A-Z])?|.", re.S)
"""What one key sends: a byte, or a sequence that begins with ESC."""
_UNFINISHED = re.compile(rb"\x1b(?:\[[0-9;]*|O)?\Z")
_REST_SECONDS = 0.05
"""In which the rest of a sequence follows its ESC, also over a slow line; else it was the key Esc."""
RESIZED: Final = "resized"
SUSPENDED: Final = "suspended"
_ENDS = (signal.SIGTERM, signal.SIGHUP)


class Keyboard:
    """wait() gives what happened: a key, RESIZED, SUSPENDED (Ctrl-Z), or nothing in time."""

    def __init__(self, keys: int | None, signals: int) -> None:
        self._keys = keys
        self._signals = signals
        self._pressed: deque[str] = deque()

    def wait(self, until: float) -> str | None:
        """until: monotonic seconds."""
        if self._pressed:
            return self._pressed.popleft()
        sources = [fd for fd in (self._keys, self._signals) if fd is not None]
        ready, _, _ = select.select(sources, [], [], max(0.0, until - time.monotonic()))
        if self._signals in ready:
            return SUSPENDED if signal.SIGTSTP in os.read(self._signals, 64) else RESIZED
        if self._keys is None or self._keys not in ready:
            return None
        sent = os.read(self._keys, 1024)
        while _UNFINISHED.search(sent) and select.select([self._keys], [], [], _REST_SECONDS)[0]:
            sent += os.read(self._keys, 1024)
        if not sent:  # the terminal is gone
            self._keys = None
        self._pressed.extend(_KEYS.get(key, key.decode("ascii", "replace").lower()) for key in _KEY.findall(sent))
        return self._pressed.popleft() if self._pressed else None


@contextlib.contextmanager
def opened(console: Console) -> Iterator[Keyboard]:
    """The alternate screen, without a cursor; SIGTERM and SIGHUP end it like an exception."""
    with contextlib.ExitStack() as undo:
        signals = _signals(undo)
        keys = sys.stdin.fileno() if sys.stdin.isatty() else None
        if keys is not None:
            before = termios.tcgetattr(keys)
            undo.callback(termios.tcsetattr, keys, termios.TCSADRAIN, before)
            tty.setcbreak(keys)
        undo.enter_context(console.screen())
        yield Keyboard(keys, signals)


def _signals(undo: contextlib.ExitStack) -> int:
    """A descriptor from which the numbers of signals can be read."""
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    undo.callback(os.close, reader)
    undo.callback(os.close, writer)
    undo.callback(signal.set_wakeup_fd, signal.set_wakeup_fd(writer, warn_on_full_buffer=False))
    for number in (signal.SIGWINCH, signal.SIGTSTP):
        undo.callback(signal.signal, number, signal.signal(number, _nothing))
    for number in _ENDS:
        undo.callback(signal.signal, number, signal.signal(number, _end))
    return reader


def _nothing(_number: int, _frame: FrameType | None) -> None:
    """That its number can be read is all it takes."""


def _end(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)


def suspend() -> None:
    """Stop until the shell says `fg`, as Ctrl-Z means."""
    os.kill(os.getpid(), signal.SIGSTOP)
