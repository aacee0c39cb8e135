"""One end has sent all that it has, the other goes on: real stacks, and a director whose patience with closing
connections is shorter than that."""

from collections.abc import Iterator

import pytest

from tests.system.services import VirtualService
from tests.system.transfers import PORT, Transfers
from tools.lab import ONE_ARM, Laboratory

TRANSITORY = 2
SECONDS = 5
CONNECTIONS = 4


@pytest.fixture(scope="module")
def lab() -> Iterator[Laboratory]:
    with Laboratory() as laboratory:
        laboratory.director.configure(ONE_ARM, connections={"tcp-transitory": str(TRANSITORY)})
        laboratory.director.run("jupiter-service", "--daemon")
        yield laboratory


@pytest.fixture(scope="module")
def transfers(lab: Laboratory) -> Transfers:
    return Transfers(lab)


def test_the_server_goes_on(lab: Laboratory, transfers: Transfers, ports: Iterator[int]) -> None:
    """B14: the client closes its direction at once; the server goes on sending for longer than a silent closing
    connection is kept, and every byte comes."""
    service = VirtualService(lab, next(ports), rport=PORT).add("rr")
    ends = transfers.run(service, CONNECTIONS, up=1000, down=1 << 20, down_seconds=SECONDS)
    assert ends.whole()
    assert min(report["alone"] for report in ends.clients) > SECONDS - 0.5


def test_the_client_goes_on(lab: Laboratory, transfers: Transfers, ports: Iterator[int]) -> None:
    """B14: the server closes its direction at once; the client goes on sending just so long."""
    service = VirtualService(lab, next(ports), rport=PORT).add("rr")
    ends = transfers.run(service, CONNECTIONS, down=1000, up=1 << 20, up_seconds=SECONDS)
    assert ends.whole()
    assert min(report["alone"] for report in ends.servers) > SECONDS - 0.5
