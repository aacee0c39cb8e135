"""What each command means: the published view and typed arguments -> a Change, or an answer. Pure.

Here are services and their servers, in reports.py what is only looked at, in running.py files and services as a whole.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any, Final

from jupiter import attributes
from jupiter.attributes import Attribute, shown
from jupiter.counters import ServerTraffic, View
from jupiter.errors import JupiterError
from jupiter.model import Change, Policy, RealServer, ServerKey, ServiceKey, VirtualService, check_service
from jupiter.pages import Json, page
from jupiter.reports import REPORTS
from jupiter.terms import endpoint_text

TRAFFIC_PAGE = 128
"""Services in one answer that sums the counters of their servers."""

Outcome = Change | Json | Awaitable[Json]


def vs_add(view: View, service: ServiceKey, scheduler: str) -> Change:
    if service in view.model.services:
        raise JupiterError("service-exists", f"Virt service {service} already exists.")
    _refuse_own(view, f"virt service {service}", service.address)
    return Change((VirtualService(service, scheduler),))


def vs_del(view: View, service: ServiceKey, policy: Policy) -> Change:
    view.model.service(service)
    return Change(removed=(service,), policy=policy)


def _refuse_own(view: View, what: str, address: IPv4Address) -> None:
    if role := view.model.role_of(address):
        raise JupiterError("invalid-argument", f"Invalid {what}: {address} is {role}, expected another address.")


def _changed(service: VirtualService, policy: Policy = Policy.KEEP) -> Change:
    check_service(service)
    return Change((service,), policy=policy)


def vs_list(view: View, cursor: str) -> Json:
    return page(view.model.services.values(), cursor, _service_row)


def _service_row(service: VirtualService) -> Json:
    return {
        "ip": str(service.key.address),
        "port": service.key.port,
        "type": str(service.key.protocol),
        "sched": service.scheduler,
        **shown(service, attributes.MAX_CONNECTIONS),
        "synproxy": int(service.synproxy),
        "toa": int(service.toa),
        **shown(service, attributes.EST_TIMEOUT, attributes.NEW_RATE, attributes.CQL),
        **shown(service, attributes.PERSISTENCE, attributes.PERSISTENCE_SCOPE, attributes.MSS),
    }


def vs_stats(view: View, service: ServiceKey) -> Json:
    """c is the client, v the service, r the servers: what arrived was forwarded or dropped."""
    view.model.service(service)
    traffic = view.service_traffic(service)
    forwarded = traffic.forwarded
    return {
        "active-conns": forwarded.active,
        "history-conns": forwarded.total,
        "[c2v]packets": forwarded.inbound_packets + traffic.inbound_drops,
        "[c2v]bytes": forwarded.inbound_bytes + traffic.inbound_drop_bytes,
        "[c2v]drops": traffic.inbound_drops,
        "[r2v]packets": forwarded.outbound_packets + traffic.outbound_drops,
        "[r2v]bytes": forwarded.outbound_bytes + traffic.outbound_drop_bytes,
        "[r2v]drops": traffic.outbound_drops,
        "[v2r]packets": forwarded.inbound_packets,
        "[v2r]bytes": forwarded.inbound_bytes,
        "[v2c]packets": forwarded.outbound_packets,
        "[v2c]bytes": forwarded.outbound_bytes,
        "established-conns": forwarded.established,
    }


def vs_traffic(view: View, cursor: str) -> Json:
    def row(service: VirtualService) -> Json:
        traffic = view.service_traffic(service.key)
        return {
            "ip": str(service.key.address),
            "port": service.key.port,
            "type": str(service.key.protocol),
            "sched": service.scheduler,
            "servers": len(service.servers),
            **_traffic_columns(traffic.forwarded),
            "drops": traffic.inbound_drops + traffic.outbound_drops,
        }

    return page(view.model.services.values(), cursor, row, TRAFFIC_PAGE)


def _traffic_columns(traffic: ServerTraffic) -> Json:
    return {
        "active": traffic.active,
        "total": traffic.total,
        "in_packets": traffic.inbound_packets,
        "in_bytes": traffic.inbound_bytes,
        "out_packets": traffic.outbound_packets,
        "out_bytes": traffic.outbound_bytes,
    }


def _of_service(*settings: Attribute) -> Callable[..., Outcome]:
    """What shows these attributes of a service, or sets those that are given."""

    def show_or_set(view: View, service: ServiceKey, **arguments: Any) -> Outcome:
        virtual = view.model.service(service)
        given = _given(settings, arguments)
        return _changed(replace(virtual, **given)) if given else shown(virtual, *settings)

    return show_or_set


def _of_server(*settings: Attribute) -> Callable[..., Outcome]:
    """The same of a real server."""

    def show_or_set(view: View, service: ServiceKey, server: ServerKey, **arguments: Any) -> Outcome:
        real = view.model.service(service).server(server)
        given = _given(settings, arguments)
        return _with_server(view, service, replace(real, **given)) if given else shown(real, *settings)

    return show_or_set


def _given(settings: Iterable[Attribute], arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {a.name: arguments[a.parameter] for a in settings if arguments[a.parameter] is not None}


def vs_cql_list(view: View, service: ServiceKey, cursor: str) -> Json:
    clients = sorted(view.model.service(service).cql_clients.items())
    return page(clients, cursor, lambda client: {"ip": str(client[0]), "qps": client[1]})


def vs_cql_add(view: View, service: ServiceKey, client: IPv4Address, rate: int) -> Change:
    virtual = view.model.service(service)
    return _changed(replace(virtual, cql_clients={**virtual.cql_clients, client: rate}))


def vs_cql_del(view: View, service: ServiceKey, client: IPv4Address) -> Change:
    virtual = view.model.service(service)
    if client not in virtual.cql_clients:
        raise JupiterError(
            "client-not-found", f"Client {client} of virt service {service} has no query limit of its own."
        )
    return _changed(replace(virtual, cql_clients={c: rate for c, rate in virtual.cql_clients.items() if c != client}))


def rs_add(view: View, service: ServiceKey, server: ServerKey, weight: int, marks: Mapping[str, Any]) -> Change:
    virtual = view.model.service(service)
    name = endpoint_text(server)
    if server in virtual.servers:
        raise JupiterError("server-exists", f"Real server {name} of virt service {service} already exists.")
    _refuse_own(view, f"real server {name}", server[0])
    return _changed(virtual.with_server(RealServer(*server, weight, **marks)))


def rs_del(view: View, service: ServiceKey, server: ServerKey, policy: Policy) -> Change:
    return _changed(view.model.service(service).without_server(server), policy)


def rs_list(view: View, service: ServiceKey, cursor: str) -> Json:
    servers = _by_weight(view.model.service(service))
    return page(servers, cursor, lambda server: _server_columns(service, server))


def rs_traffic(view: View, service: ServiceKey, cursor: str) -> Json:
    def row(server: RealServer) -> Json:
        return _server_columns(service, server) | _traffic_columns(view.server_traffic(service, server.key))

    return page(_by_weight(view.model.service(service)), cursor, row)


def _by_weight(service: VirtualService) -> list[RealServer]:
    return sorted(service.servers.values(), key=lambda s: -s.weight)


def _server_columns(service: ServiceKey, server: RealServer) -> Json:
    return {
        "ip": str(server.address),
        "port": server.port,
        "type": str(service.protocol),
        "status": "up" if server.up else "down",
        "weight": server.weight,
        "state": server.state,
        **shown(server, attributes.MAX_CONNECTIONS, attributes.BACKUP),
    }


def rs_status(view: View, service: ServiceKey, server: ServerKey, status: bool | None) -> Outcome:
    real = view.model.service(service).server(server)
    if status is None:
        return {"status": "up" if real.up else "down"}
    return _with_server(view, service, real.with_health(status))


def rs_enable(view: View, service: ServiceKey, server: ServerKey) -> Change:
    return _with_server(view, service, replace(view.model.service(service).server(server), enabled=True))


def rs_disable(view: View, service: ServiceKey, server: ServerKey) -> Change:
    return _with_server(view, service, replace(view.model.service(service).server(server), enabled=False))


def _with_server(view: View, service: ServiceKey, server: RealServer) -> Change:
    return _changed(view.model.service(service).with_server(server))


def rs_stats(view: View, service: ServiceKey, server: ServerKey) -> Json:
    view.model.service(service).server(server)
    traffic = view.server_traffic(service, server)
    return {
        "active-conns": traffic.active,
        "history-conns": traffic.total,
        "[v2r]packets": traffic.inbound_packets,
        "[v2r]bytes": traffic.inbound_bytes,
        "[r2v]packets": traffic.outbound_packets,
        "[r2v]bytes": traffic.outbound_bytes,
        "established-conns": traffic.established,
    }


HANDLERS: Final[Mapping[str, Callable[..., Outcome]]] = {
    "vs/add": vs_add,
    "vs/del": vs_del,
    "vs/list": vs_list,
    "vs/stats": vs_stats,
    "vs/traffic": vs_traffic,
    "vs/scheduler": _of_service(attributes.SCHEDULER),
    "vs/est_timeout": _of_service(attributes.EST_TIMEOUT),
    "vs/max_conns": _of_service(attributes.MAX_CONNECTIONS),
    "vs/max_rate": _of_service(attributes.NEW_RATE),
    "vs/cql": _of_service(attributes.CQL),
    "vs/cql/list": vs_cql_list,
    "vs/cql/add": vs_cql_add,
    "vs/cql/del": vs_cql_del,
    "vs/persistence": _of_service(attributes.PERSISTENCE, attributes.PERSISTENCE_SCOPE),
    "vs/mss": _of_service(attributes.MSS),
    "rs/add": rs_add,
    "rs/del": rs_del,
    "rs/list": rs_list,
    "rs/weight": _of_server(attributes.WEIGHT),
    "rs/max_conns": _of_server(attributes.MAX_CONNECTIONS),
    "rs/backup": _of_server(attributes.BACKUP),
    "rs/status": rs_status,
    "rs/enable": rs_enable,
    "rs/disable": rs_disable,
    "rs/stats": rs_stats,
    "rs/traffic": rs_traffic,
    **REPORTS,
}
