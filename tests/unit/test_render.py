"""Answers as text."""

from jupiter import render
from jupiter.commands import COMMANDS


def lines(name: str, answer: object) -> list[str]:
    return list(render.text(COMMANDS[name], answer))


def test_tables_are_aligned_under_their_headers() -> None:
    row = {"ip": "10.0.1.1", "port": 80, "type": "tcp", "status": "up", "weight": 7}
    assert lines("rs/list", [row, row | {"ip": "1.1.1.1", "port": 8080}]) == [
        "IP        Port  Type  Status  Weight",
        "10.0.1.1  80    tcp   up      7",
        "1.1.1.1   8080  tcp   up      7",
    ]


def test_an_empty_table_is_its_headers() -> None:
    assert lines("rs/list", []) == ["IP  Port  Type  Status  Weight"]


def test_a_long_table_is_printed_as_it_comes() -> None:
    """Rows beyond those that were measured are there, and come one by one."""
    taken = []

    def rows(n: int = 100_000):  # type: ignore[no-untyped-def]
        for i in range(n):
            taken.append(i)
            yield {"IPaddress": f"10.0.0.{i}", "HWaddress": None, "Iface": "jupiter0", "AliveTime": i}

    table = render.text(COMMANDS["arp/list"], rows())
    assert [next(table) for _ in range(3)][2] == "10.0.0.1     -          jupiter0  1"
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
