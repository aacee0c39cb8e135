"""Services as text: what is written is read, and what is wrong is named with its place."""

from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupiter import config, services
from jupiter.ini import ConfigError
from jupiter.model import (
    MAX_CLIENTS,
    MAX_CONNS,
    MAX_RATE,
    SCOPES,
    Protocol,
    RealServer,
    ServiceKey,
    VirtualService,
)
from tests.fakes import START

VIP = ServiceKey(IPv4Address("10.0.1.1"), 8888, Protocol.TCP)
TEXT = """\
; two ways to write a comment
[10.0.1.1:8888 tcp]   # the shop
scheduler = WRR
est_timeout = 90
persistence_scope = Address
cql 1.1.1.9 = 0       # the scraper
cql   1.1.1.10 = 5
1.1.1.3:80 = 7        # rack 3
1.1.1.4:80 = 0 disabled down
1.1.1.5:80 = 1 Backup max_conns=9

[10.0.1.1:53 UDP]
"""


def mss_of(protocol: Protocol) -> st.SearchStrategy[int]:
    """Only TCP has one."""
    return st.just(0) | st.integers(536, 65495) if protocol is Protocol.TCP else st.just(0)


OPTIONS = "scheduler, est_timeout, max_conns, max_rate, cql, persistence, persistence_scope, mss"
KEYS = f"{OPTIONS}, cql IP or RIP:RPORT as the key"
addresses = st.integers(0x0B000000, 0x7EFFFFFF).map(IPv4Address)
ports = st.integers(1, 65535)
max_conns = st.just(MAX_CONNS) | st.integers(1, MAX_CONNS)
rates = st.integers(0, MAX_RATE)
servers = st.builds(
    RealServer, addresses, ports, st.integers(0, 100), st.booleans(), st.booleans(), max_conns, st.booleans()
)
virtual_services = st.builds(
    VirtualService,
    st.builds(ServiceKey, addresses, ports, st.sampled_from(Protocol)),
    st.sampled_from(["rr", "wrr", "ipport", "iponly", "lc", "wlc"]),
    max_conns,
    est_timeout=st.integers(0, 604800),
    max_rate=rates,
    cql=rates,
    cql_clients=st.dictionaries(addresses, rates, max_size=3),
    persistence=st.integers(0, 604800),
    persistence_scope=st.sampled_from(SCOPES),
    servers=st.lists(servers, max_size=4).map(lambda found: {s.key: s for s in found}),
).flatmap(lambda service: mss_of(service.key.protocol).map(lambda mss: replace(service, mss=mss)))
sets_of_services = st.lists(virtual_services, max_size=5).map(lambda found: {s.key: s for s in found})


def parse(text: str) -> dict[ServiceKey, VirtualService]:
    return services.parse(text, "x.cfg", START.role_of)


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as error:
        parse(text)
    return error.value.text.splitlines()


def test_a_service_is_a_section_and_each_server_a_line() -> None:
    """Protocols and schedulers in any case; the defaults are those of vs/add."""
    found = parse(TEXT)
    assert list(map(str, found)) == ["10.0.1.1:8888 tcp", "10.0.1.1:53 udp"]
    assert (found[VIP].scheduler, found[VIP].est_timeout, found[VIP].persistence_scope) == ("wrr", 90, "address")
    assert found[VIP].cql_clients == {IPv4Address("1.1.1.9"): 0, IPv4Address("1.1.1.10"): 5}
    assert list(found[VIP].servers.values()) == [
        RealServer(IPv4Address("1.1.1.3"), 80, 7),
        RealServer(IPv4Address("1.1.1.4"), 80, 0, enabled=False, up=False),
        RealServer(IPv4Address("1.1.1.5"), 80, 1, max_conns=9, backup=True),
    ]
    assert found[VIP].servers.keys() == {(IPv4Address(f"1.1.1.{n}"), 80) for n in (3, 4, 5)}
    assert found[ServiceKey(VIP.address, 53, Protocol.UDP)] == VirtualService(
        ServiceKey(VIP.address, 53, Protocol.UDP), "ipport"
    )


@given(sets_of_services)
def test_what_is_written_is_read(found: dict[ServiceKey, VirtualService]) -> None:
    """save, then apply: nothing changes. Health is no configuration: what runs keeps its own."""
    read = services.parse("\n".join(services.lines(found.values())), "x.cfg", lambda _: None)
    assert services.with_health_of(found, read) == found
    assert list(services.lines(read.values())) == list(services.lines(found.values()))


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("scheduler = sh", "scheduler = sh: expected one of ipport, iponly, rr, wrr, lc, wlc"),
        ("est_timeout = -1", "est_timeout = -1: expected seconds from 0 to 604800"),
        ("1.1.1.3:80 = 65536", "1.1.1.3:80 = 65536: expected a weight from 0 to 65535, then"),
        ("1.1.1.3:80 =", "1.1.1.3:80 = : expected a weight"),
        ("1.1.1.3:80 = 7 drained", "1.1.1.3:80 = 7 drained: expected a weight"),
        ("1.1.1.3:80 = 7 down down", "1.1.1.3:80 = 7 down down: expected a weight"),
        (
            "1.1.1.3:80 = 7 max_conns=0",
            "1.1.1.3:80 = 7 max_conns=0: expected a weight from 0 to 65535, then max_conns=N",
        ),
        ("1.1.1.3:80 = 7 backup=1", "1.1.1.3:80 = 7 backup=1: expected a weight"),
        ("1.1.1.3 = 7", f"1.1.1.3 = 7: expected {KEYS}"),
        ("max_conns = 0", "max_conns = 0: expected connections from 1 to 2147483647 (which is no limit)"),
        ("max_rate = 1e9", "max_rate = 1e9: expected connections a second from 0 to 1000000000 (0: no limit)"),
        ("cql = on", "cql = on: expected connections a second from 0 to 1000000000 (0: no limit)"),
        (
            "cql 1.1.1.9 = x",
            "cql 1.1.1.9 = x: expected connections a second from 0 to 1000000000 (0: none is admitted)",
        ),
        ("cql 224.0.0.1 = 1", "cql 224.0.0.1 = 1: expected cql IP as the key, the address of a client"),
        ("cql 1.1.1.9 = 1\ncql  1.1.1.9 = 2", "cql  1.1.1.9 = 2: expected each client once in its service"),
        ("persistence = -1", "persistence = -1: expected seconds from 0 to 604800 (0: none)"),
        ("persistence_scope = vip", "persistence_scope = vip: expected service or address"),
        ("mss = 535", "mss = 535: expected 0 (as it is) or bytes from 536 to 65495"),
        ("mss = 65496", "mss = 65496: expected 0 (as it is) or bytes from 536 to 65495"),
        ("127.0.0.1:80 = 7", "127.0.0.1:80 = 7: expected scheduler"),
        ("schedular = rr", f"schedular = rr: expected {KEYS}; did you mean sch"),
        ("max_con = 1", f"max_con = 1: expected {KEYS}; did you mean max_conns?"),
        ("1.1.1.2:80 = 7", "1.1.1.2:80 = 7: expected another address, 1.1.1.2 is the director's own on jupiter0"),
        ("10.0.2.1:80 = 7", "10.0.2.1:80 = 7: expected another address, 10.0.2.1 is a local address of jupiter0"),
    ],
)
def test_a_wrong_line_is_named_with_file_line_section_key_value_and_what_was_expected(line: str, problem: str) -> None:
    (found,) = problems(f"[10.0.1.9:1 tcp]\n\n[10.0.1.1:8888 tcp]\n{line}\n")
    at = 4 + line.count("\n")
    assert found.startswith(f"x.cfg:{at}: [10.0.1.1:8888 tcp] {problem}")


def test_a_section_within_a_service_is_named() -> None:
    (found,) = problems("[10.0.1.1:8888 tcp]\n[[x]]\n")
    assert found.startswith("x.cfg:1: [10.0.1.1:8888 tcp] x = {}: expected scheduler")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[10.0.1.1:80 sctp]\n", "x.cfg:1: [10.0.1.1:80 sctp] expected a section VIP:VPORT tcp|udp"),
        ("[10.0.1.1:0 tcp]\n", "x.cfg:1: [10.0.1.1:0 tcp] expected a section VIP:VPORT tcp|udp"),
        ("[10.0.1.1:80]\n", "x.cfg:1: [10.0.1.1:80] expected a section VIP:VPORT tcp|udp"),
        ("[1.1.1.2:80 tcp]\n", "x.cfg:1: [1.1.1.2:80 tcp] 1.1.1.2 is the director's own on jupiter0, expected another"),
        ("a = 1\n", "x.cfg: a: unknown key, expected a section before it"),
        ("[web]\n", "x.cfg:1: [web] unknown section, expected VIP:VPORT tcp|udp"),
        ("[10.0.1.1:80 tcp]\n[10.0.1.1:80 TCP]\n", "x.cfg:2: [10.0.1.1:80 TCP] virt service 10.0.1.1:80 tcp stands in"),
        ("[10.0.1.1:80 tcp]\n[10.0.1.1:80 tcp]\n", "x.cfg:2: Duplicate section name"),
        ("[10.0.1.1:80 tcp]\n1.1.1.3:80 = 1\n1.1.1.3:80 = 1\n", "x.cfg:3: Duplicate keyword name"),
        ("[10.0.1.1:80 tcp\n", "x.cfg:1: "),
    ],
)
def test_a_section_that_is_no_service_is_named(text: str, problem: str) -> None:
    (found,) = problems(text)
    assert found.startswith(problem)


def test_weights_that_fit_no_schedule_are_named() -> None:
    """B24: the round of a wrr service is exact, so it has a largest size."""
    lines = [f"1.1.2.{n}:80 = {65535 - n % 2}" for n in range(1, 20)]
    (found,) = problems("\n".join(["[10.0.1.1:80 tcp]", "scheduler = wrr", *lines]))
    assert "expected at most 1048576" in found


def test_what_fits_no_service_of_its_kind_is_named() -> None:
    """B33, B29: a segment size for UDP; more clients with rates of their own than a service may hold."""
    (found,) = problems("[10.0.1.1:53 udp]\nmss = 1400\n")
    assert found.startswith("x.cfg:1: [10.0.1.1:53 udp] Invalid mss 1400 of virt service 10.0.1.1:53 udp, expected 0: ")
    clients = "".join(f"cql 11.0.{n >> 8}.{n & 255} = 1\n" for n in range(MAX_CLIENTS + 1))
    (found,) = problems(f"[10.0.1.1:80 tcp]\n{clients}")
    assert f"{MAX_CLIENTS + 1} clients of virt service 10.0.1.1:80 tcp have rates of their own, expected at" in found


def test_every_error_is_named_and_a_flood_of_them_is_cut() -> None:
    """B28: all of them at once, so that one look mends the file; a file of a million wrong lines is told in part."""
    text = "[10.0.1.1:80 tcp]\nscheduler = x\nest_timeout = y\n1.1.1.3:80 = z\n[a:b]\n"
    assert [line.split(":")[1] for line in problems(text)] == ["2", "3", "4", "5"]
    many = problems("[10.0.1.1:80 tcp]\n" + "".join(f"1.1.{n >> 8}.{n & 255}:80 = x\n" for n in range(1500)))
    assert (len(many), many[-1]) == (1001, "and more")


@given(
    st.lists(st.sampled_from([*TEXT.split(), "[", "]", "[[x]]", "=", "#", ";", "'", '"', "\n"]) | st.text(max_size=4))
)
def test_whatever_is_in_the_file_the_answer_is_services_or_a_clear_error(words: list[str]) -> None:
    try:
        assert isinstance(parse(" ".join(words)), dict)
    except ConfigError as error:
        assert all(line.startswith("x.cfg:") for line in error.text.split("\n"))


DEVICE = """\
[DEVICE0]
name = jupiter0
ipv4 = 1.1.1.2
netmask = 255.255.255.0
local-ipv4 = 10.0.2.1/32
vdev = net_af_packet0,iface=eth1
"""


def test_the_configuration_holds_services_beside_devices_and_in_services_d(tmp_path: Path) -> None:
    """jupiter.cfg, and every *.cfg of services.d beside it."""
    (tmp_path / "services.d").mkdir()
    (tmp_path / "jupiter.cfg").write_text(f"{DEVICE}[10.0.1.1:80 tcp]\n1.1.1.3:80 = 1\n")
    (tmp_path / "services.d/dns.cfg").write_text("[10.0.1.1:53 udp]\n1.1.1.3:53 = 1\n")
    (tmp_path / "services.d/dns.cfg.bak").write_text("nonsense\n")
    assert list(map(str, config.load(tmp_path / "jupiter.cfg").services)) == ["10.0.1.1:80 tcp", "10.0.1.1:53 udp"]


def test_problems_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    """Each with its own file and line; a service stands in one file only."""
    (tmp_path / "services.d").mkdir()
    (tmp_path / "jupiter.cfg").write_text(f"{DEVICE}[10.0.1.1:80 tcp]\nscheduler = x\n[10.0.1.2:80 tcp]\n")
    (tmp_path / "services.d/a.cfg").write_text("[10.0.1.3:80 tcp]\n10.0.2.1:80 = 1\n")
    (tmp_path / "services.d/b.cfg").write_text("\n[10.0.1.2:80 tcp]\n")
    with pytest.raises(ConfigError) as error:
        config.load(tmp_path / "jupiter.cfg")
    found = [line.removeprefix(f"{tmp_path}/") for line in error.value.text.splitlines()]
    assert [line.split(": ")[0] for line in found] == ["jupiter.cfg:8", "services.d/a.cfg:2", "services.d/b.cfg"]
    assert found[2] == "services.d/b.cfg: [10.0.1.2:80 tcp] virt service 10.0.1.2:80 tcp stands in another file, too"
