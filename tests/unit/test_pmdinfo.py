"""tools/jupiter-pmdinfo on the drivers of the installed DPDK."""

import json
import subprocess
import sys
from pathlib import Path

TOOL = Path(__file__).parents[2] / "tools/jupiter-pmdinfo"


def pmdinfo(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, TOOL, *words], capture_output=True, text=True, check=False)


def test_the_driver_of_a_card_is_found() -> None:
    """Intel's 82540EM (8086:100e, in either case) belongs to net_e1000_em, which igb_uio and vfio-pci can serve."""
    for card in ("8086:100e", "8086:100E"):
        (driver,) = json.loads(pmdinfo("--json", "--card", card).stdout)
        assert driver["name"] == "net_e1000_em"
        assert {"igb_uio", "vfio-pci"} <= set(driver["kmod"].replace("*", "").replace("|", "").split())


def test_every_driver_is_a_line() -> None:
    """Drivers without cards (virtual devices) are shown, too."""
    lines = {line.split()[0]: line.split()[1] for line in pmdinfo().stdout.splitlines()}
    assert lines["net_ring"] == "0"
    assert int(lines["net_ixgbe"]) > 10


def test_what_is_wrong_is_named() -> None:
    """An unknown card and a file that is no ELF: one line that names it, non-zero exit code, no traceback."""
    for words, name in ((("--card", "1:2"), "1:2"), ((str(TOOL),), str(TOOL)), (("/none",), "/none")):
        refused = pmdinfo(*words)
        assert refused.returncode != 0
        assert name in refused.stderr
        assert "Traceback" not in refused.stderr
