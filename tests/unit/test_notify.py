"""What the service manager hears, on a real datagram socket."""

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jupiter import notify


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A service manager that listens, where NOTIFY_SOCKET says."""
    address = f"{tmp_path}/notify" if request.param == "path" else f"@jupiter-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address.replace("@", "\0"))
        listener.settimeout(5)
        monkeypatch.setenv(notify.SOCKET, address)
        yield listener


def heard(manager: socket.socket) -> list[str]:
    return manager.recv(4096).decode().split("\n")


def test_ready_stopping_and_alive(manager: socket.socket) -> None:
    """One datagram each, assignments on lines (sd_notify(3))."""
    notify.ready("serving")
    assert heard(manager) == ["READY=1", "STATUS=serving"]
    notify.stopping()
    assert heard(manager)[0] == "STOPPING=1"
    notify.alive()
    assert heard(manager) == ["WATCHDOG=1"]


def test_reloading_says_when(manager: socket.socket) -> None:
    """MONOTONIC_USEC is CLOCK_MONOTONIC, as Type=notify-reload wants it."""
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notify.reloading()
    first, second = heard(manager)
    after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    assert first == "RELOADING=1"
    assert before <= int(second.removeprefix("MONOTONIC_USEC=")) <= after


@pytest.mark.parametrize(
    "address", [None, "", "/nonexistent/notify", "vsock:2:1", "relative", "@nobody-is-there", "/" + "x" * 200]
)
def test_nobody_listens(address: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a service manager, or with one that has gone, nothing happens."""
    monkeypatch.delenv(notify.SOCKET, raising=False)
    if address is not None:
        monkeypatch.setenv(notify.SOCKET, address)
    assert notify.notify("READY=1") is False


def test_a_manager_that_does_not_listen_holds_nobody_up(manager: socket.socket) -> None:
    """Its queue is full: what we have to say is lost, and we go on."""
    while notify.notify("WATCHDOG=1"):
        pass
    assert heard(manager) == ["WATCHDOG=1"]


@pytest.mark.parametrize(
    ("usec", "pid", "expected"),
    [
        ("90000000", None, 90.0),
        ("500000", "own", 0.5),
        ("500000", "1", None),
        (None, None, None),
        ("0", None, None),
        ("x", None, None),
    ],
)
def test_the_time_in_which_it_wants_to_hear_of_us(
    usec: str | None, pid: str | None, expected: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """sd_watchdog_enabled(3): WATCHDOG_USEC, if WATCHDOG_PID means us."""
    for name, value in (("WATCHDOG_USEC", usec), ("WATCHDOG_PID", str(os.getpid()) if pid == "own" else pid)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert notify.watchdog_seconds() == expected
