"""The units of etc/ for systemd: what systemd says of them, and that they agree with the program."""

import shutil
import subprocess
from configparser import ConfigParser
from pathlib import Path

import pytest

from jupiter import exits, watchdog

ETC = Path(__file__).parents[2] / "etc"
UNITS = ["jupiter.service", "jupiter@.service"]


def parsed(unit: str) -> ConfigParser:
    parser = ConfigParser(interpolation=None, delimiters="=", comment_prefixes="#")
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(ETC / unit)
    return parser


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_has_nothing_to_say_about_it(unit: str, tmp_path: Path) -> None:
    """systemd-analyze verify; the program's place is the one thing that depends on the machine."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd-analyze here; the other tests read the units all the same")
    text = (ETC / unit).read_text().replace("/usr/bin/jupiter-service", "/bin/true")
    (tmp_path / unit).write_text(text)
    done = subprocess.run(["systemd-analyze", "verify", tmp_path / unit], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("unit", UNITS)
def test_they_agree_with_the_program(unit: str) -> None:
    """It notifies, reloads on SIGHUP, is not restarted with a wrong configuration, and bites before systemd does."""
    service = parsed(unit)["Service"]
    assert service["Type"] == "notify"
    assert service["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert service["Restart"] == "on-failure"
    assert service["RestartPreventExitStatus"] == str(exits.USAGE)
    assert int(service["WatchdogSec"]) > watchdog.LIMIT * watchdog.MAIN_PATIENCE
    assert int(service["TimeoutStopSec"]) > watchdog.END_SECONDS
    assert service["LimitMEMLOCK"] == "infinity"


def test_the_template_is_the_same_with_a_name() -> None:
    """%i is the instance, in its arguments and its run-time directory; nothing else differs."""
    plain, template = (parsed(unit) for unit in UNITS)
    differing = {
        (section, key): template[section][key]
        for section in template.sections()
        for key in template[section]
        if template[section][key] != plain[section].get(key)
    }
    assert differing == {
        ("Unit", "Description"): "jupiter, a layer-4 load balancer (%i)",
        ("Service", "ExecStart"): "/usr/bin/jupiter-service --instance=%i",
        ("Service", "RuntimeDirectory"): "jupiter-%i",
    }
    assert plain["Service"]["ExecStart"] == "/usr/bin/jupiter-service"
