"""A control server in a thread of its own, with a fake data plane under it."""

import asyncio
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from jupiter.control.client import Client
from jupiter.control.server import ControlServer
from tests.fakes import FakeDatapath


class Service:
    """Serves on .path until stop(), or until a client asks for the end (.stopped is set then)."""

    def __init__(self, directory: Path, patience: float = 60.0) -> None:
        self.path = directory / "jupiter.sock"
        self.datapath = FakeDatapath(connections=2500)
        self.stopped = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._server = ControlServer(self.path, self.datapath, self.stopped.set, patience, patience)

    def start(self) -> "Service":
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._server.start(), self._loop).result(10)
        return self

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._server.close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def client(self) -> Client:
        return Client(str(self.path), timeout=10)


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


@pytest.fixture
def impatient_service(directory: Path) -> Iterator[Service]:
    """Gives a client 0.2 s to send a request, and as long to take the answer."""
    running = Service(directory, patience=0.2).start()
    yield running
    running.stop()
