"""TCP transfers in both directions at the same time; each direction ends with its own FIN, and what came is compared.

usage: transfer.py serve ADDRESS PORT
       transfer.py run VIP PORT CONNECTIONS DOWN DOWN_SECONDS UP UP_SECONDS
DOWN bytes come from the server, evenly over DOWN_SECONDS, UP bytes go there; 0 seconds: as fast as it goes.
serve first prints "ready", then a line of JSON for each connection; run one line, a list with one for each:
{"error": ..., "whole": the right bytes came, "alone": seconds for which this end had closed its direction and still
received, "timestamps": ..., "sack": ..., "retransmitted": segments, "mss": bytes, "mtu": of the path, as this end
knows it}
"""

import hashlib
import json
import random
import socket
import struct
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

CHUNK = 64 << 10
PATIENCE = 60.0
HEADER = 64
IP_MTU = 14
TIMESTAMPS, SACK = 1, 2


@dataclass
class Plan:
    """Of one connection. What each end sends follows from the seed, so both know it."""

    seed: int
    down: int
    down_seconds: float
    up: int
    up_seconds: float

    def header(self) -> bytes:
        return f"{self.seed} {self.down} {self.down_seconds} {self.up} {self.up_seconds}".ljust(HEADER).encode()

    @staticmethod
    def read(header: bytes) -> "Plan":
        seed, down, down_seconds, up, up_seconds = header.split()
        return Plan(int(seed), int(down), float(down_seconds), int(up), float(up_seconds))

    def sent_down(self) -> bytes:
        return random.Random(2 * self.seed).randbytes(self.down)

    def sent_up(self) -> bytes:
        return random.Random(2 * self.seed + 1).randbytes(self.up)


class End:
    """One end of a connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.closed_at = 0.0

    def send(self, content: bytes, seconds: float) -> None:
        pieces = max(int(seconds * 20), 1)
        begin = time.monotonic()
        for number in range(pieces):
            self.sock.sendall(content[len(content) * number // pieces : len(content) * (number + 1) // pieces])
            if seconds:
                time.sleep(max(begin + seconds * (number + 1) / pieces - time.monotonic(), 0))
        self.sock.shutdown(socket.SHUT_WR)
        self.closed_at = time.monotonic()

    def receive(self) -> str:
        digest = hashlib.sha256()
        while piece := self.sock.recv(CHUNK):
            digest.update(piece)
        return digest.hexdigest()

    def exchange(self, sent: bytes, seconds: float, expected: bytes) -> dict[str, object]:
        with ThreadPoolExecutor(1) as pool:
            sending = pool.submit(self.send, sent, seconds)
            digest = self.receive()
            heard_all = time.monotonic()
            sending.result()
        whole = digest == hashlib.sha256(expected).hexdigest()
        return {"whole": whole, "alone": heard_all - self.closed_at, **self.told()}

    def told(self) -> dict[str, object]:
        """What the kernel says of the connection."""
        info = self.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
        options, mss, retransmitted = (
            info[5],
            struct.unpack_from("=I", info, 16)[0],
            struct.unpack_from("=I", info, 100)[0],
        )
        return {
            "timestamps": bool(options & TIMESTAMPS),
            "sack": bool(options & SACK),
            "retransmitted": retransmitted,
            "mss": mss,
            "mtu": self.sock.getsockopt(socket.IPPROTO_IP, IP_MTU),
        }


def serve_one(sock: socket.socket) -> None:
    with sock:
        try:
            sock.settimeout(PATIENCE)
            plan = Plan.read(sock.recv(HEADER, socket.MSG_WAITALL))
            report = End(sock).exchange(plan.sent_down(), plan.down_seconds, plan.sent_up())
        except (OSError, ValueError) as error:
            report = {"error": repr(error)}
    print(json.dumps(report) + "\n", end="", flush=True)


def serve(address: str, port: int) -> None:
    with socket.create_server((address, port), backlog=1024) as listener:
        print("ready", flush=True)
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=serve_one, args=(sock,), daemon=True).start()


def run_one(target: tuple[str, int], plan: Plan) -> dict[str, object]:
    try:
        with socket.create_connection(target, timeout=PATIENCE) as sock:
            sock.sendall(plan.header())
            return End(sock).exchange(plan.sent_up(), plan.up_seconds, plan.sent_down())
    except OSError as error:
        return {"error": repr(error)}


def run(target: tuple[str, int], connections: int, down: int, down_seconds: float, up: int, up_seconds: float) -> None:
    plans = [Plan(seed, down, down_seconds, up, up_seconds) for seed in range(1, connections + 1)]
    with ThreadPoolExecutor(connections) as pool:
        print(json.dumps(list(pool.map(lambda plan: run_one(target, plan), plans))))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", address, port]:
            serve(address, int(port))
        case ["run", vip, port, connections, down, down_seconds, up, up_seconds]:
            run((vip, int(port)), int(connections), int(down), float(down_seconds), int(up), float(up_seconds))
        case _:
            sys.exit(__doc__)
