"""What a change does, in rows for people and in figures. Pure."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from jupiter.model import Change, RealServer, Services, VirtualService
from jupiter.services import OPTIONS, server_line
from jupiter.terms import endpoint_text

Row = dict[str, Any]
COUNTED = ("added", "changed", "removed", "servers_added", "servers_changed", "servers_removed")


def rows(running: Services, change: Change) -> Iterator[Row]:
    """One for each service, option and server that is added, changed or removed."""
    for service in change.put:
        before = running.get(service.key)
        if before is None:
            yield _row("add", service, then=service.scheduler)
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
        for row in _servers(before, service):
            count[{"add": "servers_added", "change": "servers_changed"}.get(row["change"], "servers_removed")] += 1
    count["removed"] = len(change.removed)
    return {name: count[name] for name in COUNTED}


def _options(before: VirtualService, after: VirtualService) -> Iterator[Row]:
    for name in OPTIONS:
        now, then = getattr(before, name), getattr(after, name)
        if now != then:
            yield _row("change", after, key=name, now=now, then=then)


def _servers(before: VirtualService | None, after: VirtualService) -> Iterator[Row]:
    known = before.servers if before else {}
    for key, server in after.servers.items():
        former = known.get(key)
        if former is None:
            yield _row("add", after, server, then=_value(server))
        elif former != server:
            yield _row("change", after, server, now=_value(former), then=_value(server))
    for key, server in known.items():
        if key not in after.servers:
            yield _row("remove", after, server, now=_value(server))


def _value(server: RealServer) -> str:
    """As the configuration has it behind the `=`, with its health."""
    return server_line(server, health=True).partition(" = ")[2]


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
