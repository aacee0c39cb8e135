"""Limits, persistence and the rest that a service and a server can be given: by command and in files."""

from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from jupiter import services
from jupiter.errors import JupiterError
from jupiter.model import MAX_CLIENTS, Change, Protocol, ServiceKey, Services
from jupiter.state import StateFile
from tests.fakes import FakeDatapath, Operator

VS = {"service": "10.0.1.1:8888 tcp"}
UDP = {"service": "10.0.1.1:53 udp"}
RS = {"server": "1.1.1.3:80"}
KEY = ServiceKey(IPv4Address("10.0.1.1"), 8888, Protocol.TCP)


@pytest.mark.parametrize(
    ("command", "given", "answer"),
    [
        ("vs/max_conns", {"max_conns": "20000"}, {"max_conns": 20000}),
        ("vs/max-conns", {"max_conns": 1}, {"max_conns": 1}),
        ("vs/max_rate", {"max_rate": 5000}, {"max_rate": 5000}),
        ("vs/cql", {"cql": 100}, {"cql": 100}),
        ("vs/persistence", {"seconds": 300}, {"persistence": 300, "persistence_scope": "service"}),
        (
            *("vs/persistence", {"seconds": 60, "scope": "ADDRESS"}),
            {"persistence": 60, "persistence_scope": "address"},
        ),
        ("vs/persistence", {"scope": "address"}, {"persistence": 0, "persistence_scope": "address"}),
        ("vs/mss", {"mss": 536}, {"mss": 536}),
        ("rs/max_conns", {**RS, "max_conns": 1000}, {"max_conns": 1000}),
        ("rs/backup", {**RS, "backup": "ON"}, {"backup": "on"}),
    ],
)
def test_what_is_set_is_shown_and_is_all_that_changes(
    operator: Operator, command: str, given: dict[str, object], answer: dict[str, object]
) -> None:
    """B29, B33, B44: by its own command and in the list; nothing else of the service is different."""
    (listing, of), addresses = (("rs/list", VS), {"1.1.1.3"}) if command.startswith("rs/") else (("vs/list", {}), None)
    before = operator.rows(listing, **of)
    whose = VS | {key: value for key, value in given.items() if key == "server"}
    assert operator(command, **whose).keys() == answer.keys()
    assert operator(command, **VS, **given) is None
    assert operator(command, **whose) == answer
    wanted = [row | answer if not addresses or row["ip"] in addresses else row for row in before]
    assert operator.rows(listing, **of) == wanted
    assert len(operator.rows("rs/list", **VS)) == 2


def test_a_limit_that_is_taken_away_is_gone(operator: Operator) -> None:
    """B29: by the value that stands for none; the scope stays for the next time."""
    for limit in (5, 2147483647):
        operator("vs/max_conns", **VS, max_conns=limit)
    for backup in ("on", "off"):
        operator("rs/backup", **VS, **RS, backup=backup)
    for given in ({"seconds": 300, "scope": "address"}, {"seconds": 0}):
        operator("vs/persistence", **VS, **given)
    assert operator("vs/max_conns", **VS) == {"max_conns": 2147483647}
    assert operator("rs/backup", **VS, **RS) == {"backup": "off"}
    assert operator("vs/persistence", **VS) == {"persistence": 0, "persistence_scope": "address"}


def test_clients_have_query_limits_of_their_own(operator: Operator) -> None:
    """B29: listed by address, replaced by another one, and taken away; the limit of all others stays."""
    operator("vs/cql", **VS, cql=10)
    for client, rate in (("1.1.1.10", 5), ("1.1.1.9", 0), ("1.1.1.10", 7)):
        assert operator("vs/cql/add", **VS, client=client, rate=rate) is None
    assert operator.rows("vs/cql/list", **VS) == [{"ip": "1.1.1.9", "qps": 0}, {"ip": "1.1.1.10", "qps": 7}]
    operator("vs/cql/del", **VS, client="1.1.1.9")
    assert operator.code("vs/cql/del", **VS, client="1.1.1.9") == "client-not-found"
    assert operator.rows("vs/cql/list", **VS) == [{"ip": "1.1.1.10", "qps": 7}]
    assert operator("vs/cql", **VS) == {"cql": 10}


def test_no_limit_is_set_where_no_service_is(operator: Operator) -> None:
    """B28: each command names the service that is missing, and changes nothing."""
    assert operator.code("vs/cql/list", **UDP) == "service-not-found"
    assert operator.code("vs/cql/add", **UDP, client="1.1.1.9", rate=1) == "service-not-found"
    assert operator.code("vs/cql/del", **UDP, client="1.1.1.9") == "service-not-found"
    assert operator.code("vs/max_conns", **UDP, max_conns=1) == "service-not-found"
    assert operator.code("rs/backup", **VS, server="1.1.1.9:80", backup="on") == "server-not-found"


def test_no_more_clients_have_limits_of_their_own_than_a_service_may_hold(operator: Operator) -> None:
    """B29: one more is refused; another rate for one of them is not."""
    clients = {IPv4Address(0x0B000000 + n): 1 for n in range(MAX_CLIENTS)}
    service = replace(operator.datapath.model.services[KEY], cql_clients=clients)
    operator.datapath.model = operator.datapath.model.after(Change((service,)))
    assert operator.code("vs/cql/add", **VS, client="1.1.1.9", rate=1) == "too-many"
    operator("vs/cql/add", **VS, client="11.0.0.1", rate=9)
    assert len(operator.rows("vs/cql/list", **VS)) == MAX_CLIENTS


def test_only_tcp_has_a_segment_size(operator: Operator) -> None:
    """B33: a UDP service refuses to clamp one, and says why; its connections can be limited."""
    operator("vs/add", **UDP)
    with pytest.raises(JupiterError, match=r"mss 1400 of virt service 10\.0\.1\.1:53 udp, expected 0: only TCP"):
        operator("vs/mss", **UDP, mss=1400)
    operator("vs/mss", **UDP, mss=0)
    operator("vs/max_conns", **UDP, max_conns=5)
    assert operator("vs/max_conns", **UDP) == {"max_conns": 5}


def test_a_server_is_added_with_its_marks(operator: Operator) -> None:
    """B27, B29: as behind its weight in a file."""
    operator("rs/add", **VS, server="1.1.1.5:80", weight=3, marks="max_conns=1000 backup")
    operator("rs/add", **VS, server="1.1.1.6:80", weight=2, marks="disabled down")
    fifth, sixth = operator.rows("rs/list", **VS)[2:]
    assert [fifth[key] for key in ("max_conns", "backup", "state", "status")] == [1000, "on", "enabled", "up"]
    assert [sixth[key] for key in ("max_conns", "backup", "state", "status")] == [2147483647, "off", "disabled", "down"]


FILE = """\
[10.0.1.1:8888 tcp]
scheduler = wrr
max_conns = 20000
max_rate = 5000
cql = 100
persistence = 300
persistence_scope = address
mss = 1400
cql 1.1.1.9 = 0
cql 1.1.1.10 = 1000
1.1.1.3:80 = 7 max_conns=1000 backup
1.1.1.4:80 = 9
"""


def test_a_file_sets_them_all_and_save_writes_them_as_they_were(operator: Operator) -> None:
    """B28: diff names each option, client and server that differs; apply makes it so; then nothing differs."""
    rows = [(row["server"] or row["key"], row["now"], row["then"]) for row in operator.file("diff", FILE)]
    assert rows == [
        ("max_conns", 2147483647, 20000),
        ("max_rate", 0, 5000),
        ("cql", 0, 100),
        ("persistence", 0, 300),
        ("persistence_scope", "service", "address"),
        ("mss", 0, 1400),
        ("cql 1.1.1.9", None, 0),
        ("cql 1.1.1.10", None, 1000),
        ("1.1.1.3:80", "7", "7 max_conns=1000 backup"),
    ]
    operator.file("apply", FILE)
    assert "\n".join(operator.rows("save")).strip() == FILE.strip()
    assert operator.file("diff", FILE) == []
    without = FILE.replace("cql 1.1.1.9 = 0\n", "").replace(" backup", "")
    rows = [(row["server"] or row["key"], row["now"], row["then"]) for row in operator.file("diff", without)]
    assert rows == [("cql 1.1.1.9", 0, None), ("1.1.1.3:80", "7 max_conns=1000 backup", "7 max_conns=1000")]


def test_diff_tells_what_a_new_service_has(operator: Operator) -> None:
    """B28: its options and clients too, but for those that are as if nothing was said."""
    operator("vs/del", **VS)
    found = operator.file("diff", FILE)
    rows = [(row["change"], row["server"] or row["key"], row["now"], row["then"]) for row in found]
    assert rows == [
        ("add", None, None, "wrr"),
        ("add", "max_conns", None, 20000),
        ("add", "max_rate", None, 5000),
        ("add", "cql", None, 100),
        ("add", "persistence", None, 300),
        ("add", "persistence_scope", None, "address"),
        ("add", "mss", None, 1400),
        ("add", "cql 1.1.1.9", None, 0),
        ("add", "cql 1.1.1.10", None, 1000),
        ("add", "1.1.1.3:80", None, "7 max_conns=1000 backup"),
        ("add", "1.1.1.4:80", None, "9"),
    ]


def test_all_of_them_survive_a_restart_beside_a_configuration_that_was_edited(tmp_path: Path) -> None:
    """state = keep: what the hand has set and taken away holds, all else is what the file says now."""

    def started(text: str) -> Operator:
        def configured() -> Services:
            return services.parse(text, "jupiter.cfg", lambda _: None)

        operator = Operator(FakeDatapath(), configured, StateFile(tmp_path / "state.cfg"))
        operator.wait(operator.running.begin(configured()))
        return operator

    operator = started(FILE)
    operator("vs/max_conns", **VS, max_conns=2147483647)
    operator("vs/persistence", **VS, scope="service")
    operator("vs/cql/add", **VS, client="1.1.1.11", rate=3)
    operator("vs/cql/del", **VS, client="1.1.1.9")
    operator("rs/backup", **VS, **RS, backup="off")
    operator.close()
    edited = FILE.replace("max_rate = 5000", "max_rate = 6000").replace("1.1.1.10 = 1000", "1.1.1.10 = 2000")
    operator = started(edited.replace("1.1.1.4:80 = 9", "1.1.1.4:80 = 9 backup"))
    (row,) = operator.rows("vs/list")
    assert (row["max_conns"], row["max_rate"], row["persistence_scope"]) == (2147483647, 6000, "service")
    clients = {row["ip"]: row["qps"] for row in operator.rows("vs/cql/list", **VS)}
    assert clients == {"1.1.1.10": 2000, "1.1.1.11": 3}
    servers = {row["ip"]: (row["max_conns"], row["backup"]) for row in operator.rows("rs/list", **VS)}
    assert servers == {"1.1.1.3": (1000, "off"), "1.1.1.4": (2147483647, "on")}
    operator("reload")
    assert "1.1.1.9" in {row["ip"] for row in operator.rows("vs/cql/list", **VS)}
    operator.close()
