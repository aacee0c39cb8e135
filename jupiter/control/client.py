"""A small synchronous client of the control channel.

    with Client() as jupiter:
        jupiter.call("vs/add", service="10.0.1.1:8888 tcp", scheduler="wrr")
        for row in jupiter.rows("vs/list"):
            print(row["ip"], row["port"])

Names of commands and parameters are those of jupiter.commands.
"""

import socket
import time
from collections.abc import Iterator
from typing import Any, Self

from jupiter.control import DEFAULT_SOCKET, protocol
from jupiter.errors import JupiterError


class Client:
    """One connection to jupiter-service. Every method raises JupiterError: the service's own, or
    "not-running", "no-answer" (timeout, seconds) and "invalid-answer"."""

    def __init__(self, path: str = DEFAULT_SOCKET, timeout: float = 30.0) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(timeout)
        try:
            self._connect(time.monotonic() + timeout)
        except OSError as error:
            self._socket.close()
            reason = error.strerror or str(error)
            raise JupiterError("not-running", f"jupiter-service does not answer on {path}: {reason}.") from None
        self._answers = self._socket.makefile("rb")
        self._last_id = 0

    def _connect(self, deadline: float) -> None:
        """A socket with a timeout does not wait where many connect at once, it gets EAGAIN (unix(7))."""
        while True:
            try:
                return self._socket.connect(self._path)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._answers.close()
        self._socket.close()

    def call(self, method: str, **params: Any) -> Any:
        """The command's answer; of a paged one, a page: {"rows": [...], "cursor": ...}."""
        self._last_id += 1
        request = protocol.encode_request(self._last_id, method, params)
        try:
            self._socket.sendall(request)
            answer = self._answers.readline(protocol.MAX_MESSAGE + 1)
        except OSError as error:
            raise JupiterError("no-answer", f"jupiter-service on {self._path}: {error.strerror or error}.") from None
        if not answer:
            raise JupiterError("no-answer", f"jupiter-service on {self._path} closed the connection.")
        return protocol.decode_response(answer, self._last_id)

    def rows(self, method: str, **params: Any) -> Iterator[dict[str, Any]]:
        """All rows of a paged command, a page at a time."""
        cursor = ""
        while cursor is not None:
            page = self.call(method, **params, cursor=cursor)
            yield from page["rows"]
            cursor = page["cursor"]
