"""What the fuzzed engine serves: every kind of service, server and next hop, on few addresses that tuples.h knows, too.

The fuzzer calls open_scene() once; from then on no Python runs.
"""

import os
import shutil
from itertools import count
from pathlib import Path
from socket import inet_aton

from fastpath import engine

CLIENTS = ("1.1.1.1", "1.1.1.9", "1.1.1.10", "1.1.2.1")
TIMEOUTS = engine.Timeouts(tcp_established=600, tcp_transitory=60, tcp_closed=10, udp=30)
NOT_COPIED = ("region", "gather", "hand_to.slots", "to_kernel.data", "map", "services", "service", "pool")
"""Areas that the harness brings back otherwise (memory.h), nobody reads again, or nobody changes."""
UNREAD = ("hand_to.slots", "to_kernel.data")
"""Slots of rings that are empty between two inputs."""


def services() -> list[engine.Service]:
    """Ids from 0 on: the low three bits of a frame's `place` (tuples.h)."""
    ids, numbers = count(), count()

    def serve(vip: str, port: int, protocol: int, scheduler: str, *weights: int, **more: object) -> engine.Service:
        hosts = [inet_aton(f"1.1.1.{30 + n}") for n in range(len(weights))]
        servers = [engine.Server(next(ids), host, 8000 + port, w) for host, w in zip(hosts, weights, strict=True)]
        number = next(numbers)
        return engine.Service(
            number, inet_aton(vip), port, protocol, engine.SCHEDULERS[scheduler], 0, tuple(servers), **more
        )

    made = [
        serve("10.0.1.1", 80, engine.TCP, "rr", 1, 1),
        serve("10.0.1.1", 81, engine.TCP, "wlc", 2, 1, 1, mss=1000),
        serve("10.0.1.1", 53, engine.UDP, "ipport", 1, 2),
        serve("10.0.1.1", 82, engine.TCP, "wrr"),
        serve("10.0.1.2", 80, engine.TCP, "lc", 1, 1, limits=FEW, persistence=engine.Persistence(60, True), mss=536),
        serve("10.0.1.2", 53, engine.UDP, "iponly", 1, limits=CLIENTS_FEW, persistence=engine.Persistence(60)),
        serve("10.0.1.2", 54, engine.UDP, "wrr", 3, 1, 0),
    ]
    full, reserve, drained = made[6].servers
    few = (full._replace(max_connections=1), reserve._replace(backup=True, max_connections=1), drained)
    return [*made[:6], made[6]._replace(servers=few)]


FEW = engine.Limits(connections=3, rate=2)
CLIENTS_FEW = engine.Limits(client_rate=2, clients=((inet_aton(CLIENTS[3]), 0),))


def resolve(made: list[engine.Service]) -> None:
    """Every third server behind port 1, every fifth one without a MAC address."""
    for server in (server for service in made for server in service.servers):
        if server.id % 5 != 4:
            engine.set_next_hop(server.id, int(server.id % 3 == 2), bytes((2, 0, 0, 0, 2, server.id)))
        else:
            engine.set_next_hop(server.id, 0, None)


def open_scene(prefix: str) -> tuple[list[int], list[engine.Area], list[engine.Area]]:
    """For fuzz_open() of turn.c: handles, areas to copy back after each input, areas that must then be as before."""
    os.urandom = lambda n: bytes(range(1, n + 1))  # the keys of the hash: the same in every run
    argv = ["--lcores", "0@0,1@0,2@0", "--no-huge", "-m", "64", "--no-pci", "--no-telemetry", "--file-prefix", prefix]
    engine.init([*argv, "--base-virtaddr", "0x200000000000", "--log-level", "3"], 2048, TIMEOUTS, 2048)
    shutil.rmtree(Path("/var/run/dpdk", prefix), ignore_errors=True)  # nobody else needs it, and the fuzzer may crash
    engine.add_ring_port("first")
    engine.add_ring_port("second", 1)
    engine.set_port_address(0, inet_aton("1.1.1.2"))
    engine.set_port_address(1, inet_aton("1.1.3.2"))
    engine.set_local_addresses(0, [inet_aton("10.0.2.1"), inet_aton("10.0.2.2")])
    engine.set_local_addresses(1, [inet_aton("10.0.3.1")])
    made = services()
    engine.publish(made)
    resolve(made)
    queues = [engine.handles(0, 0), engine.handles(0, 1), engine.handles(1, 0)]
    handles = [queues[0].take_turn, queues[0].worker, queues[2].worker]
    handles += [ring for queue in queues for ring in (queue.rx_ring, queue.tx_ring)]
    areas = [area for worker in (0, 1) for area in engine.written_by(worker)] + engine.written_by_main()
    copied = [area for area in areas if area.name not in NOT_COPIED]
    return handles, copied, [area for area in areas if area.name not in UNREAD]
