"""What each command means: the published view and typed arguments -> a new Model, or an answer. Pure."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any, Final

from jupiter import VERSION, commands
from jupiter.counters import DeviceTraffic, View
from jupiter.errors import JupiterError
from jupiter.model import Model, Protocol, RealServer, ServerKey, ServiceKey, VirtualService

PAGE = 1024
"""Rows in one answer: well under the protocol's message size, and milliseconds of work."""


class Stop:
    """The outcome of a command that ends the service."""


STOP: Final = Stop()
Json = Any
Outcome = Model | Stop | Json


def execute(view: View, method: str, params: Mapping[str, object]) -> Outcome:
    """Validate and carry out one command; raises JupiterError naming what was wrong."""
    command = commands.find(method)
    return HANDLERS[command.name](view, **command.validate(params))


def vs_add(view: View, service: ServiceKey, scheduler: str) -> Model:
    if service in view.model.services:
        raise JupiterError("service-exists", f"Virt service {service} already exists.")
    view.model.refuse_own(f"virt service {service}", service.address)
    return view.model.with_service(VirtualService(service, scheduler))


def vs_del(view: View, service: ServiceKey) -> Model:
    return view.model.without_service(service)


def vs_list(view: View, cursor: str) -> Json:
    return _page(map(_service_row, view.model.services.values()), cursor)


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
    }


def rs_add(view: View, service: ServiceKey, server: ServerKey, weight: int) -> Model:
    virtual = view.model.service(service)
    if server in virtual.servers:
        raise JupiterError("server-exists", f"Real server {_name(server)} of virt service {service} already exists.")
    view.model.refuse_own(f"real server {_name(server)}", server[0])
    return view.model.with_service(virtual.with_server(RealServer(*server, weight)))


def rs_del(view: View, service: ServiceKey, server: ServerKey) -> Model:
    return view.model.with_service(view.model.service(service).without_server(server))


def rs_list(view: View, service: ServiceKey, cursor: str) -> Json:
    servers = sorted(view.model.service(service).servers.values(), key=lambda s: -s.weight)
    rows = (
        {
            "ip": str(s.address),
            "port": s.port,
            "type": str(service.protocol),
            "status": "up" if s.up else "down",
            "weight": s.weight,
        }
        for s in servers
    )
    return _page(rows, cursor)


def rs_weight(view: View, service: ServiceKey, server: ServerKey, weight: int | None) -> Model | Json:
    virtual = view.model.service(service)
    real = virtual.server(server)
    if weight is None:
        return {"weight": real.weight}
    return view.model.with_service(virtual.with_server(replace(real, weight=weight)))


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
    }


def netdev_ipaddr(view: View) -> Json:
    """Every worker draws from all local addresses of a device: c is its lcore, q its queue."""
    records = []
    for device in view.model.devices:
        local = [str(a.address) for a in view.model.local_addresses.values() if a.device == device.name]
        records.append(
            {
                "dev": device.name,
                "kni-ip": str(device.address.ip) if device.address else None,
                "kni-netmask": str(device.address.netmask) if device.address else None,
                "kni-gw": str(device.gateway) if device.gateway else None,
                **{f"local-ip[c{lcore}q{queue}]": local for queue, lcore in enumerate(view.worker_lcores())},
            }
        )
    return records


def netdev_stats(view: View) -> Json:
    return [_device_record(traffic) for traffic in view.device_traffic()]


def _device_record(traffic: DeviceTraffic) -> Json:
    return {
        "dev": traffic.device,
        "RX-packets": traffic.rx_packets,
        "RX-bytes": traffic.rx_bytes,
        "RX-errors": traffic.rx_errors,
        "RX-nombuf": traffic.rx_nombuf,
        "RX-misses": traffic.rx_missed,
        "RX-dropped": traffic.rx_dropped,
        "TX-packets": traffic.tx_packets,
        "TX-bytes": traffic.tx_bytes,
        "TX-errors": traffic.tx_errors,
        "TX-dropped": traffic.tx_dropped,
        "Rx-pps": traffic.rx_pps,
        "Tx-pps": traffic.tx_pps,
        "Rx-Bps": traffic.rx_bps,
        "Tx-Bps": traffic.tx_bps,
        "pktmbuf-in-use": traffic.mbufs_in_use,
        "pktmbuf-avail": traffic.mbufs_free,
    }


def drop_stats(view: View) -> Json:
    return view.drops()


def arp_list(view: View, cursor: str) -> Json:
    rows = (
        {
            "IPaddress": str(n.address),
            "HWaddress": n.mac.hex(":") if n.mac else None,
            "Iface": n.interface,
            "AliveTime": int(n.age_seconds),
        }
        for n in view.neighbours()
    )
    return _page(rows, cursor)


def tcp_conn_dump(view: View, cursor: str) -> Json:
    return _connections(view, Protocol.TCP, cursor)


def udp_conn_dump(view: View, cursor: str) -> Json:
    return _connections(view, Protocol.UDP, cursor)


def _connections(view: View, protocol: Protocol, cursor: str) -> Json:
    found, following = view.connections(protocol, cursor)
    keys = [c.key for c in commands.COMMANDS[f"{protocol}/conn/dump"].columns]
    rows = []
    for c in found:
        state = (c.state,) if protocol is Protocol.TCP else ()
        values = (*c.client, *c.virtual, *c.local, *c.real, c.flags, *state, int(c.idle), c.timeout)
        rows.append(dict(zip(keys, values, strict=True)))
    return {"rows": rows, "cursor": following}


def version(_view: View) -> Json:
    return {"version": VERSION}


def list_command(_view: View, cursor: str) -> Json:
    return _page(({"usage": c.usage, "help": c.help} for c in commands.COMMANDS.values()), cursor)


def stop(_view: View) -> Stop:
    return STOP


HANDLERS: Final[Mapping[str, Callable[..., Outcome]]] = {
    "vs/add": vs_add,
    "vs/del": vs_del,
    "vs/list": vs_list,
    "vs/stats": vs_stats,
    "rs/add": rs_add,
    "rs/del": rs_del,
    "rs/list": rs_list,
    "rs/weight": rs_weight,
    "rs/stats": rs_stats,
    "netdev/ipaddr": netdev_ipaddr,
    "netdev/stats": netdev_stats,
    "drop/stats": drop_stats,
    "arp/list": arp_list,
    "tcp/conn/dump": tcp_conn_dump,
    "udp/conn/dump": udp_conn_dump,
    "version": version,
    "list-command": list_command,
    "stop": stop,
}


def _page(rows: Iterable[Json], cursor: str) -> Json:
    """The PAGE rows that begin at cursor (a row's number as text; "": the first)."""
    start = _page_start(cursor)
    taken = list(islice(rows, start, start + PAGE + 1))
    return {"rows": taken[:PAGE], "cursor": str(start + PAGE) if len(taken) > PAGE else None}


def _page_start(cursor: str) -> int:
    if cursor == "":
        return 0
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= 9):
        raise JupiterError(
            "invalid-argument", f"Invalid cursor {commands.shorten(cursor)}, expected that of an earlier answer."
        )
    return int(cursor)


def _name(server: ServerKey) -> str:
    return f"{server[0]}:{server[1]}"
