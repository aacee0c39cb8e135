"""What a change does, in rows for people and in figures. Pure."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from jupiter.attributes import OF_A_SERVICE, shown
from jupiter.model import Change, RealServer, Services, VirtualService
from jupiter.services import client_key, server_line
from jupiter.terms import endpoint_text

Row = dict[str, Any]
COUNTED = ("added", "changed", "removed", "servers_added", "servers_changed", "servers_removed")


def rows(running: Services, change: Change) -> Iterator[Row]:
    """One for each service, option and server that is added, changed or removed."""
    for service in change.put:
        before = running.get(service.key)
        if before is None:
            yield _row("add", service, then=service.scheduler)
            yield from _options(VirtualService(service.key, service.scheduler), service, "add")
        else:
            yield from _options(before, service)
        yield from _servers(before, service)
    for key in change.removed:
        yield _row("remove", running[key], now=running[key].scheduler)


def figures(running: Services, change: Change) -> dict[str, int]:
    """How many services and servers are added, changed and removed; servers of removed services are not counted."""
    count = Counter[str]()
    for service in change.put:
        before = running.get(service.key)
        count["changed" if before else "added"] += 1
        for former, server in _pairs(before, service):
            count["servers_added" if not former else "servers_changed" if server else "servers_removed"] += 1
    count["removed"] = len(change.removed)
    return {name: count[name] for name in COUNTED}


def _options(before: VirtualService, after: VirtualService, change: str = "change") -> Iterator[Row]:
    """Those that differ; of a service that is new, from what they are where nothing is said."""
    former, wanted = _settings(before), _settings(after)
    for name in former | wanted:
        now, then = former.get(name), wanted.get(name)
        if now != then:
            yield _row(change, after, key=name, now=now if change == "change" else None, then=then)


def _settings(service: VirtualService) -> dict[str, Any]:
    """By key, as a file has them."""
    clients = {client_key(client): rate for client, rate in service.cql_clients.items()}
    return shown(service, *OF_A_SERVICE.values()) | clients


def _servers(before: VirtualService | None, after: VirtualService) -> Iterator[Row]:
    for former, server in _pairs(before, after):
        now, then = _value(former), _value(server)
        yield _row(
            "add" if not former else "change" if server else "remove", after, server or former, now=now, then=then
        )


def _pairs(
    before: VirtualService | None, after: VirtualService
) -> Iterator[tuple[RealServer | None, RealServer | None]]:
    """Each server that differs as it was and as it is to be; None: it was not, or is not to be."""
    known = before.servers if before else {}
    yield from ((known.get(key), server) for key, server in after.servers.items() if known.get(key) != server)
    yield from ((server, None) for key, server in known.items() if key not in after.servers)


def _value(server: RealServer | None) -> str | None:
    """As the configuration has it behind the `=`, with its health."""
    return server_line(server, health=True).partition(" = ")[2] if server else None


def _row(
    change: str,
    service: VirtualService,
    server: RealServer | None = None,
    key: str | None = None,
    now: object = None,
    then: object = None,
) -> Row:
    where = endpoint_text(server.key) if server else None
    return {"change": change, "service": str(service.key), "server": where, "key": key, "now": now, "then": then}
