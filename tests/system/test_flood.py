"""A SYN flood from random sources, 4,000 a second, while real clients are served."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.system import crowds
from tests.system.services import VIP, Download, VirtualService
from tools.lab import ONE_ARM, Laboratory, wait_until

CAPACITY = 8192
HALF_OPEN = CAPACITY // 4
"""So many half-open connections at most, of each worker (fastpath/table/region.pxd); here is one."""
ESTABLISHED = 2000


@pytest.fixture(scope="module")
def lab() -> Iterator[Laboratory]:
    with Laboratory() as laboratory:
        laboratory.director.configure(ONE_ARM, connections={"capacity": str(CAPACITY)})
        laboratory.director.run("jupiter-service", "--daemon")
        yield laboratory


@contextmanager
def flooding(lab: Laboratory, port: int) -> Iterator[dict[str, int]]:
    """The client's host floods a port of the VIP; how many SYNs it sent is known after the block."""
    stop = lab.client.path("/run/flood.stop")
    stop.unlink(missing_ok=True)
    mac = lab.director.run("cat", "/sys/class/net/jupiter0/address").stdout.strip()
    program = (sys.executable, str(Path(__file__).with_name("flood.py")))
    flood = lab.client.start(*program, "eth0", mac, VIP, str(port), "1", "/run/flood.stop")
    report: dict[str, int] = {}
    try:
        assert flood.stdout
        assert flood.stdout.readline() == "ready\n"
        yield report
    finally:
        stop.touch()
        output, errors = flood.communicate(timeout=30)
    assert not errors, errors
    report.update(json.loads(output))


def half_open(lab: Laboratory) -> int:
    return sum(worker["half_open"] for worker in lab.director.ask("worker/stats"))


def gets_through(service: VirtualService) -> bool:
    """A new connection: its SYN may be lost where all queues are full, and is sent again."""
    return service.lab.client.run("curl", "-sf", "--max-time", "40", service.url, timeout=60).stdout.startswith(
        "server"
    )


def test_a_flood_pushes_nobody_out(lab: Laboratory, ports: Iterator[int]) -> None:
    """B23: SYNs from random sources many times over the bound of half-open connections: their number stays under it,
    two downloads finish whole, 2,000 established connections are all there afterwards, and new clients get through."""
    service = VirtualService(lab, next(ports)).add("rr")
    crowded = VirtualService(lab, next(ports), rport=crowds.PORT).add("rr")
    with crowds.serving(lab, ESTABLISHED):
        crowd = crowds.Crowd(crowded, ESTABLISHED)
        content = os.urandom(40 << 20)  # 20 s: on a busy machine a look at the counters takes five, beside a flood
        downloads = [Download(service, content, megabytes_a_second=2) for _ in range(2)]
        for download in downloads:
            download.wait_under_way()
        before = sum(service.connections())
        most = 0
        with flooding(lab, service.port) as flood:
            wait_until(lambda: sum(service.connections()) - before > 4 * HALF_OPEN, "the flood to come", 60)
            assert all(download.running for download in downloads), "a download ended before the flood had come"
            for _ in range(5):
                assert gets_through(service)
                most = max(most, half_open(lab))
            assert all(download.matches() for download in downloads)
        assert HALF_OPEN // 2 < most <= HALF_OPEN + 1
        assert flood["sent"] > 4 * HALF_OPEN
        assert crowd.use() == ESTABLISHED
        assert crowd.leave() == ESTABLISHED
