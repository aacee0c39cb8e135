"""THE table of commands: what an operator types, what goes over the wire, how the answer looks.

jupiter-ctl and the control server both read it. A command has one name from shell to wire to handler.
"""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, NamedTuple

from jupiter import terms
from jupiter.errors import JupiterError
from jupiter.model import DEFAULT_SCHEDULER, MAX_TIMEOUT, MAX_WEIGHT, SCHEDULERS, Policy


class Kind(NamedTuple):
    """A type of parameter. words: how many shell words it takes, or ALL that are left. parse: raises ValueError.

    is_file: jupiter-ctl sends the file's text ahead (`draft`), and its name as the parameter.
    """

    metavar: str
    expected: str
    parse: Callable[[object], object]
    words: int = 1
    is_file: bool = False


ALL: Final = 1 << 16


class Answer(Enum):
    """What a command answers with, as JSON."""

    NOTHING = auto()  # null
    RECORD = auto()  # {key: value}
    RECORDS = auto()  # [{key: value}], each with a heading of its own
    TABLE = auto()  # a page {"rows": [{key: value}], "cursor": where the next page begins or null}
    LINES = auto()  # the same, printed as `key: value, key: value`
    TEXT = auto()  # a page whose rows are lines of text

    @property
    def paged(self) -> bool:
        return self in (Answer.TABLE, Answer.LINES, Answer.TEXT)


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
            least = 1 if parameter.kind.words == ALL else parameter.kind.words
            if len(taken) < least and (taken or parameter.default is REQUIRED):
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

    def changes_with(self, arguments: Mapping[str, object]) -> bool:
        """Whether it changes anything: of those that show or set, each shows when what it could set is left out."""
        return self.changes and not any(p.default is None and arguments[p.name] is None for p in self.parameters)

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


UNICAST = "a unicast IPv4 address and a port from 1 to 65535"
SERVICE = Kind("VIP:VPORT tcp|udp", f"VIP:VPORT tcp|udp, {UNICAST}", terms.service, words=2)
SERVER = Kind("RIP:RPORT", f"RIP:RPORT, {UNICAST}", terms.endpoint)
SCHEDULER = Kind("|".join(SCHEDULERS), "one of " + ", ".join(SCHEDULERS), terms.scheduler)
WEIGHT = Kind("WEIGHT", f"a weight from 0 to {MAX_WEIGHT}", lambda v: terms.number(v, 0, MAX_WEIGHT))
STATUS = Kind("up|down", "up or down", lambda v: terms.one_of({"up": True, "down": False}, v))
POLICY = Kind("keep|reset", "keep or reset", lambda v: terms.one_of(terms.POLICIES, v))
TIMEOUT = Kind("SEC", f"seconds from 0 to {MAX_TIMEOUT}", lambda v: terms.number(v, 0, MAX_TIMEOUT))
PERIOD = Kind("SEC", f"seconds from 1 to {MAX_TIMEOUT}", lambda v: terms.number(v, 1, MAX_TIMEOUT))
FILE = Kind("FILE", "the name of a file of services", terms.text, is_file=True)
CONDITIONS = Kind(
    "CONDITION ...",
    "tcp, udp, or [client=|vip=|local=|rs=]ADDRESS[/LENGTH][:PORT] or :PORT, up to 4 of these",
    terms.conditions,
    words=ALL,
)
CURSOR = Kind("CURSOR", "the cursor of an earlier answer", terms.text)

THE_SERVICE = Parameter("service", SERVICE)
THE_SERVER = Parameter("server", SERVER)
THE_FILE = Parameter("file", FILE)
THE_POLICY = Parameter("policy", POLICY, default=Policy.KEEP)
CURSOR_PARAMETER = Parameter("cursor", CURSOR, default="")


def _columns(*headers: str) -> tuple[Column, ...]:
    """Columns whose JSON key is their header in lower case."""
    return tuple(Column(header, header.lower()) for header in headers)


CONNECTION_COLUMNS = _columns(
    "cip", "cport", "vip", "vport", "lip", "lport", "rip", "rport", "flags", "state", "usetime", "timeout"
)

SERVER_COLUMNS = _columns("IP", "Port", "Type", "Status", "Weight", "State")
TRAFFIC_COLUMNS = _columns("Active", "Total", "In_packets", "In_bytes", "Out_packets", "Out_bytes")

_TABLE = (
    Command(
        "vs/add",
        "Add a virtual service.",
        (THE_SERVICE, Parameter("scheduler", SCHEDULER, default=DEFAULT_SCHEDULER)),
        changes=True,
    ),
    Command(
        "vs/del",
        "Delete a virtual service. keep: its TCP connections finish; reset: both ends of each get a RST.",
        (THE_SERVICE, THE_POLICY),
        changes=True,
    ),
    Command(
        "vs/list",
        "List the virtual services.",
        answer=Answer.TABLE,
        columns=_columns("IP", "Port", "Type", "Sched", "Max_conns", "synproxy", "toa", "est_timeout"),
    ),
    Command("vs/stats", "Show the counters of a virtual service.", (THE_SERVICE,), Answer.RECORD),
    Command(
        "vs/traffic",
        "List the counters of all virtual services; frames and their bytes towards servers (in) and clients (out).",
        answer=Answer.TABLE,
        columns=(*_columns("IP", "Port", "Type", "Sched", "Servers"), *TRAFFIC_COLUMNS, Column("Drops", "drops")),
    ),
    Command(
        "vs/scheduler",
        "Show or set the scheduler; connections keep their servers.",
        (THE_SERVICE, Parameter("scheduler", SCHEDULER, default=None)),
        Answer.RECORD,
        changes=True,
        aliases=("vs/schedule",),
    ),
    Command(
        "vs/est_timeout",
        "Show or set after how many seconds of silence a connection is freed; 0: the protocol's default.",
        (THE_SERVICE, Parameter("seconds", TIMEOUT, default=None)),
        Answer.RECORD,
        changes=True,
        aliases=("vs/conn-expire-time",),
    ),
    Command(
        "vs/conn-report",
        "Count the connections of each client that were active within the last seconds.",
        (THE_SERVICE, Parameter("seconds", PERIOD)),
        Answer.LINES,
        _columns("ip", "count"),
    ),
    Command(
        "rs/add",
        "Add a real server to a virtual service (weight 1 unless given; 0 drains).",
        (THE_SERVICE, THE_SERVER, Parameter("weight", WEIGHT, default=1)),
        changes=True,
    ),
    Command(
        "rs/del",
        "Delete a real server. keep: its TCP connections finish; reset: both ends of each get a RST.",
        (THE_SERVICE, THE_SERVER, THE_POLICY),
        changes=True,
    ),
    Command(
        "rs/list",
        "List the real servers of a virtual service, by descending weight: Status is health, State the hand's.",
        (THE_SERVICE,),
        Answer.TABLE,
        SERVER_COLUMNS,
    ),
    Command(
        "rs/weight",
        "Show or set the weight of a real server (0 drains).",
        (THE_SERVICE, THE_SERVER, Parameter("weight", WEIGHT, default=None)),
        Answer.RECORD,
        changes=True,
    ),
    Command(
        "rs/status",
        "Show or set the health of a real server; down: no new connections.",
        (THE_SERVICE, THE_SERVER, Parameter("status", STATUS, default=None)),
        Answer.RECORD,
        changes=True,
    ),
    Command("rs/enable", "Let a real server take new connections again.", (THE_SERVICE, THE_SERVER), changes=True),
    Command(
        "rs/disable",
        "Keep new connections from a real server, whatever its weight and health; the old ones finish.",
        (THE_SERVICE, THE_SERVER),
        changes=True,
    ),
    Command("rs/stats", "Show the counters of a real server.", (THE_SERVICE, THE_SERVER), Answer.RECORD),
    Command(
        "rs/traffic",
        "List the counters of all real servers of a virtual service.",
        (THE_SERVICE,),
        Answer.TABLE,
        (*SERVER_COLUMNS, *TRAFFIC_COLUMNS),
    ),
    Command(
        "apply",
        "Make the services what a file says, in one transaction; nothing changes if anything in it is wrong.",
        (THE_FILE, THE_POLICY),
        Answer.RECORD,
        changes=True,
    ),
    Command(
        "diff",
        "Show what `apply` would change.",
        (THE_FILE,),
        Answer.TABLE,
        _columns("Change", "Service", "Server", "Key", "Now", "Then"),
    ),
    Command("check", "Judge a file of services, without changing anything.", (THE_FILE,), Answer.RECORD),
    Command("save", "Print the services that run, in the form of the configuration.", answer=Answer.TEXT),
    Command(
        "reload",
        "Apply the configuration files again, as SIGHUP does; what was set by hand is undone.",
        answer=Answer.RECORD,
        changes=True,
    ),
    Command("netdev/ipaddr", "Show the addresses of each device.", answer=Answer.RECORDS),
    Command("netdev/stats", "Show the counters of each device.", answer=Answer.RECORDS),
    Command("netdev/reset", "Count each device from zero again.", changes=True),
    Command("netdev/hwinfo", "Show the hardware, queues and link of each device.", answer=Answer.RECORDS),
    Command(
        "drops",
        "List the dropped packets by reason, with those of the last second; each dropped packet has one reason.",
        answer=Answer.TABLE,
        columns=_columns("Reason", "Count", "Rate", "Description"),
        aliases=("drop/stats",),
    ),
    Command(
        "arp/list",
        "List the neighbours on the devices' kernel interfaces.",
        answer=Answer.TABLE,
        columns=tuple(Column(name, name) for name in ("IPaddress", "HWaddress", "Iface", "AliveTime")),
        aliases=("arp",),
    ),
    Command("tcp/conn/dump", "List the TCP connections.", answer=Answer.LINES, columns=CONNECTION_COLUMNS),
    Command(
        "udp/conn/dump",
        "List the UDP connections.",
        answer=Answer.LINES,
        columns=tuple(c for c in CONNECTION_COLUMNS if c.key != "state"),
    ),
    Command("tcp/conn/stats", "Show each worker's room for connections, and its TCP ones.", answer=Answer.RECORDS),
    Command("udp/conn/stats", "Show each worker's room for connections, and its UDP ones.", answer=Answer.RECORDS),
    Command(
        "conn/find",
        "List the connections that meet every condition; an address or port matches any end unless an end is named.",
        (Parameter("conditions", CONDITIONS),),
        Answer.LINES,
        (Column("type", "type"), *CONNECTION_COLUMNS),
    ),
    Command("laddr/stats", "Show the local ports of each device and worker.", answer=Answer.RECORDS),
    Command("tcp/stats", "Show the TCP packets dropped by reason, and the TCP connections.", answer=Answer.RECORD),
    Command("udp/stats", "Show the UDP packets dropped by reason, and the UDP connections.", answer=Answer.RECORD),
    Command("icmp/stats", "Show the ICMP packets dropped by reason.", answer=Answer.RECORD),
    Command(
        "worker/stats",
        "Show what each worker does: busy share in percent, turns and packets of the last second, rings, room.",
        answer=Answer.TABLE,
        columns=_columns(
            "lcore",
            "busy",
            "turns",
            "packets",
            "per_turn",
            "conns",
            "half_open",
            "conns_left",
            "lports_left",
            "to_kernel",
            "from_kernel",
            "parked",
        ),
        aliases=("lcore-event/stats",),
    ),
    Command("memory", "Show the memory of DPDK's heaps, by NUMA node.", answer=Answer.RECORDS),
    Command("version", "Show the version of the running service.", answer=Answer.RECORD),
    Command(
        "list-command",
        "List the commands.",
        answer=Answer.TABLE,
        columns=(Column("Command", "usage"), Column("Description", "help")),
    ),
    Command("stop", "Stop the service.", changes=True, aliases=("exit", "quit")),
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
