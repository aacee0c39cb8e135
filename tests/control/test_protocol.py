"""JSON-RPC 2.0, a message a line."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupiter.control import protocol
from jupiter.control.protocol import MAX_MESSAGE, RequestError, decode_message, decode_response
from jupiter.errors import JupiterError

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def code_of(line: bytes) -> tuple[str, Any]:
    with pytest.raises(RequestError) as error:
        decode_message(line)
    return error.value.code, error.value.id


@given(st.integers(), st.text(), st.dictionaries(st.text(), values, max_size=3))
def test_a_request_is_read_as_it_was_written(id: int, method: str, params: dict[str, Any]) -> None:
    line = protocol.encode_request(id, method, params)
    assert line.count(b"\n") == 1
    assert decode_message(line) == (method, params, id, True)


@given(values)
def test_a_result_is_read_as_it_was_written(result: Any) -> None:
    assert decode_response(protocol.encode_result(7, result), 7) == result


@given(st.text(), st.text())
def test_an_error_keeps_its_code_and_text(code: str, text: str) -> None:
    with pytest.raises(JupiterError) as error:
        decode_response(protocol.encode_error(7, JupiterError(code, text)), 7)
    assert (error.value.code, error.value.text) == (code, text)


def test_errors_carry_the_numbers_of_the_specification() -> None:
    """JSON-RPC 2.0, section 5.1; what it has no number for is a server error."""
    numbers = {
        code: json.loads(protocol.encode_error(None, JupiterError(code, "")))["error"]["code"]
        for code in (
            "parse-error",
            "invalid-request",
            "unknown-command",
            "invalid-argument",
            "internal",
            "server-exists",
        )
    }
    assert list(numbers.values()) == [-32700, -32600, -32601, -32602, -32603, -32000]


@given(st.binary(max_size=200))
def test_any_bytes_give_a_request_or_a_request_error(line: bytes) -> None:
    try:
        decode_message(line)
    except RequestError as error:
        assert error.code in ("parse-error", "invalid-request")


@given(values)
def test_any_json_gives_a_request_or_a_request_error(message: Any) -> None:
    try:
        decode_message(json.dumps(message).encode())
    except RequestError as error:
        assert error.code == "invalid-request"


requests = st.fixed_dictionaries(
    {}, optional={"jsonrpc": values | st.just("2.0"), "id": values, "method": values, "params": values}
)


@given(requests)
def test_what_looks_like_a_request_is_one_or_is_refused(message: dict[str, Any]) -> None:
    try:
        request = decode_message(json.dumps(message).encode())
    except RequestError as error:
        assert error.code in ("invalid-request", "invalid-argument")
    else:
        assert isinstance(request.method, str)
        assert isinstance(request.params, dict)
        assert request.wants_answer is ("id" in message)


@given(st.binary(max_size=200) | values.map(lambda v: json.dumps(v).encode()))
def test_any_answer_gives_a_result_or_a_jupiter_error(line: bytes) -> None:
    with pytest.raises(JupiterError):
        decode_response(line, 7)


@pytest.mark.parametrize(
    "line",
    [b"", b"\n", b"{", b"\xff", b"[" * 100_000, b"NaN", b'{"id": 1' + b"0" * 5000 + b"}", b'{"params": Infinity}'],
    ids=["empty", "newline", "cut", "no UTF-8", "deep", "NaN", "a number of 5000 digits", "Infinity"],
)
def test_what_is_no_json_is_a_parse_error(line: bytes) -> None:
    assert code_of(line) == ("parse-error", None)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ([], ("invalid-request", None)),
        ({"id": 1, "method": "version"}, ("invalid-request", 1)),
        ({"jsonrpc": "2.0", "id": 1}, ("invalid-request", 1)),
        ({"jsonrpc": "2.0", "id": [], "method": "version"}, ("invalid-request", None)),
        ({"jsonrpc": "2.0", "id": True, "method": "version"}, ("invalid-request", None)),
        ({"jsonrpc": "2.0", "id": "a", "method": "version", "params": [1]}, ("invalid-argument", "a")),
    ],
)
def test_what_is_no_request_is_refused_under_its_id(message: Any, expected: tuple[str, Any]) -> None:
    assert code_of(json.dumps(message).encode()) == expected


def test_a_request_without_an_id_wants_no_answer() -> None:
    assert not decode_message(b'{"jsonrpc": "2.0", "method": "version"}').wants_answer


def test_an_answer_to_another_request_is_not_taken() -> None:
    with pytest.raises(JupiterError) as error:
        decode_response(protocol.encode_result(6, None), 7)
    assert error.value.code == "invalid-answer"


def test_a_message_that_is_too_large_is_not_sent() -> None:
    with pytest.raises(JupiterError) as error:
        protocol.encode_result(1, "x" * MAX_MESSAGE)
    assert error.value.code == "message-too-large"
