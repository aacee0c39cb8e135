"""What operators write, in a shell or in a file: the text of one thing -> its value, or ValueError."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network
from typing import Any, NamedTuple, TypeVar

from jupiter.model import MAX_CONNS, MAX_RATE, SCHEDULERS, Policy, Protocol, ServerKey, ServiceKey, why_unusable

PROTOCOLS = {str(p): p for p in Protocol}
POLICIES = {str(p): p for p in Policy}

T = TypeVar("T")


def text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError
    return value


def file_name(value: object) -> str:
    """Only what errors call a text by: short, for each of them repeats it."""
    if len(text(value)) > 255 or not text(value).isprintable():
        raise ValueError
    return text(value)


def number(value: object, low: int, high: int) -> int:
    """A JSON number or its decimal digits."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError
    if isinstance(value, str) and not (value.isascii() and value.isdigit() and len(value) <= 10):
        raise ValueError
    if not low <= int(value) <= high:
        raise ValueError
    return int(value)


def max_conns(value: object) -> int:
    """0 would be no limit to some and no connection to others."""
    return number(value, 1, MAX_CONNS)


def rate(value: object) -> int:
    """New connections a second."""
    return number(value, 0, MAX_RATE)


def client(value: object) -> IPv4Address:
    """IP, of a host that can exist."""
    address = IPv4Address(text(value))
    if why_unusable(address):
        raise ValueError
    return address


def endpoint(value: object) -> ServerKey:
    """RIP:RPORT, of a host that can exist."""
    host, colon, port = text(value).partition(":")
    address = IPv4Address(host)
    if not colon or why_unusable(address):
        raise ValueError
    return address, number(port, 1, 65535)


def service(value: object) -> ServiceKey:
    """VIP:VPORT tcp|udp."""
    where, protocol = text(value).split()
    return ServiceKey(*endpoint(where), one_of(PROTOCOLS, protocol))


def scheduler(value: object) -> str:
    return one_of({name: name for name in SCHEDULERS}, value)


def one_of(values: dict[str, T], value: object) -> T:
    """The value of that name, in any case."""
    try:
        return values[text(value).lower()]
    except KeyError:
        raise ValueError from None


def endpoint_text(key: ServerKey) -> str:
    return f"{key[0]}:{key[1]}"


MARKS = ("max_conns=", "backup", "disabled", "down")
"""What may stand behind a server's weight, as it begins."""
_FLAGS: dict[str, tuple[str, bool]] = {
    "backup": ("backup", True),
    "disabled": ("enabled", False),
    "down": ("up", False),
}


def marks(words: Sequence[str]) -> dict[str, Any]:
    """`max_conns=1000 backup disabled down`, in any order and each at most once -> fields of a RealServer."""
    found: dict[str, Any] = {}
    for word in words:
        name, equals, count = word.lower().partition("=")
        field, value = (name, max_conns(count)) if equals and name == "max_conns" else one_of(_FLAGS, word)
        if field in found:
            raise ValueError
        found[field] = value
    return found


ENDS = ("client", "vip", "local", "rs")
FRAMES = ("tcp", "udp", "icmp", "arp")
"""What a packet can be, beside what we do not name."""
ANY_REASON = "any"
MAX_CONDITIONS = 4


class Condition(NamedTuple):
    """One end of a connection (of a packet) is within `network` (None: anywhere) and has this port (0: any)."""

    ends: tuple[str, ...]
    network: IPv4Network | None
    port: int


class Search(NamedTuple):
    """protocol: None for both. All conditions must hold. max_idle: seconds since the last packet at most."""

    protocol: Protocol | None = None
    conditions: tuple[Condition, ...] = ()
    max_idle: float | None = None


class Wanted(NamedTuple):
    """Packets to be watched. protocol: one of FRAMES. drop: a reason, ANY_REASON, or None: also what is not dropped."""

    protocol: str | None = None
    conditions: tuple[Condition, ...] = ()
    drop: str | None = None

    def __str__(self) -> str:
        return "every packet"


def wanted(value: object) -> Wanted:
    """`tcp client=1.1.1.1 drop=no_service`, in any order; as conditions(), but none is needed."""
    words = text(value).split()
    protocols = {w.lower() for w in words if w.lower() in FRAMES}
    drops = {w[len("drop=") :].lower() for w in words if w.lower().startswith("drop=")}
    rest = [w for w in words if w.lower() not in FRAMES and not w.lower().startswith("drop=")]
    if len(protocols) > 1 or len(drops) > 1 or len(rest) > MAX_CONDITIONS:
        raise ValueError
    if any(not drop.replace("_", "").isalnum() or not drop.isascii() or len(drop) > 40 for drop in drops):
        raise ValueError
    return Wanted(next(iter(protocols), None), tuple(map(_condition, rest)), next(iter(drops), None))


def conditions(value: object) -> Search:
    """`tcp client=1.1.1.1 rs=1.1.1.0/24:80 :8888`, in any order."""
    words = text(value).split()
    protocols = {PROTOCOLS[w.lower()] for w in words if w.lower() in PROTOCOLS}
    found = tuple(_condition(word) for word in words if word.lower() not in PROTOCOLS)
    if not words or len(protocols) > 1 or len(found) > MAX_CONDITIONS:
        raise ValueError
    return Search(next(iter(protocols), None), found)


def _condition(word: str) -> Condition:
    end, equals, rest = word.rpartition("=")
    end = "vip" if end.lower() == "vs" else end
    if equals and end.lower() not in ENDS:
        raise ValueError
    where, colon, port = rest.partition(":")
    if not where and not colon:
        raise ValueError
    return Condition(
        (end.lower(),) if equals else ENDS,
        IPv4Network(where, strict=False) if where else None,
        number(port, 1, 65535) if colon else 0,
    )
