"""What each command means: the published view and typed arguments -> a Change, or an answer. Pure.

Here are services and their servers, in reports.py what is only looked at, in running.py files and services as a whole.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Final

from jupiter.counters import ServerTraffic, View
from jupiter.errors import JupiterError
from jupiter.model import (
    Change,
    Policy,
    RealServer,
    ServerKey,
    ServiceKey,
    VirtualService,
    check_schedule,
)
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
    check_schedule(service)
    return Change((service,), policy=policy)


def vs_list(view: View, cursor: str) -> Json:
    return page(view.model.services.values(), cursor, _service_row)


def _service_row(service: VirtualService) -> Json:
    return {
        "ip": str(service.key.address),
        "port": service.key.port,
        "type": str(service.key.protocol),
        "sched": service.scheduler,
        "max_conns": service.max_conns,
        "synproxy": int(service.synproxy),
        "toa": int(service.toa),
        "est_timeout": service.est_timeout,
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


def vs_scheduler(view: View, service: ServiceKey, scheduler: str | None) -> Outcome:
    virtual = view.model.service(service)
    return _changed(replace(virtual, scheduler=scheduler)) if scheduler else {"scheduler": virtual.scheduler}


def vs_est_timeout(view: View, service: ServiceKey, seconds: int | None) -> Outcome:
    virtual = view.model.service(service)
    return {"est_timeout": virtual.est_timeout} if seconds is None else _changed(replace(virtual, est_timeout=seconds))


def rs_add(view: View, service: ServiceKey, server: ServerKey, weight: int) -> Change:
    virtual = view.model.service(service)
    name = endpoint_text(server)
    if server in virtual.servers:
        raise JupiterError("server-exists", f"Real server {name} of virt service {service} already exists.")
    _refuse_own(view, f"real server {name}", server[0])
    return _changed(virtual.with_server(RealServer(*server, weight)))


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
    }


def rs_weight(view: View, service: ServiceKey, server: ServerKey, weight: int | None) -> Outcome:
    real = view.model.service(service).server(server)
    return {"weight": real.weight} if weight is None else _with_server(view, service, replace(real, weight=weight))


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
    "vs/scheduler": vs_scheduler,
    "vs/est_timeout": vs_est_timeout,
    "rs/add": rs_add,
    "rs/del": rs_del,
    "rs/list": rs_list,
    "rs/weight": rs_weight,
    "rs/status": rs_status,
    "rs/enable": rs_enable,
    "rs/disable": rs_disable,
    "rs/stats": rs_stats,
    "rs/traffic": rs_traffic,
    **REPORTS,
}
