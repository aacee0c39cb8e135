"""What the data plane can be asked beside its services: devices, workers, drops, memory, connections (counters.View).

Owner: the main thread. What is a rate comes from two samples a second or so apart.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from socket import inet_ntoa
from time import monotonic
from typing import NamedTuple, TypeVar

from fastpath import engine
from jupiter.counters import (
    Connection,
    DeviceHardware,
    DeviceTraffic,
    Drop,
    Heap,
    LocalPorts,
    OwnMessages,
    Seen,
    WorkerTraffic,
)
from jupiter.errors import JupiterError
from jupiter.terms import Condition, Search, Wanted

PAGE = 1024
"""Connections in one page of a dump."""
PATIENCE = 0.0002
"""Seconds between two looks for a worker's answer."""
_CURSOR = re.compile(r"(\d{1,4}):(\d{1,10})", re.ASCII)

Answer = TypeVar("Answer")


class Sample(NamedTuple):
    """What was counted at a time (seconds), for rates."""

    at: float
    ports: list[engine.PortCounters]
    workers: list[engine.WorkerCounters]
    drops: dict[str, int]


@dataclass(slots=True)
class PublishedPort:
    """by_address: each of its local addresses is one worker's. base: its counters when they were last set to zero."""

    number: int
    name: str
    device: str
    mac: bytes
    by_address: bool
    base: engine.PortCounters


class Gauges:
    """Ports and samples of the engine."""

    def __init__(self) -> None:
        self._ports: list[PublishedPort] = []
        self._samples: tuple[Sample, Sample]
        """The last two."""

    def sample(self) -> None:
        """To be called once a second."""
        now = self._sample()
        self._samples = getattr(self, "_samples", (now, now))[1], now

    def _sample(self) -> Sample:
        ports = [engine.port_counters(port.number) for port in self._ports]
        return Sample(monotonic(), ports, engine.worker_counters(), engine.drops())

    def device_traffic(self) -> list[DeviceTraffic]:
        earlier, later = self._samples
        seconds = _seconds(earlier, later)
        found = []
        for port, then, now in zip(self._ports, earlier.ports, later.ports, strict=True):
            counted = engine.port_counters(port.number)
            values = {k: v - getattr(port.base, k) for k, v in counted._asdict().items() if not k.startswith("mbufs_")}
            for other in ("kernel_rx_packets", "kernel_tx_packets", "strays"):
                del values[other]
            found.append(
                DeviceTraffic(
                    device=port.device,
                    rx_pps=round((now.rx_packets - then.rx_packets) / seconds),
                    tx_pps=round((now.tx_packets - then.tx_packets) / seconds),
                    rx_bps=round((now.rx_bytes - then.rx_bytes) / seconds),
                    tx_bps=round((now.tx_bytes - then.tx_bytes) / seconds),
                    mbufs_in_use=counted.mbufs_in_use,
                    mbufs_free=counted.mbufs_free,
                    **values,
                )
            )
        return found

    def count_devices_from_zero(self) -> None:
        for port in self._ports:
            port.base = engine.port_counters(port.number)

    def device_hardware(self) -> list[DeviceHardware]:
        return [DeviceHardware(port.device, port.name, *engine.port_info(port.number)) for port in self._ports]

    def found_out(self) -> list[tuple[str, str]]:
        """Devices whose card does not bring packets where it claimed, since the last time, and what was seen."""
        devices = {port.number: port.device for port in self._ports}
        return [(devices[port], reason) for port, reason in engine.review_steering()]

    def worker_lcores(self) -> list[int]:
        return [worker.lcore for worker in engine.worker_counters()]

    def worker_traffic(self) -> list[WorkerTraffic]:
        least: dict[int, int] = {}
        for usage in engine.usage():
            if usage.local_ports:
                least[usage.worker] = min(usage.least_free, least.get(usage.worker, usage.least_free))
        earlier, later = self._samples
        counted = zip(earlier.workers, later.workers, engine.worker_counters(), strict=True)
        return [
            _worker_traffic(_seconds(earlier, later), then, now, current, least.get(worker))
            for worker, (then, now, current) in enumerate(counted)
        ]

    def local_ports(self) -> list[LocalPorts]:
        devices = {port.number: port.device for port in self._ports}
        lcores = self.worker_lcores()
        return [
            LocalPorts(devices[u.port], lcores[u.worker], u.tcp, u.udp, u.local_ports, u.least_free)
            for u in engine.usage()
        ]

    def heaps(self) -> list[Heap]:
        return [Heap(*heap) for heap in engine.memory()]

    def drops(self) -> list[Drop]:
        earlier, later = self._samples
        seconds = _seconds(earlier, later)
        return [
            Drop(reason, n, round((later.drops[reason] - earlier.drops[reason]) / seconds), engine.DROP_REASONS[reason])
            for reason, n in engine.drops().items()
        ]

    def own_messages(self) -> OwnMessages:
        return OwnMessages(*engine.own_messages())

    def progress(self) -> list[int]:
        """Turns of each worker; any thread may ask."""
        return engine.progress()

    async def connections(self, search: Search, cursor: str) -> tuple[list[Connection], str | None]:
        """A page of connections, which may be empty, and where the next begins: WORKER:POSITION."""
        workers = self.workers()
        place = _CURSOR.fullmatch(cursor or "0:0")
        if place is None or int(place[1]) >= workers:
            raise JupiterError("invalid-argument", "Invalid cursor, expected that of an earlier answer.")
        worker, protocol = int(place[1]), int(search.protocol or 0)
        with engine_errors("engine-failed"):
            question = engine.find(worker, protocol, _matches(search.conditions), search.max_idle, int(place[2]), PAGE)
            found, position = await answered(question)
        following = (
            f"{worker}:{position}" if position is not None else f"{worker + 1}:0" if worker + 1 < workers else None
        )
        return [_connection(c) for c in found], following

    def watch(self, wanted: Wanted, snaplen: int, leaving: bool) -> Watched:
        reason = wanted.drop
        if reason not in (None, "any", *engine.DROP_REASONS):
            raise JupiterError(
                "invalid-argument", f"Unknown drop reason {reason}, expected any or one of those that `drops` lists."
            )
        protocol = _PROTOCOLS[wanted.protocol] if wanted.protocol else 0
        with engine_errors("watch-busy"):
            engine.watch_begin(protocol, _matches(wanted.conditions), reason, snaplen, leaving)
        return Watched({port.number: port.device for port in self._ports}, self.worker_lcores())

    def workers(self) -> int:
        return len(engine.progress())


class Watched:
    """The engine's one watch (counters.Watch), with names for what it calls by numbers."""

    def __init__(self, devices: Mapping[int, str], lcores: Sequence[int]) -> None:
        self._devices = devices
        self._lcores = lcores

    def read(self, limit: int) -> tuple[list[Seen], int]:
        found, lost = engine.watch_read(max(1, limit // len(self._lcores)))
        return [self._named(seen) for seen in found], lost

    def stop(self) -> None:
        engine.watch_stop()

    def end(self) -> None:
        engine.watch_end()

    def _named(self, s: engine.Seen) -> Seen:
        return Seen(
            lcore=self._lcores[s.worker],
            ns=s.ns,
            kind=s.kind,
            device=self._devices[s.port],
            length=s.length,
            frame=s.frame,
            came=s.came,
            reason=s.reason,
            reason_text=engine.DROP_REASONS[s.reason] if s.reason else "",
            protocol=_NAMES.get(s.protocol, f"protocol {s.protocol}"),
            ends=_pair(s.ends),
            classified=s.classified,
            scheduled=s.scheduled,
            verdict=s.verdict,
            found=None if s.found is None else ("inbound", "outbound")[s.found],
            client=_end(s.client),
            virtual=_end(s.virtual),
            local=_end(s.local),
            real=_end(s.real),
            states=s.states,
            hop=(self._devices[s.hop[0]], s.hop[1].hex(":")) if s.hop else None,
            left=_pair(s.left),
            out=None if s.out is None else self._devices[s.out],
            to=None if s.to is None else self._lcores[s.to],
        )


def _end(end: tuple[bytes, int] | None) -> str | None:
    return _end_text(end) if end else None


def _end_text(end: tuple[bytes, int]) -> str:
    return f"{inet_ntoa(end[0])}:{end[1]}" if end[1] else inet_ntoa(end[0])


def _pair(ends: tuple[tuple[bytes, int], tuple[bytes, int]] | None) -> tuple[str, str] | None:
    return (_end_text(ends[0]), _end_text(ends[1])) if ends else None


@contextmanager
def engine_errors(code: str) -> Iterator[None]:
    """The engine's errors under a code of jupiter's, for nobody else can name their class."""
    try:
        yield
    except engine.EngineError as error:
        raise JupiterError(code, str(error)) from error


async def answered(question: engine.Question[Answer]) -> Answer:
    """What the worker answers, a few entries a turn; others are served meanwhile."""
    while not question.done():
        await asyncio.sleep(PATIENCE)
    return question.result()


def _seconds(earlier: Sample, later: Sample) -> float:
    return max(later.at - earlier.at, 0.001)


def _worker_traffic(
    seconds: float,
    then: engine.WorkerCounters,
    now: engine.WorkerCounters,
    current: engine.WorkerCounters,
    least_ports: int | None,
) -> WorkerTraffic:
    packets, busy_turns = now.packets - then.packets, now.busy_turns - then.busy_turns
    ticks = max(now.ticks - then.ticks, 1)
    return WorkerTraffic(
        lcore=current.lcore,
        busy=round(100 * (now.busy_ticks - then.busy_ticks) / ticks, 1),
        asleep=round(min(100, 100 * (now.asleep_ticks - then.asleep_ticks) / ticks), 1),
        sleeps=round((now.sleeps - then.sleeps) / seconds),
        turns=round((now.turns - then.turns) / seconds),
        packets=round(packets / seconds),
        per_turn=round(packets / max(busy_turns, 1), 1),
        handed_in=round((now.handed_in - then.handed_in) / seconds),
        handed_out=round((now.handed_out - then.handed_out) / seconds),
        strays=current.strays,
        handover=current.handover_depth,
        connections=current.connections,
        half_open=current.half_open,
        connections_free=current.connections_free,
        least_ports=least_ports,
        to_kernel=current.to_kernel_depth,
        from_kernel=current.from_kernel_depth,
        parked=current.parked,
    )


def _connection(c: engine.Connection) -> Connection:
    def end(address: bytes, port: int) -> tuple[str, int]:
        return inet_ntoa(address), port

    return Connection(
        c.protocol, end(*c.client), end(*c.virtual), end(*c.local), end(*c.real), c.flags, c.state, c.idle, c.timeout
    )


_ENDS = {"client": engine.CLIENT, "vip": engine.VIRTUAL, "local": engine.LOCAL, "rs": engine.REAL}


_PROTOCOLS = {"tcp": engine.TCP, "udp": engine.UDP, "icmp": 1, "arp": engine.ARP}
_NAMES = {number: name for name, number in _PROTOCOLS.items()}


def _matches(conditions: Iterable[Condition]) -> list[engine.Match]:
    return [
        engine.Match(
            sum(_ENDS[end] for end in condition.ends),
            condition.network.network_address.packed if condition.network else bytes(4),
            condition.network.netmask.packed if condition.network else bytes(4),
            condition.port,
        )
        for condition in conditions
    ]
