"""A service that answers from a script: for tests of what an operator meets, whatever the data plane would say."""

import contextlib
import socket
import socketserver
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jupiter import commands
from jupiter.control import protocol
from jupiter.errors import JupiterError

PAGE = 1024

Script = Mapping[str, Any]
"""Command -> its answer (all rows of a paged one), a function of the parameters that gives it, or a JupiterError."""


class ScriptedService:
    """Answers on .path from enter to exit; .asked are the (command, parameters) that came, .connections
    the clients. silent: it never answers."""

    def __init__(self, path: Path, script: Script, silent: bool = False) -> None:
        self.path = path
        self.script = dict(script)
        self.silent = silent
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.connections: set[socket.socket] = set()

    def __enter__(self) -> "ScriptedService":
        service = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                service.connections.add(self.connection)
                for line in self.rfile:
                    if not service.silent:
                        self.wfile.write(service._answer(line))

        class Server(socketserver.ThreadingUnixStreamServer):
            daemon_threads = True
            request_queue_size = 64

        self._server = Server(str(self.path), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self.path.unlink()
        self.hang_up()

    def hang_up(self) -> None:
        """On every client, as a service that dies."""
        for connection in self.connections:
            with contextlib.suppress(OSError):  # the client has gone before
                connection.shutdown(socket.SHUT_RDWR)
        self.connections.clear()

    def _answer(self, line: bytes) -> bytes:
        request = protocol.decode_message(line)
        assert isinstance(request, protocol.Request)
        params = dict(request.params)
        self.asked.append((request.method, params))
        cursor = int(params.pop("cursor", None) or 0)
        answer = self.script[request.method]
        try:
            if isinstance(answer, Callable):  # type: ignore[arg-type]
                answer = answer(**params)
            if isinstance(answer, JupiterError):
                raise answer
        except JupiterError as error:
            return protocol.encode_error(request.id, error)
        if commands.find(request.method).answer.paged:
            more = cursor + PAGE < len(answer)
            answer = {"rows": answer[cursor : cursor + PAGE], "cursor": str(cursor + PAGE) if more else None}
        return protocol.encode_result(request.id, answer)


def service_row(n: int = 0, protocol: str = "tcp", **values: Any) -> dict[str, Any]:
    """Of vs/list and vs/traffic."""
    return {
        "ip": f"10.0.{n >> 8 & 255}.{n & 255}",
        "port": 8888,
        "type": protocol,
        "sched": "wrr",
        "max_conns": 2147483647,
        "synproxy": 0,
        "toa": 0,
        "est_timeout": 0,
        "max_rate": 0,
        "cql": 0,
        "persistence": 0,
        "persistence_scope": "service",
        "mss": 0,
        "servers": 2,
        "active": 0,
        "total": 0,
        "in_packets": 0,
        "in_bytes": 0,
        "out_packets": 0,
        "out_bytes": 0,
        "drops": 0,
        **values,
    }


def server_row(n: int = 3, **values: Any) -> dict[str, Any]:
    """Of rs/list and rs/traffic."""
    return {
        "ip": f"1.1.1.{n}",
        "port": 80,
        "type": "tcp",
        "status": "up",
        "weight": 7,
        "state": "enabled",
        "max_conns": 2147483647,
        "backup": "off",
        "active": 0,
        "total": 0,
        "in_packets": 0,
        "in_bytes": 0,
        "out_packets": 0,
        "out_bytes": 0,
        **values,
    }
