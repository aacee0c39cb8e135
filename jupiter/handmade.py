"""What the hand has done since the configuration was applied, so that it survives a restart. Pure.

One entry a service, and in it only what differs from the configuration: a configuration that was edited meanwhile and
what was done by hand are brought together. As text it looks like the configuration (services.py), with a line
`by-hand = added|changed|deleted` first in each section, and `deleted` for a weight where a server was deleted.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from jupiter import services, terms
from jupiter.ini import ConfigError, IniFile, Problem
from jupiter.model import RealServer, ServerKey, ServiceKey, Services, VirtualService


class Deed(Enum):
    ADDED = "added"
    CHANGED = "changed"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class Handmade:
    """What was done to a service. options: those that were set; servers: as they were set, None for a deleted one."""

    key: ServiceKey
    deed: Deed
    options: Mapping[str, Any] = field(default_factory=dict)
    servers: Mapping[ServerKey, RealServer | None] = field(default_factory=dict)

    def upon(self, configured: VirtualService | None) -> VirtualService | None:
        """The service that the hand makes of the configured one (None: there is none). A service that was only changed
        and is not configured any more stays gone."""
        if self.deed is Deed.DELETED or (configured is None and self.deed is Deed.CHANGED):
            return None
        before = configured or VirtualService(self.key)
        servers = {key: server for key, server in {**before.servers, **self.servers}.items() if server is not None}
        return replace(before, **self.options, servers=servers)


def between(configured: VirtualService | None, running: VirtualService | None) -> Handmade | None:
    """What makes the running service of the configured one; None: nothing."""
    if running is None:
        return Handmade(configured.key, Deed.DELETED) if configured else None
    before = configured or VirtualService(running.key)
    options = {name: getattr(running, name) for name in services.OPTIONS
               if configured is None or getattr(running, name) != getattr(before, name)}  # fmt: skip
    changed: dict[ServerKey, RealServer | None] = dict.fromkeys(before.servers.keys() - running.servers.keys())
    changed |= {key: server for key, server in running.servers.items() if before.servers.get(key) != server}
    if configured and not options and not changed:
        return None
    return Handmade(running.key, Deed.CHANGED if configured else Deed.ADDED, options, changed)


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
        yield from (f"{name} = {value}" for name, value in deed.options.items())
        for key, server in deed.servers.items():
            gone = f"{terms.endpoint_text(key)} = deleted"
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
    try:
        key, deed = terms.service(name), Deed(section.get("by-hand"))
    except ValueError:
        expected = "expected a section VIP:VPORT tcp|udp with by-hand = added, changed or deleted"
        wrong.append(Problem(name, "", "", expected))
        return None
    for word, value in section.items():
        try:
            if word in services.OPTIONS:
                options[word] = services.read_option(word, value)
            elif word != "by-hand":
                server = services.read_server(word, "0" if value == "deleted" else value)
                servers[server.key] = None if value == "deleted" else server
        except services.UnexpectedError as error:
            wrong.append(Problem(name, word, str(value), error.expected))
    return Handmade(key, deed, options, servers)
