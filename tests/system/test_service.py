"""jupiter-service as an operator starts, stops and misuses it."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.conftest import FORGET
from tests.system.running import Service, running
from tests.system.services import VirtualService, answers
from tools.lab import ONE_ARM, Laboratory, wait_until

HUGE_PAGES = Path("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages")


@pytest.fixture(scope="module")
def idle() -> Iterator[Laboratory]:
    """A laboratory whose director is configured and not started."""
    with Laboratory() as lab:
        lab.director.configure(ONE_ARM, control=FORGET)
        yield lab


@pytest.fixture
def director(idle: Laboratory) -> Iterator[Laboratory]:
    """The same with the service started for one test."""
    idle.director.run("jupiter-service", "--daemon")
    yield idle
    if services(idle):
        idle.director.run("jupiter-ctl", "stop")
        wait_until(lambda: not services(idle), "jupiter-service to end")


def services(lab: Laboratory) -> list[int]:
    """Pids, as the laboratory numbers them, of the services that run in it."""
    found = lab.director.run("pgrep", "-f", "bin/jupiter-service", check=False).stdout
    return [int(pid) for pid in found.split()]


def traces(lab: Laboratory) -> dict[str, str]:
    """What a running service has on its host."""
    return {
        "kernel interface": lab.director.run("ip", "-brief", "link", "show", "type", "tun").stdout,
        "nft rules": lab.director.run("nft", "list", "ruleset").stdout,
        "socket, pid file, note of pages": " ".join(p.name for p in lab.director.path("/run").glob("jupiter.*")),
    }


@pytest.mark.parametrize("end", ["jupiter-ctl stop", "kill -TERM", "kill -INT"])
def test_the_service_ends_cleanly_and_leaves_nothing(idle: Laboratory, end: str) -> None:
    """TAP, nft table, socket and pid file are there while it runs and gone at its end, reserved huge pages too."""
    pages, before = HUGE_PAGES.read_text(), traces(idle)
    idle.director.run("jupiter-service", "--daemon")
    assert all(traces(idle).values()), traces(idle)
    pid = idle.director.path("/run/jupiter.pid").read_text().split()[0]
    idle.director.run(*end.split(), *([pid] if end.startswith("kill") else []))
    wait_until(lambda: not services(idle), f"jupiter-service to end after {end}")
    assert traces(idle) == before == {"kernel interface": "", "nft rules": "", "socket, pid file, note of pages": ""}
    wait_until(lambda: HUGE_PAGES.read_text() == pages, "its huge pages to be given back")


def test_it_starts_again_and_again(idle: Laboratory) -> None:
    """A second start after a stop serves as the first did."""
    for _ in range(2):
        idle.director.run("jupiter-service", "--daemon")
        service = VirtualService(idle, 8888).add()
        assert answers(service, 4) == {"server1", "server2"}
        idle.director.run("jupiter-ctl", "stop")
        wait_until(lambda: not services(idle), "jupiter-service to end")


@pytest.mark.parametrize("memory", ["auto", "none"], ids=["huge-pages", "normal-pages"])
def test_it_starts_after_having_been_killed(idle: Laboratory, memory: str) -> None:
    """What kill -9 leaves keeps no next one from starting and goes with it: socket, pid file, nft table, EAL's files,
    huge pages. The TAP goes at once."""
    idle.director.configure(ONE_ARM, {"hugepages": memory}, control=FORGET)
    before = traces(idle)
    idle.director.run("jupiter-service", "--daemon")
    pid = idle.director.path("/run/jupiter.pid").read_text().split()[0]
    idle.director.run("kill", "-KILL", pid)
    wait_until(lambda: not services(idle) and not traces(idle)["kernel interface"], "the killed service to be gone")
    left = traces(idle)
    assert "jupiter-eth1" in left["nft rules"]
    assert set(left["socket, pid file, note of pages"].split()) >= {"jupiter.sock", "jupiter.pid"}
    assert idle.director.path("/run/dpdk/jupiter").is_dir()
    idle.director.run("jupiter-service", "--daemon")
    assert answers(VirtualService(idle, 8888).add(), 4) == {"server1", "server2"}
    idle.director.run("jupiter-ctl", "stop")
    wait_until(lambda: not services(idle), "jupiter-service to end")
    assert traces(idle) == before
    idle.director.configure(ONE_ARM, control=FORGET)


def test_it_starts_at_once_after_having_been_killed(idle: Laboratory) -> None:
    """Nobody has to wait until the kernel has taken the killed one apart."""
    before = traces(idle)
    with running(idle) as killed:
        for _ in range(3):
            pid = killed.pid
            lines = f"kill -KILL {pid}; jupiter-service --daemon"
            assert idle.director.run("sh", "-c", lines).stderr == ""
            assert killed.pid != pid
        idle.director.ctl("stop")
        killed.wait()
    wait_until(lambda: not services(idle), "jupiter-service to end")
    assert traces(idle) == before


def test_it_starts_after_having_been_killed_in_the_middle_of_a_start(idle: Laboratory) -> None:
    """kill -9 at several points of one start after the other: the next one serves, and no page is lost."""
    before = traces(idle)
    for line in ("jupiter-service starts", "EAL starts", "EAL: Detected", "INFO lcores", "INFO exception path"):
        starting = Service(idle)
        wait_until(lambda: line in starting.log(), f"the line {line!r}")  # noqa: B023  (called in the loop)
        starting.kill("KILL")
        starting.wait()
    with running(idle):
        assert answers(VirtualService(idle, 8888).add(), 4) == {"server1", "server2"}
    assert traces(idle) == before


def test_a_hangup_does_not_end_it(director: Laboratory) -> None:
    """SIGHUP is a reload, not the end: it answers as before, by the same process."""
    pid = director.director.path("/run/jupiter.pid").read_text()
    director.director.run("kill", "-HUP", pid.strip())
    assert answers(VirtualService(director, 8889).add(), 2) == {"server1", "server2"}
    assert director.director.path("/run/jupiter.pid").read_text() == pid


def test_a_second_instance_is_refused(director: Laboratory) -> None:
    """The second one says so, with the pid of the first, and exits non-zero; the first does not notice."""
    second = director.director.run("jupiter-service", "--daemon", check=False)
    assert second.returncode != 0
    pid = director.director.path("/run/jupiter.pid").read_text().strip()
    assert f"jupiter-service is running. Its pid is {pid}," in second.stderr
    assert director.director.ctl("version")


@pytest.mark.parametrize("option", ["--check", "--daemon"])
def test_a_wrong_configuration_exits_2_naming_every_value(idle: Laboratory, option: str) -> None:
    """File, section, key, value and what was expected, all wrong values at once, no traceback."""
    idle.director.path("/run/bad.cfg").write_text(
        "[DPDK]\nargv = -l 0,1\n"
        "[DEVICE0]\nname = jupiter0\nipv4 = 1.1.1.300\nnetmask = 255.255.255.0\nmtu = 12\n"
        "vdev = net_af_packet0,iface=eth1\n"
    )
    refused = idle.director.run("jupiter-service", "--conf=/run/bad.cfg", option, check=False)
    said = refused.stdout + refused.stderr
    assert refused.returncode == 2
    assert "Traceback" not in said
    for word in ("/run/bad.cfg", "DEVICE0", "ipv4", "1.1.1.300", "mtu", "12"):
        assert word in said


def test_a_start_that_fails_says_why_and_leaves_nothing(idle: Laboratory) -> None:
    """A port that does not exist: --daemon exits non-zero with the reason, and nothing stays behind."""
    before = traces(idle)
    config = idle.director.path("/etc/jupiter/jupiter.cfg").read_text().replace("iface=eth1", "iface=eth7")
    idle.director.path("/run/eth7.cfg").write_text(config)
    refused = idle.director.run("jupiter-service", "--conf=/run/eth7.cfg", "--daemon", check=False)
    assert refused.returncode not in (0, 2)
    assert "eth7" in refused.stdout + refused.stderr
    assert "Traceback" not in refused.stdout + refused.stderr
    wait_until(lambda: not services(idle), "the background process to be gone")
    assert traces(idle) == before


@pytest.mark.parametrize(
    ("steering", "reason"),
    [("rss", "offers no RSS"), ("flow", "the card has 1 receive queue for 2 workers")],
)
def test_a_steering_that_the_port_cannot_do_is_refused(idle: Laboratory, steering: str, reason: str) -> None:
    """The start fails, naming device, value and reason; nothing stays behind."""
    before = traces(idle)
    idle.director.configure(ONE_ARM, {"argv": "--lcores 0@0,1@0,2@0", "hugepages": "none"}, name="steered")
    path = idle.director.path("/etc/jupiter/steered.cfg")
    path.write_text(path.read_text() + f"steering = {steering}\n")
    conf = "--conf=/etc/jupiter/steered.cfg"
    refused = idle.director.run("jupiter-service", conf, "--daemon", check=False)
    said = refused.stdout + refused.stderr
    assert refused.returncode not in (0, 2)
    for word in ("Device jupiter0", f"cannot be steered by {steering}", reason):
        assert word in said
    assert "Traceback" not in said
    wait_until(lambda: not services(idle), "the background process to be gone")
    assert traces(idle) == before


def test_a_single_lcore_is_refused_saying_so(idle: Laboratory) -> None:
    """At least one worker lcore is needed, and the message says so."""
    text = idle.director.path("/etc/jupiter/jupiter.cfg").read_text()
    idle.director.path("/run/one.cfg").write_text(re.sub(r"(?m)^argv = .*$", "argv = -l 0", text))
    refused = idle.director.run("jupiter-service", "--conf=/run/one.cfg", "--check", check=False)
    assert refused.returncode == 2
    assert "worker" in refused.stdout + refused.stderr


def test_jupiter_ctl_without_a_service_names_the_socket(idle: Laboratory) -> None:
    """One clear line with the socket's path, non-zero exit."""
    refused = idle.director.run("jupiter-ctl", "vs/list", check=False)
    assert refused.returncode != 0
    assert "jupiter.sock" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_configuration_without_huge_pages_touches_none(idle: Laboratory) -> None:
    """hugepages = none: the service runs, and the number of reserved pages stays."""
    pages = HUGE_PAGES.read_text()
    idle.director.configure(ONE_ARM, {"hugepages": "none"}, control=FORGET)
    try:
        idle.director.run("jupiter-service", "--daemon")
        assert HUGE_PAGES.read_text() == pages
        idle.director.run("jupiter-ctl", "stop")
        wait_until(lambda: not services(idle), "jupiter-service to end")
    finally:
        idle.director.configure(ONE_ARM, control=FORGET)
