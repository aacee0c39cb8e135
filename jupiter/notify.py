"""What the service manager is told: sd_notify(3) in a few lines, without libsystemd."""

import os
import socket
import time

SOCKET = "NOTIFY_SOCKET"


def notify(*assignments: str) -> bool:
    """Send these (`READY=1`); False where no service manager listens. Never raises, never waits."""
    address = os.environ.get(SOCKET, "")
    if address[:1] not in ("/", "@"):
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as manager:
        try:
            manager.sendto(
                "\n".join(assignments).encode(), address.replace("@", "\0", 1) if address[0] == "@" else address
            )
        except OSError:
            return False
    return True


def ready(status: str) -> None:
    """Started, or done with a reload."""
    notify("READY=1", f"STATUS={status}")


def reloading() -> None:
    """ready() is to follow. The time tells the manager which of several reloads it was."""
    notify("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")


def stopping() -> None:
    notify("STOPPING=1", "STATUS=stopping")


def alive() -> None:
    """The service manager's watchdog hears that all is well."""
    notify("WATCHDOG=1")


def watchdog_seconds() -> float | None:
    """Within this time the manager wants to hear alive(); None: it does not care, or means another process."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    return int(microseconds) / 1e6 if microseconds.isdigit() and int(microseconds) else None
