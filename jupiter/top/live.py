"""`top`, in a terminal or once for a script."""

import os
import shutil
import sys
import time
from typing import Final

from rich.console import Console, ConsoleDimensions

from jupiter import output
from jupiter.control.client import Client
from jupiter.errors import JupiterError
from jupiter.top import terminal
from jupiter.top.screen import View, draw
from jupiter.top.watch import PAGES, Watch

PATIENCE: Final = 2.0
"""Seconds for an answer, while no key is taken."""
_NO_TERMINAL: Final = 160, 50
"""Columns and lines of a screen that is none, unless COLUMNS and LINES say otherwise."""


def run(socket: str, interval: float, once: bool) -> None:
    """A look each `interval` seconds until `q`; where stdout is no terminal, one screen of what happens meanwhile."""
    console = Console(highlight=False)
    once = once or not sys.stdout.isatty() or not console.is_terminal or console.is_dumb_terminal
    watch, view = Watch(lambda: Client(socket, timeout=PATIENCE), pages=0 if once else PAGES), View()
    where = f"{socket}  every {interval:g} s"
    try:
        if once:
            _print_once(watch, view, where, interval)
        else:
            while _live(console, watch, view, where, interval) == terminal.SUSPENDED:
                terminal.suspend()
    finally:
        watch.close()


def _print_once(watch: Watch, view: View, where: str, interval: float) -> None:
    _look(watch, view)
    for _ in range(2):  # the second look says which service is the busiest, the third what its servers do
        if not watch.away:
            time.sleep(interval / 2)
            _look(watch, view)
    if watch.away:
        raise JupiterError("no-answer" if watch.version else "not-running", watch.away)
    width, height = shutil.get_terminal_size(_NO_TERMINAL)
    console = Console(width=width, height=height, highlight=False)
    with console.capture() as captured:
        console.print(draw(watch, view, where, width, height, hints=False))
    output.write(captured.get().splitlines())


def _live(console: Console, watch: Watch, view: View, where: str, interval: float) -> str:
    """Why it ended: `q` or SUSPENDED."""
    with terminal.opened(console) as keyboard:
        following = time.monotonic()
        while True:
            if time.monotonic() >= following:
                _look(watch, view)
                following = time.monotonic() + interval
            columns, lines = os.get_terminal_size(sys.stdout.fileno())
            console.size = ConsoleDimensions(max(columns, 20), max(lines, 2))  # it may have changed
            console.update_screen(draw(watch, view, where, *console.size))
            happened = keyboard.wait(following)
            if happened in ("q", terminal.SUSPENDED):
                return happened
            if happened and view.press(happened, watch):
                watch.show(view.first(watch))


def _look(watch: Watch, view: View) -> None:
    watch.look(lambda: view.first(watch))
