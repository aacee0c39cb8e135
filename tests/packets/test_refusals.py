"""What the control plane gets wrong ends in an EngineError, never the process: each case in one of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
START = """
import os
from fastpath import engine
cpu = min(os.sched_getaffinity(0))
def init(*more):
    engine.init(["--lcores", f"0@{cpu},1@{cpu}", "--no-huge", "--no-shconf", "-m", "64", "--no-pci", "--no-telemetry",
                 "--log-level", "3", *more], 1024, buffers=1024)
try:
    CODE
except engine.EngineError as error:
    print("refused:", error)
"""

BEFORE_INIT = [
    "drops()", "worker_counters()", "server_counters(0)", "service_counters(0)", "port_counters(0)", "publish([])",
    "set_local_addresses(0, [])", "set_next_hop(0, 0, None)", "release_server(0)", "connections(0, 6)", "start()",
    "kernel_loop()",
]  # fmt: skip
OUT_OF_RANGE = [
    "set_port_address(99, bytes(4))", "set_local_addresses(99, [bytes(4)])", "set_next_hop(1 << 20, 0, bytes(6))",
    "set_next_hop(-1, 0, bytes(6))", "set_next_hop(0, 99, bytes(6))", "set_next_hop(0, 0, bytes(8))",
    "server_counters(1 << 26)", "service_counters(1 << 30)", "port_counters(99)", "release_server(1 << 21)",
    "publish([], [1 << 30])", "attach_kernel_interface(99, 0)",
]  # fmt: skip


def outcome(code: str) -> str:
    """What a process that runs this code prints; a process that dies says so."""
    done = subprocess.run(
        [sys.executable, "-c", START.replace("CODE", code)], cwd=ROOT, capture_output=True, text=True, timeout=30
    )
    return done.stdout or f"exit code {done.returncode}: {done.stderr[-300:]}"


@pytest.mark.parametrize("call", BEFORE_INIT)
def test_before_init(call: str) -> None:
    """B28: what needs a data plane says that there is none."""
    assert outcome(f"engine.{call}").startswith("refused:")


@pytest.mark.parametrize("call", OUT_OF_RANGE)
def test_out_of_range(call: str) -> None:
    """B28: a number or length that the tables do not have is refused."""
    assert outcome(f"init(); engine.{call}").startswith("refused:")


@pytest.mark.parametrize("call", ["init()", "add_port('net_none0')", "connections(1, 6)", "run_once([b''])"])
def test_refused_with_words(call: str) -> None:
    """B28: a second init, a device that EAL did not find, a worker that there is not, a port that there is not."""
    text = outcome("init(); init()" if call == "init()" else f"init(); engine.{call}")
    assert text.startswith("refused:")
    assert len(text.split()) > 3


def test_a_port_that_is_not_ours() -> None:
    """B9: a device of EAL that no configuration names is left alone."""
    code = (
        "init('--vdev', 'net_null0'); engine.add_ring_port('ours'); print('left:', engine.run_once([(1, bytes(60))]))"
    )
    assert outcome(code).startswith("left: []")
