"""The log: structured lines on stderr, for people, for programs (JSON) or for the journal; rate-limited.

A message is a fixed sentence; what varies stands in fields: log.info("port is up", extra=fields(port=0)).
An exception becomes one line that names its type and text; its traceback is shown only after setup(debug=True).
"""

import json
import logging
import os
import re
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TextIO

LEVELS = ("error", "warning", "info", "debug")
BURST = 5
INTERVAL = 10.0
"""Of one message at most BURST lines in INTERVAL seconds, whatever its fields and arguments; but see each()."""

_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
"""Level -> priority of syslog(3), which the journal reads at the beginning of a line (sd-daemon(3)); below: 7."""
_PLAIN = re.compile(r'[^\s"=\\]+')
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
"""What could end a line, or do something to a terminal: clients choose some of the words that are logged."""

Format = Literal["text", "json"]


def fields(**values: object) -> dict[str, dict[str, object]]:
    """For `extra=`."""
    return {"fields": values}


def each(**values: object) -> dict[str, object]:
    """For `extra=` of a line that is never one too many: who has changed what."""
    return {"fields": values, "unlimited": True}


def setup(level: str = "info", format: Format = "text", debug: bool = False) -> None:
    """Log to stderr from now on, whatever is logged in this process."""
    handler = LimitedHandler(sys.stderr)
    handler.setFormatter({"text": TextFormatter, "json": JsonFormatter}[format](debug, to_journal()))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)
    logging.raiseExceptions = debug  # whether a line that cannot be written gives a traceback instead


def to_journal() -> bool:
    """Whether stderr is the journal's own stream (systemd.exec(5), JOURNAL_STREAM)."""
    try:
        stream = os.fstat(2)
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{stream.st_dev}:{stream.st_ino}"


def settle() -> None:
    """Say how many lines were held back, of messages whose interval has passed. To be called now and then."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, LimitedHandler):
            handler.settle()


def one_line(error: BaseException) -> str:
    """An exception of which nobody thought, as an operator sees it."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}{': ' if text else ''}{text} (--debug shows more)"


class LineFormatter(logging.Formatter):
    """debug: whether tracebacks are shown. journal: whether the journal reads it, which takes the time by itself."""

    def __init__(self, debug: bool, journal: bool) -> None:
        super().__init__()
        self._debug = debug
        self._journal = journal

    def _message(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        error = record.exc_info[1] if record.exc_info else None
        return f"{message}: {one_line(error)}" if error and not self._debug else message

    def _trace(self, record: logging.LogRecord) -> list[str]:
        if not (self._debug and record.exc_info):
            return []
        return "".join(traceback.format_exception(*record.exc_info)).splitlines()

    @staticmethod
    def _fields(record: logging.LogRecord) -> Mapping[str, object]:
        found: Mapping[str, object] = getattr(record, "fields", {})
        return found


class TextFormatter(LineFormatter):
    """`TIME LEVEL message key=value ...`; for the journal `<priority>message key=value ...`."""

    def format(self, record: logging.LogRecord) -> str:
        pairs = [f"{key}={_value(value)}" for key, value in self._fields(record).items()]
        first = _CONTROL.sub(_escaped, " ".join([self._message(record), *pairs]))
        if self._journal:  # each line of it is an entry there
            return "\n".join(_priority(record) + line for line in [first, *self._trace(record)])
        return "\n    ".join([f"{self.formatTime(record)} {record.levelname} {first}", *self._trace(record)])


class JsonFormatter(LineFormatter):
    """An object a line: time (ISO 8601; not for the journal), level, message, the fields; with debug also traceback."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {} if self._journal else {"time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z")}
        entry |= {"level": record.levelname.lower(), "message": self._message(record), **self._fields(record)}
        if trace := self._trace(record):
            entry["traceback"] = trace
        return (_priority(record) if self._journal else "") + json.dumps(entry, default=str)


@dataclass(slots=True)
class Window:
    """What one message has had since `begin` (seconds). last: of the lines that were held back."""

    begin: float
    passed: int = 0
    held_back: int = 0
    last: logging.LogRecord | None = None


class LimitedHandler(logging.StreamHandler[TextIO]):
    """Of one message at most BURST lines in INTERVAL seconds; then one that says how many more there were."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(stream)
        self._clock = clock
        self._windows: dict[tuple[str, int, str], Window] = {}

    def emit(self, record: logging.LogRecord) -> None:
        self._settle(self._clock() - INTERVAL)
        if record.levelno >= logging.CRITICAL or hasattr(record, "unlimited") or self._may_pass(record):
            super().emit(record)

    def settle(self) -> None:
        """As settle() of the module."""
        self.acquire()
        self._settle(self._clock() - INTERVAL)
        self.release()

    def close(self) -> None:
        self.acquire()
        self._settle(self._clock())
        self.release()
        super().close()

    def _may_pass(self, record: logging.LogRecord) -> bool:
        key = record.name, record.levelno, str(record.msg)
        window = self._windows.setdefault(key, Window(self._clock()))
        if window.passed < BURST:
            window.passed += 1
            return True
        window.held_back += 1
        window.last = record
        return False

    def _settle(self, until: float) -> None:
        """Forget the windows that began by then."""
        for key, window in list(self._windows.items()):
            if window.begin <= until:
                del self._windows[key]
                if window.last:
                    super().emit(_summary(window.last, window.held_back))


def _summary(last: logging.LogRecord, count: int) -> logging.LogRecord:
    record = logging.LogRecord(last.name, last.levelno, last.pathname, last.lineno, "", (), None)
    record.msg = f"{count} similar line{'s' if count > 1 else ''} suppressed"
    record.fields = {"last": last.getMessage()}
    return record


def _priority(record: logging.LogRecord) -> str:
    return f"<{next((number for level, number in _PRIORITIES if record.levelno >= level), 7)}>"


def _value(value: object) -> str:
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)


def _escaped(match: re.Match[str]) -> str:
    return repr(match[0])[1:-1]
