"""The control channel: requests of one connection in order, those of others meanwhile, the rude within bounds."""

import contextlib
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jupiter import VERSION
from jupiter.control.client import Client
from jupiter.control.protocol import MAX_BATCH, MAX_MESSAGE, encode_batch, encode_request
from jupiter.control.server import ControlServer
from jupiter.errors import JupiterError
from jupiter.session import MAX_DRAFT, MAX_DRAFTS, DraftBudget
from tests.control.conftest import Service
from tests.control.executors import ROWS, Scripted
from tests.control.wire import answers, connect, exchange, wait_until


class ScriptedService(Service):
    def __init__(self, directory: Path, **options: object) -> None:
        self.script = Scripted()
        super().__init__(directory, self.script, **options)

    def open_gate(self) -> None:
        self.loop.call_soon_threadsafe(self.script.gate.set)


@pytest.fixture
def service(directory: Path) -> Iterator[ScriptedService]:
    running = ScriptedService(directory)
    running.start()
    yield running
    running.open_gate()
    running.stop()


@pytest.fixture
def impatient(directory: Path) -> Iterator[ScriptedService]:
    """Gives a client 0.2 s to send a request, and as long to take the answer."""
    running = ScriptedService(directory, idle_seconds=0.2, slow_seconds=0.2)
    running.start()
    yield running
    running.stop()


def drip(raw: socket.socket) -> None:
    """A byte now and then, for 10 seconds at most."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        raw.sendall(b"{")
        time.sleep(0.02)


def flood(raw: socket.socket) -> None:
    """Requests with long answers, as long as they are taken."""
    while True:
        raw.sendall(encode_request(1, "large", {"size": 100_000}) * 50)


def code(answer: dict) -> str:
    return answer["error"]["data"]["code"]


def assert_serves(service: Service) -> None:
    with service.client() as client:
        assert client.call("version") == {"version": VERSION}


# What is answered


def test_the_executor_is_told_what_was_asked_and_by_whom(service: ScriptedService) -> None:
    """SO_PEERCRED (unix(7)) says who it is."""
    with service.client() as client:
        assert client.call("echo", service="10.0.1.1:8888 tcp") == {"service": "10.0.1.1:8888 tcp"}
        answer = client.call("whoami")
    assert answer == {
        "peer": f"uid 0 (root) pid {os.getpid()}",
        "uid": os.getuid(),
        "pid": os.getpid(),
        "read_only": False,
    }


def test_errors_arrive_with_their_code(service: ScriptedService) -> None:
    with service.client() as client:
        with pytest.raises(JupiterError, match=r"Cannot find virt service 10\.0\.1\.1:8888 tcp\.") as error:
            client.call("refused")
        assert error.value.code == "service-not-found"


@pytest.mark.parametrize("method", ["fail", "nonsense"])
def test_a_fault_inside_is_an_error_of_that_command_alone(
    service: ScriptedService, caplog: pytest.LogCaptureFixture, method: str
) -> None:
    """One line in the log; the client learns nothing of it but where to look."""
    with service.client() as client, caplog.at_level(logging.ERROR):
        with pytest.raises(JupiterError, match=f"Command {method} failed inside the service: see its log") as error:
            client.call(method)
        assert error.value.code == "internal"
        assert client.call("version") == {"version": VERSION}
    assert caplog.messages == [f"command '{method}' of uid 0 (root) pid {os.getpid()} failed"]


def test_an_answer_that_would_be_too_large_is_an_error(service: ScriptedService) -> None:
    with service.client() as client, pytest.raises(JupiterError) as error:
        client.call("large", size=MAX_MESSAGE)
    assert error.value.code == "message-too-large"


def test_a_notification_is_carried_out_and_not_answered(service: ScriptedService) -> None:
    assert exchange(service.path, b'{"jsonrpc":"2.0","method":"version"}\n') == []
    assert service.script.carried_out == ["version"]


def test_a_half_closed_client_gets_its_answers(service: ScriptedService) -> None:
    """All that were asked for before the end of its stream, the last request without a newline too."""
    sent = encode_request(1, "version", {}) + encode_request(2, "version", {}).rstrip()
    assert [a["id"] for a in exchange(service.path, sent)] == [1, 2]


@pytest.mark.parametrize("line", [b"GET / HTTP/1.1\n", b"\x00\xff\n", b"[]\n", b"[" * 50_000 + b"\n", b"\n"])
def test_a_message_that_is_none_costs_an_error_answer(service: ScriptedService, line: bytes) -> None:
    first, second = exchange(service.path, line + encode_request(5, "version", {}))
    assert first["error"]["code"] in (-32700, -32600)
    assert second["result"] == {"version": VERSION}


def test_a_read_only_server_shares_the_executor(service: ScriptedService, directory: Path) -> None:
    """Its sessions are marked; what they may do is the executor's to say."""
    (directory / "reader").mkdir()
    reader = Service(directory / "reader", service.script, read_only=True, mode=0o666).start()
    with reader.client() as client:
        assert client.call("whoami")["read_only"] is True
    reader.stop()


# Batches (JSON-RPC 2.0, section 6)


def test_a_batch_is_answered_in_order_and_notifications_not_at_all(service: ScriptedService) -> None:
    line = (
        b'[{"jsonrpc":"2.0","method":"echo","params":{"n":1},"id":"a"},{"jsonrpc":"2.0","method":"version"},1,'
        b'{"jsonrpc":"2.0","method":"refused","id":7}]\n'
    )
    [batch] = exchange(service.path, line)
    assert [(a["id"], a.get("result", a.get("error", {}).get("data"))) for a in batch] == [
        ("a", {"n": 1}),
        (None, {"code": "invalid-request"}),
        (7, {"code": "service-not-found"}),
    ]
    assert service.script.carried_out == ["echo", "version"]


def test_a_batch_of_notifications_is_not_answered(service: ScriptedService) -> None:
    assert exchange(service.path, b'[{"jsonrpc":"2.0","method":"version"}]\n') == []


@pytest.mark.parametrize("count", [0, MAX_BATCH + 1])
def test_a_batch_has_1_to_1000_requests(service: ScriptedService, count: int) -> None:
    [answer] = exchange(service.path, encode_batch(1, [("version", {})] * count))
    assert code(answer) == "invalid-request"
    assert service.script.carried_out == []


def test_the_answers_of_a_batch_have_the_bound_of_a_message(service: ScriptedService) -> None:
    """Those that there is room for are sent, the others are an error each."""
    requests = [("large", {"size": 100}), ("large", {"size": MAX_MESSAGE // 2}), ("large", {"size": MAX_MESSAGE // 2})]
    with service.client() as client:
        small, first, second = client.batch([*requests])
    assert (len(small), len(first)) == (100, MAX_MESSAGE // 2)
    assert second.code == "message-too-large"


def test_a_batch_takes_turns(service: ScriptedService) -> None:
    """Another client is served before it ends."""
    with connect(service.path) as busy, service.client() as other:
        other.call("version")
        busy.sendall(encode_batch(1, [("wait", {})] + [("note", {"name": "busy"})] * (MAX_BATCH - 1)))
        wait_until(lambda: service.script.started)
        service.open_gate()
        other.call("note", name="other")
        with busy.makefile("rb") as lines:
            assert len(json.loads(lines.readline())) == MAX_BATCH
    assert service.script.carried_out.index("other") < MAX_BATCH


# Drafts


def test_a_draft_is_for_the_command_that_follows(service: ScriptedService) -> None:
    """Used or not: an earlier one is never mixed with what is sent later."""
    with service.client() as client:
        assert client.call("draft", text="[10.0.1.1:80") == {"bytes": 12}
        assert client.call("draft", text=" tcp]\u00e4") == {"bytes": 19}
        assert client.call("take") == {"text": "[10.0.1.1:80 tcp]\u00e4"}
        client.call("draft", text="forgotten")
        client.call("version")
        with pytest.raises(JupiterError) as error:
            client.call("take")
        assert error.value.code == "draft-missing"


def test_a_draft_belongs_to_its_connection(service: ScriptedService) -> None:
    with service.client() as one, service.client() as other:
        one.draft("mine")
        with pytest.raises(JupiterError):
            other.call("take")
        assert one.call("take") == {"text": "mine"}


@pytest.mark.parametrize(
    "piece",
    [
        b'{"jsonrpc":"2.0","id":2,"method":"draft","params":{"text":1}}',
        b'{"jsonrpc":"2.0","id":2,"method":"draft","params":{"text":"x","more":1}}',
        b'{"jsonrpc":"2.0","id":2,"method":"draft","params":["x"]}',
        b'{"jsonrpc":"2.0","id":2,"method":"draft","params":{"text":"\\ud800"}}',
        b'{"jsonrpc":"2.0","id":2,"method":"draft","params":{"text":"x}',
    ],
    ids=["no text", "more", "no names", "no UTF-8", "no JSON"],
)
@pytest.mark.parametrize("before", [b"", encode_request(1, "draft", {"text": "a"})], ids=["first", "second"])
def test_a_draft_with_a_piece_refused_is_not_used(service: ScriptedService, before: bytes, piece: bytes) -> None:
    """By a client that sends all at once and looks at the answers later."""
    after = encode_request(3, "draft", {"text": "b"}) + encode_request(4, "take", {})
    *_, refused, more, taken = exchange(service.path, before + piece + b"\n" + after)
    assert code(refused) == code(more) == code(taken)
    assert service.script.carried_out == []


def test_drafts_are_freed_with_their_connection(directory: Path) -> None:
    """Also where the client just goes."""
    budget = DraftBudget()
    running = ScriptedService(directory, drafts=budget)
    running.start()
    with running.client() as client:
        client.draft("x" * (1 << 20))
        assert budget.used == 1 << 20
    wait_until(lambda: budget.used == 0)
    running.stop()


def test_two_servers_share_the_room_for_drafts(directory: Path) -> None:
    budget = DraftBudget()
    (directory / "reader").mkdir()
    running = ScriptedService(directory, drafts=budget)
    reader = ScriptedService(directory / "reader", drafts=budget, read_only=True)
    running.start(), reader.start()
    with running.client() as operator, reader.client() as guest:
        budget.take(MAX_DRAFTS - MAX_DRAFT - 1, read_only=False)
        with pytest.raises(JupiterError) as error:
            guest.draft("xx")
        assert error.value.code == "draft-too-large"
        operator.draft("xx")
        assert operator.call("take") == {"text": "xx"}
    running.stop(), reader.stop()


# One at a time, and others meanwhile


def test_requests_of_one_connection_are_carried_out_in_order(service: ScriptedService) -> None:
    with connect(service.path) as raw, raw.makefile("rb") as lines:
        raw.sendall(encode_request(1, "wait", {}) + encode_request(2, "version", {}))
        wait_until(lambda: service.script.started)
        assert_serves(service)
        assert service.script.carried_out == ["version"]
        service.open_gate()
        assert [json.loads(lines.readline())["id"] for _ in range(2)] == [1, 2]
    assert service.script.carried_out == ["version", "wait", "version"]


def test_a_dump_comes_in_pages_and_lets_others_in_between(service: ScriptedService) -> None:
    with service.client() as client, service.client() as other:
        rows = client.rows("rows")
        seen = [next(rows)["n"]]
        assert other.call("version") == {"version": VERSION}
        seen += [row["n"] for row in rows]
    assert seen == list(range(ROWS))


def test_a_client_that_sends_many_requests_takes_turns(service: ScriptedService) -> None:
    """Of thousands of requests sent at once only a few are carried out before another client's one."""
    with connect(service.path) as busy, connect(service.path) as other, other.makefile("rb") as answer:
        busy.sendall(encode_request(1, "wait", {}) + encode_request(1, "note", {"name": "busy"}) * 2000)
        other.sendall(encode_request(1, "wait", {}) + encode_request(1, "note", {"name": "other"}))
        wait_until(lambda: service.script.started == 2)
        service.open_gate()
        answer.readline(), answer.readline()
    assert service.script.carried_out.index("other") < 10


@pytest.mark.parametrize("leave", ["close", "shutdown"])
def test_a_request_whose_client_has_gone_is_carried_out(service: ScriptedService, leave: str) -> None:
    """To its end; what it sent after that one too."""
    with connect(service.path) as raw:
        raw.sendall(encode_request(1, "wait", {}) + encode_request(2, "note", {"name": "after"}))
        wait_until(lambda: service.script.started)
        if leave == "shutdown":
            raw.shutdown(socket.SHUT_RDWR)
    service.open_gate()
    wait_until(lambda: "wait" in service.script.carried_out)
    assert_serves(service)


# The end


def test_the_socket_is_gone_afterwards(directory: Path) -> None:
    running = Service(directory).start()
    running.stop()
    assert not running.path.exists()
    with pytest.raises(JupiterError, match=f"jupiter-service does not answer on {running.path}") as error:
        Client(running.path)
    assert error.value.code == "not-running"


def test_a_socket_that_is_another_services_by_now_is_left(directory: Path) -> None:
    running = Service(directory).start()
    running.path.unlink()
    running.path.write_text("another's")
    running.stop()
    assert running.path.read_text() == "another's"


def test_the_end_waits_for_requests_being_carried_out(service: ScriptedService) -> None:
    """They are answered; idle clients do not hold it up."""
    with connect(service.path) as raw, connect(service.path) as idle, raw.makefile("rb") as lines:
        raw.sendall(encode_request(1, "wait", {}))
        wait_until(lambda: service.script.started)
        end = threading.Thread(target=service.close)
        end.start()
        assert answers(idle) == []
        assert end.is_alive()
        service.open_gate()
        assert json.loads(lines.readline())["result"] == "waited"
        end.join(10)
        assert not end.is_alive()


def test_the_end_does_not_wait_for_ever(directory: Path, caplog: pytest.LogCaptureFixture) -> None:
    running = ScriptedService(directory, grace_seconds=0.1)
    running.start()
    with connect(running.path) as raw:
        raw.sendall(encode_request(1, "wait", {}))
        wait_until(lambda: running.script.started)
        running.stop()
    assert f"1 requests on {running.path} were cut off, for they had not ended" in caplog.messages
    assert running.script.carried_out == []


# Rude clients


def test_a_request_without_end_is_cut_at_the_cap(service: ScriptedService) -> None:
    """Memory is bounded: an error, and the connection is closed."""
    with connect(service.path) as raw:
        with contextlib.suppress(ConnectionError):
            for _ in range(64):
                raw.sendall(b"x" * (MAX_MESSAGE // 4))
            pytest.fail("16 MiB without a newline were taken")
        with contextlib.suppress(ConnectionError):
            assert code(answers(raw)[0]) == "message-too-large"
    assert_serves(service)


def test_a_request_just_under_the_cap_is_read(service: ScriptedService) -> None:
    request = encode_request(1, "version", {}).rstrip()
    [answer] = exchange(service.path, request + b" " * (MAX_MESSAGE - len(request) - 1) + b"\n")
    assert answer["result"] == {"version": VERSION}


def test_an_idle_client_is_let_go_and_told_why(impatient: ScriptedService) -> None:
    with connect(impatient.path) as raw:
        assert [code(a) for a in answers(raw)] == ["too-slow"]
    assert_serves(impatient)


def test_a_client_that_drips_is_let_go(impatient: ScriptedService) -> None:
    """The time is for the whole request, not for each byte."""
    with connect(impatient.path) as raw, pytest.raises(ConnectionError):
        drip(raw)
    assert_serves(impatient)


def test_a_draft_must_be_used_soon(directory: Path) -> None:
    """It takes the room of others."""
    budget = DraftBudget()
    running = ScriptedService(directory, slow_seconds=0.2, drafts=budget)
    running.start()
    with connect(running.path) as raw, connect(running.path) as idle:
        raw.sendall(encode_request(1, "draft", {"text": "x"}))
        assert code(answers(raw)[1]) == "too-slow"
        assert budget.used == 0
        idle.sendall(encode_request(1, "version", {}))
        assert idle.recv(100)
    running.stop()


def test_a_command_that_takes_long_is_not_a_client_that_is_slow(impatient: ScriptedService) -> None:
    with connect(impatient.path) as raw, connect(impatient.path) as idle, raw.makefile("rb") as lines:
        raw.sendall(encode_request(1, "wait", {}))
        assert [code(a) for a in answers(idle)] == ["too-slow"]
        impatient.open_gate()
        assert json.loads(lines.readline())["result"] == "waited"


def test_a_client_that_takes_no_answers_holds_up_nobody(service: ScriptedService) -> None:
    """It is stopped by its own full buffers; others are served meanwhile."""
    with connect(service.path, timeout=0.5) as rude:
        with pytest.raises(TimeoutError):
            flood(rude)
        assert_serves(service)


def test_a_client_that_takes_no_answers_is_let_go(impatient: ScriptedService) -> None:
    with connect(impatient.path) as rude, pytest.raises(ConnectionError):
        flood(rude)
    assert_serves(impatient)


# Many clients


@pytest.fixture
def small(directory: Path) -> Iterator[ScriptedService]:
    """Has room for 4 clients."""
    running = ScriptedService(directory, max_clients=4)
    running.start()
    yield running
    running.open_gate()
    running.stop()


def fork(act: Callable[[], object]) -> int:
    """Another process, whose exit code says whether it went well. Its pid."""
    if child := os.fork():
        return child
    try:
        act()
        os._exit(0)
    finally:
        os._exit(1)


@contextlib.contextmanager
def other_process(service: Service) -> Iterator[Callable[[], bool]]:
    """One that has asked something; when called it asks again on the same connection. Whether it was answered."""
    ours, theirs = socket.socketpair()

    def asks_twice() -> None:
        with Client(service.path) as other:
            other.call("version")
            theirs.sendall(b"1")
            theirs.recv(1)
            other.call("version")

    def go_on() -> bool:
        ours.sendall(b"1")
        return os.waitpid(child, 0)[1] == 0

    child = fork(asks_twice)
    with ours, theirs:
        ours.recv(1)
        yield go_on


def ask(raw: socket.socket) -> None:
    raw.sendall(encode_request(1, "version", {}))
    assert json.loads(raw.recv(1000))["result"] == {"version": VERSION}


def test_a_new_client_displaces_the_one_that_was_silent_for_longest(small: ScriptedService) -> None:
    """However many sit there, an operator gets in; who has just spoken stays, who goes is told."""
    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(connect(small.path)) for _ in range(4)]
        for raw in [*crowd[1:], crowd[0]]:
            ask(raw)
        assert_serves(small)
        assert [code(a) for a in answers(crowd[1])] == ["displaced"]
        for raw in (crowd[0], crowd[2], crowd[3]):
            ask(raw)


def test_a_process_with_many_connections_displaces_its_own(small: ScriptedService) -> None:
    """Not that of another process, which may have been silent for longer."""
    with other_process(small) as asks_again, contextlib.ExitStack() as stack:
        for _ in range(20):
            ask(stack.enter_context(connect(small.path)))
        assert asks_again()


def test_who_waits_for_an_answer_is_not_displaced(small: ScriptedService) -> None:
    """If all do, a newcomer is told so."""
    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(connect(small.path)) for _ in range(4)]
        for raw in crowd:
            raw.sendall(encode_request(1, "wait", {}))
        wait_until(lambda: small.script.started == 4)
        with connect(small.path) as late:
            assert [code(a) for a in answers(late)] == ["busy"]
        small.open_gate()
        for raw in crowd:
            assert json.loads(raw.recv(1000))["result"] == "waited"
    assert_serves(small)


def test_many_clients_at_once_are_all_served(service: ScriptedService) -> None:
    def ask(n: int) -> None:
        with service.client() as client:
            client.call("note", name=str(n))

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(map(str, range(100))) <= set(service.script.carried_out)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_clients_that_leave_in_mid_request_are_forgotten(service: ScriptedService) -> None:
    before = open_files()
    for _ in range(300):
        with connect(service.path) as raw:
            raw.sendall(b'{"jsonrpc":')
    assert_serves(service)
    wait_until(lambda: open_files() <= before)


def test_without_descriptors_it_goes_on_later(service: ScriptedService, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes back one from a client that is idle, and accepts again a second later."""

    def exhausted(_: ControlServer) -> None:
        monkeypatch.undo()
        raise OSError(24, "Too many open files")

    with connect(service.path) as idle:
        ask(idle)
        monkeypatch.setattr(socket.socket, "accept", exhausted)
        with connect(service.path) as late:
            assert [code(a) for a in answers(idle)] == ["displaced"]
            ask(late)


def test_where_all_wait_another_process_gets_in(small: ScriptedService) -> None:
    """An operator asks for `version` while automation has used up the connections."""
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(connect(small.path)).sendall(encode_request(1, "wait", {}))
        wait_until(lambda: small.script.started == 4)
        child = fork(lambda: Client(small.path).call("version"))
        assert os.waitpid(child, 0)[1] == 0
        small.open_gate()


def test_a_process_whose_connections_all_wait_displaces_nobody(small: ScriptedService) -> None:
    """Not even one that has nothing to do."""
    with other_process(small) as asks_again, contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(connect(small.path)).sendall(encode_request(1, "wait", {}))
        wait_until(lambda: small.script.started == 3)
        assert [code(a) for a in answers(stack.enter_context(connect(small.path)))] == ["busy"]
        assert asks_again()
        small.open_gate()
