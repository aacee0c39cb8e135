"""The road of every change: configuration files, reload, apply and its kin, and what survives a restart."""

import json
import time
from collections.abc import Iterator

import pytest

from tests.system.conftest import FORGET
from tests.system.running import Service, running
from tests.system.services import VirtualService, answers
from tools.lab import ONE_ARM, Laboratory, wait_until

CONFIG = "/etc/jupiter/jupiter.cfg"
STATE = "/var/lib/jupiter/jupiter.state"
MORE = "/etc/jupiter/services.d/more.cfg"
WEB = "[10.0.1.1:8888 tcp]\nscheduler = rr\n1.1.1.3:80 = 1\n1.1.1.4:80 = 1\n"
OTHER = WEB.replace("8888", "8889")


@pytest.fixture
def idle() -> Iterator[Laboratory]:
    """Configured with one service in jupiter.cfg and one in services.d; not started."""
    with Laboratory() as lab:
        configure(lab)
        lab.director.path("/etc/jupiter/services.d").mkdir()
        write(lab, MORE, OTHER)
        yield lab


def configure(lab: Laboratory, **control: str) -> None:
    lab.director.configure(ONE_ARM, {"hugepages": "none"}, control=control)
    write(lab, CONFIG, lab.director.path(CONFIG).read_text() + WEB)


def write(lab: Laboratory, path: str, text: str) -> None:
    lab.director.path(path).write_text(text)


def saved(lab: Laboratory) -> str:
    return lab.director.ctl("save")


def serves(lab: Laboratory, port: int) -> set[str]:
    """Names of the servers behind a port of the VIP, of which each round has two."""
    return answers(VirtualService(lab, port), 2)


def test_services_of_the_configuration_serve_from_the_start(idle: Laboratory) -> None:
    """jupiter.cfg and services.d/*.cfg; `save` prints what they say; an edit is applied by SIGHUP and by `reload`."""
    with running(idle) as service:
        assert serves(idle, 8888) == serves(idle, 8889) == {"server1", "server2"}
        assert saved(idle).split() == (WEB + OTHER).split()
        write(idle, MORE, OTHER.replace("1.1.1.4:80 = 1\n", "1.1.1.4:80 = 1 disabled\n"))
        service.kill("HUP")
        wait_until(lambda: "disabled" in saved(idle), "the edit to be applied")
        assert serves(idle, 8889) == {"server1"}
        write(idle, MORE, OTHER)
        figures = idle.director.ask("reload")
        assert (figures["changed"], figures["servers_changed"]) == (1, 1)
        assert serves(idle, 8889) == {"server1", "server2"}
        assert 'change command=reload changed=1 servers_changed=1 by="uid 0' in service.log()


def test_a_wrong_edit_is_refused_whole(idle: Laboratory) -> None:
    """B28: every error has file and line, on stderr of `reload` and in the log; what is right is not applied either."""
    with running(idle) as service:
        before = saved(idle)
        wrong = OTHER.replace("= 1", "= x", 1).replace("scheduler = rr", "scheduler = best")
        write(idle, MORE, wrong + WEB.replace("8888", "8890"))
        refused = idle.director.run("jupiter-ctl", "reload", check=False)
        assert refused.returncode == 2
        for line in (f"{MORE}:2:", f"{MORE}:3:"):
            assert line in refused.stderr
        service.kill("HUP")
        wait_until(lambda: "reload refused, nothing has changed" in service.log(), "the log to say so")
        for line in (f"{MORE}:2:", f"{MORE}:3:"):
            assert line in service.log()
        assert saved(idle) == before
        assert serves(idle, 8888) == serves(idle, 8889) == {"server1", "server2"}


def ctl(lab: Laboratory, *lines: str) -> int:
    """Exit code of shell lines on the director."""
    return lab.director.run("sh", "-euc", "\n".join(lines), check=False).returncode


def test_files_of_services_from_the_shell(idle: Laboratory) -> None:
    """apply, diff, check and save with files and -; `save | apply` changes nothing; a wrong file changes nothing."""
    with running(idle):
        director = idle.director
        assert ctl(idle, "jupiter-ctl save /run/now.cfg", "jupiter-ctl save | diff - /run/now.cfg") == 0
        unchanged = director.run("sh", "-c", "jupiter-ctl save | jupiter-ctl apply - --json").stdout
        assert set(json.loads(unchanged).values()) == {0}
        assert director.ask("diff", "/run/now.cfg") == []
        write(idle, "/run/next.cfg", WEB.replace("rr", "wrr") + "1.1.1.4:81 = 3\n")
        rows = director.ask("diff", "/run/next.cfg")
        assert {(row["change"], row["service"], row["server"]) for row in rows} == {
            ("add", "10.0.1.1:8888 tcp", "1.1.1.4:81"),
            ("change", "10.0.1.1:8888 tcp", None),
            ("remove", "10.0.1.1:8889 tcp", None),
        }
        assert director.ask("check", "/run/next.cfg") == {"services": 1, "servers": 3}
        assert director.ask("diff", "/run/now.cfg") == [], "diff and check change nothing"
        figures = director.ask("apply", "/run/next.cfg")
        assert (figures["changed"], figures["removed"], figures["servers_added"]) == (1, 1, 1)
        assert ctl(idle, "jupiter-ctl check - </run/now.cfg", "jupiter-ctl apply - </run/now.cfg") == 0
        assert serves(idle, 8889) == {"server1", "server2"}
        write(idle, "/run/wrong.cfg", WEB + "1.1.1.4:80000 = 1\nfoo = 2\n")
        for command in ("apply", "check", "diff"):
            refused = director.run("jupiter-ctl", command, "/run/wrong.cfg", check=False)
            assert refused.returncode == 2
            assert "/run/wrong.cfg:5:" in refused.stderr
            assert "/run/wrong.cfg:6:" in refused.stderr
        assert director.run("jupiter-ctl", "apply", "/run/none.cfg", check=False).returncode == 2
        assert director.ask("diff", "/run/now.cfg") == []


def change_by_hand(lab: Laboratory) -> None:
    lab.director.ctl("rs/disable", "10.0.1.1:8889", "tcp", "1.1.1.4:80")
    VirtualService(lab, 9000).add("rr")


def end(service: Service, how: str) -> None:
    if how == "stop":
        service.lab.director.ctl("stop")
    else:
        service.kill("KILL")
    service.wait()


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_what_was_set_by_hand_survives(idle: Laboratory, how: str) -> None:
    """state = keep: a service added, servers disabled and deleted, after `stop` and after kill -9; reload undoes."""
    with running(idle) as service:
        configured = saved(idle)
        change_by_hand(idle)
        idle.director.ctl("rs/del", "10.0.1.1:8888", "tcp", "1.1.1.3:80")
        before = saved(idle)
        time.sleep(0.4)  # SAVE_SECONDS, and a slow disk: what is tested is that so much time suffices
        end(service, how)
    with running(idle):
        assert sorted(saved(idle).split("\n\n")) == sorted(before.split("\n\n"))
        assert serves(idle, 9000) == {"server1", "server2"}
        assert serves(idle, 8889) == {"server1"}
        assert serves(idle, 8888) == {"server2"}
        idle.director.ctl("reload")
        assert sorted(saved(idle).split()) == sorted(configured.split())


def test_what_was_set_by_hand_is_forgotten(idle: Laboratory) -> None:
    """state = forget: a restart brings back the configuration, and there is no state file."""
    configure(idle, **FORGET)
    with running(idle):
        configured = saved(idle)
        change_by_hand(idle)
    assert not idle.director.path(STATE).exists()
    with running(idle):
        assert saved(idle) == configured
