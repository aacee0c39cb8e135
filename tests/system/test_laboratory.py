"""The laboratory itself: several at a time, and nothing stays behind."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tools.lab import ROOT, LabError, Laboratory, wait_until

HOLD = "import time; from tools.lab import Laboratory; lab = Laboratory(); print(lab.pid, flush=True); time.sleep(60)"


def pid_namespace(pid: int) -> Path:
    return Path(f"/proc/{pid}/ns/pid").readlink()


def processes(namespace: Path) -> list[int]:
    """Pids of all living processes in this PID namespace: a laboratory is one."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "ns/pid").readlink() == namespace:
                found.append(int(process.name))
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # it ended while we looked, or is somebody else's: ours are readable to us
    return found


def test_several_laboratories_are_open_at_a_time_and_do_not_meet() -> None:
    """Two laboratories use the same addresses and see their own servers only."""
    with Laboratory() as one, Laboratory() as other:
        one.servers[0].offer("index.html", b"one")
        other.servers[0].offer("index.html", b"other")
        assert [lab.client.run("curl", "-s", "http://1.1.1.3/").stdout for lab in (one, other)] == ["one", "other"]


def test_a_failed_command_names_its_host_and_what_it_printed() -> None:
    """An error tells host, command, exit code and output."""
    with Laboratory() as lab, pytest.raises(LabError, match=r"client# ls /nowhere: exit code 2: .*No such file"):
        lab.client.run("ls", "/nowhere")


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_laboratory_whose_owner_is_killed_leaves_nothing(end: signal.Signals) -> None:
    """Servers and namespaces go with the process that opened them, kill -9 included."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as owner:
        assert owner.stdout
        namespace = pid_namespace(int(owner.stdout.readline()))
        assert len(processes(namespace)) >= 8  # PID 1 and its keeper, two nginx with a worker each, two dnsmasq
        owner.send_signal(end)
    wait_until(lambda: not processes(namespace), "every process of the laboratory to end")


def test_the_hosts_files_stay_as_they_are() -> None:
    """What the laboratory writes to /etc, /run and /var/log the host does not see."""
    with Laboratory() as lab:
        assert lab.director.run("cat", "/etc/jupiter/jupiter.cfg").stdout.startswith("[DPDK]\n")
        lab.director.run("touch", "/run/jupiter.test", "/var/log/jupiter.test", "/etc/jupiter.test")
        assert not [path for path in ("/run", "/var/log", "/etc") if Path(path, "jupiter.test").exists()]
