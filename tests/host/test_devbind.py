"""tools/jupiter-devbind on a fake sysfs, as its operator types it."""

import json
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from jupiter.errors import JupiterError

from .fake_sysfs import DISK_CLASS, FakeSysfs
from .namespace import Namespace

ROOT = Path(__file__).parents[2]
TOOL = ROOT / "tools" / "jupiter-devbind"


@pytest.fixture
def sysfs(tmp_path: Path) -> FakeSysfs:
    fake = FakeSysfs(tmp_path / "sys")
    fake.add_driver("ixgbe", "0000:01:00.0", "0000:01:00.1")
    fake.add_driver("vfio-pci")
    fake.add_driver("uio_pci_generic")
    fake.add_card("0000:01:00.0", "ixgbe", "eth7")
    fake.add_card("0000:01:00.1", "uio_pci_generic")
    fake.add_card("0000:02:00.0", None)
    fake.add_card("0000:03:00.0", None, kind=DISK_CLASS)
    return fake


def devbind(sysfs: FakeSysfs, *words: str) -> Result:
    loader = SourceFileLoader("jupiter_devbind", str(TOOL))
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return CliRunner().invoke(module.main, words, obj=sysfs)


@pytest.mark.parametrize("words", [[], ["status"]])
def test_list(sysfs: FakeSysfs, words: list[str]) -> None:
    """Every network card is a line: identifier, driver, interfaces, whether DPDK has it; a disk is none."""
    assert [line.split() for line in devbind(sysfs, *words).stdout.splitlines()] == [
        ["Address", "Id", "Driver", "Interfaces", "Dpdk"],
        ["0000:01:00.0", "8086:10fb", "ixgbe", "eth7", "no"],
        ["0000:01:00.1", "8086:10fb", "uio_pci_generic", "-", "yes"],
        ["0000:02:00.0", "8086:10fb", "-", "-", "no"],
    ]


@pytest.mark.parametrize("words", [["--json"], ["status", "--json"]])
def test_list_as_json(sysfs: FakeSysfs, words: list[str]) -> None:
    """The same for programs, with lists and null where people see commas and dashes."""
    first, _, last = json.loads(devbind(sysfs, *words).stdout)
    assert first == {
        "address": "0000:01:00.0",
        "id": "8086:10fb",
        "driver": "ixgbe",
        "interfaces": ["eth7"],
        "dpdk": False,
    }
    assert (last["driver"], last["interfaces"]) == (None, [])


def test_bind_and_unbind(director: Namespace, sysfs: FakeSysfs) -> None:
    """Several cards at a time, to the preferred driver or a named one, and back to the kernel."""
    done = devbind(sysfs, "bind", "01:00.0", "0000:02:00.0")
    assert done.stdout.splitlines() == ["0000:01:00.0: ixgbe -> vfio-pci", "0000:02:00.0: no driver -> vfio-pci"]
    assert devbind(sysfs, "bind", "--driver", "uio_pci_generic", "02:00.0").exit_code == 0
    assert sysfs.driver_of("0000:02:00.0") == "uio_pci_generic"
    done = devbind(sysfs, "unbind", "01:00.0", "02:00.0")
    assert done.stdout.splitlines() == ["0000:01:00.0: -> ixgbe", "0000:02:00.0: -> no driver"]


def test_machine_without_pci(tmp_path: Path) -> None:
    """No cards at all: an empty list."""
    fake = FakeSysfs(tmp_path / "sys")
    fake.devices.rmdir()
    assert json.loads(devbind(fake, "--json").stdout) == []


def test_refusals_reach_the_operator(sysfs: FakeSysfs) -> None:
    """What jupiter.host.pci refuses is not swallowed."""
    assert isinstance(devbind(sysfs, "bind", "09:00.0").exception, JupiterError)


def test_error_is_one_line_and_an_exit_code() -> None:
    """A wrong address: one line on standard error, exit code 1, no traceback."""
    done = subprocess.run(
        [sys.executable, TOOL, "unbind", "eth0"],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "Invalid PCI address eth0: expected one like 0000:01:00.2.\n"
