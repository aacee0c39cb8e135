"""What of a virtual service and a real server can be set: one table for commands, files, differences and answers.

An attribute is a field of the model under its name, an option of a section in a file, a key of answers, and the command
vs/NAME or rs/NAME.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from jupiter import terms
from jupiter.model import MAX_CONNS, MAX_MSS, MAX_RATE, MAX_TIMEOUT, MAX_WEIGHT, MIN_MSS, SCHEDULERS, SCOPES


class Attribute(NamedTuple):
    """expected: what a value is, fit to follow "expected ". read: text, or JSON -> value; raises ValueError. parameter:
    what it is called on the wire where a command sets it. write: a value as answers and files have it."""

    name: str
    metavar: str
    expected: str
    read: Callable[[object], Any]
    parameter: str
    write: Callable[[Any], object] = lambda value: value


def _mss(value: object) -> int:
    found = terms.number(value, 0, MAX_MSS)
    if 0 < found < MIN_MSS:
        raise ValueError
    return found


SCHEDULER: Final = Attribute(
    "scheduler", "|".join(SCHEDULERS), "one of " + ", ".join(SCHEDULERS), terms.scheduler, "scheduler"
)
EST_TIMEOUT: Final = Attribute(
    "est_timeout", "SEC", f"seconds from 0 to {MAX_TIMEOUT}", lambda v: terms.number(v, 0, MAX_TIMEOUT), "seconds"
)
MAX_CONNECTIONS: Final = Attribute(
    "max_conns", "N", f"connections from 1 to {MAX_CONNS} (which is no limit)", terms.max_conns, "max_conns"
)
RATE_EXPECTED: Final = f"connections a second from 0 to {MAX_RATE}"
NEW_RATE: Final = Attribute("max_rate", "N", f"{RATE_EXPECTED} (0: no limit)", terms.rate, "max_rate")
CQL: Final = Attribute("cql", "QPS", f"{RATE_EXPECTED} (0: no limit)", terms.rate, "cql")
PERSISTENCE: Final = Attribute(
    "persistence",
    "SEC",
    f"seconds from 0 to {MAX_TIMEOUT} (0: none)",
    lambda v: terms.number(v, 0, MAX_TIMEOUT),
    "seconds",
)
PERSISTENCE_SCOPE: Final = Attribute(
    "persistence_scope",
    "|".join(SCOPES),
    " or ".join(SCOPES),
    lambda v: terms.one_of({scope: scope for scope in SCOPES}, v),
    "scope",
)
MSS: Final = Attribute("mss", "N", f"0 (as it is) or bytes from {MIN_MSS} to {MAX_MSS}", _mss, "mss")

OF_A_SERVICE: Final[Mapping[str, Attribute]] = {
    a.name: a for a in (SCHEDULER, EST_TIMEOUT, MAX_CONNECTIONS, NEW_RATE, CQL, PERSISTENCE, PERSISTENCE_SCOPE, MSS)
}

WEIGHT: Final = Attribute(
    "weight", "WEIGHT", f"a weight from 0 to {MAX_WEIGHT}", lambda v: terms.number(v, 0, MAX_WEIGHT), "weight"
)
BACKUP: Final = Attribute(
    "backup",
    "on|off",
    "on or off",
    lambda v: terms.one_of({"on": True, "off": False}, v),
    "backup",
    lambda backup: "on" if backup else "off",
)


def shown(thing: object, *attributes: Attribute) -> dict[str, Any]:
    """These attributes of a service or a server, by name, as answers have them."""
    return {a.name: a.write(getattr(thing, a.name)) for a in attributes}
