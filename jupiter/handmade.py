"""What the hand has done since the configuration was applied, so that it survives a restart. Pure.

One entry a service, and in it only what differs from the configuration: a configuration that was edited meanwhile and
what was done by hand are brought together. As text it looks like the configuration (services.py), with a line
`by-hand = added|changed|deleted` first in each section, and `deleted` for a weight or a rate where a server or a client
was deleted.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from ipaddress import IPv4Address
from typing import Any, TypeVar

from jupiter import services, terms
from jupiter.attributes import OF_A_SERVICE
from jupiter.ini import ConfigError, IniFile, Problem
from jupiter.model import RealServer, ServerKey, ServiceKey, Services, VirtualService

DELETED = "deleted"

K = TypeVar("K")
V = TypeVar("V")


class Deed(Enum):
    ADDED = "added"
    CHANGED = "changed"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class Handmade:
    """What was done to a service. options: those that were set; servers, and clients with rates of their own: as they
    were set, None for a deleted one."""

    key: ServiceKey
    deed: Deed
    options: Mapping[str, Any] = field(default_factory=dict)
    servers: Mapping[ServerKey, RealServer | None] = field(default_factory=dict)
    clients: Mapping[IPv4Address, int | None] = field(default_factory=dict)

    def upon(self, configured: VirtualService | None) -> VirtualService | None:
        """The service that the hand makes of the configured one (None: there is none). A service that was only changed
        and is not configured any more stays gone."""
        if self.deed is Deed.DELETED or (configured is None and self.deed is Deed.CHANGED):
            return None
        before = configured or VirtualService(self.key)
        servers, clients = _upon(before.servers, self.servers), _upon(before.cql_clients, self.clients)
        return replace(before, **self.options, servers=servers, cql_clients=clients)


def _upon(before: Mapping[K, V], changed: Mapping[K, V | None]) -> dict[K, V]:
    return {key: value for key, value in {**before, **changed}.items() if value is not None}


def _changed(before: Mapping[K, V], after: Mapping[K, V]) -> dict[K, V | None]:
    """What makes the one of the other, None for what goes."""
    changed: dict[K, V | None] = dict.fromkeys(before.keys() - after.keys())
    return changed | {key: value for key, value in after.items() if before.get(key) != value}


def between(configured: VirtualService | None, running: VirtualService | None) -> Handmade | None:
    """What makes the running service of the configured one; None: nothing."""
    if running is None:
        return Handmade(configured.key, Deed.DELETED) if configured else None
    before = configured or VirtualService(running.key)
    options = {name: getattr(running, name) for name in OF_A_SERVICE
               if configured is None or getattr(running, name) != getattr(before, name)}  # fmt: skip
    servers = _changed(before.servers, running.servers)
    clients = _changed(before.cql_clients, running.cql_clients)
    if configured and not options and not servers and not clients:
        return None
    return Handmade(running.key, Deed.CHANGED if configured else Deed.ADDED, options, servers, clients)


def together(configured: Services, deeds: Iterable[Handmade]) -> dict[ServiceKey, VirtualService]:
    """The services that run when the hand's deeds are done upon the configuration."""
    result = dict(configured)
    for deed in deeds:
        service = deed.upon(result.get(deed.key))
        if service is not None:
            result[deed.key] = service
        else:
            result.pop(deed.key, None)
    return result


def lines(deeds: Iterable[Handmade]) -> Iterator[str]:
    for deed in deeds:
        yield f"[{deed.key}]"
        yield f"by-hand = {deed.deed.value}"
        yield from (f"{name} = {OF_A_SERVICE[name].write(value)}" for name, value in deed.options.items())
        for client, rate in deed.clients.items():
            yield f"{services.client_key(client)} = {DELETED if rate is None else rate}"
        for key, server in deed.servers.items():
            gone = f"{terms.endpoint_text(key)} = {DELETED}"
            yield services.server_line(server, health=True) if server else gone
        yield ""


def parse(text: str, path: str) -> list[Handmade]:
    """Raises ConfigError."""
    file = IniFile(text, path)
    wrong: list[Problem] = []
    found = [_entry(name, section, wrong) for name, section in file.take_sections(services.SECTION).items()]
    if wrong:
        raise ConfigError(map(file.told, wrong))
    return [entry for entry in found if entry]


def _entry(name: str, section: Mapping[str, Any], wrong: list[Problem]) -> Handmade | None:
    options: dict[str, Any] = {}
    servers: dict[ServerKey, RealServer | None] = {}
    clients: dict[IPv4Address, int | None] = {}
    try:
        key, deed = terms.service(name), Deed(section.get("by-hand"))
    except ValueError:
        expected = "expected a section VIP:VPORT tcp|udp with by-hand = added, changed or deleted"
        wrong.append(Problem(name, "", "", expected))
        return None
    for word, value in section.items():
        try:
            gone = value == DELETED
            if word in OF_A_SERVICE:
                options[word] = services.read_option(word, value)
            elif services.is_client(word):
                client, rate = services.read_client(word, "0" if gone else value)
                clients[client] = None if gone else rate
            elif word != "by-hand":
                server = services.read_server(word, "0" if gone else value)
                servers[server.key] = None if gone else server
        except services.UnexpectedError as error:
            wrong.append(Problem(name, word, str(value), error.expected))
    return Handmade(key, deed, options, servers, clients)
