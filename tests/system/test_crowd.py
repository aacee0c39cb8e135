"""A crowd: real sockets on both sides, all open at the same time.

200,000 of them with JUPITER_CROWD=200000; a part of that otherwise, for the sake of time.
"""

import os
from collections.abc import Iterator

import pytest

from tests.system import crowds
from tests.system.crowds import PORT
from tests.system.services import VirtualService, drops
from tools.lab import ONE_ARM, Laboratory, wait_until

CONNECTIONS = int(os.environ.get("JUPITER_CROWD", "60000"))
TRANSITORY = 10


@pytest.fixture(scope="module")
def lab() -> Iterator[Laboratory]:
    with Laboratory() as laboratory:
        laboratory.director.configure(ONE_ARM, connections={"tcp-transitory": str(TRANSITORY)})
        laboratory.director.run("jupiter-service", "--daemon")
        yield laboratory


def held(lab: Laboratory) -> tuple[int, int]:
    """(connections, local ports in use), as the director counts them."""
    connections = sum(worker["conns"] for worker in lab.director.ask("worker/stats"))
    return connections, sum(row["tcp_inuse_lports"] for row in lab.director.ask("laddr/stats"))


def test_every_connection_of_a_crowd_is_served(lab: Laboratory, ports: Iterator[int]) -> None:
    """B11, B14, B20: a crowd of connections is open at the same time, over all local addresses and both servers; each
    carries a request and its answer; clients, director and servers count the same; when they have closed, the
    director's table is empty again."""
    service = VirtualService(lab, next(ports), rport=PORT).add("rr")
    with crowds.serving(lab, CONNECTIONS) as servers:
        crowd = crowds.Crowd(service, CONNECTIONS)
        assert (crowd.opened, crowd.failed) == (CONNECTIONS, 0)
        assert held(lab) == (CONNECTIONS, CONNECTIONS)
        assert crowd.use() == CONNECTIONS
        assert crowd.leave() == CONNECTIONS
        wait_until(lambda: held(lab) == (0, 0), "the director's table to be empty", 60)
    assert [server["accepted"] for server in servers] == [CONNECTIONS // 2] * 2
    assert [server["answered"] for server in servers] == [CONNECTIONS // 2] * 2
    assert [server["ended"] for server in servers] == [CONNECTIONS // 2] * 2
    assert service.connections() == [CONNECTIONS // 2] * 2
    assert drops(lab)["no_local_port"] == drops(lab)["connections_exhausted"] == 0
