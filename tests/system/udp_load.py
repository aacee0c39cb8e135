"""Many queries by UDP, at a rate, and the server that echoes them.

usage: udp_load.py serve ADDRESS PORT
       udp_load.py ask VIP PORT RATE STOP       RATE queries a second at most, until the file STOP exists
ask prints "ready" with the first answer, and at the end JSON: {"sent": N, "answered": N, "rate": queries a second,
"seconds": S}. It has WINDOW queries without an answer under way at most, so that no socket's buffer overflows where the
machine is slow.
"""

import json
import select
import socket
import sys
import time
from pathlib import Path

WINDOW = 256
BUFFER = 8 << 20
PATIENCE = 2.0
"""Seconds after which a query is taken for lost."""
SO_RCVBUFFORCE = 33
TURN = 0.001


def open_socket() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
    return sock


def serve(address: str, port: int) -> None:
    with open_socket() as sock:
        sock.bind((address, port))
        print("ready", flush=True)
        while True:
            sock.sendto(*sock.recvfrom(2048))


class Asker:
    """waiting: when a query was sent that has no answer yet, by its number, oldest first."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.sock = open_socket()
        self.sock.connect(target)
        self.sock.setblocking(False)
        self.waiting: dict[int, float] = {}
        self.sent = self.answered = 0

    def ask(self, count: int, now: float) -> None:
        for _ in range(min(count, WINDOW - len(self.waiting))):
            self.sock.send(b"%012d" % self.sent)
            self.waiting[self.sent] = now
            self.sent += 1

    def hear(self, seconds: float) -> None:
        if not select.select([self.sock], [], [], max(seconds, 0))[0]:
            return
        try:
            while True:
                self.answered += self.waiting.pop(int(self.sock.recv(64)), None) is not None
        except BlockingIOError:
            return

    def give_up(self, now: float) -> None:
        for number, since in list(self.waiting.items()):
            if since > now - PATIENCE:
                break
            del self.waiting[number]


def ask(vip: str, port: int, rate: int, stop: Path) -> None:
    asker = Asker((vip, port))
    while not asker.answered:
        asker.ask(1, time.monotonic())
        asker.hear(0.1)
    print("ready", flush=True)
    begin = due = time.monotonic()
    first = asker.sent
    while not stop.exists():
        now = time.monotonic()
        asker.ask(int((now - due) * rate), now)
        due += int((now - due) * rate) / rate
        asker.hear(TURN)
        asker.give_up(now)
    seconds = time.monotonic() - begin
    while asker.waiting and time.monotonic() < begin + seconds + PATIENCE:
        asker.hear(0.1)
    report = {"sent": asker.sent, "answered": asker.answered, "rate": round((asker.sent - first) / seconds)}
    print(json.dumps(report | {"seconds": round(seconds, 1)}))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", address, port]:
            serve(address, int(port))
        case ["ask", vip, port, rate, stop]:
            ask(vip, int(port), int(rate), Path(stop))
        case _:
            sys.exit(__doc__)
