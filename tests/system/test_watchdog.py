"""A worker or a main loop that stands still, for real: threads stopped by ptrace, processes stopped by SIGSTOP."""

import socket
import time
from collections.abc import Iterator

import pytest

from jupiter import exits
from tests.system.conftest import FORGET
from tests.system.running import pages, running, stopped_thread
from tests.system.services import VirtualService, answers
from tools.lab import ONE_ARM, Laboratory, wait_until

LIMIT = 3
"""Seconds; the machine that runs the tests may be busy, and a worker that waits for its processor does not hang."""


@pytest.fixture(scope="module")
def idle() -> Iterator[Laboratory]:
    """A laboratory whose director is configured and not started."""
    with Laboratory() as lab:
        lab.director.configure(ONE_ARM, control=FORGET)
        yield lab
        with running(lab):
            pass  # adopts the huge pages of the last one that was not ended in order, and gives them back


def test_a_worker_that_hangs_ends_the_process_loudly(idle: Laboratory) -> None:
    """One CRITICAL line that names the lcore, exit code 3, in time; the next start serves and gives back all pages."""
    before = pages()
    with running(idle, f"--watchdog={LIMIT}") as service, stopped_thread(service, "rte-worker"):
        begin = time.monotonic()
        assert service.wait() == exits.HUNG
        assert LIMIT / 2 < time.monotonic() - begin < 4 * LIMIT
    [line] = [line for line in service.log().splitlines() if "CRITICAL" in line]
    assert "worker lcore 1 hangs: ending the process" in line
    assert f"exit_code={exits.HUNG}" in line
    with running(idle):
        assert answers(VirtualService(idle, 8888).add(), 2) == {"server1", "server2"}
    wait_until(lambda: pages() == before, "the huge pages of both lives to be given back")


def test_a_main_loop_that_waits_for_the_worker_does_not_hide_it(idle: Laboratory) -> None:
    """A change of configuration waits for every worker that does not sleep to have seen it: the loop is stuck, and the
    watchdog is not."""
    idle.director.configure(ONE_ARM, {"idle": "poll"}, control=FORGET)
    with running(idle, f"--watchdog={LIMIT}") as service, stopped_thread(service, "rte-worker"):
        asking = idle.director.start("jupiter-ctl", "vs/add", "10.0.1.1:9999", "tcp", "rr")
        assert service.wait() == exits.HUNG
        assert asking.wait(10) != 0
        asking.communicate()
    assert "worker lcore 1 hangs" in service.log()


def test_a_main_loop_that_hangs_ends_the_process_loudly(idle: Laboratory) -> None:
    """It has six times the limit, for the packets flow without it."""
    with running(idle, "--watchdog=2") as service, stopped_thread(service, ""):
        assert service.wait(60) == exits.HUNG
    assert "CRITICAL main loop hangs: ending the process" in service.log()


def test_a_process_that_was_stopped_does_not_hang(idle: Laboratory) -> None:
    """SIGSTOP and SIGCONT of the whole process, for longer than the limit: it serves on, and says nothing."""
    with running(idle, f"--watchdog={LIMIT}") as service:
        web = VirtualService(idle, 8888).add()
        service.kill("STOP")
        time.sleep(2 * LIMIT)  # what is tested is that time passes
        service.kill("CONT")
        assert answers(web, 2) == {"server1", "server2"}
        deadline = time.monotonic() + 1.5 * LIMIT
        while time.monotonic() < deadline:
            assert answers(web, 2) == {"server1", "server2"}
        assert "hangs" not in service.log()
        assert service.stop() == 0


@pytest.fixture
def manager(idle: Laboratory) -> Iterator[socket.socket]:
    """A service manager that listens on the laboratory's /run/notify."""
    path = idle.director.path("/run/notify")
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        listener.settimeout(20)
        yield listener


def heard_until(manager: socket.socket, word: str) -> list[str]:
    """First words of what it hears, up to this one."""
    found = [manager.recv(4096).decode().split("\n")[0]]
    while found[-1] != word:
        found.append(manager.recv(4096).decode().split("\n")[0])
    return found


def test_the_service_manager_hears_how_it_goes(idle: Laboratory, manager: socket.socket) -> None:
    """READY=1 when it answers, WATCHDOG=1 while all goes on, STOPPING=1 at its end; none of it from a hung worker.

    WatchdogSec of the manager works without our own limit, too.
    """
    environment = {"NOTIFY_SOCKET": "/run/notify", "WATCHDOG_USEC": "4000000"}
    with running(idle, "--watchdog=0", environment=environment) as service:
        heard_until(manager, "READY=1")
        for _ in range(3):
            heard_until(manager, "WATCHDOG=1")
        with stopped_thread(service, "rte-worker"):
            manager.settimeout(2)
            silent = False
            for _ in range(3):  # one or two may be on their way
                try:
                    manager.recv(4096)
                except TimeoutError:
                    silent = True
            assert silent
        manager.settimeout(20)
        assert set(heard_until(manager, "WATCHDOG=1")) == {"WATCHDOG=1"}
        assert service.stop() == 0
        assert set(heard_until(manager, "STOPPING=1")) <= {"WATCHDOG=1", "STOPPING=1"}
