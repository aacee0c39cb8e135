"""Queries by UDP without a pause, on one connection that lasts and on a new one for each: what gets lost, how long.

usage: prober.py VIP PORT STOP     until the file STOP exists; servers: udp_peer.py serve
Prints "ready" when the first answers have come on both, and at the end JSON, for each of "old" and "new" connections:
{"sent": N, "lost": N, "gap": seconds without an answer at most}
"""

import contextlib
import json
import select
import socket
import sys
import time
from itertools import pairwise
from pathlib import Path

PERIOD = 0.005
PATIENCE = 1.0


class Queries:
    """sent: when, by number; gap: between the sending times of two queries that were answered one after the other."""

    def __init__(self) -> None:
        self.sent: dict[int, float] = {}
        self.answered: set[int] = set()

    def report(self) -> dict[str, float]:
        answered = [at for number, at in self.sent.items() if number in self.answered]
        gap = max((b - a for a, b in pairwise(answered)), default=PATIENCE)
        return {"sent": len(self.sent), "lost": len(self.sent) - len(answered), "gap": round(gap, 3)}


class Prober:
    def __init__(self, vip: str, port: int) -> None:
        self.target = vip, port
        self.old, self.new = Queries(), Queries()
        self.lasting = self.open()
        self.fresh: dict[socket.socket, float] = {}
        self.number = 0

    @staticmethod
    def open() -> socket.socket:
        return socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)

    def ask(self, queries: Queries, by: socket.socket) -> None:
        self.number += 1
        queries.sent[self.number] = time.monotonic()
        with contextlib.suppress(OSError):  # no route: counts as lost
            by.sendto(f"1 {self.number}".encode(), self.target)

    def hear(self, seconds: float) -> None:
        for ready in select.select([self.lasting, *self.fresh], [], [], seconds)[0]:
            try:
                number = int(ready.recv(2048).split()[1].rstrip(b":"))
            except OSError:
                continue
            queries = self.old if ready is self.lasting else self.new
            queries.answered.add(number)
            if ready in self.fresh:
                del self.fresh[ready]
                ready.close()

    def turn(self) -> None:
        now = time.monotonic()
        self.ask(self.old, self.lasting)
        fresh = self.open()
        self.fresh[fresh] = now
        self.ask(self.new, fresh)
        while (rest := now + PERIOD - time.monotonic()) > 0:
            self.hear(rest)
        for silent in [s for s, since in self.fresh.items() if since < now - PATIENCE]:
            del self.fresh[silent]
            silent.close()

    def drain(self) -> None:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            self.hear(0.01)


def main(vip: str, port: int, stop: Path) -> None:
    prober = Prober(vip, port)
    while not (prober.old.answered and prober.new.answered):
        prober.turn()
    prober.old, prober.new = Queries(), Queries()
    print("ready", flush=True)
    while not stop.exists():
        prober.turn()
    prober.drain()
    print(json.dumps({"old": prober.old.report(), "new": prober.new.report()}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
