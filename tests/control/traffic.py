"""Answers of a director that carries traffic, for `top`."""

import time
from collections.abc import Callable
from typing import Any

from tests.control.scripted import Script, server_row, service_row


class Traffic:
    """Service n of `services` carries n thousand packets of 1,000 bytes a second each way, since begin().

    clock: seconds. Counters are exact functions of it.
    """

    def __init__(self, services: int = 3, clock: Callable[[], float] = time.monotonic) -> None:
        self.services = services
        self._clock = clock
        self.begin()

    def begin(self) -> None:
        """All counters are 0 again, as after a restart."""
        self._start = self._clock()

    def script(self) -> Script:
        return {
            "version": {"version": "0.1.0"},
            "vs/traffic": lambda: [service_row(n, **self._counters(n)) for n in range(self.services)],
            "rs/traffic": self._servers,
            "worker/stats": [worker_row(1), worker_row(2, busy=99.95)],
            "drops": [
                drop_row("no_service", 10, 0.0, "No virtual service has this address and port."),
                drop_row("ttl_expired", 2_000_000, 1500.0, "TTL 1 or less."),
                drop_row("never", 0, 0.0, "Does not happen."),
            ],
            "netdev/stats": lambda: [self._device()],
        }

    def _counters(self, n: int) -> dict[str, int]:
        packets = int(1000 * n * (self._clock() - self._start))
        return {
            "active": n,
            "total": packets // 10,
            "in_packets": packets,
            "in_bytes": packets * 1000,
            "out_packets": packets,
            "out_bytes": packets * 1000,
            "drops": 0,
        }

    def _servers(self, service: str) -> list[dict[str, Any]]:
        third = int(service.split(":")[0].split(".")[3])
        counters = {k: v for k, v in self._counters(third).items() if k != "drops"}
        return [server_row(third, **counters), server_row(third + 100, status="down", state="disabled", weight=0)]

    def _device(self) -> dict[str, Any]:
        counters = self._counters(5)
        return {
            "dev": "jupiter0",
            "RX-packets": counters["in_packets"],
            "RX-bytes": counters["in_bytes"],
            "RX-errors": 1,
            "RX-nombuf": 2,
            "RX-misses": 3,
            "RX-dropped": 4,
            "TX-packets": counters["out_packets"],
            "TX-bytes": counters["out_bytes"],
            "TX-errors": 5,
            "TX-dropped": 6,
        }


def worker_row(lcore: int, **values: Any) -> dict[str, Any]:
    return {
        "lcore": lcore,
        "busy": 12.34,
        "asleep": 45.67,
        "sleeps": 20,
        "turns": 100_000,
        "packets": 1_234_567,
        "per_turn": 12.3,
        "handed_in": 7,
        "handed_out": 8,
        "handover": 0,
        "strays": 0,
        "conns": 100,
        "half_open": 2,
        "conns_left": 1_000_000,
        "lports_left": 250_000,
        "to_kernel": 0,
        "from_kernel": 0,
        "parked": 0,
        **values,
    }


def drop_row(reason: str, count: int, rate: float, description: str) -> dict[str, Any]:
    return {"reason": reason, "count": count, "rate": rate, "description": description}
