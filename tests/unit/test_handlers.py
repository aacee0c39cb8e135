"""What each command does to the model, and what it answers."""

from ipaddress import IPv4Address, IPv4Network

import pytest

from jupiter.handlers import TRAFFIC_PAGE
from jupiter.model import Change, Model, Policy, Protocol, ServiceKey, VirtualService
from jupiter.pages import PAGE
from jupiter.terms import Condition, Search
from tests.fakes import START, FakeDatapath, Operator

VS = {"service": "10.0.1.1:8888 tcp"}
RS = {"server": "1.1.1.3:80"}


def test_services_are_added_listed_and_deleted(operator: Operator) -> None:
    """vs/list carries the ancestor's JSON keys."""
    assert operator.rows("vs/list") == [
        {
            "ip": "10.0.1.1",
            "port": 8888,
            "type": "tcp",
            "sched": "wrr",
            "max_conns": 2147483647,
            "synproxy": 0,
            "toa": 0,
            "est_timeout": 0,
            "max_rate": 0,
            "cql": 0,
            "persistence": 0,
            "persistence_scope": "service",
            "mss": 0,
        }
    ]
    operator("vs/del", **VS)
    assert operator.rows("vs/list") == []


def test_the_same_address_serves_both_protocols(operator: Operator) -> None:
    operator("vs/add", service="10.0.1.1:8888 udp")
    assert [(r["type"], r["sched"]) for r in operator.rows("vs/list")] == [("tcp", "wrr"), ("udp", "ipport")]


def test_servers_are_listed_by_descending_weight(operator: Operator) -> None:
    rest = {"type": "tcp", "status": "up", "state": "enabled", "max_conns": 2147483647, "backup": "off"}
    assert operator.rows("rs/list", **VS) == [
        {"ip": "1.1.1.4", "port": 80, "weight": 9, **rest},
        {"ip": "1.1.1.3", "port": 80, "weight": 7, **rest},
    ]


def test_weight_is_asked_and_set(operator: Operator) -> None:
    """B26: weight 0 is a weight like any other to the model; it drains."""
    assert operator("rs/weight", **VS, **RS) == {"weight": 7}
    operator("rs/weight", **VS, **RS, weight="0")
    assert operator("rs/weight", **VS, **RS) == {"weight": 0}


def test_a_deleted_server_is_gone(operator: Operator) -> None:
    operator("rs/del", **VS, **RS)
    assert [r["ip"] for r in operator.rows("rs/list", **VS)] == ["1.1.1.4"]


def test_what_exists_cannot_be_added_and_what_does_not_cannot_be_used(operator: Operator) -> None:
    """B28: an invalid change is refused whole and changes nothing."""
    other = {"service": "10.0.1.9:1 udp"}
    assert operator.code("vs/add", **VS) == "service-exists"
    assert operator.code("rs/add", **VS, **RS) == "server-exists"
    for method in ("vs/del", "vs/stats", "rs/list"):
        assert operator.code(method, **other) == "service-not-found"
    for method in ("rs/add", "rs/del", "rs/weight", "rs/stats"):
        assert operator.code(method, **other, **RS) == "service-not-found"
    for method in ("rs/del", "rs/weight", "rs/stats"):
        assert operator.code(method, **VS, server="1.1.1.3:81") == "server-not-found"


def test_addresses_of_the_director_are_no_services_and_no_servers(operator: Operator) -> None:
    for address in ("1.1.1.2", "10.0.2.1"):
        assert operator.code("vs/add", service=f"{address}:80 tcp") == "invalid-argument"
        assert operator.code("rs/add", **VS, server=f"{address}:80") == "invalid-argument"


def test_counters_of_a_service_add_up(operator: Operator) -> None:
    """What came from clients and servers is what went on, and what was dropped."""
    stats = operator("vs/stats", **VS)
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
        ("established-conns", 1),
    ]


def test_counters_of_a_server(operator: Operator) -> None:
    assert list(operator("rs/stats", **VS, **RS).items()) == [
        ("active-conns", 1),
        ("history-conns", 20),
        ("[v2r]packets", 300),
        ("[v2r]bytes", 4000),
        ("[r2v]packets", 50000),
        ("[r2v]bytes", 600000),
        ("established-conns", 1),
    ]


def test_devices_show_their_addresses_and_counters(operator: Operator) -> None:
    assert operator("netdev/ipaddr") == [
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
    assert operator("netdev/stats") == [{"dev": "jupiter0", **dict(zip(names, range(1, 17), strict=True))}]


def test_devices_are_called_what_their_kernel_interfaces_are_called_now(operator: Operator) -> None:
    operator.datapath.renamed["jupiter0"] = "lan0"
    for command in ("netdev/ipaddr", "netdev/stats", "netdev/hwinfo", "laddr/stats"):
        assert operator(command)[0]["dev"] == "lan0"


def test_a_device_without_an_address_is_shown_all_the_same() -> None:
    (record,) = Operator(FakeDatapath(START.with_device_address("jupiter0", None)))("netdev/ipaddr")
    assert (record["kni-ip"], record["kni-netmask"]) == (None, None)


def test_neighbours_and_drops(operator: Operator) -> None:
    assert operator.rows("arp/list") == [
        {"IPaddress": "1.1.1.3", "HWaddress": "02:00:00:00:00:03", "Iface": "jupiter0", "AliveTime": 1},
        {"IPaddress": "1.1.1.9", "HWaddress": None, "Iface": "jupiter0", "AliveTime": 0},
    ]
    assert operator.rows("drops")[0] == {
        "reason": "no_service", "count": 3, "rate": 0, "description": "no service on this port",
    }  # fmt: skip
    assert operator.rows("drop/stats") == operator.rows("drops")


def test_connections_have_a_state_only_where_the_protocol_has() -> None:
    operator = Operator(FakeDatapath(connections=1))
    row = {
        **{"cip": "1.1.1.1", "cport": 1024, "vip": "10.0.1.1", "vport": 80, "lip": "10.0.2.1", "lport": 5000},
        **{"rip": "1.1.1.3", "rport": 80, "flags": 0, "state": "OPEN", "usetime": 1, "timeout": 60},
    }
    assert operator.rows("tcp/conn/dump") == [row]
    assert operator.rows("conn/find", conditions="tcp") == [{"type": "tcp", **row}]
    del row["state"]
    assert operator.rows("udp/conn/dump") == [row]
    assert [search.protocol for search in operator.datapath.searches] == [Protocol.TCP, Protocol.TCP, Protocol.UDP]


def test_connections_are_found_by_any_part_of_their_tuple() -> None:
    """Any end unless one is named; addresses, networks and ports, alone or together; both protocols unless one is."""
    operator = Operator(FakeDatapath(connections=0))
    operator("conn/find", conditions="1.1.1.1:80 client=10.0.0.0/8 rs=:53 UDP")
    ends = ("client", "vip", "local", "rs")
    assert operator.datapath.searches == [
        Search(
            Protocol.UDP,
            (
                Condition(ends, IPv4Network("1.1.1.1/32"), 80),
                Condition(("client",), IPv4Network("10.0.0.0/8"), 0),
                Condition(("rs",), None, 53),
            ),
        )
    ]
    for wrong in ("", "tcp udp", "1.1.1", "x=1.1.1.1", ":0", ":65536", "client=", "a:b", ":1 :2 :3 :4 :5"):
        assert operator.code("conn/find", conditions=wrong) == "invalid-argument"


def test_clients_of_a_service_are_counted_by_their_connections() -> None:
    """All pages of connections, one answer; only those of the service that were active of late."""
    operator = Operator(FakeDatapath(connections=2500))
    operator("vs/add", **VS)
    assert operator.rows("vs/conn-report", **VS, seconds=5) == [{"ip": "1.1.1.1", "count": 2500}]
    virtual = Condition(("vip",), IPv4Network("10.0.1.1/32"), 8888)
    assert operator.datapath.searches == [Search(Protocol.TCP, (virtual,), 5.0)] * 3
    assert operator.code("vs/conn-report", service="10.0.1.9:1 tcp", seconds=5) == "service-not-found"


def with_services(n: int) -> Operator:
    keys = [ServiceKey(IPv4Address(0x0A000000 + i), 80, Protocol.TCP) for i in range(1, n + 1)]
    return Operator(FakeDatapath(Model(services={key: VirtualService(key) for key in keys})))


@pytest.mark.parametrize(("command", "size"), [("vs/list", PAGE), ("vs/traffic", TRAFFIC_PAGE)])
def test_long_lists_come_in_pages(command: str, size: int) -> None:
    """Each page is a bounded answer; together they are all, once each."""
    operator = with_services(2 * size + 1)
    cursor, seen, pages = "", [], []
    while cursor is not None:
        answer = operator(command, cursor=cursor)
        seen += [r["ip"] for r in answer["rows"]]
        pages.append(len(answer["rows"]))
        cursor = answer["cursor"]
    assert seen == [str(key.address) for key in operator.datapath.model.services]
    assert pages == [size, size, 1]
    assert operator.code(command, cursor="x") == "invalid-argument"


def test_a_page_that_is_just_full_is_the_last() -> None:
    assert with_services(PAGE)("vs/list")["cursor"] is None


def test_options_of_a_service_are_asked_and_set(operator: Operator) -> None:
    """First-generation names are aliases; servers and the other options stay."""
    assert (operator("vs/scheduler", **VS), operator("vs/est_timeout", **VS)) == (
        {"scheduler": "wrr"},
        {"est_timeout": 0},
    )
    assert operator("vs/schedule", **VS, scheduler="RR") is None
    assert operator("vs/conn-expire-time", **VS, seconds="90") is None
    assert (operator("vs/scheduler", **VS), operator("vs/est_timeout", **VS)) == (
        {"scheduler": "rr"},
        {"est_timeout": 90},
    )
    assert len(operator.rows("rs/list", **VS)) == 2
    for seconds in (-1, 604801, "x"):
        assert operator.code("vs/est_timeout", **VS, seconds=seconds) == "invalid-argument"


def test_the_hands_state_and_health_are_shown_apart(operator: Operator) -> None:
    """B26, B27: enabled, disabled or draining is the hand's; up or down is health; weight survives both."""

    def shown() -> tuple[str, str, int, int]:
        row = next(row for row in operator.rows("rs/list", **VS) if row["ip"] == "1.1.1.3")
        server = operator.datapath.model.service(ServiceKey(IPv4Address("10.0.1.1"), 8888, Protocol.TCP)).server(
            (IPv4Address("1.1.1.3"), 80)
        )
        return row["state"], row["status"], row["weight"], server.effective_weight

    assert shown() == ("enabled", "up", 7, 7)
    operator("rs/disable", **VS, **RS)
    assert shown() == ("disabled", "up", 7, 0)
    operator("rs/status", **VS, **RS, status="down")
    operator("rs/enable", **VS, **RS)
    assert shown() == ("enabled", "down", 7, 0)
    assert operator("rs/status", **VS, **RS) == {"status": "down"}
    operator("rs/status", **VS, **RS, status="UP")
    assert shown() == ("enabled", "up", 7, 7)
    operator("rs/weight", **VS, **RS, weight=0)
    assert shown() == ("draining", "up", 0, 0)


def test_the_policy_for_living_connections_goes_down_with_the_change(operator: Operator) -> None:
    """B26: keep unless reset is asked for."""
    operator("rs/del", **VS, **RS)
    operator("rs/del", **VS, server="1.1.1.4:80", policy="reset")
    operator("vs/del", **VS, policy="RESET")
    assert [change.policy for change in operator.datapath.changes[-3:]] == [Policy.KEEP, Policy.RESET, Policy.RESET]
    assert operator.code("vs/del", **VS, policy="kill") == "invalid-argument"


def test_a_changing_command_publishes_the_services_it_changes_and_no_other(operator: Operator) -> None:
    """B28: a one-line difference."""
    operator("vs/add", service="10.0.1.2:80 tcp")
    operator("rs/weight", **VS, **RS, weight=8)
    (change,) = operator.datapath.changes[-1:]
    assert [str(service.key) for service in change.put] == ["10.0.1.1:8888 tcp"]
    assert change.removed == ()
    operator("vs/del", service="10.0.1.2:80 tcp")
    assert operator.datapath.changes[-1] == Change(removed=(ServiceKey(IPv4Address("10.0.1.2"), 80, Protocol.TCP),))


def test_weights_that_fit_no_schedule_are_refused(operator: Operator) -> None:
    """B24: by every command that could bring them about."""
    operator("vs/scheduler", **VS, scheduler="rr")
    for n in range(17):
        operator("rs/add", **VS, server=f"1.1.2.{n}:80", weight=65535 - n % 2)
    assert operator.code("vs/scheduler", **VS, scheduler="wrr") == "schedule-too-large"


def test_traffic_is_listed_for_all_services_and_all_servers_of_one(operator: Operator) -> None:
    counters = {
        "active": 1,
        "total": 20,
        "in_packets": 300,
        "in_bytes": 4000,
        "out_packets": 50000,
        "out_bytes": 600000,
    }
    assert operator.rows("vs/traffic") == [
        {"ip": "10.0.1.1", "port": 8888, "type": "tcp", "sched": "wrr", "servers": 2, **counters, "drops": 907}
    ]
    first = operator.rows("rs/traffic", **VS)[0]
    assert first == operator.rows("rs/list", **VS)[0] | counters


def test_what_workers_and_devices_report(operator: Operator) -> None:
    """The ancestor's keys where it had such a command."""
    assert operator.rows("worker/stats") == operator.rows("lcore-event/stats")
    assert operator.rows("worker/stats")[0] == {
        **{"lcore": 1, "busy": 12.5, "asleep": 60.5, "sleeps": 40, "turns": 900000, "packets": 5000, "per_turn": 3.5},
        **{"handed_in": 17, "handed_out": 18, "strays": 19, "handover": 20, "conns": 70, "half_open": 8},
        **{"conns_left": 9000, "lports_left": 64000, "to_kernel": 1, "from_kernel": 2, "parked": 3},
    }
    assert operator("tcp/conn/stats") == [{"lcore": 1, "avail_conns": 9000, "inuse_conns": 60}]
    assert operator("udp/conn/stats") == [{"lcore": 1, "avail_conns": 9000, "inuse_conns": 10}]
    assert operator("laddr/stats") == [
        {
            **{"dev": "jupiter0", "lcore": 1, "tcp_avail_lports": 129024, "tcp_inuse_lports": 60},
            **{"udp_avail_lports": 129024, "udp_inuse_lports": 10, "least_free_lports": 129000},
        }
    ]
    assert operator("tcp/stats") == {"tcp_truncated": 4, "sent_resets": 2, "inuse_conns": 60}
    assert operator("udp/stats") == {"inuse_conns": 10}
    assert operator("icmp/stats") == {
        "icmp_truncated": 5, "sent_echo_replies": 4, "sent_errors": 3, "relayed_errors": 1,
    }  # fmt: skip
    assert operator("memory") == [
        {
            **{"Socket": 0, "Heap_size": 1000, "Free_size": 400, "Alloc_size": 600, "Greatest_free_size": 300},
            **{"Alloc_count": 20, "Free_count": 3},
        }
    ]
    (hardware,) = operator("netdev/hwinfo")
    assert (hardware["hw"], hardware["rxq-num"], hardware["link-status"]) == ("0000:01:00.2", 1, "up")
    assert (hardware["steering"], hardware["steering-reason"], hardware["woken-by"]) == (
        "rss",
        "the card's own",
        "socket",
    )
    assert operator("netdev/reset") is None
    assert operator.datapath.from_zero == 1


def test_the_rest(operator: Operator) -> None:
    operator("stop")
    operator("quit")
    assert operator.stopped == 2
    assert operator("version") == {"version": "0.1.0"}
    assert {"usage": "vs/del VIP:VPORT tcp|udp [keep|reset]"}.items() <= operator.rows("list-command")[1].items()
    assert operator.code("vs/nothing") == "unknown-command"


def test_a_socket_that_only_reads_refuses_what_changes_anything() -> None:
    """Asking is no change, not even by a command that can set."""
    reader = Operator(FakeDatapath(), read_only=True)
    for command in ("vs/add", "vs/del"):
        assert reader.code(command, **VS) == "read-only"
    assert reader.code("rs/weight", **VS, **RS, weight=1) == "read-only"
    for command in ("stop", "reload", "netdev/reset"):
        assert reader.code(command) == "read-only"
    assert reader.code("vs/persistence", **VS, scope="address") == "read-only"
    assert reader.code("vs/cql/add", **VS, client="1.1.1.9", rate=0) == "read-only"
    assert reader.code("rs/weight", **VS, **RS) == "service-not-found"
    assert reader.code("vs/persistence", **VS) == "service-not-found"
    assert reader.rows("vs/list") == []
    assert (reader.stopped, reader.datapath.from_zero) == (0, 0)
