"""Fixtures of the system tests: laboratories in which jupiter-service runs as an operator starts it."""

import itertools
from collections.abc import Iterator

import pytest

from tools.lab import ONE_ARM, Laboratory


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/system" in item.path.as_posix():
            item.add_marker(pytest.mark.system)


FORGET = {"state": "forget"}
"""Of [CONTROL]: where a test starts the service more than once, each life begins with the configuration alone."""


@pytest.fixture(scope="module", params=["auto", "none"], ids=["huge-pages", "normal-pages"])
def each_memory(request: pytest.FixtureRequest) -> Iterator[Laboratory]:
    """The one-arm laboratory with the service running; twice, with huge pages and without."""
    with Laboratory() as lab:
        lab.director.configure(ONE_ARM, {"hugepages": request.param})
        lab.director.run("jupiter-service", "--daemon")
        yield lab


@pytest.fixture(scope="module")
def lab() -> Iterator[Laboratory]:
    """The one-arm laboratory with the service running."""
    with Laboratory() as laboratory:
        laboratory.director.run("jupiter-service", "--daemon")
        yield laboratory


@pytest.fixture(scope="session")
def ports() -> Iterator[int]:
    """Virtual ports that no other test uses."""
    return itertools.count(8000)
