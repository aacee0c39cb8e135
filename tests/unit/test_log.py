"""Lines of the log: for people, for the journal, for programs; how many of them; what they say of an exception."""

import io
import json
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from jupiter.log import BURST, INTERVAL, JsonFormatter, LimitedHandler, LineFormatter, TextFormatter, each, fields

ROOT = Path(__file__).parents[2]


class Log:
    """A logger that writes to a string, with a clock of its own."""

    def __init__(self, formatter: LineFormatter) -> None:
        self.now = 0.0
        self._stream = io.StringIO()
        self.handler = LimitedHandler(self._stream, lambda: self.now)
        self.handler.setFormatter(formatter)
        self.logger = logging.Logger("test")
        self.logger.addHandler(self.handler)

    def lines(self) -> list[str]:
        """What has been written since the last call."""
        text = self._stream.getvalue()
        self._stream.seek(0)
        self._stream.truncate()
        return text.splitlines()


def fail(log: Log, text: str = "no such thing") -> None:
    try:
        raise ValueError(text)
    except ValueError:
        log.logger.exception("command %s failed", "vs/list", extra=fields(client=7))


def test_a_line_has_time_level_message_and_fields() -> None:
    """A value that has blanks, quotes or nothing in it is quoted as in JSON."""
    log = Log(TextFormatter(debug=False, journal=False))
    log.logger.warning("port %d is up", 0, extra=fields(mac="02:00", text='a "b" c', empty="", none=None))
    [line] = log.lines()
    assert re.fullmatch(
        r'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} WARNING port 0 is up mac=02:00 text="a \\"b\\" c" empty="" none=None',
        line,
    )


@pytest.mark.parametrize(
    ("level", "priority"),
    [(logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (logging.DEBUG, 7)],
)
def test_for_the_journal_a_line_begins_with_its_priority(level: int, priority: int) -> None:
    """sd-daemon(3), and no time: the journal has its own."""
    log = Log(TextFormatter(debug=False, journal=True))
    log.logger.log(level, "hello", extra=fields(a=1))
    assert log.lines() == [f"<{priority}>hello a=1"]


def test_json_is_an_object_a_line() -> None:
    """Numbers stay numbers; the message and its fields are members; no field displaces what every line has."""
    log = Log(JsonFormatter(debug=False, journal=False))
    log.logger.info("port is up", extra=fields(number=0, path=Path("/x")))
    entry = json.loads(log.lines()[0])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4}", entry.pop("time"))
    assert entry == {"level": "info", "message": "port is up", "number": 0, "path": "/x"}


@pytest.mark.parametrize("formatter", [TextFormatter, JsonFormatter])
@pytest.mark.parametrize("journal", [False, True])
def test_an_exception_is_one_line_that_names_type_and_text(formatter: type[LineFormatter], journal: bool) -> None:
    """No traceback, and a hint where to find it."""
    log = Log(formatter(debug=False, journal=journal))
    fail(log, "no such\nthing")
    [line] = log.lines()
    assert "command vs/list failed: ValueError: no such thing (--debug shows more)" in line


def test_with_debug_the_traceback_is_there() -> None:
    """In text below its line, in the journal with the line's priority, in JSON as a list."""
    for journal, head in ((False, "    "), (True, "<3>")):
        log = Log(TextFormatter(debug=True, journal=journal))
        fail(log)
        first, *trace = log.lines()
        assert "--debug" not in first
        assert all(line.startswith(head) for line in trace)
        assert (trace[0], trace[-1]) == (
            f"{head}Traceback (most recent call last):",
            f"{head}ValueError: no such thing",
        )
    log = Log(JsonFormatter(debug=True, journal=False))
    fail(log)
    assert json.loads(log.lines()[0])["traceback"][-1] == "ValueError: no such thing"


def test_nothing_that_is_logged_ends_a_line_or_speaks_to_the_terminal() -> None:
    """A client's words may be in it: a forged second line must not come of them."""
    log = Log(TextFormatter(debug=False, journal=True))
    log.logger.info("command %s", "x\n<2>the end\r\x1b[2J\u2028", extra=fields(y="a\nb"))
    assert log.lines() == [r'<6>command x\n<2>the end\r\x1b[2J\u2028 y="a\nb"']


def test_one_message_has_a_bounded_rate() -> None:
    """The same sentence, whatever stands in it, at most BURST times in INTERVAL; then one line says how many more."""
    log = Log(TextFormatter(debug=False, journal=True))
    for n in range(BURST + 7):
        log.logger.warning("frame %d is odd", n)
    log.logger.warning("another")
    log.logger.error("frame %d is odd", 1)
    assert len(log.lines()) == BURST + 2
    log.now = INTERVAL - 0.1
    log.handler.settle()
    assert log.lines() == []
    log.now = INTERVAL
    log.handler.settle()
    log.handler.settle()
    assert log.lines() == [f'<4>7 similar lines suppressed last="frame {BURST + 6} is odd"']
    log.logger.warning("frame %d is odd", 99)
    assert log.lines() == ["<4>frame 99 is odd"]


def test_what_was_held_back_is_said_by_the_next_line_and_at_the_end() -> None:
    """Nobody has to call settle() for it; a single one is a line, not lines."""
    log = Log(TextFormatter(debug=False, journal=True))
    for _ in range(BURST + 1):
        log.logger.warning("odd")
    log.now = INTERVAL
    log.logger.info("next")
    assert log.lines()[BURST:] == ["<4>1 similar line suppressed last=odd", "<6>next"]
    for _ in range(BURST + 2):
        log.logger.warning("odd")
    log.handler.close()
    assert log.lines()[-1] == "<4>2 similar lines suppressed last=odd"


def test_what_is_critical_is_never_held_back() -> None:
    """The last words of a process."""
    log = Log(TextFormatter(debug=False, journal=True))
    for _ in range(BURST * 2):
        log.logger.critical("the end")
    assert len(log.lines()) == BURST * 2


def test_what_is_each_of_its_kind_to_be_known_is_never_held_back() -> None:
    """Who has changed what: a line for each change, however many there are."""
    log = Log(TextFormatter(debug=False, journal=True))
    for n in range(BURST * 2):
        log.logger.info("change", extra=each(command="vs/add", n=n))
    assert log.lines()[-1] == f"<6>change command=vs/add n={BURST * 2 - 1}"


@pytest.mark.parametrize("same", [True, False])
def test_the_journal_is_recognised_by_its_stream(same: bool) -> None:
    """JOURNAL_STREAM names the device and inode of stderr: set and something else is not the journal."""
    reader, writer = os.pipe()
    stream = os.fstat(writer)
    code = "from jupiter import log; log.setup(); import logging; logging.info('hello')"
    variable = f"{stream.st_dev}:{stream.st_ino + (not same)}"
    subprocess.run([sys.executable, "-c", code], stderr=writer, check=True, cwd=ROOT, env={"JOURNAL_STREAM": variable})
    os.close(writer)
    with os.fdopen(reader) as pipe:
        assert pipe.read().startswith("<6>hello\n") is same


def test_a_line_that_cannot_be_written_is_no_traceback() -> None:
    """A mistake in a call of ours, or a full disk."""
    code = "from jupiter import log; log.setup(); import logging; logging.info('%d', 'x'); logging.info('next')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stderr.endswith("INFO next\n")
    assert len(done.stderr.splitlines()) == 1


def test_the_level_is_a_threshold() -> None:
    """--log-level=warning leaves out what is less."""
    code = (
        "from jupiter import log; log.setup('warning', 'json'); import logging; logging.info('a'); logging.warning('b')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert [json.loads(line)["message"] for line in done.stderr.splitlines()] == ["b"]
