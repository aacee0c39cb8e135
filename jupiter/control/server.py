"""The control server: who is connected, for how long, and whose turn it is. What is said is dispatch.py's.

Each connection has a task that reads a request, has it carried out, sends the answer, and so on: what a client sends
beyond that stays in the kernel's socket buffers until it is stopped by them. Rude clients (idle, slow, half-closed,
huge, many) cost bounded memory and time, and only their own connection.
"""

import asyncio
import contextlib
import logging
import pwd
import socket
import struct
from pathlib import Path

from jupiter.control import dispatch, protocol
from jupiter.control.clients import Client, Roll, Stage
from jupiter.control.listen import listen
from jupiter.errors import JupiterError
from jupiter.session import DraftBudget, Session

log = logging.getLogger(__name__)

MAX_CLIENTS = 128
"""Each holds up to one message read and one answer, 2 MiB, beside its draft."""
SPARE_CLIENTS = 16
"""Beyond those, for processes with one connection or none, while all others wait for answers."""
IDLE_SECONDS = 600.0
"""For so long a client may ask nothing."""
SLOW_SECONDS = 10.0
"""Within this time a request must arrive whole once it has begun, a draft be used, an answer be taken."""
GRACE_SECONDS = 30.0
"""For so long the end of the server waits for requests that are being carried out."""
LARGE = 1 << 16
"""Bytes of a request from which on its client waits for its turn."""
LONG_SECONDS = 0.00025
"""A client whose last request took longer waits for its turn."""

_READ = 1 << 16
_ACCEPT = 16
"""Connections accepted at once, before those that are there have their turns."""
NOBODY = 0
"""Process that has no connection."""
_PEER = struct.Struct("3i")
"""struct ucred: pid, uid, gid (unix(7))."""


def _last_words(code: str, text: str) -> bytes:
    return protocol.encode_error(None, JupiterError(code, text))


_DISPLACED = _last_words("displaced", "The connection was idle, and made room for a newer one.")
_TOO_SLOW = _last_words("too-slow", "The connection was idle for too long, or a request or an answer took too long.")
_BUSY = _last_words("busy", "All connections that the service allows wait for answers.")


class ControlServer:
    """Serves `path` between start() and close(). read_only: its sessions are. drafts: shared by several servers."""

    def __init__(
        self,
        path: Path,
        executor: dispatch.Executor,
        *,
        mode: int | None = None,
        group: str | None = None,
        read_only: bool = False,
        drafts: DraftBudget | None = None,
        max_clients: int = MAX_CLIENTS,
        idle_seconds: float = IDLE_SECONDS,
        slow_seconds: float = SLOW_SECONDS,
        grace_seconds: float = GRACE_SECONDS,
    ) -> None:
        self._path = path
        self._executor = executor
        self._mode = mode
        self._group = group
        self._read_only = read_only
        self._drafts = drafts or DraftBudget()
        self._max_clients = max_clients
        self._idle_seconds = idle_seconds
        self._slow_seconds = slow_seconds
        self._grace_seconds = grace_seconds
        self._clients = Roll()
        self._tasks: set[asyncio.Task[None]] = set()
        self._turnstile = asyncio.Lock()
        self._users: dict[int, str] = {}
        self._ending = False

    async def start(self) -> None:
        """Raises JupiterError when the socket cannot be had."""
        self._listener = listen(self._path, self._mode, self._group)
        self._inode = self._path.stat().st_ino
        self._users = {user.pw_uid: user.pw_name for user in pwd.getpwall()}  # now: later it would hold up the loop
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._listener, self._accept)
        self._watch = asyncio.create_task(self._dismiss_the_late())

    async def close(self) -> None:
        """Requests that are being carried out are answered, within the grace time."""
        self._ending = True
        self._loop.remove_reader(self._listener)
        self._listener.close()
        with contextlib.suppress(FileNotFoundError):
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()
        for client in self._clients:
            if client.stage is Stage.RECEIVING:
                self._end(client)
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=self._grace_seconds)
            for task in late:
                task.cancel()
            if late:
                log.warning("%d requests on %s were cut off, for they had not ended", len(late), self._path)
                await asyncio.wait(late, timeout=1)
        self._watch.cancel()
        await asyncio.wait([self._watch])

    def _accept(self) -> None:
        for _ in range(_ACCEPT):
            try:
                connection, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:  # no descriptor is left, or no memory
                log.warning("cannot accept a client on %s: %s", self._path, error.strerror)
                self._make_room(NOBODY)
                self._loop.remove_reader(self._listener)
                self._loop.call_later(1, self._accept_again)
                return
            self._admit(connection)

    def _accept_again(self) -> None:
        if not self._ending:
            self._loop.add_reader(self._listener, self._accept)

    def _admit(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        pid, uid, gid = _PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
        if len(self._clients) >= self._max_clients and not self._make_room(pid):
            _tell(connection, _BUSY)
            connection.close()
            return
        session = Session(pid, uid, gid, user=self._users.get(uid), read_only=self._read_only, budget=self._drafts)
        client = Client(connection, session)
        self._clients.add(client)
        client.task = asyncio.create_task(self._serve(client))
        client.task.add_done_callback(lambda task: self._forget(client, task))
        self._tasks.add(client.task)

    def _make_room(self, pid: int) -> bool:
        """For a newcomer of this process; False: there is none."""
        if client := self._clients.dispensable_of_larger(pid):
            self._dismiss(client, _DISPLACED)
        elif self._clients.connections_of(pid) <= 1 and len(self._clients) < self._max_clients + SPARE_CLIENTS:
            pass
        elif client := self._clients.dispensable_of(pid):
            self._dismiss(client, _DISPLACED)
        else:
            return False
        return True

    async def _dismiss_the_late(self) -> None:
        while True:
            await asyncio.sleep(min(self._idle_seconds, self._slow_seconds, 4) / 4)
            now = self._loop.time()
            for client in self._clients:
                if client.deadline < now:
                    self._dismiss(client, _TOO_SLOW)

    def _dismiss(self, client: Client, last_words: bytes) -> None:
        if client.stage is Stage.RECEIVING:
            _tell(client.connection, last_words)
        self._end(client)

    def _end(self, client: Client) -> None:
        assert client.task is not None
        self._clients.remove(client)
        client.task.cancel()

    def _forget(self, client: Client, task: asyncio.Task[None]) -> None:
        """Also of a client that was dismissed before its task began."""
        self._tasks.discard(task)
        self._clients.remove(client)
        client.session.end()
        client.connection.close()

    async def _serve(self, client: Client) -> None:
        with contextlib.suppress(OSError):  # gone
            while not self._ending and (line := await self._receive(client)) is not None:
                self._clients.note_life(client)
                if client.takes_long or len(line) > LARGE:
                    client.enter(Stage.RECEIVING)
                    await self._wait_for_turn()
                answer = await self._answer(client, line)
                await self._send(client, answer)
                await asyncio.sleep(0)  # a client that sends many requests at once takes turns with the others

    async def _answer(self, client: Client, line: bytes) -> bytes:
        """Carried out to its end, also for a client that has gone meanwhile: nothing looks at its connection."""
        client.enter(Stage.EXECUTING)
        began = self._loop.time()
        answer = await dispatch.answer(self._executor, client.session, line)
        client.takes_long = self._loop.time() - began > LONG_SECONDS
        return answer

    async def _wait_for_turn(self) -> None:
        """One client goes on in each turn of the loop: those who ask for little wait for one that asks for much."""
        async with self._turnstile:
            await asyncio.sleep(0)

    async def _receive(self, client: Client) -> bytes | None:
        """The next line; None: there is none to come."""
        begun = client.lines or client.session.has_draft
        client.enter(Stage.RECEIVING, self._loop.time() + (self._slow_seconds if begun else self._idle_seconds))
        try:
            while (line := client.lines.take()) is None:
                if len(client.lines) >= LARGE:
                    await self._wait_for_turn()
                data = await self._loop.sock_recv(client.connection, _READ)
                if not data:
                    return client.lines.take_rest() or None  # without its end: what was meant is known all the same
                if not client.lines:
                    client.enter(Stage.RECEIVING, self._loop.time() + self._slow_seconds)
                client.lines.feed(data)
            return line
        except protocol.RequestError as error:
            await self._send(client, protocol.encode_error(None, error))
            return None

    async def _send(self, client: Client, answer: bytes) -> None:
        client.enter(Stage.SENDING, self._loop.time() + self._slow_seconds)
        await self._loop.sock_sendall(client.connection, answer)


def _tell(connection: socket.socket, last_words: bytes) -> None:
    """If it can be told at once."""
    with contextlib.suppress(OSError):
        connection.send(last_words)
