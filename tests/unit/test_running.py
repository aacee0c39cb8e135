"""The one road of every change, files of services, and what survives a restart."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from jupiter import services
from jupiter.errors import JupiterError
from jupiter.ini import ConfigError
from jupiter.model import Policy, Protocol, ServiceKey, VirtualService
from jupiter.state import StateFile
from tests.fakes import FakeDatapath, Operator

VIP = ServiceKey(IPv4Address("10.0.1.1"), 80, Protocol.TCP)
VS = {"service": "10.0.1.1:80 tcp"}
R3, R4 = {"server": "1.1.1.3:80"}, {"server": "1.1.1.4:80"}
WEB = "[10.0.1.1:80 tcp]\nscheduler = wrr\n1.1.1.3:80 = 7\n1.1.1.4:80 = 7\n"
DNS = "[10.0.1.1:53 udp]\nscheduler = rr\n1.1.1.3:53 = 1\n"


def parsed(text: str) -> dict[ServiceKey, VirtualService]:
    return services.parse(text, "jupiter.cfg", lambda _: None)


class Director:
    """A service that can be restarted: its configuration is a text, its state a file."""

    def __init__(self, directory: Path) -> None:
        self.text = WEB + DNS
        self.path = directory / "lib/state.cfg"
        self._operator: Operator | None = None

    def start(self, *, keep: bool = True) -> Operator:
        self._operator = Operator(FakeDatapath(), lambda: parsed(self.text), StateFile(self.path) if keep else None)
        self._operator.wait(self._operator.running.begin(parsed(self.text)))
        return self._operator

    def stop(self) -> None:
        if self._operator:
            self._operator.close()
            self._operator = None

    def restart(self, *, keep: bool = True) -> Operator:
        self.stop()
        return self.start(keep=keep)


@pytest.fixture
def director(tmp_path: Path) -> Iterator[Director]:
    made = Director(tmp_path)
    yield made
    made.stop()


@pytest.fixture
def operator(director: Director) -> Operator:
    return director.start()


def running(operator: Operator) -> dict[ServiceKey, VirtualService]:
    return dict(operator.datapath.model.services)


# Files


def test_a_service_begins_with_what_is_configured(operator: Operator) -> None:
    assert running(operator) == parsed(WEB + DNS)
    assert len(operator.datapath.changes) == 1


def test_apply_makes_it_so_by_difference_in_one_transaction(operator: Operator) -> None:
    """B28: what differs is published at once, and nothing else is touched."""
    text = WEB.replace("4:80 = 7", "4:80 = 9") + "1.1.1.5:80 = 1 disabled\n[10.0.1.2:80 tcp]\n"
    assert operator.file("apply", text) == {
        **{"added": 1, "changed": 1, "removed": 1},
        **{"servers_added": 1, "servers_changed": 1, "servers_removed": 0},
    }
    assert running(operator) == parsed(text)
    (change,) = operator.datapath.changes[1:]
    assert ([str(s.key) for s in change.put], list(map(str, change.removed))) == (
        ["10.0.1.1:80 tcp", "10.0.1.2:80 tcp"],
        ["10.0.1.1:53 udp"],
    )
    assert change.policy is Policy.KEEP
    assert not any(operator.file("apply", text).values())
    operator.file("apply", "", policy="reset")
    assert operator.datapath.changes[-1].policy is Policy.RESET
    assert running(operator) == {}


def test_diff_shows_what_apply_would_do_and_does_nothing(operator: Operator) -> None:
    text = "[10.0.1.1:80 tcp]\nscheduler = rr\n1.1.1.4:80 = 9\n1.1.1.5:80 = 1 disabled\n"
    text += "[10.0.1.2:80 tcp]\n1.1.1.3:80 = 1\n"
    before = operator.datapath.model
    found = operator.file("diff", text)
    assert operator.datapath.model is before
    web, new, dns = "10.0.1.1:80 tcp", "10.0.1.2:80 tcp", "10.0.1.1:53 udp"
    assert [tuple(row.values()) for row in found] == [
        ("change", web, None, "scheduler", "wrr", "rr"),
        ("change", web, "1.1.1.4:80", None, "7", "9"),
        ("add", web, "1.1.1.5:80", None, None, "1 disabled"),
        ("remove", web, "1.1.1.3:80", None, "7", None),
        ("add", new, None, None, None, "ipport"),
        ("add", new, "1.1.1.3:80", None, None, "1"),
        ("remove", dns, None, None, "rr", None),
    ]
    operator.file("apply", text)
    assert operator.file("diff", text) == []


def test_a_wrong_file_changes_nothing_and_every_error_is_named(operator: Operator) -> None:
    """B28: refused whole."""
    for command in ("apply", "diff", "check"):
        operator.session.add_draft(f"{WEB}\n1.1.1.5:80 = x\n1.1.1.2:80 = 1\n")
        with pytest.raises(ConfigError) as error:
            operator(command, file="some.cfg")
        assert [line.partition(" [")[0] for line in error.value.text.splitlines()] == ["some.cfg:6:", "some.cfg:7:"]
    assert len(operator.datapath.changes) == 1


def test_a_file_must_be_sent_ahead(operator: Operator) -> None:
    for command in ("apply", "diff", "check"):
        assert operator.code(command, file="some.cfg") == "draft-missing"


def test_a_file_is_judged_without_being_applied(operator: Operator) -> None:
    assert operator.file("check", WEB) == {"services": 1, "servers": 2}
    assert len(operator.datapath.changes) == 1


def test_what_the_data_plane_refuses_changes_nothing(operator: Operator) -> None:
    """B28: the next difference is as large as this one was."""
    operator.datapath.refuses = "no memory"
    operator.session.add_draft(WEB)
    assert operator.code("apply", file="some.cfg") == "publish-failed"
    assert operator.code("vs/del", **VS) == "publish-failed"
    operator.datapath.refuses = None
    assert operator.file("apply", WEB)["removed"] == 1


def test_health_is_no_configuration(operator: Operator) -> None:
    """B27: a server that is down stays down through apply and reload; a file may say it of a new one."""
    operator("rs/status", **VS, **R3, status="down")
    assert not any(operator.file("apply", WEB + DNS).values())
    operator("reload")
    assert operator("rs/status", **VS, **R3) == {"status": "down"}
    operator.file("apply", f"{WEB}1.1.1.5:80 = 1 down\n")
    assert operator("rs/status", **VS, server="1.1.1.5:80") == {"status": "down"}


def test_what_is_saved_is_what_runs(operator: Operator) -> None:
    """In pages, as it was at the first of them."""
    text = "".join(f"[10.1.{n >> 8}.{n & 255}:80 tcp]\n1.1.1.3:80 = 1\n" for n in range(1000))
    operator.file("apply", text)
    first = operator("save")
    operator("vs/del", service="10.1.3.231:80 tcp")
    lines, cursor = first["rows"], first["cursor"]
    while cursor is not None:
        page = operator("save", cursor=cursor)
        lines += page["rows"]
        cursor = page["cursor"]
    assert parsed("\n".join(lines)) == parsed(text)
    assert operator.code("save", cursor="77") == "invalid-argument"
    assert Operator(FakeDatapath()).code("save", cursor="1024") == "invalid-argument"


def test_each_change_is_logged_with_who_asked_for_it(operator: Operator, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    operator("rs/weight", **VS, **R3, weight=3)
    operator("rs/weight", **VS, **R3)
    operator.file("apply", WEB)
    operator("reload")
    who = {"by": operator.session}
    assert [record.__dict__["fields"] for record in caplog.records] == [
        {"command": "rs/weight 10.0.1.1:80 tcp 1.1.1.3:80 3"} | who,
        {"command": "apply some.cfg", "changed": 1, "removed": 1, "servers_changed": 1, "by": str(operator.session)},
        {"command": "reload", "added": 1, "servers_added": 1, "by": str(operator.session)},
    ]
    assert str(operator.session) == "uid 0 (root) pid 1"


def test_changes_wait_for_each_other_and_questions_for_nobody() -> None:
    """Two clients at once: the second change is made upon the first, however long that takes."""
    operator = Operator(FakeDatapath())
    fast, slow = operator.datapath.publish, asyncio.Event()

    async def publish(change: Any) -> None:
        await slow.wait()
        await fast(change)

    async def both() -> None:
        operator.datapath.publish = publish
        execute: Callable[..., Any] = operator.running.execute
        add = asyncio.create_task(execute("vs/add", VS, operator.session))
        more = [asyncio.create_task(execute("rs/add", VS | server, operator.session)) for server in (R3, R4)]
        assert await execute("vs/list", {}, operator.session) == {"rows": [], "cursor": None}
        slow.set()
        await asyncio.gather(add, *more)

    operator.wait(both())
    assert len(operator.rows("rs/list", **VS)) == 2
    operator.close()


# What survives


def test_what_was_set_by_hand_survives_a_restart(director: Director) -> None:
    """state = keep: added, changed, deleted; weight, state and health."""
    operator = director.start()
    operator("vs/add", service="10.0.1.9:80 tcp", scheduler="rr")
    operator("rs/add", service="10.0.1.9:80 tcp", server="1.1.1.9:80", weight=3)
    operator("vs/del", service="10.0.1.1:53 udp")
    operator("rs/disable", **VS, **R3)
    operator("rs/status", **VS, **R4, status="down")
    operator("vs/est_timeout", **VS, seconds=60)
    before = running(operator)
    for _ in range(2):
        operator = director.restart()
        assert running(operator) == before


def test_reload_is_the_configuration_and_nothing_else(director: Director) -> None:
    """SIGHUP, `reload`: what was set by hand is undone, also for the next start."""
    operator = director.start()
    operator("vs/del", **VS)
    operator("vs/add", service="10.0.1.9:80 tcp")
    director.text = WEB
    assert operator("reload") == {
        **{"added": 1, "changed": 0, "removed": 2},
        **{"servers_added": 2, "servers_changed": 0, "servers_removed": 0},
    }
    assert running(operator) == running(director.restart()) == parsed(WEB)


def test_an_edited_configuration_and_the_hand_come_together_at_a_restart(director: Director) -> None:
    operator = director.start()
    operator("rs/weight", **VS, **R3, weight=0)
    director.text = WEB + "1.1.1.5:80 = 2\n"
    servers = director.restart().datapath.model.service(VIP).servers.values()
    assert sorted((str(server.address), server.weight) for server in servers) == [
        ("1.1.1.3", 0), ("1.1.1.4", 7), ("1.1.1.5", 2),
    ]  # fmt: skip


def test_what_is_done_and_undone_by_hand_leaves_nothing(director: Director) -> None:
    operator = director.start()
    operator("rs/weight", **VS, **R3, weight=0)
    operator("rs/weight", **VS, **R3, weight=7)
    director.stop()
    assert [line for line in director.path.read_text().splitlines() if line and not line.startswith("#")] == []


def test_without_keep_the_configuration_is_all_there_is(director: Director) -> None:
    operator = director.start(keep=False)
    operator("vs/del", **VS)
    assert running(director.restart(keep=False)) == parsed(WEB + DNS)
    assert not director.path.exists()


def test_a_killed_service_has_written_down_all_but_the_last_moment(director: Director) -> None:
    """Not only at an orderly end; the file is whole at any time, and its owner's alone."""
    operator = director.start()

    async def until_written(word: str) -> None:
        while not director.path.exists() or word not in director.path.read_text():
            await asyncio.sleep(0.01)

    for weight in (1, 2):
        operator("rs/weight", **VS, **R3, weight=weight)
        operator.wait(asyncio.wait_for(until_written(f"1.1.1.3:80 = {weight}"), 10))
    assert director.path.stat().st_mode & 0o777 == 0o600
    again = Operator(FakeDatapath(), lambda: parsed(director.text), StateFile(director.path))
    again.wait(again.running.begin(parsed(director.text)))
    assert again("rs/weight", **VS, **R3) == {"weight": 2}
    again.close()


def test_a_state_nobody_understands_does_not_keep_us_from_serving(
    director: Director, caplog: pytest.LogCaptureFixture
) -> None:
    """It is set aside for a person to look at, and the log says so."""
    director.path.parent.mkdir()
    director.path.write_text("[10.0.1.1:80 tcp]\nby-hand = maybe\n")
    assert running(director.start()) == parsed(WEB + DNS)
    assert "maybe" in director.path.with_suffix(".bad").read_text()
    assert "state.cfg:1: [10.0.1.1:80 tcp] expected" in caplog.text


def test_a_disk_that_is_full_costs_nothing_but_the_memory_of_it(
    director: Director, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Commands go on; what could not be written is written as soon as that is possible."""
    operator = director.start()

    def full(self: StateFile, deeds: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(StateFile, "save", full)
        operator("rs/weight", **VS, **R3, weight=1)

        async def until_told() -> None:
            while "cannot be written down" not in caplog.text:
                await asyncio.sleep(0.01)

        operator.wait(asyncio.wait_for(until_told(), 10))
    assert running(director.restart())[VIP].servers[IPv4Address("1.1.1.3"), 80].weight == 1


def test_a_configuration_that_is_wrong_at_reload_changes_nothing(director: Director) -> None:
    operator = director.start()
    before = running(operator)
    director.text = "[10.0.1.1:80 tcp]\nscheduler = x\n"
    with pytest.raises(JupiterError, match="scheduler = x"):
        operator("reload")
    assert running(operator) == before


def test_what_the_hand_did_gives_way_to_an_address_that_the_director_has_now(
    director: Director, caplog: pytest.LogCaptureFixture
) -> None:
    """The state was right when it was written; a new local address must not keep us from serving the rest."""
    operator = director.start()
    operator("vs/add", service="10.0.1.9:80 tcp")
    operator("rs/add", **VS, server="1.1.1.9:80")
    director.stop()
    state = director.path.read_text()
    director.path.write_text(state.replace("10.0.1.9:80", "10.0.2.1:80").replace("1.1.1.9:80", "1.1.1.2:80"))
    assert running(director.start()) == parsed(WEB + DNS)
    assert "10.0.2.1 is a local address of jupiter0" in caplog.text
    assert "1.1.1.2 is the director's own on jupiter0" in caplog.text


def test_a_reload_is_judged_by_the_addresses_that_the_director_has(director: Director) -> None:
    """B28: the file may already say what a restart would change."""
    operator = director.start()
    before = running(operator)
    director.text = WEB + "[10.0.2.1:80 tcp]\n1.1.1.3:80 = 1\n"
    with pytest.raises(JupiterError, match=r"10\.0\.2\.1 is a local address of jupiter0"):
        operator("reload")
    assert running(operator) == before
