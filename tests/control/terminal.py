"""A terminal that a test looks at: a program under tmux."""

import contextlib
import shlex
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from tests.host.waiting import until


class Terminal:
    """What a person would see and type."""

    def __init__(self, path: Path) -> None:
        self._tmux = ["tmux", "-N", "-S", str(path)]

    def tmux(self, *words: str) -> str:
        done = subprocess.run([*self._tmux, *words], capture_output=True, text=True, timeout=30, check=True)
        return done.stdout

    def type(self, text: str) -> None:
        self.tmux("send-keys", "-l", text)

    def press(self, *keys: str) -> None:
        """By tmux's names: Tab, Up, C-c."""
        self.tmux("send-keys", *keys)

    def resize(self, columns: int, lines: int) -> None:
        self.tmux("resize-window", "-x", str(columns), "-y", str(lines))

    def screen(self) -> list[str]:
        """Lines, without what is blank at their ends."""
        return [line.rstrip() for line in self.tmux("capture-pane", "-p").rstrip("\n").split("\n")]

    def wait_for(self, what: str | Callable[[str], object]) -> str:
        """The screen as soon as it shows this text, or fits; fails with what there was instead."""
        fits = (lambda screen: what in screen) if isinstance(what, str) else what
        seen = ""

        def look() -> object:
            nonlocal seen
            seen = "\n".join(self.screen())
            return fits(seen)

        assert until(look), f"waited for {what!r} and saw:\n{seen}"
        return seen


@contextlib.contextmanager
def terminal(
    command: Sequence[str], environment: Mapping[str, str], columns: int = 100, lines: int = 30
) -> Iterator[Terminal]:
    """A terminal in which the command runs. Both end with the block, or with whoever opened it, be it by kill -9."""
    with tempfile.TemporaryDirectory(prefix="jupiter-") as directory:
        path = Path(directory, "tmux")
        with subprocess.Popen(["setpriv", "--pdeathsig=TERM", "tmux", "-S", path, "-f", "/dev/null", "-D"]) as server:
            try:
                assert until(lambda: _answers(path)), "tmux does not start"
                opened = Terminal(path)
                variables = ["env", "-i", *(f"{k}={v}" for k, v in environment.items()), "TERM=screen"]
                size = ["-x", str(columns), "-y", str(lines)]
                opened.tmux("new-session", "-d", *size, shlex.join([*variables, *command]))
                yield opened
            finally:
                server.terminate()


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0
