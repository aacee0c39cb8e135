"""Many TCP connections that each ask and are answered without a pause, and how they end.

usage: tcp_crowd.py serve ADDRESS PORT              greets with its address, then echoes
       tcp_crowd.py ask ADDRESS PORT COUNT STOP     until the file STOP exists
ask prints "ready" when every connection has been answered, and at the end JSON: for each server's address
{"reset": N, "open": N, "answers": N, "wrong": N}.
"""

import json
import selectors
import socket
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

QUESTION = b"%016d"
TURN = 0.05


def greet(listener: socket.socket, address: str, selector: selectors.BaseSelector) -> None:
    sock, _ = listener.accept()
    sock.sendall(f"{address:16}".encode())
    selector.register(sock, selectors.EVENT_READ)


def serve(address: str, port: int) -> None:
    with socket.create_server((address, port), backlog=1024) as listener, selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        print("ready", flush=True)
        while True:
            for key, _ in selector.select():
                sock = key.fileobj
                assert isinstance(sock, socket.socket)
                if sock is listener:
                    greet(listener, address, selector)
                elif not echo(sock):
                    selector.unregister(sock)
                    sock.close()


def echo(sock: socket.socket) -> bool:
    try:
        data = sock.recv(4096)
        sock.sendall(data)
        return bool(data)
    except OSError:
        return False


@dataclass
class Asker:
    """One connection. heard: what has come of the answer to the question that is under way."""

    sock: socket.socket
    server: str
    number: int = 0
    heard: bytes = field(default=b"")

    def ask(self) -> None:
        self.sock.sendall(QUESTION % self.number)

    def hear(self, told: Counter[str]) -> bool:
        """False: reset."""
        try:
            self.heard += self.sock.recv(4096)
            if len(self.heard) >= len(QUESTION % 0):
                told["answers"] += 1
                told["wrong"] += self.heard != QUESTION % self.number
                self.number, self.heard = self.number + 1, b""
                self.ask()
        except ConnectionResetError:
            told["reset"] += 1
            return False
        return True


def connect(address: str, port: int, selector: selectors.BaseSelector) -> None:
    sock = socket.create_connection((address, port), timeout=5)
    asker = Asker(sock, sock.recv(16, socket.MSG_WAITALL).decode().strip())
    asker.ask()
    selector.register(sock, selectors.EVENT_READ, asker)


def ask(address: str, port: int, count: int, stop: Path) -> None:
    told: dict[str, Counter[str]] = defaultdict(Counter)
    with selectors.DefaultSelector() as selector:
        for _ in range(count):
            connect(address, port, selector)
        ready = False
        while not stop.exists():
            for key, _ in selector.select(TURN):
                if not key.data.hear(told[key.data.server]):
                    selector.unregister(key.fileobj)
            if not ready and sum(n["answers"] for n in told.values()) > 10 * count:
                print("ready", flush=True)
                ready = True
        for key in selector.get_map().values():
            told[key.data.server]["open"] += 1
    print(json.dumps(told))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", address, port]:
            serve(address, int(port))
        case ["ask", address, port, count, stop]:
            ask(address, int(port), int(count), Path(stop))
        case _:
            sys.exit(__doc__)
