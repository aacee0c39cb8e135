"""What makes a daemon: a pid file of one holder, a background that reports back, signals that end it in order."""

import contextlib
import fcntl
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Self

from jupiter.errors import JupiterError

_READY = "ready"
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class PidFile:
    """Holds a lock on the file from enter to exit; the file holds the pid meanwhile and is gone afterwards."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1

    def __enter__(self) -> Self:
        try:
            while not self._lock():
                pass
        except BlockingIOError:
            raise JupiterError("already-running", "jupiter-service is running.") from None
        except OSError as error:
            raise JupiterError("pidfile-unusable", f"Cannot write pid file {self._path}: {error.strerror}.") from None
        os.ftruncate(self._fd, 0)
        os.write(self._fd, f"{os.getpid()}\n".encode())
        return self

    def __exit__(self, *_: object) -> None:
        self._path.unlink(missing_ok=True)
        os.close(self._fd)

    def _lock(self) -> bool:
        """False where a former holder removed the file between our opening and locking it."""
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            current = self._path.exists() and self._path.stat().st_ino == os.fstat(self._fd).st_ino
        except OSError:
            os.close(self._fd)
            raise
        if not current:
            os.close(self._fd)
        return current


def detach(log_file: Path) -> Callable[[str | None], None]:
    """Go on in the background, with stdout and stderr appended to log_file.

    Returns in the background process alone, before any thread and EAL: what it returns is to be called with None when
    the service answers, or with the reason why it cannot start. The foreground process waits for that call and exits,
    0 or 1 with the reason on stderr.
    """
    try:
        log = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
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
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)

    def report(problem: str | None) -> None:
        with contextlib.suppress(BrokenPipeError):  # the foreground process was killed meanwhile
            os.write(writer, (problem or _READY).encode())
        os.close(writer)

    return report


def _wait_for_report(reader: int, log_file: Path) -> None:
    with open(reader, encoding="utf-8") as pipe:
        report = pipe.read()
    if report == _READY:
        sys.exit(0)
    print(report or f"jupiter-service ended while it started; its log is {log_file}.", file=sys.stderr)
    sys.exit(1)


def interrupt_on_signals() -> None:
    """From now on the first SIGINT or SIGTERM raises KeyboardInterrupt, and no further one disturbs the clean-up."""

    def interrupt(*_: object) -> None:
        ignore_signals()
        raise KeyboardInterrupt

    for number in _SIGNALS:
        signal.signal(number, interrupt)


def call_on_signals(stop: Callable[[], object]) -> None:
    """From now on SIGINT and SIGTERM call stop, on the main thread between two instructions of Python."""
    for number in _SIGNALS:
        signal.signal(number, lambda *_: stop())


def ignore_signals() -> None:
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def log_to_stderr() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
