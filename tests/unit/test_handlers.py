"""What each command does to the model, and what it answers."""

from ipaddress import IPv4Address
from typing import Any

import pytest

from jupiter.errors import JupiterError
from jupiter.handlers import PAGE, STOP, execute
from jupiter.model import Model, Protocol, ServiceKey, VirtualService
from tests.fakes import START, FakeDatapath

VS = {"service": "10.0.1.1:8888 tcp"}
RS = {"server": "1.1.1.3:80"}


@pytest.fixture
def datapath() -> FakeDatapath:
    """With one wrr service of two servers, weights 7 and 9."""
    fake = FakeDatapath()
    change(fake, "vs/add", **VS, scheduler="wrr")
    change(fake, "rs/add", **VS, **RS, weight=7)
    change(fake, "rs/add", **VS, server="1.1.1.4:80", weight=9)
    return fake


def change(datapath: FakeDatapath, method: str, **params: Any) -> None:
    outcome = execute(datapath, method, params)
    assert isinstance(outcome, Model)
    datapath.publish(outcome)


def code(datapath: FakeDatapath, method: str, **params: Any) -> str:
    before = datapath.model
    with pytest.raises(JupiterError) as error:
        execute(datapath, method, params)
    assert datapath.model is before
    return error.value.code


def rows(datapath: FakeDatapath, method: str, **params: Any) -> list[dict[str, Any]]:
    return list(execute(datapath, method, params)["rows"])


def test_services_are_added_listed_and_deleted(datapath: FakeDatapath) -> None:
    """vs/list carries the ancestor's JSON keys."""
    assert rows(datapath, "vs/list") == [
        {
            "ip": "10.0.1.1",
            "port": 8888,
            "type": "tcp",
            "sched": "wrr",
            "max_conns": 2147483647,
            "synproxy": 0,
            "toa": 0,
            "est_timeout": 0,
        }
    ]
    change(datapath, "vs/del", **VS)
    assert rows(datapath, "vs/list") == []


def test_the_same_address_serves_both_protocols(datapath: FakeDatapath) -> None:
    change(datapath, "vs/add", service="10.0.1.1:8888 udp")
    assert [(r["type"], r["sched"]) for r in rows(datapath, "vs/list")] == [("tcp", "wrr"), ("udp", "ipport")]


def test_servers_are_listed_by_descending_weight(datapath: FakeDatapath) -> None:
    assert rows(datapath, "rs/list", **VS) == [
        {"ip": "1.1.1.4", "port": 80, "type": "tcp", "status": "up", "weight": 9},
        {"ip": "1.1.1.3", "port": 80, "type": "tcp", "status": "up", "weight": 7},
    ]


def test_weight_is_asked_and_set(datapath: FakeDatapath) -> None:
    """B26: weight 0 is a weight like any other to the model; it drains."""
    assert execute(datapath, "rs/weight", VS | RS) == {"weight": 7}
    change(datapath, "rs/weight", **VS, **RS, weight="0")
    assert execute(datapath, "rs/weight", VS | RS) == {"weight": 0}


def test_a_deleted_server_is_gone(datapath: FakeDatapath) -> None:
    change(datapath, "rs/del", **VS, **RS)
    assert [r["ip"] for r in rows(datapath, "rs/list", **VS)] == ["1.1.1.4"]


def test_what_exists_cannot_be_added_and_what_does_not_cannot_be_used(datapath: FakeDatapath) -> None:
    """B28: an invalid change is refused whole and changes nothing."""
    other = {"service": "10.0.1.9:1 udp"}
    assert code(datapath, "vs/add", **VS) == "service-exists"
    assert code(datapath, "rs/add", **VS, **RS) == "server-exists"
    for method in ("vs/del", "vs/stats", "rs/list"):
        assert code(datapath, method, **other) == "service-not-found"
    for method in ("rs/add", "rs/del", "rs/weight", "rs/stats"):
        assert code(datapath, method, **other, **RS) == "service-not-found"
    for method in ("rs/del", "rs/weight", "rs/stats"):
        assert code(datapath, method, **VS, server="1.1.1.3:81") == "server-not-found"


def test_addresses_of_the_director_are_no_services_and_no_servers(datapath: FakeDatapath) -> None:
    for address in ("1.1.1.2", "10.0.2.1"):
        assert code(datapath, "vs/add", service=f"{address}:80 tcp") == "invalid-argument"
        assert code(datapath, "rs/add", **VS, server=f"{address}:80") == "invalid-argument"


def test_counters_of_a_service_add_up(datapath: FakeDatapath) -> None:
    """What came from clients and servers is what went on, and what was dropped."""
    stats = execute(datapath, "vs/stats", VS)
    assert list(stats.items()) == [
        ("active-conns", 1),
        ("history-conns", 20),
        ("[c2v]packets", 307),
        ("[c2v]bytes", 4080),
        ("[c2v]drops", 7),
        ("[r2v]packets", 50900),
        ("[r2v]bytes", 601000),
        ("[r2v]drops", 900),
        ("[v2r]packets", 300),
        ("[v2r]bytes", 4000),
        ("[v2c]packets", 50000),
        ("[v2c]bytes", 600000),
    ]


def test_counters_of_a_server(datapath: FakeDatapath) -> None:
    assert list(execute(datapath, "rs/stats", VS | RS).items()) == [
        ("active-conns", 1),
        ("history-conns", 20),
        ("[v2r]packets", 300),
        ("[v2r]bytes", 4000),
        ("[r2v]packets", 50000),
        ("[r2v]bytes", 600000),
    ]


def test_devices_show_their_addresses_and_counters(datapath: FakeDatapath) -> None:
    assert execute(datapath, "netdev/ipaddr", {}) == [
        {
            "dev": "jupiter0",
            "kni-ip": "1.1.1.2",
            "kni-netmask": "255.255.255.0",
            "kni-gw": "1.1.1.254",
            "local-ip[c1q0]": ["10.0.2.1", "10.0.2.2"],
        }
    ]
    names = [
        "RX-packets",
        "RX-bytes",
        "RX-errors",
        "RX-nombuf",
        "RX-misses",
        "RX-dropped",
        "TX-packets",
        "TX-bytes",
        "TX-errors",
        "TX-dropped",
        "Rx-pps",
        "Tx-pps",
        "Rx-Bps",
        "Tx-Bps",
        "pktmbuf-in-use",
        "pktmbuf-avail",
    ]
    assert execute(datapath, "netdev/stats", {}) == [{"dev": "jupiter0", **dict(zip(names, range(1, 17), strict=True))}]


def test_a_device_without_an_address_is_shown_all_the_same() -> None:
    (record,) = execute(FakeDatapath(START.with_device_address("jupiter0", None)), "netdev/ipaddr", {})
    assert (record["kni-ip"], record["kni-netmask"]) == (None, None)


def test_neighbours_and_drops(datapath: FakeDatapath) -> None:
    assert rows(datapath, "arp/list") == [
        {"IPaddress": "1.1.1.3", "HWaddress": "02:00:00:00:00:03", "Iface": "jupiter0", "AliveTime": 1},
        {"IPaddress": "1.1.1.9", "HWaddress": None, "Iface": "jupiter0", "AliveTime": 0},
    ]
    assert execute(datapath, "drop/stats", {}) == {"no_service": 3}


def test_connections_have_a_state_only_where_the_protocol_has() -> None:
    fake = FakeDatapath(connections=1)
    row = {
        **{"cip": "1.1.1.1", "cport": 1024, "vip": "10.0.1.1", "vport": 80, "lip": "10.0.2.1", "lport": 5000},
        **{"rip": "1.1.1.3", "rport": 80, "flags": 0, "state": "OPEN", "usetime": 1, "timeout": 60},
    }
    assert rows(fake, "tcp/conn/dump") == [row]
    del row["state"]
    assert rows(fake, "udp/conn/dump") == [row]


def test_long_lists_come_in_pages() -> None:
    """Each page is a bounded answer; together they are all, once each."""
    keys = [ServiceKey(IPv4Address(0x0A000000 + n), 80, Protocol.TCP) for n in range(1, 2 * PAGE + 2)]
    fake = FakeDatapath(Model(services={key: VirtualService(key) for key in keys}))
    cursor, seen, pages = "", [], []
    while cursor is not None:
        answer = execute(fake, "vs/list", {"cursor": cursor})
        seen += [r["ip"] for r in answer["rows"]]
        pages.append(len(answer["rows"]))
        cursor = answer["cursor"]
    assert seen == [str(key.address) for key in keys]
    assert pages == [PAGE, PAGE, 1]
    assert code(fake, "vs/list", cursor="x") == "invalid-argument"


def test_a_page_that_is_just_full_is_the_last() -> None:
    keys = [ServiceKey(IPv4Address(0x0A000000 + n), 80, Protocol.TCP) for n in range(1, PAGE + 1)]
    fake = FakeDatapath(Model(services={key: VirtualService(key) for key in keys}))
    assert execute(fake, "vs/list", {})["cursor"] is None


def test_the_rest(datapath: FakeDatapath) -> None:
    assert execute(datapath, "stop", {}) is execute(datapath, "quit", {}) is STOP
    assert execute(datapath, "version", {}) == {"version": "0.1.0"}
    assert {"usage": "vs/del VIP:VPORT tcp|udp"}.items() <= rows(datapath, "list-command")[1].items()
    assert code(datapath, "vs/nothing") == "unknown-command"
