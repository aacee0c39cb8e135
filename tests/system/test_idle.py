"""idle = adaptive in a real service over net_af_packet: quiet without traffic, and all there when some comes."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.lab import ONE_ARM, Laboratory
from tools.lab.laboratory import wait_until
from tools.lab.topology import VIP

CORES = "--lcores 0@0,1@0,2@0"
QUIET_PERCENT = 2.0


@pytest.fixture(scope="module")
def lab() -> Iterator[Laboratory]:
    """Two workers."""
    with Laboratory() as laboratory:
        laboratory.director.configure(ONE_ARM, {"argv": CORES})
        laboratory.director.run("jupiter-service", "--daemon")
        yield laboratory


def worker_threads(lab: Laboratory) -> list[Path]:
    pid = lab.director.run("cat", "/run/jupiter.pid").stdout.strip()
    tasks = lab.director.path(f"/proc/{pid}/task").iterdir()
    found = [task for task in tasks if (task / "comm").read_text().startswith(("lcore-worker", "rte-worker"))]
    assert len(found) == 2
    return found


def spent(thread: Path) -> int:
    """Nanoseconds on a processor."""
    return int((thread / "schedstat").read_text().split()[0])


def test_idle_workers_leave_the_processor_alone(lab: Laboratory) -> None:
    """Without traffic each worker takes less than 2 % of a core."""
    threads = worker_threads(lab)
    time.sleep(1)
    before, began = list(map(spent, threads)), time.monotonic_ns()
    time.sleep(4)
    elapsed = time.monotonic_ns() - began
    for thread, then in zip(threads, before, strict=True):
        assert 100 * (spent(thread) - then) / elapsed < QUIET_PERCENT


def test_it_is_told(lab: Laboratory) -> None:
    """worker/stats: nearly all of the time is slept, and netdev/hwinfo says by what a worker is woken."""
    wait_until(lambda: all(w["asleep"] > 95 for w in lab.director.ask("worker/stats")), "workers to sleep")
    (hardware,) = lab.director.ask("netdev/hwinfo")
    assert hardware["woken-by"] == "socket"


def test_each_silence_ends_at_once(lab: Laboratory) -> None:
    """Echo requests to a virtual address after silences: all are answered, long before the longest sleep ends."""
    lab.director.ctl("vs/add", f"{VIP}:80", "tcp", "rr")
    said = lab.client.run("ping", "-q", "-c", "50", "-i", "0.05", "-W", "2", VIP).stdout
    assert "50 received" in said
    average = float(said.rsplit("=", 1)[1].split("/")[1])
    assert average < 100, said


def test_the_kernels_frames_wake(lab: Laboratory) -> None:
    """B9: what the kernel sends leaves at once, from a worker that slept."""
    said = lab.director.run("ping", "-q", "-c", "20", "-i", "0.05", "-W", "2", "1.1.1.1").stdout
    assert "20 received" in said


def test_commands_wake(lab: Laboratory) -> None:
    """A question to sleeping workers is answered in far less than their longest sleep."""
    began = time.monotonic()
    for _ in range(5):
        lab.director.ctl("tcp/conn/dump")
    assert time.monotonic() - began < 5


def test_a_link_that_goes_down_and_comes_back(lab: Laboratory) -> None:
    """A socket with an error does not keep its worker awake, and wakes it again when the link is back."""
    interface = ONE_ARM.devices[0].interface
    lab.director.run("ip", "link", "set", interface, "down")
    try:
        time.sleep(1)
        threads = worker_threads(lab)
        before, began = list(map(spent, threads)), time.monotonic_ns()
        time.sleep(2)
        elapsed = time.monotonic_ns() - began
        shares = [100 * (spent(t) - then) / elapsed for t, then in zip(threads, before, strict=True)]
        assert max(shares) < 10
    finally:
        lab.director.run("ip", "link", "set", interface, "up")
    wait_until(lambda: lab.client.run("ping", "-c", "1", "-W", "1", VIP, check=False).returncode == 0, "answers", 20)
