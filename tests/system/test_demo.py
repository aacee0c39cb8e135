"""`make demo` holds what it promises."""

import os
import signal
import subprocess
import sys

from tests.system.test_laboratory import pid_namespace, processes
from tools.lab import ROOT, wait_until

DEMO = [sys.executable, "-m", "tools.lab.demo"]


def test_the_demo_ends_well() -> None:
    """Exit code 0, and not one of its checks failed."""
    demo = subprocess.run(DEMO, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert "FAILED" not in demo.stdout
    assert demo.stdout.count("held") >= 10


def test_an_interrupted_demo_leaves_nothing() -> None:
    """Ctrl-C in the middle of ab: exit code 130, and the laboratory is gone."""
    with subprocess.Popen(DEMO, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True) as demo:
        assert demo.stdout
        for line in demo.stdout:
            if "rs/add" in line:
                break
        unshare = _child(demo.pid)
        namespace = pid_namespace(_child(unshare))
        assert processes(namespace)
        os.killpg(demo.pid, signal.SIGINT)  # as a terminal does: to the whole foreground group
        demo.stdout.read()
    assert demo.returncode == 130
    wait_until(lambda: not processes(namespace), "every process of the laboratory to end")


def _child(pid: int) -> int:
    """The oldest child of a process: of the demo unshare, of unshare the laboratory's PID 1."""
    return int(
        subprocess.run(["pgrep", "--oldest", "--parent", str(pid)], check=True, capture_output=True, text=True).stdout
    )
