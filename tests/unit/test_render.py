"""Answers as text."""

from typing import Any

import pytest

from jupiter import render
from jupiter.commands import COMMANDS


def lines(name: str, answer: object) -> list[str]:
    return list(render.text(COMMANDS[name], answer))


def test_tables_are_aligned_under_their_headers_with_numbers_to_the_right() -> None:
    row = {"ip": "10.0.1.1", "port": 80, "type": "tcp", "status": "up", "weight": 7, "state": "enabled"}
    row |= {"max_conns": 2147483647, "backup": "off"}
    assert lines("rs/list", [row, row | {"ip": "1.1.1.1", "port": 8080, "weight": 0, "state": "draining"}]) == [
        "IP        Port  Type  Status  Weight  State      Max_conns  Backup",
        "10.0.1.1    80  tcp   up           7  enabled   2147483647  off",
        "1.1.1.1   8080  tcp   up           0  draining  2147483647  off",
    ]


def test_an_empty_table_is_its_headers() -> None:
    assert lines("rs/list", []) == ["IP  Port  Type  Status  Weight  State  Max_conns  Backup"]


def test_what_there_is_none_of_is_a_dash_and_among_numbers_stands_like_one() -> None:
    row = {"IPaddress": "1.1.1.3", "HWaddress": None, "Iface": "jupiter0", "AliveTime": 100}
    assert lines("arp/list", [row, row | {"HWaddress": "02:00:00:00:00:03", "AliveTime": None}])[1:] == [
        "1.1.1.3    -                  jupiter0        100",
        "1.1.1.3    02:00:00:00:00:03  jupiter0          -",
    ]


def test_figures_of_tables_are_never_abbreviated() -> None:
    """Scripts cut columns; a share has one decimal."""
    worker: dict[str, Any] = {c.key: 12345678901 for c in COMMANDS["worker/stats"].columns}
    header, line = lines("worker/stats", [worker | {"busy": 12.3456}])
    assert line.split() == ["12345678901", "12.3", *["12345678901"] * 16]
    assert len(header) == len(line)


def test_a_long_table_is_printed_as_it_comes() -> None:
    """Rows beyond those that were measured are there, and come one by one."""
    taken = []

    def rows(n: int = 100_000):  # type: ignore[no-untyped-def]
        for i in range(n):
            taken.append(i)
            yield {"IPaddress": f"10.0.0.{i}", "HWaddress": None, "Iface": "jupiter0", "AliveTime": i}

    table = render.text(COMMANDS["arp/list"], rows())
    assert [next(table) for _ in range(3)][2] == "10.0.0.1     -          jupiter0          1"
    assert len(taken) < 2000


def test_connections_are_a_line_each() -> None:
    columns = COMMANDS["udp/conn/dump"].columns
    (line,) = lines("udp/conn/dump", [{c.key: n for n, c in enumerate(columns)}])
    assert line == (
        "cip: 0, cport: 1, vip: 2, vport: 3, lip: 4, lport: 5, rip: 6, rport: 7, flags: 8, usetime: 9, timeout: 10"
    )


def test_records_are_a_line_for_each_value_under_their_heading() -> None:
    assert lines("version", {"version": "0.1.0"}) == ["version: 0.1.0"]
    assert lines(
        "netdev/ipaddr", [{"dev": "jupiter0", "kni-gw": None, "local-ip[c1q0]": ["10.0.2.1", "10.0.2.2"]}]
    ) == [
        "dev: jupiter0",
        "  kni-gw: -",
        "  local-ip[c1q0]: 10.0.2.1",
        "  local-ip[c1q0]: 10.0.2.2",
    ]
    assert lines("vs/del", None) == []


def test_text_is_printed_as_it_is() -> None:
    assert lines("save", iter(["# services", "", "[VS 10.0.1.1:80 tcp]"])) == ["# services", "", "[VS 10.0.1.1:80 tcp]"]


NOTHING = dict.fromkeys(["added", "changed", "removed", "servers_added", "servers_changed", "servers_removed"], 0)


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        ({}, ["Nothing changed."]),
        ({"added": 2, "removed": 1}, ["Services: 2 added, 1 removed."]),
        ({"changed": 1, "servers_changed": 3}, ["Services: 1 changed.", "Servers: 3 changed."]),
    ],
)
def test_apply_and_reload_say_what_they_did(counts: dict[str, int], text: list[str]) -> None:
    """In words, and only what there is to say."""
    assert lines("apply", NOTHING | counts) == text
    assert lines("reload", NOTHING | counts) == text


def test_diff_is_a_table_or_says_that_nothing_would_change() -> None:
    row = {"change": "change", "service": "10.0.1.1:80 tcp", "server": None, "key": "scheduler"}
    assert lines("diff", [row | {"now": "rr", "then": "wrr"}]) == [
        "Change  Service          Server  Key        Now  Then",
        "change  10.0.1.1:80 tcp  -       scheduler  rr   wrr",
    ]
    assert lines("diff", []) == ["Nothing would change."]


def test_check_says_what_it_has_read() -> None:
    assert lines("check", {"services": 1, "servers": 0}) == ["Valid: 1 service, 0 servers."]
