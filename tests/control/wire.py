"""The channel byte by byte, without the client."""

import json
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def connect(path: Path, timeout: float = 10) -> socket.socket:
    """timeout: seconds, for each operation after this one."""
    raw = socket.socket(socket.AF_UNIX)
    raw.connect(str(path))
    raw.settimeout(timeout)
    return raw


def answers(raw: socket.socket) -> list[Any]:
    """All that comes until the server closes."""
    with raw.makefile("rb") as lines:
        return [json.loads(line) for line in lines]


def exchange(path: Path, sent: bytes) -> list[Any]:
    """All that the server says to these bytes, before and after their end."""
    with connect(path) as raw:
        raw.sendall(sent)
        raw.shutdown(socket.SHUT_WR)
        return answers(raw)


def wait_until(condition: Callable[[], object], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)
