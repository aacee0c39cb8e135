"""Network namespaces for tests: nameless, so that the kernel removes them with their last user, however a test ends."""

import ctypes
import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

CLONE_NEWNET = 0x40000000  # linux/sched.h
LIBC = ctypes.CDLL(None, use_errno=True)


class Namespace:
    """A network namespace, its loopback up. `with namespace:` moves the calling thread, and what it starts, into it."""

    def __init__(self) -> None:
        outside = _current()
        _check(LIBC.unshare(CLONE_NEWNET))
        self.fd = _current()
        self._outside: list[int] = []
        self.run("ip link set dev lo up")
        _enter(outside)
        os.close(outside)

    def __enter__(self) -> "Namespace":
        self._outside.append(_current())
        _enter(self.fd)
        return self

    def __exit__(self, *exception: type[BaseException] | BaseException | TracebackType | None) -> None:
        outside = self._outside.pop()
        _enter(outside)
        os.close(outside)

    def close(self) -> None:
        os.close(self.fd)

    def run(self, *commands: str) -> str:
        """Run each command inside; the output of the last one. A failure raises with the command's own words."""
        output = ""
        with self:
            for command in commands:
                done = subprocess.run(command.split(), capture_output=True, text=True)
                assert done.returncode == 0, f"{command}: {done.stderr}"
                output = done.stdout
        return output

    def batch(self, lines: Iterable[str]) -> None:
        """Lines of `ip -batch`."""
        with self:
            subprocess.run(["ip", "-batch", "-"], input="".join(lines), capture_output=True, text=True, check=True)

    def set(self, key: str, value: int) -> None:
        """A sysctl, its name with slashes."""
        with self:
            Path("/proc/sys/net", key).write_text(str(value))

    def connect(self, name: str, other: "Namespace", other_name: str) -> None:
        """A veth pair between two namespaces, both ends up, that finishes checksums, not leaving them to a NIC."""
        self.run(f"ip link add name {name} type veth peer name {other_name} netns /proc/{os.getpid()}/fd/{other.fd}")
        for namespace, end in ((self, name), (other, other_name)):
            namespace.run(f"ethtool -K {end} tx off", f"ip link set dev {end} up")


def _current() -> int:
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _enter(fd: int) -> None:
    _check(LIBC.setns(fd, CLONE_NEWNET))


def _check(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
