"""The director under test: one engine, its clock, and the account of every packet."""

import os
import shutil
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from socket import inet_aton
from typing import Literal, NamedTuple

from scapy.layers.l2 import Ether
from scapy.packet import Packet

from fastpath import engine
from tests.packets.frames import DIRECTOR, LOCAL, SERVER, VIP, is_correct, server_mac

UNLIMITED, FORGETFUL = engine.Limits(), engine.Persistence()
QUIET = 3 * 7440
"""Seconds of silence after which nothing may be left of a test that sets no longer timeout."""


class Sent(NamedTuple):
    """What one send() made leave."""

    to_network: list[Packet]
    ports: list[int]
    to_kernel: list[bytes]

    def one(self) -> Packet:
        """The only packet; there must be exactly one, and nothing for the kernel."""
        assert (len(self.to_network), len(self.to_kernel)) == (1, 0), self
        return self.to_network[0]


class Director:
    """An engine with ring ports 0 and 1, which have a queue for each worker or as many as `queues` says, and a clock
    (milliseconds) that only tests move."""

    def __init__(
        self,
        connections: int,
        timeouts: engine.Timeouts,
        mtu: int,
        buffers: int = 8192,
        workers: int = 1,
        queues: int | None = None,
        cards: tuple[tuple[bytes, bytes] | Literal["flow"] | None, ...] = (None, None),
        mtus: tuple[int | None, ...] = (None, None),
    ) -> None:
        self.ms = 0
        self.services: set[int] = set()
        self.servers: set[int] = set()
        self._prefix = f"jupiter-test-{os.getpid()}"
        cpus = sorted(os.sched_getaffinity(0))
        lcores = ",".join(f"{lcore}@{cpus[lcore % len(cpus)]}" for lcore in range(workers + 1))
        argv = ["--lcores", lcores, "--no-huge", "-m", "128", "--no-pci", "--no-telemetry"]
        self.environment = engine.init(
            [*argv, "--file-prefix", self._prefix, "--log-level", "3"], connections, timeouts, buffers, mtu
        )
        for name, card, port_mtu in zip(("first", "second"), cards, mtus, strict=True):
            engine.add_ring_port(name, queues, card, port_mtu)
        self.workers = range(workers)
        self.reset()

    def close(self) -> None:
        engine.close()
        shutil.rmtree(Path("/var/run/dpdk", self._prefix), ignore_errors=True)

    def reset(self) -> None:
        """As it was when it began: no services, no connections, one local address."""
        engine.publish([], sorted(self.services))
        self.wait(QUIET)
        for server in self.servers:
            engine.release_server(server)
        self.services.clear()
        self.servers.clear()
        engine.set_port_address(0, inet_aton(DIRECTOR))
        self.locals(LOCAL)
        self.locals(port=1)

    def locals(self, *addresses: str, port: int = 0) -> None:
        engine.set_local_addresses(port, [inet_aton(address) for address in addresses])

    def service(
        self,
        servers: Mapping[str, int] | Sequence[str] = (SERVER,),
        protocol: int = engine.TCP,
        scheduler: str = "rr",
        *,
        id: int = 0,
        first: int = 0,
        vport: int | None = None,
        vip: str = VIP,
        timeout: int = 0,
        hops: Mapping[str, tuple[int, str] | None] | None = None,
        reset: Collection[int] = (),
        most: Mapping[str, int] | None = None,
        backup: Collection[str] = (),
        limits: engine.Limits = UNLIMITED,
        persistence: engine.Persistence = FORGETFUL,
        mss: int = 0,
    ) -> engine.Service:
        """Publish a service of these servers (address -> weight) on VIP:80 (udp: 53), server ids from `first` on, in
        the order given; their next hops (port, MAC): resolved, on port 0, unless `hops` says otherwise (None: not).
        most: connections, of those that have a limit."""
        weights = servers if isinstance(servers, Mapping) else dict.fromkeys(servers, 1)
        port = 80 if protocol == engine.TCP else 53
        made = engine.Service(
            id, inet_aton(vip), vport or port, protocol, engine.SCHEDULERS[scheduler], timeout,
            tuple(engine.Server(first + n, inet_aton(a), port, w, (most or {}).get(a, 0), a in backup)
                  for n, (a, w) in enumerate(weights.items())),
            limits, persistence, mss,
        )  # fmt: skip
        engine.publish([made], reset=reset)
        self.services.add(id)
        for server, address in zip(made.servers, weights, strict=True):
            self.servers.add(server.id)
            if hop := (hops or {}).get(address, (0, server_mac(address))):
                self.resolve(server.id, *hop)
        return made

    def resolve(self, server: int, port: int, mac: str) -> None:
        engine.set_next_hop(server, port, bytes.fromhex(mac.replace(":", "")))

    def remove(self, *services: int, reset: Collection[int] = ()) -> None:
        engine.publish([], services, reset)
        self.services -= set(services)

    def sweep(self) -> tuple[int, Sent]:
        """How many connections were reset, and what their ends are told."""
        self.turn()
        return sum(engine.sweep(worker).result() for worker in self.workers), self._sent(self._take_turns([], 0, []))

    def turn(
        self,
        frames: Sequence[bytes | tuple[int, bytes] | tuple[int, bytes, int]] = (),
        kernel: Sequence[tuple[int, bytes]] = (),
        drops: Mapping[str, int] | None = None,
        errors: int = 0,
        worker: int = 0,
    ) -> list[tuple[int | None, bytes]]:
        """Take turns over these frames, which this worker receives. Each one must leave, or be parked, or be dropped
        under exactly the reasons in `drops`; of those dropped, so many are answered by an ICMP error or a RST."""
        before, waiting = engine.drops(), self.parked()
        left = self._take_turns(frames, worker, kernel)
        dropped = {reason: n - before[reason] for reason, n in engine.drops().items() if n != before[reason]}
        assert dropped == (drops or {})
        assert len(left) == len(frames) + len(kernel) + waiting - self.parked() - sum(dropped.values()) + errors
        return left

    def send(
        self,
        *frames: bytes | tuple[int, bytes] | tuple[int, bytes, int],
        kernel: Sequence[tuple[int, bytes]] = (),
        drops: Mapping[str, int] | None = None,
        errors: int = 0,
        worker: int = 0,
    ) -> Sent:
        """turn(); what leaves for the network (not the kernel's own frames) must carry right checksums."""
        return self._sent(self.turn(frames, kernel, drops, errors, worker), [raw for _, raw in kernel])

    def _take_turns(
        self,
        frames: Sequence[bytes | tuple[int, bytes] | tuple[int, bytes, int]],
        worker: int,
        kernel: Sequence[tuple[int, bytes]],
    ) -> list[tuple[int | None, bytes]]:
        """This worker with the frames, then all until none has anything left from another."""
        return engine.run_once(frames, worker, self.seconds(), kernel) + self.settle()

    def settle(self) -> list[tuple[int | None, bytes]]:
        """All workers, until none has anything left from another."""
        left: list[tuple[int | None, bytes]] = []
        while True:
            left += [frame for other in self.workers for frame in engine.run_once([], other, self.seconds())]
            if not any(counters.handover_depth for counters in engine.worker_counters()):
                return left

    @staticmethod
    def _sent(left: Sequence[tuple[int | None, bytes]], own: Sequence[bytes] = ()) -> Sent:
        assert all(is_correct(raw) for port, raw in left if port is not None and raw not in own)
        return Sent(
            [Ether(raw) for port, raw in left if port is not None],
            [port for port, _ in left if port is not None],
            [raw for port, raw in left if port is None],
        )

    def seconds(self) -> float:
        """For run_once(), whose clock is 32 bits of milliseconds."""
        return (self.ms % 2**32 + 0.5) / 1000

    def later(self, seconds: float) -> None:
        """Move the clock; the next turn sees it."""
        self.ms += round(seconds * 1000)

    def wait(self, seconds: float) -> None:
        """Let time pass, with nothing to do but timers."""
        self.later(seconds)
        self.turn()

    def connections(self, protocol: int = engine.TCP) -> list[engine.Connection]:
        rows = []
        for worker in self.workers:
            page, cursor = engine.connections(worker, protocol)
            rows += page
            while cursor is not None:
                page, cursor = engine.connections(worker, protocol, cursor)
                rows += page
        return rows

    def states(self) -> list[str]:
        return [c.state for c in self.connections()]

    def parked(self) -> int:
        return sum(counters.parked for counters in engine.worker_counters())

    def in_use(self) -> int:
        return sum(counters.connections for counters in engine.worker_counters())


def dotted(addresses: Iterable[bytes]) -> list[str]:
    return [".".join(map(str, address)) for address in addresses]
