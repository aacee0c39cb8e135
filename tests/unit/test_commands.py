"""The table of commands: shell words, wire parameters, usage."""

from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupiter import commands
from jupiter.commands import COMMANDS, Answer
from jupiter.errors import JupiterError
from jupiter.handlers import HANDLERS
from jupiter.model import Protocol, ServiceKey

VIP = ServiceKey(IPv4Address("10.0.1.1"), 8888, Protocol.TCP)
VS, RS = "10.0.1.1:8888 tcp", "1.1.1.3:80"


def refusal(name: str, words: str) -> str:
    command = COMMANDS[name]
    with pytest.raises(JupiterError) as error:
        command.validate(command.bind(words.split()))
    assert error.value.code == "invalid-argument"
    return error.value.text


OWN = {"apply", "diff", "check", "save", "reload", "stop", "vs/conn-report", "trace", "capture"}
"""Commands about services as a whole, and those that go on: jupiter.running carries them out."""


def test_every_command_has_a_handler_and_every_handler_a_command() -> None:
    assert HANDLERS.keys() | OWN == COMMANDS.keys()
    assert not HANDLERS.keys() & OWN


def test_the_ancestors_commands_are_there_with_their_usage() -> None:
    """Names and arguments of the ancestor's commands whose data path exists (ORIGINAL.md), aliases included."""
    vs, rs = "VIP:VPORT tcp|udp", "RIP:RPORT"
    for name, arguments in {
        "vs/add": f"{vs} [ipport|iponly|rr|wrr|lc|wlc]", "vs/del": f"{vs} [keep|reset]", "vs/list": "", "vs/stats": vs,
        "vs/scheduler": f"{vs} [ipport|iponly|rr|wrr|lc|wlc]", "vs/schedule": f"{vs} [ipport|iponly|rr|wrr|lc|wlc]",
        "vs/est_timeout": f"{vs} [SEC]", "vs/conn-expire-time": f"{vs} [SEC]", "vs/conn-report": f"{vs} SEC",
        "vs/max_conns": f"{vs} [N]", "vs/max-conns": f"{vs} [N]", "vs/cql": f"{vs} [QPS]", "vs/cql/list": vs,
        "vs/cql/add": f"{vs} IP QPS", "vs/cql/del": f"{vs} IP",
        "rs/add": f"{vs} {rs} [WEIGHT] [MARK ...]", "rs/del": f"{vs} {rs} [keep|reset]", "rs/list": vs,
        "rs/status": f"{vs} {rs} [up|down]", "rs/weight": f"{vs} {rs} [WEIGHT]", "rs/stats": f"{vs} {rs}",
        "tcp/conn/dump": "", "udp/conn/dump": "", "tcp/conn/stats": "", "udp/conn/stats": "", "tcp/stats": "",
        "udp/stats": "", "icmp/stats": "", "laddr/stats": "", "arp/list": "", "arp": "", "netdev/stats": "",
        "netdev/reset": "", "netdev/ipaddr": "", "netdev/hwinfo": "", "lcore-event/stats": "", "list-command": "",
        "memory": "", "version": "", "exit": "", "quit": "", "stop": "",
    }.items():  # fmt: skip
        command = commands.find(name)
        assert command.usage.removesuffix(" [--json]") == f"{command.name} {arguments}".strip()


def test_columns_are_the_ancestors() -> None:
    headers = {name: " ".join(c.header for c in command.columns) for name, command in COMMANDS.items()}
    assert headers["vs/list"] == (
        "IP Port Type Sched Max_conns synproxy toa est_timeout max_rate cql persistence persistence_scope mss"
    )
    assert headers["rs/list"] == "IP Port Type Status Weight State Max_conns Backup"
    assert headers["arp/list"] == "IPaddress HWaddress Iface AliveTime"
    assert headers["tcp/conn/dump"] == "cip cport vip vport lip lport rip rport flags state usetime timeout"
    assert headers["udp/conn/dump"] == "cip cport vip vport lip lport rip rport flags usetime timeout"
    assert all(bool(c.columns) == c.answer.paged for c in COMMANDS.values() if c.answer is not Answer.TEXT)


def test_a_command_is_found_by_name_and_alias() -> None:
    assert commands.find("exit") is commands.find("quit") is commands.find("stop")
    with pytest.raises(JupiterError, match=r"Unknown command vs/lits, did you mean vs/list\?") as error:
        commands.find("vs/lits")
    assert error.value.code == "unknown-command"


@pytest.mark.parametrize("words", ["10.0.1.1:8888 tcp wrr", "10.0.1.1:8888 TCP WRR"])
def test_protocol_and_scheduler_come_in_any_case(words: str) -> None:
    command = COMMANDS["vs/add"]
    assert command.validate(command.bind(words.split())) == {"service": VIP, "scheduler": "wrr"}


def test_defaults_are_filled_in() -> None:
    """vs/add means ipport, rs/add weight 1 and no mark, rs/weight without a number asks."""
    vs, rs = {"service": "10.0.1.1:8888 tcp"}, {"server": "1.1.1.3:80"}
    assert COMMANDS["vs/add"].validate(vs)["scheduler"] == "ipport"
    assert COMMANDS["rs/add"].validate(vs | rs).items() >= {"weight": 1, "marks": {}}.items()
    assert COMMANDS["rs/weight"].validate(vs | rs)["weight"] is None
    assert COMMANDS["vs/list"].validate({})["cursor"] == ""


@pytest.mark.parametrize(
    ("words", "given"),
    [("", (None, None)), ("300", (300, None)), ("0", (0, None)), ("300 ADDRESS", (300, "address"))],
)
def test_a_command_of_two_values_asks_only_when_neither_is_given(
    words: str, given: tuple[int | None, str | None]
) -> None:
    """vs/persistence: so a socket that only reads may ask, and may not set."""
    command = COMMANDS["vs/persistence"]
    arguments = command.validate(command.bind(f"{VS} {words}".split()))
    assert (arguments["seconds"], arguments["scope"]) == given
    assert command.changes_with(arguments) is (given != (None, None))


def test_marks_come_in_any_order_and_any_case() -> None:
    command = COMMANDS["rs/add"]
    for words in ("7 max_conns=1000 backup disabled down", "7 DOWN Disabled BACKUP Max_Conns=1000"):
        marks = command.validate(command.bind(f"{VS} {RS} {words}".split()))["marks"]
        assert marks == {"max_conns": 1000, "backup": True, "enabled": False, "up": False}


@pytest.mark.parametrize("weight", [0, 65535, "0", "65535"])
def test_weights_come_as_numbers_and_as_digits(weight: object) -> None:
    params = {"service": "10.0.1.1:8888 tcp", "server": "1.1.1.3:80", "weight": weight}
    assert COMMANDS["rs/add"].validate(params)["weight"] == int(str(weight))


@pytest.mark.parametrize("weight", ["-1", "65536", "1.5", "", "x", "\u0663", "9" * 5000, True, 1.0, -1, 65536, [], {}])
def test_other_weights_are_refused(weight: object) -> None:
    params = {"service": "10.0.1.1:8888 tcp", "server": "1.1.1.3:80", "weight": weight}
    with pytest.raises(JupiterError, match="expected a weight from 0 to 65535"):
        COMMANDS["rs/add"].validate(params)


@pytest.mark.parametrize(
    "service",
    [
        *("10.0.1.1:0", "10.0.1.1:65536", "10.0.1.1:", "10.0.1.1", ":80", "10.0.1:80", "010.0.1.1:80", "v:80"),
        *("224.0.0.1:80", "0.0.0.1:80", "127.0.0.1:80", "255.255.255.255:80", "10.0.1.1:+80", "10.0.1.1:8 0", "::1:80"),
    ],
)
def test_addresses_and_ports_that_make_no_sense_are_refused(service: str) -> None:
    assert "a unicast IPv4 address and a port from 1 to 65535" in refusal("vs/add", f"{service} tcp")


@pytest.mark.parametrize(
    ("name", "words", "text"),
    [
        (
            "vs/add",
            "",
            "Too few parameters for command vs/add, expected vs/add VIP:VPORT tcp|udp [ipport|iponly|rr|wrr|lc|wlc].",
        ),
        ("vs/add", "10.0.1.1:80", "Too few parameters for command vs/add"),
        ("vs/add", "10.0.1.1:80 tcp rr 1", "Too many parameters for command vs/add"),
        ("vs/add", "10.0.1.1:80 sctp", "Invalid parameter: 10.0.1.1:80 sctp, expected VIP:VPORT tcp|udp"),
        ("vs/add", "10.0.1.1:80 tcp sh", "Invalid parameter: sh, expected one of ipport, iponly, rr, wrr, lc, wlc."),
        ("rs/add", "10.0.1.1:80 tcp", "Too few parameters for command rs/add"),
        ("vs/list", "x", "Too many parameters for command vs/list"),
        (
            "vs/max_conns",
            f"{VS} 0",
            "Invalid parameter: 0, expected connections from 1 to 2147483647 (which is no limit).",
        ),
        (
            "vs/max_rate",
            f"{VS} 1000000001",
            "Invalid parameter: 1000000001, expected connections a second from 0 to 1000",
        ),
        (
            "vs/cql",
            f"{VS} on",
            "Invalid parameter: on, expected connections a second from 0 to 1000000000 (0: no limit).",
        ),
        (
            "vs/cql/add",
            f"{VS} 1.1.1.9",
            "Too few parameters for command vs/cql/add, expected vs/cql/add VIP:VPORT tcp|udp",
        ),
        (
            "vs/cql/add",
            f"{VS} 224.0.0.1 1",
            "Invalid parameter: 224.0.0.1, expected the unicast IPv4 address of a client.",
        ),
        (
            "vs/cql/add",
            f"{VS} 1.1.1.9 -1",
            "Invalid parameter: -1, expected connections a second from 0 to 1000000000 (0:",
        ),
        ("vs/persistence", f"{VS} 604801", "Invalid parameter: 604801, expected seconds from 0 to 604800 (0: none)."),
        ("vs/persistence", f"{VS} 9 all", "Invalid parameter: all, expected service or address."),
        ("vs/mss", f"{VS} 535", "Invalid parameter: 535, expected 0 (as it is) or bytes from 536 to 65495."),
        ("vs/mss", f"{VS} 65496", "Invalid parameter: 65496, expected 0 (as it is) or bytes from 536 to 65495."),
        ("rs/backup", f"{VS} {RS} yes", "Invalid parameter: yes, expected on or off."),
        ("rs/max_conns", f"{VS} {RS} 2147483648", "Invalid parameter: 2147483648, expected connections from 1 to"),
        ("rs/add", f"{VS} {RS} backup", "Invalid parameter: backup, expected a weight from 0 to 65535."),
        (
            "rs/add",
            f"{VS} {RS} 1 spare",
            "Invalid parameter: spare, expected the marks max_conns=N (1 to 2147483647), ba",
        ),
        ("rs/add", f"{VS} {RS} 1 max_conns=0", "Invalid parameter: max_conns=0, expected the marks max_conns=N"),
        ("rs/add", f"{VS} {RS} 1 backup backup", "Invalid parameter: backup backup, expected the marks"),
        ("rs/add", f"{VS} {RS} 1 max_conns", "Invalid parameter: max_conns, expected the marks"),
        ("rs/add", f"{VS} {RS} 1 backup=1", "Invalid parameter: backup=1, expected the marks"),
    ],
)
def test_wrong_words_are_named_with_what_was_expected(name: str, words: str, text: str) -> None:
    assert refusal(name, words).startswith(text)


def test_unknown_and_missing_parameters_of_the_wire_are_named() -> None:
    with pytest.raises(JupiterError, match="Unknown parameter wait for command vs/del"):
        COMMANDS["vs/del"].validate({"service": "10.0.1.1:80 tcp", "wait": 1})
    with pytest.raises(JupiterError, match="Too few parameters for command vs/del"):
        COMMANDS["vs/del"].validate({})
    with pytest.raises(JupiterError, match="Unknown parameter cursor"):
        COMMANDS["vs/stats"].validate({"service": "10.0.1.1:80 tcp", "cursor": ""})


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=5,
)


@given(st.sampled_from(sorted(COMMANDS)), st.dictionaries(st.sampled_from(["service", "server", "weight", "x"]), json))
def test_whatever_the_parameters_the_answer_is_arguments_or_a_clear_error(name: str, params: dict[str, object]) -> None:
    """No stranger's value gets through untyped, and an error is one short printable line."""
    try:
        COMMANDS[name].validate(params)
    except JupiterError as error:
        assert error.code == "invalid-argument"
        assert len(error.text) < 300
        assert error.text.isprintable()


@given(st.integers(1, 65535), st.sampled_from(Protocol))
def test_a_service_is_read_as_it_is_printed(port: int, protocol: Protocol) -> None:
    key = ServiceKey(IPv4Address("10.0.1.1"), port, protocol)
    assert COMMANDS["vs/del"].validate({"service": str(key)})["service"] == key


def test_only_answers_can_be_had_as_json() -> None:
    """--json on every reading command, on no other."""
    assert {c.name for c in COMMANDS.values() if c.answer is Answer.NOTHING} == {
        *("vs/add", "vs/del", "rs/add", "rs/del", "rs/enable", "rs/disable", "netdev/reset", "stop"),
        *("vs/cql/add", "vs/cql/del"),
    }
