"""Keys of a terminal, as `top` gets them."""

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from jupiter.top import terminal
from jupiter.top.terminal import RESIZED, SUSPENDED, Keyboard


class Keys:
    """A keyboard on which a test presses."""

    def __init__(self) -> None:
        self.keys, self.pressed = os.pipe()
        self.signals, self.raised = os.pipe()
        self.keyboard = Keyboard(self.keys, self.signals)

    def all(self, seconds: float = 0.2) -> list[str]:
        """What happens until nothing has for that long."""
        found = []
        while (happened := self.keyboard.wait(time.monotonic() + seconds)) is not None:
            found.append(happened)
        return found

    def close(self) -> None:
        for fd in (self.keys, self.pressed, self.signals, self.raised):
            os.close(fd)


@pytest.fixture
def keys() -> Iterator[Keys]:
    made = Keys()
    yield made
    made.close()


@pytest.mark.parametrize(
    ("sent", "names"),
    [
        (b"q", ["q"]),
        (b"Q", ["q"]),
        (b"\x1b[A\x1bOB", ["up", "down"]),
        (b"\x1b[B\x1b[B\x1b[Ba", ["down", "down", "down", "a"]),
        (b"\x1b", ["escape"]),
        (b"\x1b[5~t", ["\x1b[5~", "t"]),
        (b"\x1b[1;5Ct", ["\x1b[1;5c", "t"]),
        (b"\xffd", ["\ufffd", "d"]),
    ],
)
def test_each_key_comes_by_its_name(keys: Keys, sent: bytes, names: list[str]) -> None:
    """However many come at once; what a sequence of a key that is not ours is made of are no keys."""
    os.write(keys.pressed, sent)
    assert keys.all() == names


def test_a_key_that_comes_in_pieces_is_one(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over a slow line: its end is no `a` that would sort anew."""
    monkeypatch.setattr(terminal, "_REST_SECONDS", 10.0)
    os.write(keys.pressed, b"\x1b")
    later = threading.Timer(0.01, os.write, (keys.pressed, b"[A"))
    later.start()
    assert keys.all() == ["up"]
    later.join()


def test_signals_come_as_what_they_mean(keys: Keys) -> None:
    os.write(keys.raised, bytes([signal.SIGWINCH]))
    assert keys.all() == [RESIZED]
    os.write(keys.raised, bytes([signal.SIGWINCH, signal.SIGTSTP]))
    assert keys.all() == [SUSPENDED]
    keys.keyboard = Keyboard(None, keys.signals)
    os.write(keys.raised, bytes([signal.SIGWINCH]))
    assert keys.all() == [RESIZED]


def test_a_terminal_that_is_gone_presses_nothing(keys: Keys) -> None:
    """And costs no turns of the processor."""
    os.close(keys.pressed)
    keys.pressed = os.dup(keys.raised)
    assert keys.all() == []
    begin = time.monotonic()
    assert keys.keyboard.wait(begin + 0.2) is None
    assert time.monotonic() - begin >= 0.2
