"""Opening and closing a laboratory."""

import subprocess
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from tools.lab.host import ROOT, Director, Host, LabError, Server
from tools.lab.topology import ONE_ARM, Topology

INIT = ROOT / "tools/lab/init"


class Laboratory:
    """A context manager. Whoever dies, how ever it dies, nothing stays behind: see tools/lab/init.

    The servers run; the director is configured and waits for `jupiter-service --daemon`.
    Any number can be open at a time.
    """

    def __init__(self, topology: Topology = ONE_ARM, *, keeper: tuple[str, ...] = ("cat",)) -> None:
        """keeper: the command whose end closes the laboratory; cat ends with this process, or with close()."""
        self.topology = topology
        self._init = subprocess.Popen(
            ["unshare", "--pid", "--fork", "--kill-child", "--mount", str(INIT), *keeper],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # the terminal's Ctrl-C is for us, who then close in order
        )
        try:
            self._build()
        except BaseException:
            self.close()
            raise

    def _build(self) -> None:
        assert self._init.stdout
        assert self._init.stderr
        ready = self._init.stdout.readline()
        if not ready:
            why = self._init.stderr.read().strip()
            raise LabError(f"the laboratory does not open; it needs root, namespaces, tmpfs and overlayfs: {why}")
        self.pid = int(ready)
        self._sh("\n".join(self.topology.commands()))
        self.client = Host(self.pid, "client")
        self.routers = {name: Host(self.pid, name) for name in self.topology.routers}
        self.director = Director(self.pid, "director")
        self.director.configure(self.topology)
        self.servers = [
            Server(self.pid, f"server{n}", address) for n, address in enumerate(self.topology.server_addresses, 1)
        ]
        for server in self.servers:
            server.start_http()
            server.start_dns()

    def _sh(self, script: str) -> None:
        done = subprocess.run(
            ["nsenter", "--target", str(self.pid), "--mount", "--pid", "--", "sh", "-eux"],
            input=script,
            capture_output=True,
            text=True,
            timeout=60,
        )
        if done.returncode != 0:
            raise LabError(f"building the laboratory's network failed:\n{done.stderr[-1000:]}")

    def close(self) -> None:
        """End every process of the laboratory, daemons in order; with the last one its namespaces go."""
        for pipe in (self._init.stdin, self._init.stdout, self._init.stderr):
            assert pipe
            pipe.close()  # PID 1 ends when its stdin does
        try:
            self._init.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self._init.kill()  # unshare --kill-child takes PID 1 along, and that takes the rest
            self._init.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def wait_until(condition: Callable[[], object], what: str, seconds: float = 10) -> None:
    """Return as soon as condition() is true; LabError saying `what` was awaited when it is not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise LabError(f"waited {seconds:g} s in vain for: {what}")
        time.sleep(0.02)
