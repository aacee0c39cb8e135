"""JSON-RPC 2.0 (https://www.jsonrpc.org/specification), one message a line of at most MAX_MESSAGE bytes.

Pure: bytes in, bytes out. A message is a request, or a batch of them (section 6). Parameters go by name.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

from jupiter.errors import JupiterError

MAX_MESSAGE = 1 << 20
"""Bytes, the newline included."""
MAX_BATCH = 1000
"""Requests in one message."""
MAX_VALUES = 1 << 15
"""Values in one message to the server: what it costs to read stays within milliseconds and 8 MiB, whatever is in it."""
MAX_ID = 64
"""Characters of an id: an error that repeats it fits into an answer, and so do MAX_BATCH of them."""
MAX_TEXT = 1 << 16
"""Characters of an error's text; escaped they take up to 12 bytes each."""

_NUMBERS = {
    "parse-error": -32700,
    "invalid-request": -32600,
    "unknown-command": -32601,
    "invalid-argument": -32602,
    "internal": -32603,
}
_OTHER = -32000
"""Number of the errors that the specification has no number for; error.data.code tells them apart."""

RequestId = str | int | float | None


class Request(NamedTuple):
    method: str
    params: Mapping[str, Any]
    id: RequestId
    wants_answer: bool
    """False for a notification."""


class RequestError(JupiterError):
    """A message that is no request; id is the sender's, where it could be read.

    wants_answer: False for a notification, which is not answered even where its parameters are wrong (section 4.1).
    """

    def __init__(self, code: str, text: str, id: RequestId = None, wants_answer: bool = True) -> None:
        super().__init__(code, text)
        self.id = id
        self.wants_answer = wants_answer


Member = Request | RequestError
"""Of a batch: what was asked, or what is wrong with it."""


class Lines:
    """Bytes as they come -> lines. Holds no more than MAX_MESSAGE and what was fed last."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._searched = 0

    def __len__(self) -> int:
        """Bytes that wait for the end of their line."""
        return len(self._data)

    def feed(self, data: bytes) -> None:
        self._data += data

    def take(self) -> bytes | None:
        """The next line, without its end; None: it is not whole yet. Raises RequestError("message-too-large")."""
        end = self._data.find(b"\n", self._searched)
        self._searched = len(self._data) if end < 0 else 0
        if max(end, self._searched) >= MAX_MESSAGE:
            raise RequestError("message-too-large", f"A message must be at most {MAX_MESSAGE} bytes.")
        if end < 0:
            return None
        line = bytes(self._data[:end])
        del self._data[: end + 1]
        return line

    def take_rest(self) -> bytes:
        """What came after the last line."""
        rest = bytes(self._data)
        self._data.clear()
        return rest


def decode_message(line: bytes) -> Request | list[Member]:
    """A request, or a batch's members in their order. Raises RequestError, and nothing else, on any bytes."""
    if _holds_too_much(line):
        raise RequestError("invalid-request", f"A message must hold at most {MAX_VALUES} values.")
    message = _decode(line)
    if not isinstance(message, list):
        return _request(message)
    if not 0 < len(message) <= MAX_BATCH:
        raise RequestError("invalid-request", f"A batch must have 1 to {MAX_BATCH} requests, not {len(message)}.")
    return [_member(member) for member in message]


def _member(message: Any) -> Member:
    try:
        return _request(message)
    except RequestError as error:
        return error


def _request(message: Any) -> Request:
    if not isinstance(message, dict):
        raise RequestError("invalid-request", "A request must be a JSON object.")
    id = message.get("id")
    if not _is_id(id):
        raise RequestError(
            "invalid-request", f"The id of a request must be a number or a string of {MAX_ID} characters."
        )
    if message.get("jsonrpc") != "2.0":
        raise RequestError("invalid-request", 'A request must carry "jsonrpc": "2.0".', id)
    method, params = message.get("method"), message.get("params", {})
    if not isinstance(method, str):
        raise RequestError("invalid-request", "The method of a request must be the name of a command.", id)
    if not isinstance(params, dict):
        raise RequestError(
            "invalid-argument", "Parameters must be given by name, in a JSON object.", id, "id" in message
        )
    return Request(method, params, id, "id" in message)


def _is_id(id: Any) -> bool:
    if isinstance(id, str):
        return len(id) <= MAX_ID
    if isinstance(id, int):
        return not isinstance(id, bool) and abs(id) < 1 << 64
    return id is None or isinstance(id, float)


def encode_request(id: int, method: str, params: Mapping[str, Any]) -> bytes:
    return _line(_encode({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))


def encode_batch(first_id: int, requests: Sequence[tuple[str, Mapping[str, Any]]]) -> bytes:
    """The requests are numbered from first_id on."""
    return _line(
        _encode(
            [
                {"jsonrpc": "2.0", "id": id, "method": method, "params": params}
                for id, (method, params) in enumerate(requests, first_id)
            ]
        )
    )


def encode_result(id: RequestId, result: Any) -> bytes:
    """Raises JupiterError("message-too-large"); TypeError and ValueError for what JSON cannot say."""
    return _line(_encode({"jsonrpc": "2.0", "id": id, "result": result}))


def encode_error(id: RequestId, error: JupiterError) -> bytes:
    """Never too large: a long text is cut."""
    text = error.text if len(error.text) <= MAX_TEXT else f"{error.text[:MAX_TEXT]} ... (cut)"
    number = _NUMBERS.get(error.code, _OTHER)
    return _line(
        _encode({"jsonrpc": "2.0", "id": id, "error": {"code": number, "message": text, "data": {"code": error.code}}})
    )


class BatchAnswer:
    """The answers to a batch, as they become known, within MAX_MESSAGE: one that would leave no room for an error to
    each of those that follow is replaced by an error."""

    def __init__(self, members: Sequence[Member]) -> None:
        self._refusals = [_refusal(m.id) for m in members if m.wants_answer]
        self._refusals.reverse()
        self._size = sum(map(len, self._refusals)) + len("[]\n")
        self._answers: list[bytes] = []

    def add(self, answer: bytes) -> None:
        """The answer (a line) of the next member that wants one."""
        refusal = self._refusals.pop()
        grown = self._size - len(refusal) + len(answer)
        if grown <= MAX_MESSAGE:
            self._size = grown
        else:
            answer = refusal
        self._answers.append(answer[:-1])

    def encode(self) -> bytes:
        """b"": nothing to answer."""
        return b"[" + b",".join(self._answers) + b"]\n" if self._answers else b""


def _refusal(id: RequestId) -> bytes:
    return encode_error(id, JupiterError("message-too-large", f"The answers exceed {MAX_MESSAGE} bytes: ask for less."))


def decode_response(line: bytes, id: int) -> Any:
    """The result; raises the error that the server answered with, or "invalid-answer" for no answer to `id`."""
    result = _result(_decode_answer(line), id)
    if isinstance(result, JupiterError):
        raise result
    return result


def decode_responses(line: bytes, first_id: int, count: int) -> list[Any]:
    """Of a batch: for each request its result, or the JupiterError it was answered with. Raises as decode_response."""
    message = _decode_answer(line)
    if not isinstance(message, list):
        raise error if isinstance(error := _result(message, None), JupiterError) else _invalid_answer()
    if len(message) != count:
        raise _invalid_answer()
    return [_result(answer, id) for id, answer in enumerate(message, first_id)]


def _result(message: Any, id: int | None) -> Any:
    """Raises JupiterError("invalid-answer")."""
    try:
        if "error" in message:
            return JupiterError(str(message["error"]["data"]["code"]), str(message["error"]["message"]))
        if message["id"] != id:
            raise KeyError
        return message["result"]
    except (KeyError, TypeError):
        raise _invalid_answer() from None


def _decode_answer(line: bytes) -> Any:
    try:
        return _decode(line)
    except RequestError:
        raise _invalid_answer() from None


def _invalid_answer() -> JupiterError:
    return JupiterError("invalid-answer", "The service sent something that is no answer to the request.")


def _encode(message: Any) -> bytes:
    return _ENCODER.encode(message).encode()


def _line(message: bytes) -> bytes:
    if len(message) >= MAX_MESSAGE:
        raise JupiterError(
            "message-too-large", f"A message of {len(message) + 1} bytes, expected at most {MAX_MESSAGE}."
        )
    return message + b"\n"


def _decode(line: bytes) -> Any:
    try:
        return _DECODER.decode(line.decode())
    except (ValueError, RecursionError):  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise RequestError("parse-error", "A message must be one line of JSON in UTF-8.") from None


def _refuse_constant(name: str) -> NoReturn:
    """NaN and Infinity: Python would take them, JSON has none (RFC 8259, section 6)."""
    raise ValueError(name)


def _finite(digits: str) -> float:
    """1e999 would become Infinity, which could not be repeated in an answer."""
    if math.isinf(value := float(digits)):
        raise ValueError(digits)
    return value


_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False)
_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)
"""Kept, for json.dumps() and json.loads() would make one for each message."""
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)


def _holds_too_much(line: bytes) -> bool:
    """More than MAX_VALUES: each follows a comma or a bracket. Those within strings count only when it is close."""
    return _marks(line) > MAX_VALUES and _marks(_STRING.sub(b"", line)) > MAX_VALUES


def _marks(line: bytes) -> int:
    return line.count(b",") + line.count(b"[") + line.count(b"{")
