"""The synchronous client of the control channel, for automation. README.md beside this file shows how it is used.

    with Client() as jupiter:
        jupiter.call("vs/add", service="10.0.1.1:8888 tcp", scheduler="wrr")
        for row in jupiter.rows("vs/list"):
            print(row["ip"], row["port"])

Names of commands and parameters are those of jupiter.commands.
"""

import contextlib
import socket
import struct
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Self

from jupiter.control import DEFAULT_SOCKET, protocol
from jupiter.errors import JupiterError

Row = dict[str, Any]
_PIECE = 1 << 16
"""Characters of a draft in one message: escaped they take up to 12 bytes each."""


class Client:
    """One connection to jupiter-service; it does not connect again by itself. Not for several threads at once.

    Every method raises JupiterError: the service's own codes, or "not-running", "no-answer" (also after `timeout`
    seconds of silence) and "invalid-answer". After these three the connection is of no more use; after others it is.
    """

    def __init__(self, path: str | Path = DEFAULT_SOCKET, timeout: float = 120.0) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            _connect(self._socket, str(path), timeout)
        except OSError as error:
            self._socket.close()
            reason = error.strerror or str(error)
            raise JupiterError("not-running", f"jupiter-service does not answer on {path}: {reason}.") from None
        self._answers = self._socket.makefile("rb")
        self._last_id = 0

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
        answer = self._exchange(protocol.encode_request(self._last_id, method, params))
        return protocol.decode_response(answer, self._last_id)

    def pages(self, method: str, **params: Any) -> Iterator[list[Row]]:
        """The rows of a paged command, page by page; of one that waits for what comes, a page may be empty."""
        cursor = ""
        while cursor is not None:
            page = self.call(method, **params, cursor=cursor)
            yield page["rows"]
            cursor = page["cursor"]

    def rows(self, method: str, **params: Any) -> Iterator[Row]:
        """All rows of a paged command, a page at a time."""
        for page in self.pages(method, **params):
            yield from page

    def batch(self, requests: Iterable[tuple[str, Mapping[str, Any]]]) -> list[Any]:
        """For each (method, params), in order: its answer, or the JupiterError that it got.

        Each is carried out by itself: one that fails stops none that follows. MAX_BATCH of them go out in a message.
        """
        answers: list[Any] = []
        rest = iter(requests)
        while some := list(islice(rest, protocol.MAX_BATCH)):
            first_id = self._last_id + 1
            self._last_id += len(some)
            answer = self._exchange(protocol.encode_batch(first_id, some))
            answers += protocol.decode_responses(answer, first_id, len(some))
        return answers

    def draft(self, text: str) -> None:
        """Send a text ahead, of any length, for the command that is called next (apply, diff, check)."""
        for start in range(0, len(text) or 1, _PIECE):
            self.call("draft", text=text[start : start + _PIECE])

    def apply(self, services: str | Path, policy: str = "keep") -> Row:
        """Make the services what a text (str) or a file (Path) says; what was changed.

        policy: what becomes of the TCP connections of servers that are removed, "keep" or "reset".
        """
        self._send_ahead(services)
        answer: Row = self.call("apply", file=_name(services), policy=policy)
        return answer

    def diff(self, services: str | Path) -> list[Row]:
        """What apply() would change; []: nothing."""
        self._send_ahead(services)
        return list(self.rows("diff", file=_name(services)))

    def check(self, services: str | Path) -> Row:
        """What is in a text or file of services; raises what apply() would, and changes nothing."""
        self._send_ahead(services)
        answer: Row = self.call("check", file=_name(services))
        return answer

    def _send_ahead(self, services: str | Path) -> None:
        text = services if isinstance(services, str) else _read(services)
        try:
            self.draft(text)
        except JupiterError as error:
            if error.code not in ("draft-too-large", "invalid-argument"):
                raise
            # the command that follows gets the same error, and clears the rest of the draft away

    def _exchange(self, request: bytes) -> bytes:
        try:
            with contextlib.suppress(BrokenPipeError):  # it may have said why it closed the connection
                self._socket.sendall(request)
            answer = self._answers.readline(protocol.MAX_MESSAGE + 1)
        except OSError as error:
            raise JupiterError("no-answer", f"jupiter-service on {self._path}: {error.strerror or error}.") from None
        if not answer:
            raise JupiterError("no-answer", f"jupiter-service on {self._path} closed the connection.")
        return answer


def _connect(connection: socket.socket, path: str, timeout: float) -> None:
    """Where many connect at once, a socket that does not block gets EAGAIN; with the kernel's timeout it stands in line
    (unix(7), socket(7))."""
    connection.setsockopt(
        socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(timeout), int(timeout % 1 * 1e6))
    )
    connection.connect(path)
    connection.settimeout(timeout)


def _name(services: str | Path) -> str:
    """How errors call it."""
    return "text" if isinstance(services, str) else str(services)


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise JupiterError("file-unreadable", f"Cannot read {path}: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise JupiterError("file-unreadable", f"Cannot read {path}: it is not UTF-8.") from None
