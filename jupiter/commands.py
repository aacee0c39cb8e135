"""THE table of commands: what an operator types, what goes over the wire, how the answer looks.

jupiter-ctl and the control server both read it. A command has one name from shell to wire to handler.
"""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from ipaddress import IPv4Address
from typing import Final, NamedTuple

from jupiter.errors import JupiterError
from jupiter.model import DEFAULT_SCHEDULER, MAX_WEIGHT, SCHEDULERS, Protocol, ServerKey, ServiceKey, why_unusable


class Kind(NamedTuple):
    """A type of parameter. words: how many shell words it takes. parse: raises ValueError on anything else."""

    metavar: str
    expected: str
    parse: Callable[[object], object]
    words: int = 1


class Answer(Enum):
    """What a command answers with, as JSON."""

    NOTHING = auto()  # null
    RECORD = auto()  # {key: value}
    RECORDS = auto()  # [{key: value}], each with a heading of its own
    TABLE = auto()  # a page {"rows": [{key: value}], "cursor": where the next page begins or null}
    LINES = auto()  # the same, printed as `key: value, key: value`

    @property
    def paged(self) -> bool:
        return self in (Answer.TABLE, Answer.LINES)


REQUIRED: Final = object()


class Parameter(NamedTuple):
    name: str
    kind: Kind
    default: object = REQUIRED

    @property
    def usage(self) -> str:
        return self.kind.metavar if self.default is REQUIRED else f"[{self.kind.metavar}]"


class Column(NamedTuple):
    header: str
    key: str


@dataclass(frozen=True, slots=True)
class Command:
    name: str
    help: str
    parameters: tuple[Parameter, ...] = ()
    answer: Answer = Answer.NOTHING
    columns: tuple[Column, ...] = ()
    changes: bool = False
    aliases: tuple[str, ...] = ()

    @property
    def usage(self) -> str:
        json = ["[--json]"] if self.answer is not Answer.NOTHING else []
        return " ".join([self.name, *(p.usage for p in self.parameters), *json])

    def bind(self, words: Sequence[str]) -> dict[str, str]:
        """Shell words -> parameters by name, as they go over the wire."""
        params: dict[str, str] = {}
        rest = list(words)
        for parameter in self.parameters:
            taken, rest = rest[: parameter.kind.words], rest[parameter.kind.words :]
            if len(taken) < parameter.kind.words and (taken or parameter.default is REQUIRED):
                raise self._refuse("Too few parameters")
            if taken:
                params[parameter.name] = " ".join(taken)
        if rest:
            raise self._refuse("Too many parameters")
        return params

    def validate(self, params: Mapping[str, object]) -> dict[str, object]:
        """Parameters by name, as they came over the wire -> typed arguments of the handler, defaults filled in."""
        accepted = self.parameters + ((CURSOR_PARAMETER,) if self.answer.paged else ())
        unknown = params.keys() - {p.name for p in accepted}
        if unknown:
            raise self._refuse(f"Unknown parameter {shorten(min(unknown))}")
        return {p.name: self._value(p, params) for p in accepted}

    def _value(self, parameter: Parameter, params: Mapping[str, object]) -> object:
        value = params.get(parameter.name)
        if value is None:
            if parameter.default is REQUIRED:
                raise self._refuse("Too few parameters")
            return parameter.default
        try:
            return parameter.kind.parse(value)
        except ValueError:
            raise JupiterError(
                "invalid-argument", f"Invalid parameter: {shorten(value)}, expected {parameter.kind.expected}."
            ) from None

    def _refuse(self, what: str) -> JupiterError:
        return JupiterError("invalid-argument", f"{what} for command {self.name}, expected {self.usage}.")


def shorten(value: object) -> str:
    """A value of a stranger's, fit for an error message of one line."""
    text = str(value)
    text = text if len(text) <= 64 else text[:60] + " ..."
    return text if text.isprintable() else ascii(text)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError
    return value


def _number(value: object, low: int, high: int) -> int:
    """A JSON number or its decimal digits."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError
    if isinstance(value, str) and not (value.isascii() and value.isdigit() and len(value) <= 10):
        raise ValueError
    if not low <= int(value) <= high:
        raise ValueError
    return int(value)


def _endpoint(value: object) -> ServerKey:
    host, colon, port = _text(value).partition(":")
    address = IPv4Address(host)
    if not colon or why_unusable(address):
        raise ValueError
    return address, _number(port, 1, 65535)


def _service(value: object) -> ServiceKey:
    endpoint, protocol = _text(value).split()
    if protocol.lower() not in PROTOCOLS:
        raise ValueError
    return ServiceKey(*_endpoint(endpoint), PROTOCOLS[protocol.lower()])


def _scheduler(value: object) -> str:
    if _text(value).lower() not in SCHEDULERS:
        raise ValueError
    return _text(value).lower()


UNICAST = "a unicast IPv4 address and a port from 1 to 65535"
PROTOCOLS = {str(p): p for p in Protocol}
SERVICE = Kind("VIP:VPORT tcp|udp", f"VIP:VPORT tcp|udp, {UNICAST}", _service, words=2)
SERVER = Kind("RIP:RPORT", f"RIP:RPORT, {UNICAST}", _endpoint)
SCHEDULER = Kind("|".join(SCHEDULERS), "one of " + ", ".join(SCHEDULERS), _scheduler)
WEIGHT = Kind("WEIGHT", f"a weight from 0 to {MAX_WEIGHT}", lambda v: _number(v, 0, MAX_WEIGHT))
CURSOR = Kind("CURSOR", "the cursor of an earlier answer", _text)

THE_SERVICE = Parameter("service", SERVICE)
THE_SERVER = Parameter("server", SERVER)
CURSOR_PARAMETER = Parameter("cursor", CURSOR, default="")


def _columns(*headers: str) -> tuple[Column, ...]:
    """Columns whose JSON key is their header in lower case."""
    return tuple(Column(header, header.lower()) for header in headers)


CONNECTION_COLUMNS = _columns(
    "cip", "cport", "vip", "vport", "lip", "lport", "rip", "rport", "flags", "state", "usetime", "timeout"
)

_TABLE = (
    Command(
        "vs/add",
        "Add a virtual service.",
        (THE_SERVICE, Parameter("scheduler", SCHEDULER, default=DEFAULT_SCHEDULER)),
        changes=True,
    ),
    Command("vs/del", "Delete a virtual service; its TCP connections live on.", (THE_SERVICE,), changes=True),
    Command(
        "vs/list",
        "List the virtual services.",
        answer=Answer.TABLE,
        columns=_columns("IP", "Port", "Type", "Sched", "Max_conns", "synproxy", "toa", "est_timeout"),
    ),
    Command("vs/stats", "Show the counters of a virtual service.", (THE_SERVICE,), Answer.RECORD),
    Command(
        "rs/add",
        "Add a real server to a virtual service (weight 1 unless given; 0 drains).",
        (THE_SERVICE, THE_SERVER, Parameter("weight", WEIGHT, default=1)),
        changes=True,
    ),
    Command("rs/del", "Delete a real server; its TCP connections live on.", (THE_SERVICE, THE_SERVER), changes=True),
    Command(
        "rs/list",
        "List the real servers of a virtual service, by descending weight.",
        (THE_SERVICE,),
        Answer.TABLE,
        _columns("IP", "Port", "Type", "Status", "Weight"),
    ),
    Command(
        "rs/weight",
        "Show or set the weight of a real server (0 drains).",
        (THE_SERVICE, THE_SERVER, Parameter("weight", WEIGHT, default=None)),
        Answer.RECORD,
        changes=True,
    ),
    Command("rs/stats", "Show the counters of a real server.", (THE_SERVICE, THE_SERVER), Answer.RECORD),
    Command("netdev/ipaddr", "Show the addresses of each device.", answer=Answer.RECORDS),
    Command("netdev/stats", "Show the counters of each device.", answer=Answer.RECORDS),
    Command("drop/stats", "Show the dropped packets by reason.", answer=Answer.RECORD),
    Command(
        "arp/list",
        "List the neighbours on the devices' kernel interfaces.",
        answer=Answer.TABLE,
        columns=tuple(Column(name, name) for name in ("IPaddress", "HWaddress", "Iface", "AliveTime")),
    ),
    Command("tcp/conn/dump", "List the TCP connections.", answer=Answer.LINES, columns=CONNECTION_COLUMNS),
    Command(
        "udp/conn/dump",
        "List the UDP connections.",
        answer=Answer.LINES,
        columns=tuple(c for c in CONNECTION_COLUMNS if c.key != "state"),
    ),
    Command("version", "Show the version of the running service.", answer=Answer.RECORD),
    Command(
        "list-command",
        "List the commands.",
        answer=Answer.TABLE,
        columns=(Column("Command", "usage"), Column("Description", "help")),
    ),
    Command("stop", "Stop the service.", aliases=("exit", "quit")),
)

COMMANDS: Final[Mapping[str, Command]] = {command.name: command for command in _TABLE}
_BY_ANY_NAME = {name: command for command in _TABLE for name in (command.name, *command.aliases)}


def find(name: str) -> Command:
    """The command of that name or alias; raises JupiterError("unknown-command")."""
    try:
        return _BY_ANY_NAME[name]
    except KeyError:
        close = difflib.get_close_matches(name, _BY_ANY_NAME, 1)
        hint = f" did you mean {close[0]}?" if close else " list-command lists them."
        raise JupiterError("unknown-command", f"Unknown command {shorten(name)},{hint}") from None
