"""One local address, one server: more connections than there are local ports, by real sockets on both sides."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.system import crowds
from tests.system.services import VirtualService, drops
from tools.lab import ONE_ARM, Laboratory, wait_until

LOCAL_PORTS = 65536 - 1024
REFUSED = 50
ONE_ADDRESS = replace(ONE_ARM, devices=(replace(ONE_ARM.devices[0], local_ipv4="10.0.2.1/32"),))


@pytest.fixture(scope="module")
def lab() -> Iterator[Laboratory]:
    with Laboratory(ONE_ADDRESS) as laboratory:
        laboratory.director.configure(ONE_ADDRESS, connections={"tcp-transitory": "10"})
        laboratory.director.run("jupiter-service", "--daemon")
        yield laboratory


def test_local_ports_run_out(lab: Laboratory, ports: Iterator[int]) -> None:
    """B20, B22: 64,512 connections to one server take every local port; those that come then are refused under
    no_local_port, those that live are untouched, and when they have ended new ones get through again."""
    service = VirtualService(lab, next(ports), rport=crowds.PORT).add("rr", weights=(1,))
    with crowds.serving(lab, LOCAL_PORTS, servers=1) as servers:
        crowd = crowds.Crowd(service, LOCAL_PORTS)
        assert (crowd.opened, crowd.failed) == (LOCAL_PORTS, 0)
        assert drops(lab)["no_local_port"] == 0
        late = crowds.Crowd(service, REFUSED, patience=2.5)
        assert (late.opened, late.failed) == (0, REFUSED)
        assert drops(lab)["no_local_port"] >= REFUSED
        assert crowd.use() == LOCAL_PORTS
        assert crowd.leave() == LOCAL_PORTS
        wait_until(lambda: not any(w["conns"] for w in lab.director.ask("worker/stats")), "connections to go", 60)
        after = crowds.Crowd(service, REFUSED)
        assert after.use() == after.leave() == REFUSED
    assert servers[0]["accepted"] == servers[0]["answered"] == LOCAL_PORTS + REFUSED
