"""jupiter-service in the foreground of a laboratory, as a service manager runs it."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.lab import ROOT, Laboratory, wait_until

POOL = Path("/sys/kernel/mm/hugepages/hugepages-2048kB")


def pages() -> int:
    """Huge pages in the machine's pool."""
    return int((POOL / "nr_hugepages").read_text())


class Service:
    """One that is being started; its log is what it writes to stderr. full: the name that its files have."""

    def __init__(self, lab: Laboratory, *arguments: str, environment: dict[str, str] | None = None) -> None:
        self.lab = lab
        instance = next((a.removeprefix("--instance=") for a in arguments if a.startswith("--instance=")), "")
        self.full = f"jupiter-{instance}" if instance else "jupiter"
        self._log = f"/var/log/{self.full}.stderr"
        variables = [f"{name}={value}" for name, value in (environment or {}).items()]
        lab.director.path(self._log).unlink(missing_ok=True)
        line = f'exec jupiter-service "$@" 2>{self._log}'
        self.process = lab.director.start("env", *variables, "sh", "-c", line, "sh", *arguments)

    def wait_serving(self) -> "Service":
        wait_until(lambda: "serving" in self.log() or self.process.poll() is not None, "jupiter-service to answer", 60)
        assert self.process.poll() is None, self.log()
        return self

    def log(self) -> str:
        path = self.lab.director.path(self._log)
        return path.read_text() if path.exists() else ""

    def added_pages(self) -> int:
        """Huge pages that it has added to the pool, by its note, in this life or a former one."""
        note = self.lab.director.path(f"/run/{self.full}.pid.hugepages")
        return int(note.read_text()) if note.exists() else 0

    @property
    def pid(self) -> int:
        """As the laboratory numbers it."""
        return int(self.lab.director.path(f"/run/{self.full}.pid").read_text())

    def ctl(self, *argv: str) -> str:
        return self.lab.director.ctl(*argv, f"--unixsock=/run/{self.full}.sock")

    def kill(self, name: str) -> None:
        self.lab.director.run("kill", f"-{name}", str(self.pid))
        if name == "CONT":
            self.process.send_signal(signal.SIGCONT)  # nsenter stops when what it runs does

    def stop(self) -> int:
        """End it in order; its exit code."""
        self.kill("TERM")
        return self.wait()

    def wait(self, seconds: float = 30) -> int:
        """Its exit code; nsenter's, which says 128 + the signal where one has killed it."""
        code = self.process.wait(seconds)
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe
            pipe.close()
        return code

    def thread(self, name: str) -> int:
        """Its thread of that name (EAL calls a worker rte-worker-LCORE); "": the main thread."""
        for task in self.lab.director.path(f"/proc/{self.pid}/task").iterdir():
            if (task.name == str(self.pid)) if not name else (task / "comm").read_text().startswith(name):
                return int(task.name)
        raise AssertionError(f"no thread {name}")


@contextmanager
def running(lab: Laboratory, *arguments: str, environment: dict[str, str] | None = None) -> Iterator[Service]:
    """A service that answers, ended in order unless the test has ended it."""
    service = Service(lab, *arguments, environment=environment)
    try:
        yield service.wait_serving()
    finally:
        if service.process.poll() is None:
            service.kill("CONT")
            service.stop()


@contextmanager
def stopped_thread(service: Service, name: str) -> Iterator[None]:
    """One thread of the service stands still."""
    script = str(ROOT / "tests/system/stop_thread.py")
    tracer = service.lab.director.start("python", script, str(service.thread(name)))
    assert tracer.stdout
    pid = tracer.stdout.readline().strip()
    assert pid, tracer.communicate()[1]
    try:
        yield
    finally:
        service.lab.director.run("kill", pid, check=False)  # it may have ended with the service
        tracer.communicate(timeout=10)
