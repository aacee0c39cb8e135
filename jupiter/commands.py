"""THE table of commands: what an operator types, what goes over the wire, how the answer looks.

jupiter-ctl and the control server both read it. A command has one name from shell to wire to handler.
"""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, NamedTuple

from jupiter import attributes, terms
from jupiter.attributes import Attribute
from jupiter.errors import JupiterError, shorten
from jupiter.model import DEFAULT_SCHEDULER, MAX_CLIENTS, MAX_CONNS, MAX_TIMEOUT, Policy


class Kind(NamedTuple):
    """A type of parameter. words: how many shell words it takes, or ALL that are left. parse: raises ValueError.

    is_file: jupiter-ctl sends the file's text ahead (`draft`), and its name as the parameter. beginnings: of what each
    of ALL words may be, for completion.
    """

    metavar: str
    expected: str
    parse: Callable[[object], object]
    words: int = 1
    is_file: bool = False
    beginnings: tuple[str, ...] = ()

    def choices(self, word: int) -> Sequence[str]:
        """The fixed words, or beginnings, of which the shell word of that number is one; none: it may be anything."""
        if self.words == ALL:
            return self.beginnings
        metavar = self.metavar.split()[word]
        return metavar.split("|") if "|" in metavar else ()


ALL: Final = 1 << 16


class Answer(Enum):
    """What a command answers with, as JSON."""

    NOTHING = auto()  # null
    RECORD = auto()  # {key: value}
    RECORDS = auto()  # [{key: value}], each with a heading of its own
    TABLE = auto()  # a page {"rows": [{key: value}], "cursor": where the next page begins or null}
    LINES = auto()  # the same, printed as `key: value, key: value`
    TEXT = auto()  # a page whose rows are lines of text
    TRACE = auto()  # a page whose rows are packets, as they come: what each stage decided
    PACKETS = auto()  # the same: whole frames, which jupiter-ctl writes into `file`

    @property
    def paged(self) -> bool:
        return self in (Answer.TABLE, Answer.LINES, Answer.TEXT, *FOLLOWING)


FOLLOWING: Final = (Answer.TRACE, Answer.PACKETS)
"""Answers that go on until their time is over."""


REQUIRED: Final = object()


class Parameter(NamedTuple):
    """is_new: names something that the command creates, so nothing that is there already can be meant.

    is_option: in a shell it is given as --name VALUE, anywhere behind the command's name.
    """

    name: str
    kind: Kind
    default: object = REQUIRED
    is_new: bool = False
    is_option: bool = False

    @property
    def usage(self) -> str:
        if self.is_option:
            return f"[--{self.name} {self.kind.metavar}]"
        return self.kind.metavar if self.default is REQUIRED else f"[{self.kind.metavar}]"


class Column(NamedTuple):
    header: str
    key: str


@dataclass(frozen=True, slots=True)
class Command:
    """help: a line. details: more, for the manual. examples: words behind `jupiter-ctl`, as they can be pasted.

    to_file: jupiter-ctl takes a FILE behind the parameters, and writes the answer there. private: shows what clients
    and servers say to each other, which not everybody may see who may look at counters.
    """

    name: str
    help: str
    parameters: tuple[Parameter, ...] = ()
    answer: Answer = Answer.NOTHING
    columns: tuple[Column, ...] = ()
    changes: bool = False
    aliases: tuple[str, ...] = ()
    details: str = ""
    examples: tuple[str, ...] = ()
    to_file: bool = False
    private: bool = False

    @property
    def positional(self) -> tuple[Parameter, ...]:
        return tuple(p for p in self.parameters if not p.is_option)

    @property
    def options(self) -> tuple[Parameter, ...]:
        return tuple(p for p in self.parameters if p.is_option)

    @property
    def arguments(self) -> str:
        """What stands behind the name in a shell, but for options."""
        return " ".join([*(p.usage for p in self.positional), *(["[FILE]"] if self.to_file else [])])

    @property
    def usage(self) -> str:
        json = "[--json]" if self.answer is not Answer.NOTHING else ""
        return " ".join(filter(None, [self.name, self.arguments, *(p.usage for p in self.options), json]))

    def bind(self, words: Sequence[str]) -> dict[str, str]:
        """Shell words -> parameters by name, as they go over the wire."""
        params, rest = self._bind_options(words)
        for parameter in self.positional:
            taken, rest = rest[: parameter.kind.words], rest[parameter.kind.words :]
            least = 1 if parameter.kind.words == ALL else parameter.kind.words
            if len(taken) < least and (taken or parameter.default is REQUIRED):
                raise self._refuse("Too few parameters")
            if taken:
                params[parameter.name] = " ".join(taken)
        if rest:
            raise self._refuse("Too many parameters")
        return params

    def _bind_options(self, words: Sequence[str]) -> tuple[dict[str, str], list[str]]:
        """Those that are given, and the other words."""
        params: dict[str, str] = {}
        rest: list[str] = []
        names = {f"--{p.name}": p for p in self.options}
        left = iter(words)
        for word in left:
            name, equals, value = word.partition("=")
            if name not in names:
                rest.append(word)
                continue
            given = value if equals else next(left, None)
            if given is None:
                raise self._refuse(f"{name} is without its {names[name].kind.metavar}")
            params[names[name].name] = given
        return params, rest

    def validate(self, params: Mapping[str, object]) -> dict[str, object]:
        """Parameters by name, as they came over the wire -> typed arguments of the handler, defaults filled in."""
        accepted = self.parameters + ((CURSOR_PARAMETER,) if self.answer.paged else ())
        unknown = params.keys() - {p.name for p in accepted}
        if unknown:
            raise self._refuse(f"Unknown parameter {shorten(min(unknown))}")
        return {p.name: self._value(p, params) for p in accepted}

    def changes_with(self, arguments: Mapping[str, object]) -> bool:
        """Whether it changes anything: of those that show or set, each shows when all that it could set is left out."""
        could = [arguments[p.name] for p in self.parameters if p.default is None]
        return self.changes and (not could or any(value is not None for value in could))

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


UNICAST = "a unicast IPv4 address and a port from 1 to 65535"
SERVICE = Kind("VIP:VPORT tcp|udp", f"VIP:VPORT tcp|udp, {UNICAST}", terms.service, words=2)
SERVER = Kind("RIP:RPORT", f"RIP:RPORT, {UNICAST}", terms.endpoint)
STATUS = Kind("up|down", "up or down", lambda v: terms.one_of({"up": True, "down": False}, v))
POLICY = Kind("keep|reset", "keep or reset", lambda v: terms.one_of(terms.POLICIES, v))
PERIOD = Kind("SEC", f"seconds from 1 to {MAX_TIMEOUT}", lambda v: terms.number(v, 1, MAX_TIMEOUT))
FILE = Kind("FILE", "the name of a file, at most 255 characters", terms.file_name, is_file=True)
CONDITIONS = Kind(
    "CONDITION ...",
    "tcp, udp, or [client=|vip=|local=|rs=]ADDRESS[/LENGTH][:PORT] or :PORT, up to 4 of these",
    terms.conditions,
    words=ALL,
    beginnings=("tcp", "udp", *(f"{end}=" for end in terms.ENDS)),
)
MARKS = Kind(
    "MARK ...",
    f"the marks max_conns=N (1 to {MAX_CONNS}), backup, disabled and down, each at most once",
    lambda v: terms.marks(terms.text(v).split()),
    words=ALL,
    beginnings=terms.MARKS,
)
CLIENT = Kind("IP", "the unicast IPv4 address of a client", terms.client)
CLIENT_RATE = Kind("QPS", f"{attributes.RATE_EXPECTED} (0: none is admitted)", terms.rate)
MATCH = Kind(
    "MATCH ...",
    "any of tcp, udp, icmp, arp, drop=REASON, drop=any, and up to 4 of "
    "[client=|vip=|local=|rs=]ADDRESS[/LENGTH][:PORT] or :PORT",
    terms.wanted,
    words=ALL,
    beginnings=(*terms.FRAMES, *(f"{end}=" for end in terms.ENDS), "drop=any"),
)
TARGET = Kind("FILE", "the name of a file, at most 255 characters; - is standard output", terms.file_name)
MAX_TRACED, MAX_CAPTURED = 10_000, 1_000_000
MAX_WATCH = 3600
MIN_SNAPLEN, MAX_SNAPLEN = 64, 16384
"""Bytes."""
TRACED = Kind("N", f"a number of packets from 1 to {MAX_TRACED}", lambda v: terms.number(v, 1, MAX_TRACED))
CAPTURED = Kind("N", f"a number of packets from 1 to {MAX_CAPTURED}", lambda v: terms.number(v, 1, MAX_CAPTURED))
WATCH_TIME = Kind("SEC", f"seconds from 1 to {MAX_WATCH}", lambda v: terms.number(v, 1, MAX_WATCH))
SNAPLEN = Kind(
    "BYTES",
    f"bytes of each packet from {MIN_SNAPLEN} to {MAX_SNAPLEN}",
    lambda v: terms.number(v, MIN_SNAPLEN, MAX_SNAPLEN),
)
CURSOR = Kind("CURSOR", "the cursor of an earlier answer", terms.text)

THE_SERVICE = Parameter("service", SERVICE)
THE_SERVER = Parameter("server", SERVER)
THE_CLIENT = Parameter("client", CLIENT)
THE_FILE = Parameter("file", FILE)
THE_POLICY = Parameter("policy", POLICY, default=Policy.KEEP)
CURSOR_PARAMETER = Parameter("cursor", CURSOR, default="")


def _columns(*headers: str) -> tuple[Column, ...]:
    """Columns whose JSON key is their header in lower case."""
    return tuple(Column(header, header.lower()) for header in headers)


CONNECTION_COLUMNS = _columns(
    "cip", "cport", "vip", "vport", "lip", "lport", "rip", "rport", "flags", "state", "usetime", "timeout"
)

SERVICE_COLUMNS = _columns(
    *("IP", "Port", "Type", "Sched", "Max_conns", "synproxy", "toa", "est_timeout"),
    *("max_rate", "cql", "persistence", "persistence_scope", "mss"),
)
SERVER_COLUMNS = _columns("IP", "Port", "Type", "Status", "Weight", "State", "Max_conns", "Backup")
TRAFFIC_COLUMNS = _columns("Active", "Total", "In_packets", "In_bytes", "Out_packets", "Out_bytes")


def _parameter(attribute: Attribute, default: object = None) -> Parameter:
    kind = Kind(attribute.metavar, attribute.expected, attribute.read)
    return Parameter(attribute.parameter, kind, default)


def _setting(
    help: str,
    of: tuple[Parameter, ...],
    *settable: Attribute,
    values: Sequence[str],
    details: str = "",
    aliases: tuple[str, ...] = (),
) -> Command:
    """Shows what is settable, or sets it. of: the service, or it and its server; values: for the examples."""
    name = f"{'rs' if THE_SERVER in of else 'vs'}/{settable[0].name}"
    whose = f"{name} 10.0.1.1:8888 tcp{' 1.1.1.3:80' if THE_SERVER in of else ''}"
    return Command(
        name,
        help,
        (*of, *map(_parameter, settable)),
        Answer.RECORD,
        changes=True,
        aliases=aliases,
        details=details,
        examples=(whose, *(f"{whose} {value}" for value in values)),
    )


_NEW_ONLY = "It touches new connections only: those beyond it are dropped, as {}; living ones, never."

_SERVICES = (
    Command(
        "vs/add",
        "Add a virtual service.",
        (THE_SERVICE._replace(is_new=True), _parameter(attributes.SCHEDULER, DEFAULT_SCHEDULER)),
        changes=True,
        details="rr and wrr give each server exactly its share in each round. ipport and iponly hash the client's "
        "address (and port): every director with the same servers makes the same choice, and taking one "
        "of N servers away moves about 1/N of the clients. lc takes of two servers, drawn at random, the one "
        "with less to carry (wlc: for its weight): connections that are open, half-open ones too, count 256, those "
        "that close 1.",
        examples=("vs/add 10.0.1.1:8888 tcp wrr", "vs/add 10.0.1.1:53 udp"),
    ),
    Command(
        "vs/del",
        "Delete a virtual service. keep: its TCP connections finish; reset: both ends of each get a RST.",
        (THE_SERVICE, THE_POLICY),
        changes=True,
        examples=("vs/del 10.0.1.1:8888 tcp", "vs/del 10.0.1.1:8888 tcp reset"),
    ),
    Command(
        "vs/list",
        "List the virtual services.",
        answer=Answer.TABLE,
        columns=SERVICE_COLUMNS,
        details="est_timeout is in seconds, 0 stands for the protocol's default. Max_conns 2147483647 is no limit, and "
        "so is max_rate or cql 0. The commands of these names say more.",
        examples=("vs/list", "vs/list --json"),
    ),
    Command(
        "vs/stats",
        "Show the counters of a virtual service.",
        (THE_SERVICE,),
        Answer.RECORD,
        details="c is the client, v the service, r the servers: [c2v] is what arrived from clients, [v2r] what of "
        "it went on to servers, [r2v] and [v2c] the way back. Bytes are those of whole frames. established-conns are "
        "those of the active-conns that are neither opening nor closing (UDP: all): what ipvsadm calls ActiveConn.",
        examples=("vs/stats 10.0.1.1:8888 tcp", "vs/stats 10.0.1.1:8888 tcp --json"),
    ),
    Command(
        "vs/traffic",
        "List the counters of all virtual services; frames and their bytes towards servers (in) and clients (out).",
        answer=Answer.TABLE,
        columns=(*_columns("IP", "Port", "Type", "Sched", "Servers"), *TRAFFIC_COLUMNS, Column("Drops", "drops")),
        examples=("vs/traffic", "vs/traffic --json"),
    ),
    _setting(
        "Show or set the scheduler; connections keep their servers.",
        (THE_SERVICE,),
        attributes.SCHEDULER,
        values=("rr",),
        aliases=("vs/schedule",),
    ),
    _setting(
        "Show or set after how many seconds of silence a connection is freed; 0: the protocol's default.",
        (THE_SERVICE,),
        attributes.EST_TIMEOUT,
        values=("900",),
        details="It is that of established TCP connections, or of the service's UDP connections.",
        aliases=("vs/conn-expire-time",),
    ),
    _setting(
        "Show or set how many connections a service may have at once; 2147483647: no limit.",
        (THE_SERVICE,),
        attributes.MAX_CONNECTIONS,
        values=("20000",),
        details=f"{_NEW_ONLY.format('service_full')} Half-open ones count, but give their places to others after 4 "
        "seconds; those of UDP count until they are freed. Each worker has its part of them.",
        aliases=("vs/max-conns",),
    ),
    _setting(
        "Show or set how many new connections a second a service takes; 0: no limit.",
        (THE_SERVICE,),
        attributes.NEW_RATE,
        values=("5000", "0"),
        details=f"{_NEW_ONLY.format('connection_rate')} After a silence as many may come at once. Each worker has its "
        "part of them.",
    ),
    _setting(
        "Show or set the client query limit: new connections a second of each client address; 0: no limit.",
        (THE_SERVICE,),
        attributes.CQL,
        values=("100", "0"),
        details=f"{_NEW_ONLY.format('client_rate')} vs/cql/add gives one address another rate.",
    ),
    Command(
        "vs/cql/list",
        "List the clients with query limits of their own.",
        (THE_SERVICE,),
        Answer.TABLE,
        _columns("IP", "QPS"),
        details="QPS are new connections a second; with 0 none is admitted.",
        examples=("vs/cql/list 10.0.1.1:8888 tcp",),
    ),
    Command(
        "vs/cql/add",
        "Give a client a query limit of its own; 0: none of its new connections is admitted.",
        (THE_SERVICE, THE_CLIENT._replace(is_new=True), Parameter("rate", CLIENT_RATE)),
        changes=True,
        details=f"It takes the place of the one that the client has. At most {MAX_CLIENTS} clients of a service.",
        examples=("vs/cql/add 10.0.1.1:8888 tcp 1.1.1.9 1000", "vs/cql/add 10.0.1.1:8888 tcp 1.1.1.9 0"),
    ),
    Command(
        "vs/cql/del",
        "Let the service's query limit hold for a client again.",
        (THE_SERVICE, THE_CLIENT),
        changes=True,
        examples=("vs/cql/del 10.0.1.1:8888 tcp 1.1.1.9",),
    ),
    _setting(
        "Show or set for how many seconds a client's new connections go to the server of its last one; 0: none.",
        (THE_SERVICE,),
        attributes.PERSISTENCE,
        attributes.PERSISTENCE_SCOPE,
        values=("300", "300 address", "0"),
        details="The seconds begin anew with each new connection. service: among those of this service; address: of "
        "all services of its virtual address that say so as well, by the server's address. A server that is no longer "
        "eligible is given up.",
    ),
    _setting(
        "Show or set the largest maximum segment size that SYNs may offer, in both directions; 0: as it is.",
        (THE_SERVICE,),
        attributes.MSS,
        values=("1400", "0"),
        details="TCP only. For paths with a smaller MTU on which ICMP gets lost: the MTU less 40 bytes, 1400 for one "
        "of 1440. A smaller offer stays as it is.",
    ),
    Command(
        "vs/conn-report",
        "Count the connections of each client that were active within the last seconds.",
        (THE_SERVICE, Parameter("seconds", PERIOD)),
        Answer.LINES,
        _columns("ip", "count"),
        examples=("vs/conn-report 10.0.1.1:8888 tcp 60",),
    ),
)

_SERVERS = (
    Command(
        "rs/add",
        "Add a real server to a virtual service (weight 1 unless given; 0 drains).",
        (
            *(THE_SERVICE, THE_SERVER._replace(is_new=True)),
            *(_parameter(attributes.WEIGHT, 1), Parameter("marks", MARKS, default={})),
        ),
        changes=True,
        details="The marks are those of a file, behind the weight: rs/max_conns, rs/backup, rs/disable and rs/status "
        "say what they mean.",
        examples=(
            "rs/add 10.0.1.1:8888 tcp 1.1.1.3:80",
            "rs/add 10.0.1.1:8888 tcp 1.1.1.4:80 7",
            "rs/add 10.0.1.1:8888 tcp 1.1.1.5:80 7 max_conns=1000 backup",
        ),
    ),
    Command(
        "rs/del",
        "Delete a real server. keep: its TCP connections finish; reset: both ends of each get a RST.",
        (THE_SERVICE, THE_SERVER, THE_POLICY),
        changes=True,
        examples=("rs/del 10.0.1.1:8888 tcp 1.1.1.3:80", "rs/del 10.0.1.1:8888 tcp 1.1.1.3:80 reset"),
    ),
    Command(
        "rs/list",
        "List the real servers of a virtual service, by descending weight: Status is health, State the hand's.",
        (THE_SERVICE,),
        Answer.TABLE,
        SERVER_COLUMNS,
        details="A server gets new connections while its Status is up and its State is enabled; draining is weight 0. "
        "It gets none beyond Max_conns (2147483647: no limit), and as a Backup only while no other server of the "
        "service is eligible.",
        examples=("rs/list 10.0.1.1:8888 tcp", "rs/list 10.0.1.1:8888 tcp --json"),
    ),
    _setting(
        "Show or set the weight of a real server (0 drains).",
        (THE_SERVICE, THE_SERVER),
        attributes.WEIGHT,
        values=("0",),
    ),
    _setting(
        "Show or set how many connections a real server may have at once; 2147483647: no limit.",
        (THE_SERVICE, THE_SERVER),
        attributes.MAX_CONNECTIONS,
        values=("1000",),
        details="A new connection beyond that goes to another server of the service; where all have as many as they "
        "may it is dropped, as server_full.",
    ),
    _setting(
        "Show or set whether a real server is a backup: used only while no other server of the service is eligible.",
        (THE_SERVICE, THE_SERVER),
        attributes.BACKUP,
        values=("on", "off"),
        details="Others are eligible while they are up, enabled and have a weight. Connections stay where they are.",
    ),
    Command(
        "rs/status",
        "Show or set the health of a real server; down: no new connections.",
        (THE_SERVICE, THE_SERVER, Parameter("status", STATUS, default=None)),
        Answer.RECORD,
        changes=True,
        details="For health checks outside of the service; whoever takes a server out by hand uses rs/disable.",
        examples=("rs/status 10.0.1.1:8888 tcp 1.1.1.3:80", "rs/status 10.0.1.1:8888 tcp 1.1.1.3:80 down"),
    ),
    Command(
        "rs/enable",
        "Let a real server take new connections again.",
        (THE_SERVICE, THE_SERVER),
        changes=True,
        examples=("rs/enable 10.0.1.1:8888 tcp 1.1.1.3:80",),
    ),
    Command(
        "rs/disable",
        "Keep new connections from a real server, whatever its weight and health; the old ones finish.",
        (THE_SERVICE, THE_SERVER),
        changes=True,
        examples=("rs/disable 10.0.1.1:8888 tcp 1.1.1.3:80",),
    ),
    Command(
        "rs/stats",
        "Show the counters of a real server.",
        (THE_SERVICE, THE_SERVER),
        Answer.RECORD,
        details="established-conns are those of the active-conns that are neither opening nor closing (UDP: all).",
        examples=("rs/stats 10.0.1.1:8888 tcp 1.1.1.3:80",),
    ),
    Command(
        "rs/traffic",
        "List the counters of all real servers of a virtual service.",
        (THE_SERVICE,),
        Answer.TABLE,
        (*SERVER_COLUMNS, *TRAFFIC_COLUMNS),
        examples=("rs/traffic 10.0.1.1:8888 tcp",),
    ),
)

_CONFIGURATION = (
    Command(
        "apply",
        "Make the services what a file says, in one transaction; nothing changes if anything in it is wrong.",
        (THE_FILE, THE_POLICY),
        Answer.RECORD,
        changes=True,
        details="FILE is what `jupiter-ctl save` writes; - is standard input. Services and servers that are not "
        "in it are removed, by the policy; what is in it as it runs is not touched, and neither are its "
        "connections.",
        examples=("diff services.cfg", "apply services.cfg", "apply - reset"),
    ),
    Command(
        "diff",
        "Show what `apply` would change.",
        (THE_FILE,),
        Answer.TABLE,
        _columns("Change", "Service", "Server", "Key", "Now", "Then"),
        details="FILE - is standard input. The exit code is 0 whether there are differences or not.",
        examples=("diff services.cfg", "diff services.cfg --json"),
    ),
    Command(
        "check",
        "Judge a file of services, without changing anything.",
        (THE_FILE,),
        Answer.RECORD,
        details="Every error in it is named, with file, line, key, value and what was expected. FILE - is "
        "standard input.",
        examples=("check services.cfg", "check -"),
    ),
    Command(
        "save",
        "Print the services that run, in the form of the configuration.",
        answer=Answer.TEXT,
        to_file=True,
        details="With FILE the text goes there instead, whole or not at all: an existing file is replaced once "
        "the new one is on the disk, and its mode and owner stay.",
        examples=("save", "save services.cfg"),
    ),
    Command(
        "reload",
        "Apply the configuration files again, as SIGHUP does; what was set by hand is undone.",
        answer=Answer.RECORD,
        changes=True,
        examples=("reload",),
    ),
)

_CONNECTIONS = (
    Command(
        "tcp/conn/dump",
        "List the TCP connections.",
        answer=Answer.LINES,
        columns=CONNECTION_COLUMNS,
        details="Both ends as the client sees them (c, v) and as the server does (l, r); usetime is the seconds "
        "since the last packet, timeout those of silence after which the connection is freed.",
        examples=("tcp/conn/dump", "tcp/conn/dump --json"),
    ),
    Command(
        "udp/conn/dump",
        "List the UDP connections.",
        answer=Answer.LINES,
        columns=tuple(c for c in CONNECTION_COLUMNS if c.key != "state"),
        examples=("udp/conn/dump", "udp/conn/dump --json"),
    ),
    Command(
        "conn/find",
        "List the connections that meet every condition; an address or port matches any end unless an end is named.",
        (Parameter("conditions", CONDITIONS),),
        Answer.LINES,
        (Column("type", "type"), *CONNECTION_COLUMNS),
        examples=(
            "conn/find 1.1.1.1",
            "conn/find tcp client=1.1.1.0/24 rs=1.1.1.3:80",
            "conn/find udp vip=10.0.1.1 :53",
        ),
    ),
    Command(
        "tcp/conn/stats",
        "Show each worker's room for connections, and its TCP ones.",
        answer=Answer.RECORDS,
        examples=("tcp/conn/stats",),
    ),
    Command(
        "udp/conn/stats",
        "Show each worker's room for connections, and its UDP ones.",
        answer=Answer.RECORDS,
        examples=("udp/conn/stats",),
    ),
    Command(
        "laddr/stats",
        "Show the local ports of each device and worker.",
        answer=Answer.RECORDS,
        details="avail are those that the worker may use towards one server: its part, about 1/N for each of N "
        "workers, or those of its own local addresses (steering flow). inuse are those in use towards all servers, "
        "least_free those left towards the server that has most connections.",
        examples=("laddr/stats",),
    ),
)

_WHAT_MATCHES = (
    "A packet is taken when every condition of MATCH holds, each for one of the four ends of its connection, in both "
    "directions. As long as its connection is not known, and where there is none, a packet has two ends: its source is "
    "the client and its destination the vip, or, when it is for a local address, rs and local. A packet that opens a "
    "connection has all four. Other packets, those from and for the kernel too, are known by their addresses in the "
    "same way. One watch runs at a time; it ends with its count, after its seconds, and with jupiter-ctl. Each worker "
    "has room for 4 MB of what is not read yet: of more the number is told. Packets never wait for that. The read-only "
    "socket does not answer this command."
)
_THE_MATCH = Parameter("match", MATCH, default=terms.Wanted())
_FOR_SECONDS = Parameter("seconds", WATCH_TIME, default=60, is_option=True)

_PACKETS = (
    Command(
        "trace",
        "Follow packets through the stages, and print what each stage decided.",
        (_THE_MATCH, Parameter("count", TRACED, default=100, is_option=True), _FOR_SECONDS),
        Answer.TRACE,
        tuple(
            Column(key, key)
            for key in (
                *("time", "lcore", "dev", "packet", "drop"),
                *("receive", "classify", "lookup", "schedule", "track", "rewrite", "dispatch"),
            )
        ),
        private=True,
        details=f"{_WHAT_MATCHES} A packet that another worker owns is printed by both, one that waited for its "
        "server's MAC address again when it goes on; states of the connection are those before and after the burst "
        "that the packet came in. time is in nanoseconds since 1970. A row of --json with the key `lost` tells how "
        "many packets are missing.",
        examples=(
            "trace tcp client=1.1.1.1 --count 10",
            "trace rs=1.1.1.3:80 --seconds 5",
            "trace drop=any",
            "trace vip=10.0.1.1:8888 drop=no_server --json",
        ),
    ),
    Command(
        "capture",
        "Write packets, as they come in and as they leave, into a pcapng file; drop reasons are comments.",
        (
            Parameter("file", TARGET),
            _THE_MATCH,
            Parameter("count", CAPTURED, default=10_000, is_option=True),
            _FOR_SECONDS,
            Parameter("snaplen", SNAPLEN, default=MAX_SNAPLEN, is_option=True),
        ),
        Answer.PACKETS,
        tuple(Column(key, key) for key in ("time", "dev", "direction", "length", "frame", "comments")),
        private=True,
        details=f"{_WHAT_MATCHES} Every packet stands there as it came in, and once more as it left, with its "
        "direction, device and lcore; with drop=REASON only those that were dropped. FILE - is standard output, as "
        "for `| tshark -r -`. Ctrl-C ends it: what was written by then is a whole file. A new file is readable by its "
        "owner alone. With --json rows go there instead, one a line; frame is in base64.",
        examples=(
            "capture web.pcapng tcp vip=10.0.1.1:8888",
            "capture dropped.pcapng drop=any --seconds 600",
            "capture - client=1.1.1.1 --snaplen 128",
        ),
    ),
)

_NETWORK = (
    Command(
        "netdev/ipaddr",
        "Show the addresses of each device.",
        answer=Answer.RECORDS,
        details="local-ip[c1q0] are the local addresses that the first worker, on lcore 1, draws from: all, or, "
        "on a device with the steering flow, those whose answers the card brings to it.",
        examples=("netdev/ipaddr",),
    ),
    Command(
        "netdev/stats", "Show the counters of each device.", answer=Answer.RECORDS, examples=("netdev/stats --json",)
    ),
    Command("netdev/reset", "Count each device from zero again.", changes=True, examples=("netdev/reset",)),
    Command(
        "netdev/hwinfo",
        "Show the hardware, queues, link and steering of each device.",
        answer=Answer.RECORDS,
        details="steering is how packets come to the worker that owns their connection: none (there is one worker), "
        "rss or flow (the card brings them), or ring (from worker to worker), and steering-reason why. woken-by is "
        "what tells a sleeping worker of packets: socket, interrupt, or timer (it looks now and then).",
        examples=("netdev/hwinfo",),
    ),
    Command(
        "arp/list",
        "List the neighbours on the devices' kernel interfaces.",
        answer=Answer.TABLE,
        columns=tuple(Column(name, name) for name in ("IPaddress", "HWaddress", "Iface", "AliveTime")),
        aliases=("arp",),
        examples=("arp/list",),
    ),
)

_COUNTERS = (
    Command(
        "drops",
        "List the dropped packets by reason, with those of the last second; each dropped packet has one reason.",
        answer=Answer.TABLE,
        columns=_columns("Reason", "Count", "Rate", "Description"),
        aliases=("drop/stats",),
        examples=("drops", "drops --json"),
    ),
    Command(
        "tcp/stats",
        "Show the TCP packets dropped by reason, the RSTs that the director has sent itself, and the TCP connections.",
        answer=Answer.RECORD,
        examples=("tcp/stats",),
    ),
    Command(
        "udp/stats",
        "Show the UDP packets dropped by reason, and the UDP connections.",
        answer=Answer.RECORD,
        examples=("udp/stats",),
    ),
    Command(
        "icmp/stats",
        "Show the ICMP packets dropped by reason, and what the director has sent itself or relayed.",
        answer=Answer.RECORD,
        details="Packets that are answered by an ICMP error are no ICMP: `drops` has them, as ttl_exceeded, "
        "mtu_exceeded, no_service and no_server.",
        examples=("icmp/stats",),
    ),
    Command(
        "worker/stats",
        "Show what each worker does: busy and sleeping shares in percent, packets of the last second, rings, room.",
        answer=Answer.TABLE,
        columns=_columns(
            "lcore",
            "busy",
            "asleep",
            "sleeps",
            "turns",
            "packets",
            "per_turn",
            "handed_in",
            "handed_out",
            "handover",
            "strays",
            "conns",
            "half_open",
            "conns_left",
            "lports_left",
            "to_kernel",
            "from_kernel",
            "parked",
        ),
        aliases=("lcore-event/stats",),
        details="In the time that it neither is busy nor sleeps a worker polls in vain. handed_in and handed_out are "
        "packets a second from and to other workers, handover those that wait; strays, since the start, those that a "
        "card should have brought to another worker. conns_left and lports_left are the connections and local ports "
        "that are free; to_kernel and from_kernel the packets in the rings to and from the kernel interface; parked "
        "those that wait for a next hop.",
        examples=("worker/stats", "worker/stats --json"),
    ),
    Command("memory", "Show the memory of DPDK's heaps, by NUMA node.", answer=Answer.RECORDS, examples=("memory",)),
)

_THE_SERVICE_ITSELF = (
    Command("version", "Show the version of the running service.", answer=Answer.RECORD, examples=("version",)),
    Command(
        "list-command",
        "List the commands.",
        answer=Answer.TABLE,
        columns=(Column("Command", "usage"), Column("Description", "help")),
        examples=("list-command",),
    ),
    Command("stop", "Stop the service.", changes=True, aliases=("exit", "quit"), examples=("stop",)),
)

GROUPS: Final[Mapping[str, tuple[Command, ...]]] = {
    "Virtual services": _SERVICES,
    "Real servers": _SERVERS,
    "Configuration": _CONFIGURATION,
    "Connections": _CONNECTIONS,
    "Packets": _PACKETS,
    "Network": _NETWORK,
    "Counters": _COUNTERS,
    "The service": _THE_SERVICE_ITSELF,
}
COMMANDS: Final[Mapping[str, Command]] = {c.name: c for group in GROUPS.values() for c in group}
_BY_ANY_NAME = {name: command for command in COMMANDS.values() for name in (command.name, *command.aliases)}


def find(name: str) -> Command:
    """The command of that name or alias; raises JupiterError("unknown-command")."""
    try:
        return _BY_ANY_NAME[name]
    except KeyError:
        close = difflib.get_close_matches(name, _BY_ANY_NAME, 1) if len(name) <= 64 else []
        hint = f" did you mean {close[0]}?" if close else " list-command lists them."
        raise JupiterError("unknown-command", f"Unknown command {shorten(name)},{hint}") from None
