"""Two network namespaces with a wire between them; all of it needs root."""

import os
from collections.abc import Iterator

import pytest

from .bench import Bench
from .namespace import Namespace


@pytest.fixture
def director() -> Iterator[Namespace]:
    """The namespace that a test runs in."""
    if os.geteuid() != 0:
        pytest.skip("needs root: makes network namespaces")
    namespace = Namespace()
    with namespace:
        yield namespace
    namespace.close()


@pytest.fixture
def network() -> Iterator[Namespace]:
    """The other end of the wire."""
    if os.geteuid() != 0:
        pytest.skip("needs root: makes network namespaces")
    namespace = Namespace()
    yield namespace
    namespace.close()


@pytest.fixture
def bench(director: Namespace, network: Namespace) -> Bench:
    """Its kernel looks for neighbours as kernels come."""
    return Bench(director, network)


@pytest.fixture
def quick(bench: Bench) -> Bench:
    """The same with a kernel that is in a hurry."""
    bench.hasten()
    return bench
