"""Several workers over net_af_packet, which steers nothing: two by two devices, two by one device with two queues, and
three, of whom one has no queue (B21).

What the kernel puts into the wrong queue is handed over, and who has no queue sends by another one.
"""

import os
from collections.abc import Iterator

import pytest

from tests.system.services import Download, VirtualService, ab, drops
from tools.lab import ONE_ARM, TWO_ARM, Laboratory
from tools.lab.host import eal_cores
from tools.lab.laboratory import wait_until

SHAPES = {"two-devices": (TWO_ARM, 1, 2), "two-queues": (ONE_ARM, 2, 2), "three-workers": (ONE_ARM, 2, 3)}
"""Queues of each device; workers."""
REQUESTS = 2000


@pytest.fixture(scope="module", params=SHAPES)
def lab(request: pytest.FixtureRequest) -> Iterator[Laboratory]:
    topology, queues, workers = SHAPES[request.param]
    with Laboratory(topology) as laboratory:
        laboratory.director.configure(topology, {"argv": eal_cores(workers)}, queues=queues)
        laboratory.director.run("jupiter-service", "--daemon")
        yield laboratory


@pytest.fixture
def service(lab: Laboratory, ports: Iterator[int]) -> Iterator[VirtualService]:
    virtual = VirtualService(lab, next(ports))
    yield virtual
    virtual.ctl("vs/del")


def connections(lab: Laboratory) -> list[int]:
    return [worker["conns"] for worker in lab.director.ask("worker/stats")]


def dropped(lab: Laboratory) -> dict[str, int]:
    """By reason; the bridge floods frames for others now and then."""
    return {reason: n for reason, n in drops(lab).items() if n and reason != "not_for_us"}


def find(service: VirtualService) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = service.lab.director.ask("conn/find", f"vip={service.vip}:{service.port}")
    return rows


@pytest.mark.parametrize("options", [("-c50",), ("-c50", "-k")], ids=["concurrent", "keep-alive"])
def test_every_request_succeeds(service: VirtualService, options: tuple[str, ...]) -> None:
    """B1, B21: whichever worker receives what, every answer comes back whole, and nothing is dropped on the way."""
    before = dropped(service.lab)
    service.add()
    assert ab(service, f"-n{REQUESTS}", *options) == (REQUESTS, 0)
    assert dropped(service.lab) == before


def test_each_worker_has_its_part(service: VirtualService) -> None:
    """B21: of one client's connections, which differ by its ports alone, each worker owns 80 % of its part at least."""
    before = connections(service.lab)
    service.add("lc")
    ab(service, f"-n{REQUESTS}", "-c20")
    parts = [now - then for now, then in zip(connections(service.lab), before, strict=True)]
    assert sum(parts) >= REQUESTS
    assert min(parts) > 0.8 * sum(parts) / len(parts)


def test_what_was_handed_over_is_told(service: VirtualService) -> None:
    """worker/stats: packets a second from worker to worker, as many in as out; netdev/hwinfo: why."""
    service.add()
    load = service.lab.client.start("ab", "-k", "-c20", "-t4", "-n1000000", f"{service.url}/")
    try:

        def rates() -> list[tuple[int, int, int]]:
            return [(w["handed_in"], w["handed_out"], w["packets"]) for w in service.lab.director.ask("worker/stats")]

        wait_until(lambda: all(packets > 500 for _, _, packets in rates()), "every worker to have packets")
        taken, given, _ = map(sum, zip(*rates(), strict=True))
        assert taken > 100
        assert taken == pytest.approx(given, rel=0.2)
    finally:
        load.communicate(timeout=30)
    for hardware in service.lab.director.ask("netdev/hwinfo"):
        assert hardware["steering"] == "ring"
        assert "net_af_packet offers no RSS" in hardware["steering-reason"]


def test_a_download_is_whole(service: VirtualService) -> None:
    """B1, B21: 20 MB, byte for byte."""
    service.add("rr")
    assert Download(service, os.urandom(20 << 20)).matches()


def test_connections_of_every_worker_are_reset(service: VirtualService) -> None:
    """B26: a service that is removed with that wish leaves no connection at any worker that still forwards."""
    service.add()
    ab(service, "-n400", "-c20")
    load = service.lab.client.start("ab", "-k", "-r", "-c20", "-t3", "-n1000000", f"{service.url}/")
    try:
        wait_until(lambda: len(find(service)) >= 20, "connections")
        service.ctl("vs/del", "reset")
        wait_until(lambda: "ESTABLISHED" not in {row["state"] for row in find(service)}, "resets")
    finally:
        service.add()  # else ab waits for answers to its next SYNs
        load.communicate(timeout=60)


def test_the_kernel_interface_of_each_device_answers(lab: Laboratory) -> None:
    """B9: ping to the director itself, by whichever worker."""
    for _ in range(3):
        lab.client.run("ping", "-c2", "-i0.2", "-W2", "1.1.1.2")
