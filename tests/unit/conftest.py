"""What several files of this room begin with."""

from collections.abc import Iterator

import pytest

from tests.fakes import FakeDatapath, Operator


@pytest.fixture
def operator() -> Iterator[Operator]:
    """With one wrr service of two servers, weights 7 and 9."""
    made = Operator(FakeDatapath())
    made("vs/add", service="10.0.1.1:8888 tcp", scheduler="wrr")
    made("rs/add", service="10.0.1.1:8888 tcp", server="1.1.1.3:80", weight=7)
    made("rs/add", service="10.0.1.1:8888 tcp", server="1.1.1.4:80", weight=9)
    yield made
    made.close()
