"""JSON-RPC 2.0, a message a line."""

import json
import time
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jupiter.control import protocol
from jupiter.control.protocol import (
    MAX_BATCH,
    MAX_ID,
    MAX_MESSAGE,
    MAX_TEXT,
    MAX_VALUES,
    BatchAnswer,
    Lines,
    Request,
    RequestError,
    decode_message,
    decode_response,
)
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


@given(st.integers(0, 2**63), st.text(), st.dictionaries(st.text(), values, max_size=3))
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
        members = decode_message(json.dumps(message).encode())
    except RequestError as error:
        assert error.code == "invalid-request"
    else:
        assert isinstance(members, list)
        assert all(isinstance(member, RequestError) for member in members)


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
        assert isinstance(request, Request)
        assert isinstance(request.method, str)
        assert isinstance(request.params, dict)
        assert request.wants_answer is ("id" in message)


@given(st.binary(max_size=200) | values.map(lambda v: json.dumps(v).encode()))
def test_any_answer_gives_a_result_or_a_jupiter_error(line: bytes) -> None:
    with pytest.raises(JupiterError):
        decode_response(line, 7)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"{",
        b"\xff",
        b"[" * 10_000,
        b"NaN",
        b'{"id": 1' + b"0" * 5000 + b"}",
        b'{"params": Infinity}',
        b'{"id": 1e999}',
    ],
    ids=[
        "empty",
        "newline",
        "cut",
        "no UTF-8",
        "deep",
        "NaN",
        "a number of 5000 digits",
        "Infinity",
        "a number beyond floats",
    ],
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
        ({"jsonrpc": "2.0", "id": "x" * (MAX_ID + 1), "method": "version"}, ("invalid-request", None)),
        ({"jsonrpc": "2.0", "id": 1 << 64, "method": "version"}, ("invalid-request", None)),
        ([{}] * (MAX_BATCH + 1), ("invalid-request", None)),
        ([0] * (MAX_VALUES + 1), ("invalid-request", None)),
        ({"jsonrpc": "2.0", "id": "a", "method": "version", "params": [1]}, ("invalid-argument", "a")),
    ],
)
def test_what_is_no_request_is_refused_under_its_id(message: Any, expected: tuple[str, Any]) -> None:
    assert code_of(json.dumps(message).encode()) == expected


def test_a_request_without_an_id_wants_no_answer() -> None:
    request = decode_message(b'{"jsonrpc": "2.0", "method": "version"}')
    assert isinstance(request, Request)
    assert not request.wants_answer


def test_an_answer_to_another_request_is_not_taken() -> None:
    with pytest.raises(JupiterError) as error:
        decode_response(protocol.encode_result(6, None), 7)
    assert error.value.code == "invalid-answer"


def test_a_message_that_is_too_large_is_not_sent() -> None:
    with pytest.raises(JupiterError) as error:
        protocol.encode_result(1, "x" * MAX_MESSAGE)
    assert error.value.code == "message-too-large"


def test_brackets_and_commas_in_a_text_are_not_counted_as_values() -> None:
    """A draft is one value, whatever is written in it."""
    text = '[[,"\\{' * MAX_VALUES
    request = decode_message(protocol.encode_request(1, "draft", {"text": text}))
    assert isinstance(request, Request)
    assert request.params["text"] == text


@pytest.mark.parametrize(
    "line",
    [b'"' * MAX_MESSAGE, b'"' + b'\\"' * (MAX_MESSAGE // 2), b'[,"' * (MAX_MESSAGE // 3), b"\\" * MAX_MESSAGE],
    ids=["quotes", "a text without end", "texts that begin", "backslashes"],
)
def test_what_is_hard_to_count_is_refused_soon(line: bytes) -> None:
    """Counting is linear: no text makes it slow."""
    began = time.process_time()
    with pytest.raises(RequestError):
        decode_message(b"," * (MAX_VALUES + 1) + line)
    assert time.process_time() - began < 1


def test_an_error_is_never_too_large() -> None:
    """Not even with the longest id, in the characters that JSON makes longest; its text is cut."""
    line = protocol.encode_error("\U0001f600" * MAX_ID, JupiterError("invalid-config", "\U0001f600" * MAX_MESSAGE))
    assert MAX_TEXT < len(line) <= MAX_MESSAGE
    assert json.loads(line)["error"]["message"].endswith("... (cut)")


@given(st.lists(st.binary(max_size=20).filter(lambda line: b"\n" not in line)), st.data())
def test_lines_are_found_however_they_are_cut(lines: list[bytes], data: st.DataObject) -> None:
    whole, found, buffer = b"".join(line + b"\n" for line in lines) + b"rest", [], Lines()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)))))
    for start, end in pairwise([0, *cuts, len(whole)]):
        buffer.feed(whole[start:end])
        while (line := buffer.take()) is not None:
            found.append(line)
    assert found == lines
    assert buffer.take_rest() == b"rest"
    assert not buffer


@pytest.mark.parametrize("excess", [0, 1])
@pytest.mark.parametrize("end", [b"", b"\n"])
def test_a_line_is_as_long_as_a_message(excess: int, end: bytes) -> None:
    """The newline counts, come or still to come."""
    buffer = Lines()
    buffer.feed(b"x" * (MAX_MESSAGE - 1 + excess) + end)
    if excess:
        with pytest.raises(RequestError) as error:
            buffer.take()
        assert error.value.code == "message-too-large"
    else:
        assert buffer.take() == (b"x" * (MAX_MESSAGE - 1) if end else None)


def test_a_batch_has_its_members_in_order() -> None:
    """JSON-RPC 2.0, section 6: a member that is no request costs an error of its own."""
    line = protocol.encode_batch(5, [("a", {}), ("b", {"x": 1})])[:-2] + b",1]"
    first, second, third = decode_message(line)
    assert (first, second) == (("a", {}, 5, True), ("b", {"x": 1}, 6, True))
    assert isinstance(third, RequestError)


ids = st.none() | st.integers(0, 1 << 63) | st.text(max_size=MAX_ID)


@given(st.lists(st.tuples(ids, st.booleans(), st.integers(0, MAX_MESSAGE // 2)), max_size=MAX_BATCH))
@settings(max_examples=30)
def test_the_answer_to_a_batch_keeps_the_bound(members: list[tuple[Any, bool, int]]) -> None:
    """Each member that wants one has an answer, in order; those there is no room for have an error."""
    batch = BatchAnswer([Request("x", {}, id, wants) for id, wants, _ in members])
    for id, wants, size in members:
        if wants:
            batch.add(protocol.encode_result(id, "x" * size))
    line = batch.encode()
    assert len(line) <= MAX_MESSAGE
    answers = json.loads(line) if line else []
    assert [a["id"] for a in answers] == [id for id, wants, _ in members if wants]
    for answer, size in zip(answers, [size for _, wants, size in members if wants], strict=True):
        assert answer.get("result") == "x" * size or answer["error"]["data"]["code"] == "message-too-large"


def test_a_batch_of_the_longest_ids_fits_into_an_answer() -> None:
    longest = "\U0001f600" * MAX_ID
    batch = BatchAnswer([Request("x", {}, longest, True)] * MAX_BATCH)
    for _ in range(MAX_BATCH):
        batch.add(protocol.encode_result(longest, "x" * 1000))
    assert len(json.loads(batch.encode())) == MAX_BATCH
    assert len(batch.encode()) <= MAX_MESSAGE


@given(st.binary(max_size=200) | values.map(lambda v: json.dumps(v).encode()), st.integers(0, 3))
def test_any_answer_to_a_batch_gives_answers_or_a_jupiter_error(line: bytes, count: int) -> None:
    try:
        answers = protocol.decode_responses(line, 7, count)
    except JupiterError:
        return
    assert len(answers) == count
