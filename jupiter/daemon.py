"""What makes a daemon: a pid file of one holder, a background that reports back, signals that end it in order."""

import contextlib
import fcntl
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from jupiter import exits
from jupiter.errors import JupiterError

log = logging.getLogger(__name__)

GRACE = 5.0
"""Seconds that a killed process may take to be gone: its memory is large."""
_ENDING = (signal.SIGINT, signal.SIGTERM)
_reload_wanted = False
"""A SIGHUP came before there was anybody to reload."""


class PidFile:
    """Holds a lock on the file from enter to exit; the file holds the pid meanwhile and is gone afterwards.

    The lock goes with its process, however that ends: what a dead one left in the file says nothing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1
        self._deadline = 0.0

    def __enter__(self) -> Self:
        self._deadline = time.monotonic() + GRACE
        try:
            while not self._lock():
                pass
        except BlockingIOError:
            pid = self._holder()
            who = f" Its pid is {pid}, in {self._path}." if pid else ""
            raise JupiterError("already-running", f"jupiter-service is running.{who}") from None
        except OSError as error:
            raise JupiterError("pidfile-unusable", f"Cannot write pid file {self._path}: {error.strerror}.") from None
        os.ftruncate(self._fd, 0)
        os.write(self._fd, f"{os.getpid()}\n".encode())
        return self

    def __exit__(self, *_: object) -> None:
        self._path.unlink(missing_ok=True)
        os.close(self._fd)

    def _lock(self) -> bool:
        """False where it is worth another try: a former holder removed the file between our opening and locking it, or
        has been killed and is still giving back its memory."""
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            current = self._path.exists() and self._path.stat().st_ino == os.fstat(self._fd).st_ino
        except OSError as error:
            os.close(self._fd)
            if not isinstance(error, BlockingIOError) or self._holder_lives() or time.monotonic() > self._deadline:
                raise
            time.sleep(0.02)
            return False
        if not current:
            os.close(self._fd)
        return current

    def _holder(self) -> int | None:
        """Its pid; None in the moment in which it has not yet written that."""
        with contextlib.suppress(OSError, ValueError):
            return int(self._path.read_text())
        return None

    def _holder_lives(self) -> bool:
        """A process that ends has no memory any more, hence no command line, before it lets go of its locks."""
        try:
            return Path(f"/proc/{self._holder() or 'self'}/cmdline").read_bytes() != b""
        except OSError:
            return False


Report = Callable[[str | None, int], None]


def no_report(problem: str | None, code: int) -> None:
    """Nobody waits for one."""


def detach(log_file: Path) -> Report:
    """Go on in the background, with stdout and stderr appended to log_file.

    Returns in the background process alone, before any thread and EAL: what it returns is to be called with None when
    the service answers, or with the reason why it cannot start and the exit code that says so; further calls do
    nothing. The foreground process waits for that call and exits with the code, the reason on stderr.
    """
    try:
        output = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise JupiterError("log-unusable", f"Cannot write log {log_file}: {error.strerror}.") from None
    reader, writer = os.pipe()
    if os.fork():
        os.close(writer)
        _wait_for_report(reader, log_file)
    os.close(reader)
    os.setsid()
    with Path(os.devnull).open() as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)

    def report(problem: str | None, code: int) -> None:
        nonlocal writer
        if writer < 0:
            return
        with contextlib.suppress(BrokenPipeError):  # the foreground process was killed meanwhile
            os.write(writer, f"{code} {problem or ''}".encode())
        os.close(writer)
        writer = -1

    return report


def move_on_while(unfit: Callable[[], bool]) -> None:
    """In the background, before any thread: go on as another process, one with another pid, for as long as this one is
    unfit; not for ever."""
    for _ in range(16):
        if not unfit():
            return
        if os.fork():
            os._exit(exits.DONE)


def _wait_for_report(reader: int, log_file: Path) -> None:
    with open(reader, encoding="utf-8") as pipe:
        code, blank, problem = pipe.read().partition(" ")
    if not blank:
        code, problem = str(exits.FAILED), f"jupiter-service ended while it started; its log is {log_file}."
    if problem:
        print(problem, file=sys.stderr)
    sys.exit(int(code))


def terminate_on_signals() -> None:
    """For the time of the start: SIGINT or SIGTERM raises exits.Terminated, and no further one disturbs the clean-up.

    SIGHUP is kept for call_on_signals().
    """

    def terminate(number: int, _: object) -> None:
        ignore_signals()
        raise exits.Terminated(number)

    def remember(*_: object) -> None:
        global _reload_wanted
        _reload_wanted = True

    for number in _ENDING:
        signal.signal(number, terminate)
    signal.signal(signal.SIGHUP, remember)


def call_on_signals(stop: Callable[[], object], reload: Callable[[], object] = lambda: None) -> None:
    """From now on SIGINT and SIGTERM call stop, and SIGHUP calls reload, on the main thread between two instructions of
    Python: they should only leave word. A SIGHUP that came since terminate_on_signals() calls reload at once."""
    global _reload_wanted
    for number in _ENDING:
        signal.signal(number, lambda *_: stop())
    signal.signal(signal.SIGHUP, lambda *_: reload())
    if _reload_wanted:
        _reload_wanted = False
        reload()


def ignore_signals() -> None:
    for number in (*_ENDING, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def end_with_any_thread() -> None:
    """A thread that dies of an exception takes the process along, which would otherwise go on without it unnoticed."""

    def end(dead: threading.ExceptHookArgs) -> None:
        error = dead.exc_value
        log.critical("thread died: %s", dead.thread and dead.thread.name, exc_info=error or dead.exc_type())
        os._exit(exits.FAILED)

    def mention(ignored: Any) -> None:
        log.error("exception in %r", ignored.object, exc_info=ignored.exc_value)

    threading.excepthook = end
    sys.unraisablehook = mention
