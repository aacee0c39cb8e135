"""Connections by the thousand, all open at the same time, by real sockets; each carries a request and its answer.

usage: crowd.py serve ADDRESS PORT STOP
       crowd.py come VIP PORT CONNECTIONS CLIENT PATIENCE STEPS
serve echoes, and shares ADDRESS and PORT with others of its kind; it prints "ready", and when the file STOP exists
JSON: {"accepted": ..., "answered": ..., "ended": ...}.
come opens CONNECTIONS from the address CLIENT and prints JSON: {"opened": ..., "failed": within PATIENCE seconds}; when
the file STEPS.use exists, it sends a request on each and prints {"answered": ...}; when STEPS.leave exists, it closes
all in order, prints {"left": ...}, and ends.
"""

import contextlib
import errno
import json
import resource
import select
import socket
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

LAST_PORT = 65535
WINDOW = 30
"""Connections that are being opened, or requests without an answer, at the same time: few, or queues overflow on the
way, and what is lost costs seconds."""
SILENCE = 15.0
"""Seconds without an answer on any connection, after which no more is awaited."""
DROPPED = select.EPOLLERR | select.EPOLLHUP


def say(**report: object) -> None:
    print(json.dumps(report), flush=True)


def wait_for(file: Path) -> None:
    while not file.exists():
        time.sleep(0.02)


class Server:
    def __init__(self, address: str, port: int) -> None:
        self.listener = socket.create_server((address, port), backlog=16384, reuse_port=True)
        self.listener.setblocking(False)
        self.epoll = select.epoll()
        self.epoll.register(self.listener, select.EPOLLIN)
        self.guests: dict[int, socket.socket] = {}
        self.accepted = self.answered = 0

    def accept(self) -> None:
        for _ in range(256):
            try:
                guest, _ = self.listener.accept()
            except BlockingIOError:
                return
            self.guests[guest.fileno()] = guest
            self.epoll.register(guest.fileno(), select.EPOLLIN)
            self.accepted += 1

    def answer(self, number: int) -> None:
        guest = self.guests[number]
        try:
            request = guest.recv(64)
        except ConnectionResetError:
            request = b""
        if request:
            guest.send(request)
            self.answered += 1
        else:
            del self.guests[number]
            guest.close()

    def run(self, stop: Path) -> None:
        print("ready", flush=True)
        while not stop.exists():
            for number, _ in self.epoll.poll(0.05, 4096):
                if number == self.listener.fileno():
                    self.accept()
                else:
                    self.answer(number)
        say(accepted=self.accepted, answered=self.answered, ended=self.accepted - len(self.guests))


class Guests:
    def __init__(self, target: tuple[str, int], client: str, patience: float) -> None:
        self.target, self.client, self.patience = target, client, patience
        self.epoll = select.epoll()
        self.opened: dict[int, socket.socket] = {}
        self.failed = 0

    def knock(self, number: int) -> socket.socket:
        """From a port of our choice: the kernel's search takes long where few are free."""
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        sock.bind((self.client, LAST_PORT - number))
        if (code := sock.connect_ex(self.target)) not in (0, errno.EINPROGRESS):
            raise OSError(code, "connect")
        self.epoll.register(sock.fileno(), select.EPOLLOUT)
        return sock

    def open(self, connections: int) -> None:
        waiting: dict[int, tuple[socket.socket, float]] = {}
        number = 0
        while number < connections or waiting:
            while number < connections and len(waiting) < WINDOW:
                sock = self.knock(number)
                waiting[sock.fileno()] = sock, time.monotonic() + self.patience
                number += 1
            for fd, event in self.epoll.poll(0.05, WINDOW):
                sock, _ = waiting.pop(fd)
                self.settle(sock, not event & DROPPED)
            now = time.monotonic()
            while waiting and next(iter(waiting.values()))[1] < now:  # the oldest first
                self.settle(waiting.pop(next(iter(waiting)))[0], False)

    def settle(self, sock: socket.socket, well: bool) -> None:
        if well:
            self.opened[sock.fileno()] = sock
            self.epoll.modify(sock.fileno(), select.EPOLLIN)
        else:
            self.failed += 1
            self.epoll.unregister(sock.fileno())
            sock.close()

    def each(self, speak: Callable[[socket.socket], object], answer: Callable[[socket.socket], bytes]) -> int:
        """Speak on each connection, with WINDOW of them under way; on how many the right answer came."""
        mute, waiting = deque(self.opened.values()), set()
        well = 0
        heard = time.monotonic()
        while (mute or waiting) and time.monotonic() < heard + SILENCE:
            while mute and len(waiting) < WINDOW:
                sock = mute.popleft()
                waiting.add(sock.fileno())
                with contextlib.suppress(ConnectionError):  # epoll tells
                    speak(sock)
            for fd, _ in self.epoll.poll(0.05, WINDOW):
                waiting.discard(fd)
                heard = time.monotonic()
                try:
                    said = self.opened[fd].recv(64)
                    well += said == answer(self.opened[fd])
                except ConnectionError:
                    said = b""
                if not said:
                    self.epoll.unregister(fd)
        return well

    def use(self) -> int:
        def number(sock: socket.socket) -> bytes:
            return b"%012d" % sock.fileno()

        return self.each(lambda sock: sock.send(number(sock)), number)

    def leave(self) -> int:
        """By a FIN, which the server answers with its own."""
        return self.each(lambda sock: sock.shutdown(socket.SHUT_WR), lambda _: b"")


def come(target: tuple[str, int], connections: int, client: str, patience: float, steps: str) -> None:
    guests = Guests(target, client, patience)
    guests.open(connections)
    say(opened=len(guests.opened), failed=guests.failed)
    wait_for(Path(f"{steps}.use"))
    say(answered=guests.use())
    wait_for(Path(f"{steps}.leave"))
    say(left=guests.leave())


if __name__ == "__main__":
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    match sys.argv[1:]:
        case ["serve", address, port, stop]:
            Server(address, int(port)).run(Path(stop))
        case ["come", vip, port, connections, client, patience, steps]:
            come((vip, int(port)), int(connections), client, float(patience), steps)
        case _:
            sys.exit(__doc__)
