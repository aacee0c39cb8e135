"""One engine a process, so one file a pytest process (tools/runtests); every test begins and ends empty."""

from collections.abc import Iterator

import pytest

from fastpath import engine
from tests.packets.director import Director


@pytest.fixture(scope="module")
def _director(request: pytest.FixtureRequest) -> Iterator[Director]:
    """A file may say CONNECTIONS, TIMEOUTS, MTU, BUFFERS, WORKERS, QUEUES, CARDS and MTUS of its engine."""
    module = request.module
    made = Director(
        getattr(module, "CONNECTIONS", 8192),
        getattr(module, "TIMEOUTS", engine.Timeouts()),
        getattr(module, "MTU", 1500),
        getattr(module, "BUFFERS", 8192),
        getattr(module, "WORKERS", 1),
        getattr(module, "QUEUES", None),
        getattr(module, "CARDS", (None, None)),
        getattr(module, "MTUS", (None, None)),
    )
    yield made
    made.close()


@pytest.fixture
def director(_director: Director) -> Iterator[Director]:
    """The file's engine, empty; what a test leaves behind must vanish by itself: connections, packet buffers."""
    free = engine.port_counters(0).mbufs_free
    yield _director
    _director.reset()
    assert _director.in_use() == 0
    assert engine.port_counters(0).mbufs_free == free
