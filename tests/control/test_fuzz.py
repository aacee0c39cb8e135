"""Whatever comes over the socket, however it is cut: JSON-RPC answers and nothing else, and the server goes on serving.

JUPITER_FUZZ=N runs N examples of each.
"""

import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jupiter import VERSION
from jupiter.control.protocol import encode_request
from tests.control.conftest import Service
from tests.control.executors import Scripted
from tests.control.wire import answers, connect

fuzz = settings(
    max_examples=int(os.environ.get("JUPITER_FUZZ", 50)),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

METHODS = ("version", "echo", "fail", "nonsense", "refused", "whoami", "take", "rows", "draft", "large", "vs/add", "")

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=12
)
params = st.dictionaries(
    st.sampled_from(("text", "cursor", "size", "service", "name", "file")) | st.text(), values, max_size=4
)
requests = st.fixed_dictionaries(
    {"jsonrpc": st.just("2.0"), "method": st.sampled_from(METHODS)},
    optional={"id": st.none() | st.integers(0, 9) | st.text(max_size=5), "params": params | values},
)
mutated = st.fixed_dictionaries(
    {},
    optional={
        "jsonrpc": st.just("2.0") | values,
        "method": st.sampled_from(METHODS) | values,
        "id": values,
        "params": values,
        "more": values,
    },
)
drafts = st.builds(
    lambda text: {"jsonrpc": "2.0", "id": 1, "method": "draft", "params": {"text": text}},
    st.text() | st.text('[,\\"\ud800\U0001f600', max_size=200),
)
messages = requests | mutated | drafts | values | st.lists(requests | mutated | drafts | values, max_size=6)
lines = (
    st.binary(max_size=300)
    | messages.map(lambda message: json.dumps(message).encode())
    | messages.map(lambda message: json.dumps(message, ensure_ascii=False).encode(errors="surrogatepass"))
    | st.builds(
        lambda message, at, junk: (line := json.dumps(message).encode())[: at % (len(line) + 1)] + junk,
        messages,
        st.integers(0, 1000),
        st.binary(max_size=5),
    )
)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    running = Service(tmp_path_factory.mktemp("fuzz"), Scripted()).start()
    yield running
    running.stop()


def send_in_pieces(raw: socket.socket, data: bytes, cuts: list[int]) -> None:
    start = 0
    for end in [*sorted(cuts), len(data)]:
        raw.sendall(data[start:end])
        start = end
    raw.shutdown(socket.SHUT_WR)


def converse(path: Path, data: bytes, cuts: list[int]) -> list[Any]:
    """All that comes back; sent and taken at the same time, as either may be more than the buffers hold."""
    with connect(path) as raw:
        sender = threading.Thread(target=send_in_pieces, args=(raw, data, cuts))
        sender.start()
        try:
            return answers(raw)
        finally:
            sender.join()


def assert_is_an_answer(answer: Any) -> None:
    """JSON-RPC 2.0, section 5."""
    assert answer["jsonrpc"] == "2.0"
    if "error" in answer:
        assert answer.keys() == {"jsonrpc", "id", "error"}
        error = answer["error"]
        assert isinstance(error["code"], int)
        assert isinstance(error["message"], str)
        assert error["data"].keys() == {"code"}
        assert "Traceback" not in error["message"]
    else:
        assert answer.keys() == {"jsonrpc", "id", "result"}


def judge(replies: list[Any]) -> None:
    """The last is that to a `version` that was sent last."""
    for reply in replies[:-1]:
        members = reply if isinstance(reply, list) else [reply]
        assert members
        for answer in members:
            assert_is_an_answer(answer)
    assert replies[-1] == {"jsonrpc": "2.0", "id": "last", "result": {"version": VERSION}}


LAST = b'\n{"jsonrpc":"2.0","id":"last","method":"version"}'


@fuzz
@given(sent=st.lists(lines, max_size=8), cuts=st.lists(st.integers(0, 2000), max_size=6))
def test_whatever_is_sent_costs_clean_answers(service: Service, sent: list[bytes], cuts: list[int]) -> None:
    """Garbage, JSON of every shape, requests, batches, drafts, mutated, cut anywhere; the connection stays of use."""
    judge(converse(service.path, b"\n".join(sent) + LAST, cuts))


@fuzz
@given(data=st.binary(max_size=5000))
def test_any_bytes_cost_clean_answers(service: Service, data: bytes) -> None:
    judge(converse(service.path, data + LAST, []))


@fuzz
@given(
    sent=st.lists(requests | drafts, max_size=8),
    cuts=st.lists(st.integers(0, 2000), max_size=6),
    batched=st.booleans(),
)
def test_each_request_that_wants_an_answer_gets_one(
    service: Service, sent: list[dict[str, Any]], cuts: list[int], batched: bool
) -> None:
    """In order, under its own id, whether they come in a batch or line by line."""
    if batched:
        data = json.dumps(sent).encode() if sent else b""
    else:
        data = b"\n".join(json.dumps(request).encode() for request in sent)
    if "NaN" in data.decode() or "Infinity" in data.decode():
        return  # no JSON: it has no ids
    replies = converse(service.path, data + LAST if data else LAST[1:], cuts)
    judge(replies)
    found = replies[0] if batched and len(replies) > 1 else replies[:-1]
    assert [answer["id"] for answer in found] == [request["id"] for request in sent if "id" in request]


@fuzz
@given(pieces=st.lists(st.text(), min_size=1, max_size=5), cuts=st.lists(st.integers(0, 2000), max_size=6))
def test_a_draft_arrives_as_it_was_sent(service: Service, pieces: list[str], cuts: list[int]) -> None:
    requests = [encode_request(n, "draft", {"text": piece}) for n, piece in enumerate(pieces)]
    replies = converse(service.path, b"".join([*requests, encode_request(9, "take", {})]) + LAST[1:], cuts)
    judge(replies)
    whole = "".join(pieces)
    assert [reply["result"]["bytes"] for reply in replies[:-2]][-1] == len(whole.encode())
    assert replies[-2]["result"] == {"text": whole[:100]}
