"""What each command answers about devices, workers, connections and drops: the published view -> JSON. Pure.

An answer that a worker has to look for is awaited.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from jupiter import VERSION, commands
from jupiter.counters import Connection, DeviceTraffic, Drop, Neighbour, View, WorkerTraffic
from jupiter.model import Protocol
from jupiter.pages import Json, page
from jupiter.terms import Search


def netdev_ipaddr(view: View) -> Json:
    """The local addresses that each worker draws from: c is its lcore, q its number."""
    records = []
    for device in view.model.devices:
        workers = enumerate(zip(view.worker_lcores(), view.local_addresses_of(device.name), strict=True))
        records.append(
            {
                "dev": view.interface_name(device.name),
                "kni-ip": str(device.address.ip) if device.address else None,
                "kni-netmask": str(device.address.netmask) if device.address else None,
                "kni-gw": str(device.gateway) if device.gateway else None,
                **{f"local-ip[c{lcore}q{queue}]": [*map(str, local)] for queue, (lcore, local) in workers},
            }
        )
    return records


def netdev_stats(view: View) -> Json:
    return [{"dev": view.interface_name(t.device), **_device_record(t)} for t in view.device_traffic()]


def _device_record(traffic: DeviceTraffic) -> Json:
    return {
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


def netdev_reset(view: View) -> None:
    view.count_devices_from_zero()


def netdev_hwinfo(view: View) -> Json:
    return [
        {
            "dev": view.interface_name(hardware.device),
            "hw": hardware.name,
            "driver": hardware.driver,
            "mac": hardware.mac.hex(":"),
            "rxq-num": hardware.rx_queues,
            "txq-num": hardware.tx_queues,
            "rxq-size": hardware.rx_size,
            "txq-size": hardware.tx_size,
            "link-status": "up" if hardware.up else "down",
            "link-speed": hardware.speed or None,
            "steering": hardware.steering,
            "steering-reason": hardware.why,
            "woken-by": hardware.woken_by,
        }
        for hardware in view.device_hardware()
    ]


def drops(view: View, cursor: str) -> Json:
    def row(drop: Drop) -> Json:
        return {"reason": drop.reason, "count": drop.packets, "rate": drop.rate, "description": drop.description}

    return page(view.drops(), cursor, row)


def arp_list(view: View, cursor: str) -> Json:
    def row(neighbour: Neighbour) -> Json:
        return {
            "IPaddress": str(neighbour.address),
            "HWaddress": neighbour.mac.hex(":") if neighbour.mac else None,
            "Iface": neighbour.interface,
            "AliveTime": int(neighbour.age_seconds),
        }

    return page(view.neighbours(), cursor, row)


async def tcp_conn_dump(view: View, cursor: str) -> Json:
    return await _connections(view, Search(Protocol.TCP), cursor, "tcp/conn/dump")


async def udp_conn_dump(view: View, cursor: str) -> Json:
    return await _connections(view, Search(Protocol.UDP), cursor, "udp/conn/dump")


async def conn_find(view: View, conditions: Search, cursor: str) -> Json:
    return await _connections(view, conditions, cursor, "conn/find")


async def _connections(view: View, search: Search, cursor: str, command: str) -> Json:
    found, following = await view.connections(search, cursor)
    keys = [column.key for column in commands.COMMANDS[command].columns]
    rows = map(_connection_row, found)
    return {"rows": [{key: row[key] for key in keys} for row in rows], "cursor": following}


def _connection_row(c: Connection) -> Mapping[str, Json]:
    ends = zip(("c", "v", "l", "r"), (c.client, c.virtual, c.local, c.real), strict=True)
    return {
        "type": str(Protocol(c.protocol)),
        **{f"{end}{part}": value for end, ip_port in ends for part, value in zip(("ip", "port"), ip_port, strict=True)},
        "flags": c.flags,
        "state": c.state,
        "usetime": int(c.idle),
        "timeout": c.timeout,
    }


def tcp_conn_stats(view: View) -> Json:
    return _room(view, Protocol.TCP)


def udp_conn_stats(view: View) -> Json:
    return _room(view, Protocol.UDP)


def _room(view: View, protocol: Protocol) -> Json:
    """TCP and UDP share a worker's table: what one takes the other has no more."""
    in_use = Counter[int]()
    for ports in view.local_ports():
        in_use[ports.lcore] += ports.tcp if protocol is Protocol.TCP else ports.udp
    return [
        {"lcore": worker.lcore, "avail_conns": worker.connections_free, "inuse_conns": in_use[worker.lcore]}
        for worker in view.worker_traffic()
    ]


def laddr_stats(view: View) -> Json:
    """Local ports are unique for each server: towards each, a worker may use so many; in use: towards all of them."""
    return [
        {
            "dev": view.interface_name(ports.device),
            "lcore": ports.lcore,
            "tcp_avail_lports": ports.ports,
            "tcp_inuse_lports": ports.tcp,
            "udp_avail_lports": ports.ports,
            "udp_inuse_lports": ports.udp,
            "least_free_lports": ports.least_free,
        }
        for ports in view.local_ports()
    ]


def tcp_stats(view: View) -> Json:
    connections = sum(ports.tcp for ports in view.local_ports())
    return _drops_of(view, "tcp_") | {"sent_resets": view.own_messages().resets, "inuse_conns": connections}


def udp_stats(view: View) -> Json:
    return _drops_of(view, "udp_") | {"inuse_conns": sum(ports.udp for ports in view.local_ports())}


def icmp_stats(view: View) -> Json:
    said = view.own_messages()
    sent = {
        "sent_echo_replies": said.echo_replies,
        "sent_errors": said.icmp_errors,
        "relayed_errors": said.icmp_relayed,
    }
    return _drops_of(view, "icmp_") | sent


def _drops_of(view: View, prefix: str) -> dict[str, int]:
    return {drop.reason: drop.packets for drop in view.drops() if drop.reason.startswith(prefix)}


def worker_stats(view: View, cursor: str) -> Json:
    def row(worker: WorkerTraffic) -> Json:
        return {
            "lcore": worker.lcore,
            "busy": worker.busy,
            "asleep": worker.asleep,
            "sleeps": worker.sleeps,
            "turns": worker.turns,
            "packets": worker.packets,
            "per_turn": worker.per_turn,
            "handed_in": worker.handed_in,
            "handed_out": worker.handed_out,
            "handover": worker.handover,
            "strays": worker.strays,
            "conns": worker.connections,
            "half_open": worker.half_open,
            "conns_left": worker.connections_free,
            "lports_left": worker.least_ports,
            "to_kernel": worker.to_kernel,
            "from_kernel": worker.from_kernel,
            "parked": worker.parked,
        }

    return page(view.worker_traffic(), cursor, row)


def memory(view: View) -> Json:
    """The ancestor's names, of each NUMA node."""
    return [{key.capitalize(): value for key, value in heap._asdict().items()} for heap in view.heaps()]


def version(_view: View) -> Json:
    return {"version": VERSION}


def list_command(_view: View, cursor: str) -> Json:
    return page(commands.COMMANDS.values(), cursor, lambda c: {"usage": c.usage, "help": c.help})


REPORTS: Final[Mapping[str, Callable[..., Json | Awaitable[Json]]]] = {
    "netdev/ipaddr": netdev_ipaddr,
    "netdev/stats": netdev_stats,
    "netdev/reset": netdev_reset,
    "netdev/hwinfo": netdev_hwinfo,
    "drops": drops,
    "arp/list": arp_list,
    "tcp/conn/dump": tcp_conn_dump,
    "udp/conn/dump": udp_conn_dump,
    "tcp/conn/stats": tcp_conn_stats,
    "udp/conn/stats": udp_conn_stats,
    "conn/find": conn_find,
    "laddr/stats": laddr_stats,
    "tcp/stats": tcp_stats,
    "udp/stats": udp_stats,
    "icmp/stats": icmp_stats,
    "worker/stats": worker_stats,
    "memory": memory,
    "version": version,
    "list-command": list_command,
}
