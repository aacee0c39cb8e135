"""A control server in a thread of its own, with a fake data plane under it."""

import asyncio
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jupiter.control.client import Client
from jupiter.control.dispatch import Executor
from jupiter.control.server import ControlServer
from jupiter.running import Running
from tests.fakes import FakeDatapath


class Service:
    """Serves on .path until stop(), or until a client asks for the end (.stopped is set then).

    executor: what runs on .datapath unless given; options: ControlServer's.
    """

    def __init__(self, directory: Path, executor: Executor | None = None, **options: Any) -> None:
        self.path = directory / "jupiter.sock"
        self.datapath = FakeDatapath(connections=2500)
        self.stopped = threading.Event()
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._closed = False
        executor = executor or Running(self.datapath, dict, None, self.stopped.set)
        self.server = ControlServer(self.path, executor, **options)

    def start(self) -> "Service":
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self.server.start(), self.loop).result(10)
        return self

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            asyncio.run_coroutine_threadsafe(self.server.close(), self.loop).result(10)

    def stop(self) -> None:
        self.close()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    def client(self, timeout: float = 10) -> Client:
        return Client(self.path, timeout=timeout)


@pytest.fixture
def directory() -> Iterator[Path]:
    """Short enough for the name of a socket (108 bytes)."""
    with tempfile.TemporaryDirectory(prefix="jupiter-") as name:
        yield Path(name)


@pytest.fixture
def service(directory: Path) -> Iterator[Service]:
    running = Service(directory).start()
    yield running
    running.stop()
