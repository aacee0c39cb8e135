"""The control server: commands from a Unix socket, one at a time, to the data plane.

Rude clients (idle, slow, half-closed, huge, many) cost bounded memory and time, and only their own connection.
"""

import asyncio
import contextlib
import errno
import logging
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

from jupiter import handlers
from jupiter.control import protocol
from jupiter.counters import Published
from jupiter.errors import JupiterError
from jupiter.model import Model

log = logging.getLogger(__name__)

MAX_CLIENTS = 64
IDLE_SECONDS = 60.0
"""Within this time a request must have arrived whole."""
SLOW_SECONDS = 10.0
"""Within this time an answer must have been taken."""


class ControlServer:
    """Serves `path` between start() and close(). on_stop is called when a client asked for the end of the service."""

    def __init__(
        self,
        path: Path,
        datapath: Published,
        on_stop: Callable[[], None],
        idle_seconds: float = IDLE_SECONDS,
        slow_seconds: float = SLOW_SECONDS,
    ) -> None:
        self._path = path
        self._datapath = datapath
        self._on_stop = on_stop
        self._idle_seconds = idle_seconds
        self._slow_seconds = slow_seconds
        self._clients: dict[asyncio.Task[None], None] = {}
        """Connections, the one that was silent for longest first."""
        self._server: asyncio.Server | None = None
        self._inode = 0

    async def start(self) -> None:
        """Raises JupiterError when the socket cannot be had."""
        listener = listen(self._path)
        self._inode = self._path.stat().st_ino
        self._server = await asyncio.start_unix_server(self._serve, sock=listener, limit=protocol.MAX_MESSAGE)

    async def close(self) -> None:
        if self._server:
            self._server.close()
        for client in list(self._clients):
            client.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
        with contextlib.suppress(FileNotFoundError):
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = asyncio.current_task()
        assert client is not None
        self._clients[client] = None
        if len(self._clients) > MAX_CLIENTS:
            next(iter(self._clients)).cancel()
        try:
            while line := await self._receive(reader, writer):
                self._clients[client] = self._clients.pop(client)
                await self._send(writer, self._answer(line))
                await asyncio.sleep(0)  # a client that sends many requests at once takes turns with the others
        except (ConnectionError, TimeoutError, asyncio.CancelledError):
            pass  # gone, too slow, or displaced by a newer client
        finally:
            del self._clients[client]
            writer.transport.abort() if writer.transport.get_write_buffer_size() else writer.close()

    async def _receive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        """The next request line; b"" when there is none to come."""
        try:
            async with asyncio.timeout(self._idle_seconds):
                return await reader.readuntil(b"\n")
        except asyncio.IncompleteReadError as end:
            return end.partial  # a last line without its end: what was meant is known all the same
        except asyncio.LimitOverrunError:
            error = JupiterError("message-too-large", f"A request must be at most {protocol.MAX_MESSAGE} bytes.")
            await self._send(writer, protocol.encode_error(None, error))
            return b""

    async def _send(self, writer: asyncio.StreamWriter, answer: bytes) -> None:
        async with asyncio.timeout(self._slow_seconds):
            writer.write(answer)
            await writer.drain()

    def _answer(self, line: bytes) -> bytes:
        """One request line -> one answer line, or nothing for a notification."""
        try:
            request = protocol.decode_request(line)
        except protocol.RequestError as error:
            return protocol.encode_error(error.id, error)
        try:
            answer = protocol.encode_result(request.id, self._execute(request))
        except JupiterError as error:
            answer = protocol.encode_error(request.id, error)
        except Exception:
            log.exception("command %s failed", request.method)
            internal = JupiterError("internal", f"Command {request.method} failed inside the service: see its log.")
            answer = protocol.encode_error(request.id, internal)
        return answer if request.wants_answer else b""

    def _execute(self, request: protocol.Request) -> handlers.Json:
        outcome = handlers.execute(self._datapath, request.method, request.params)
        if isinstance(outcome, Model):
            self._datapath.publish(outcome)
            return None
        if isinstance(outcome, handlers.Stop):
            self._on_stop()
            return None
        return outcome


def listen(path: Path) -> socket.socket:
    """A listening Unix socket at path that only its owner may use; takes the place of a dead one.

    Raises JupiterError when another process answers there, or something that is no socket is in the way.
    """
    try:
        _remove_stale(path)
        listener = socket.socket(socket.AF_UNIX)
        former = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(former)
        listener.listen(MAX_CLIENTS)
    except OSError as error:
        raise JupiterError("socket-unusable", f"Cannot listen on {path}: {error.strerror or error}.") from None
    return listener


def _remove_stale(path: Path) -> None:
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise JupiterError("socket-unusable", f"Cannot listen on {path}: a file that is no socket is in the way.")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)  # one that is alive but busy must not hold us up
        refused = probe.connect_ex(str(path)) == errno.ECONNREFUSED
    if not refused:
        raise JupiterError("already-running", f"Cannot listen on {path}: another service answers there.")
    path.unlink()
