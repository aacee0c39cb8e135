"""A control server in a thread of its own, with a fake data plane under it."""

import asyncio
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from jupiter import commands, handlers
from jupiter.control.client import Client
from jupiter.control.dispatch import Executor
from jupiter.control.server import ControlServer
from jupiter.errors import JupiterError
from jupiter.model import Model
from jupiter.session import Session
from tests.fakes import FakeDatapath


class FakeDirector:
    """Carries out commands on a fake data plane."""

    def __init__(self, datapath: FakeDatapath, on_stop: Callable[[], None]) -> None:
        self._datapath = datapath
        self._on_stop = on_stop

    async def execute(self, method: str, params: Mapping[str, object], session: Session) -> Any:
        if commands.find(method).changes and session.read_only:
            raise JupiterError("read-only", f"Command {method} changes something, and this connection may only read.")
        outcome = handlers.execute(self._datapath, method, params)
        if isinstance(outcome, Model):
            self._datapath.publish(outcome)
            return None
        if isinstance(outcome, handlers.Stop):
            self._on_stop()
            return None
        return outcome


class Service:
    """Serves on .path until stop(), or until a client asks for the end (.stopped is set then).

    executor: a FakeDirector unless given; options: ControlServer's.
    """

    def __init__(self, directory: Path, executor: Executor | None = None, **options: Any) -> None:
        self.path = directory / "jupiter.sock"
        self.datapath = FakeDatapath(connections=2500)
        self.stopped = threading.Event()
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self.server = ControlServer(self.path, executor or FakeDirector(self.datapath, self.stopped.set), **options)

    def start(self) -> "Service":
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self.server.start(), self.loop).result(10)
        return self

    def close(self) -> None:
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


@pytest.fixture
def impatient_service(directory: Path) -> Iterator[Service]:
    """Gives a client 0.2 s to send a request, and as long to take the answer."""
    running = Service(directory, idle_seconds=0.2, slow_seconds=0.2).start()
    yield running
    running.stop()
