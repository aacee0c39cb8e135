"""JSON-RPC 2.0 (https://www.jsonrpc.org/specification), one message a line of at most MAX_MESSAGE bytes.

Pure: bytes in, bytes out. Parameters go by name. Batches are not part of this protocol: send one message a line.
"""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple, NoReturn

from jupiter.errors import JupiterError

MAX_MESSAGE = 1 << 20

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
    """A message that is no request; id is the sender's, where it could be read."""

    def __init__(self, code: str, text: str, id: RequestId = None) -> None:
        super().__init__(code, text)
        self.id = id


def decode_request(line: bytes) -> Request:
    """Raises RequestError, and nothing else, on any bytes."""
    message = _decode(line)
    if not isinstance(message, dict):
        raise RequestError("invalid-request", "A request must be a JSON object; batches are not supported.")
    id = message.get("id")
    if isinstance(id, bool) or not isinstance(id, RequestId):
        raise RequestError("invalid-request", "The id of a request must be a string or a number.")
    if message.get("jsonrpc") != "2.0":
        raise RequestError("invalid-request", 'A request must carry "jsonrpc": "2.0".', id)
    method, params = message.get("method"), message.get("params", {})
    if not isinstance(method, str):
        raise RequestError("invalid-request", "The method of a request must be the name of a command.", id)
    if not isinstance(params, dict):
        raise RequestError("invalid-argument", "Parameters must be given by name, in a JSON object.", id)
    return Request(method, params, id, "id" in message)


def encode_request(id: int, method: str, params: Mapping[str, Any]) -> bytes:
    return _encode({"jsonrpc": "2.0", "id": id, "method": method, "params": params})


def encode_result(id: RequestId, result: Any) -> bytes:
    return _encode({"jsonrpc": "2.0", "id": id, "result": result})


def encode_error(id: RequestId, error: JupiterError) -> bytes:
    number = _NUMBERS.get(error.code, _OTHER)
    return _encode(
        {"jsonrpc": "2.0", "id": id, "error": {"code": number, "message": error.text, "data": {"code": error.code}}}
    )


def decode_response(line: bytes, id: int) -> Any:
    """The result; raises the error that the server answered with, or "invalid-answer" for no answer to `id`."""
    try:
        message = _decode(line)
        if "error" in message:
            raise JupiterError(str(message["error"]["data"]["code"]), str(message["error"]["message"]))
        if message["id"] != id:
            raise KeyError
        return message["result"]
    except (RequestError, KeyError, TypeError):
        raise JupiterError("invalid-answer", "The service sent something that is no answer to the request.") from None


def _encode(message: dict[str, Any]) -> bytes:
    line = json.dumps(message, separators=(",", ":"), allow_nan=False).encode() + b"\n"
    if len(line) > MAX_MESSAGE:
        raise JupiterError("message-too-large", f"A message of {len(line)} bytes, expected at most {MAX_MESSAGE}.")
    return line


def _decode(line: bytes) -> Any:
    try:
        return json.loads(line.decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise RequestError("parse-error", "A message must be one line of JSON in UTF-8.") from None


def _refuse_constant(name: str) -> NoReturn:
    """NaN and Infinity: Python would take them, JSON has none (RFC 8259, section 6)."""
    raise ValueError(name)
