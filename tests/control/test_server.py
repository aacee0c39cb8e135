"""The control channel under good and rude clients."""

import contextlib
import json
import socket
import stat
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from jupiter.control.client import Client
from jupiter.control.protocol import MAX_MESSAGE, encode_request
from jupiter.control.listen import listen
from jupiter.control.server import MAX_CLIENTS
from jupiter.errors import JupiterError
from tests.control.conftest import Service

VS = {"service": "10.0.1.1:8888 tcp"}


def connect(service: Service) -> socket.socket:
    raw = socket.socket(socket.AF_UNIX)
    raw.connect(str(service.path))
    raw.settimeout(10)
    return raw


def answers(raw: socket.socket) -> list[dict[str, Any]]:
    """All that comes until the server closes."""
    with raw.makefile("rb") as lines:
        return [json.loads(line) for line in lines]


def drip(raw: socket.socket) -> None:
    """A byte now and then, for 10 seconds at most."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        raw.sendall(b"{")
        time.sleep(0.02)


def flood(raw: socket.socket) -> None:
    """Requests with long answers, as long as they are taken."""
    while True:
        raw.sendall(encode_request(1, "tcp/conn/dump", {}) * 50)


def assert_serves(service: Service) -> None:
    with service.client() as client:
        assert client.call("version") == {"version": "0.1.0"}


def test_commands_change_and_read_the_model(service: Service) -> None:
    with service.client() as client:
        assert client.call("vs/add", **VS, scheduler="wrr") is None
        assert client.call("rs/add", **VS, server="1.1.1.3:80", weight=7) is None
        assert [row["sched"] for row in client.rows("vs/list")] == ["wrr"]
        assert client.call("rs/weight", **VS, server="1.1.1.3:80") == {"weight": 7}


def test_errors_arrive_with_their_code(service: Service) -> None:
    with service.client() as client:
        with pytest.raises(JupiterError, match=r"Cannot find virt service 10\.0\.1\.1:8888 tcp\.") as error:
            client.call("vs/del", **VS)
        assert error.value.code == "service-not-found"
        with pytest.raises(JupiterError) as error:
            client.call("vs/dell", **VS)
        assert error.value.code == "unknown-command"


def test_what_the_data_plane_refuses_is_told_and_changes_nothing(service: Service) -> None:
    """B28: an invalid change is refused whole."""
    service.datapath.refuses = "out of memory"
    with service.client() as client:
        with pytest.raises(JupiterError, match="out of memory") as error:
            client.call("vs/add", **VS)
        assert error.value.code == "publish-failed"
        assert list(client.rows("vs/list")) == []


def test_a_fault_inside_is_an_error_of_that_command_alone(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service.datapath, "drops", lambda: 1 // 0)
    with service.client() as client:
        with pytest.raises(JupiterError, match="Command drop/stats failed inside the service") as error:
            client.call("drop/stats")
        assert error.value.code == "internal"
        assert client.call("version") == {"version": "0.1.0"}


def test_a_dump_comes_in_pages_and_lets_others_in_between(service: Service) -> None:
    with service.client() as client, service.client() as other:
        rows = client.rows("tcp/conn/dump")
        seen = [next(rows)["cport"]]
        assert other.call("version") == {"version": "0.1.0"}
        seen += [row["cport"] for row in rows]
    assert seen == list(range(1024, 1024 + 2500))


def test_stop_is_answered_before_it_stops(service: Service) -> None:
    with service.client() as client:
        assert client.call("stop") is None
    assert service.stopped.wait(10)


def test_only_the_owner_may_use_the_socket(service: Service) -> None:
    assert stat.S_IMODE(service.path.stat().st_mode) == 0o600


def test_the_socket_is_gone_afterwards(directory: Path) -> None:
    running = Service(directory).start()
    running.stop()
    assert not running.path.exists()
    with pytest.raises(JupiterError, match=f"jupiter-service does not answer on {running.path}") as error:
        Client(str(running.path))
    assert error.value.code == "not-running"


def test_the_socket_of_a_killed_service_is_taken_over(directory: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(directory / "jupiter.sock"))
    running = Service(directory).start()
    assert_serves(running)
    running.stop()


def test_the_socket_of_a_living_service_is_left_alone(service: Service) -> None:
    with pytest.raises(JupiterError, match="another service answers there") as error:
        listen(service.path)
    assert error.value.code == "already-running"
    assert_serves(service)


def test_a_file_in_the_way_is_left_alone(directory: Path) -> None:
    path = directory / "jupiter.sock"
    path.write_text("precious")
    with pytest.raises(JupiterError, match="a file that is no socket is in the way"):
        listen(path)
    assert path.read_text() == "precious"


@pytest.mark.parametrize("name", ["missing/jupiter.sock", "x" * 120])
def test_a_path_that_cannot_be_a_socket_is_named(directory: Path, name: str) -> None:
    with pytest.raises(JupiterError, match="Cannot listen on ") as error:
        listen(directory / name)
    assert error.value.code == "socket-unusable"


def test_a_half_closed_client_gets_its_answers(service: Service) -> None:
    """All that were asked for before the end of its stream, the last request without a newline too."""
    with connect(service) as raw:
        raw.sendall(encode_request(1, "version", {}) + encode_request(2, "version", {}).rstrip())
        raw.shutdown(socket.SHUT_WR)
        assert [a["id"] for a in answers(raw)] == [1, 2]


def test_a_notification_is_carried_out_and_not_answered(service: Service) -> None:
    with connect(service) as raw:
        raw.sendall(b'{"jsonrpc":"2.0","method":"vs/add","params":{"service":"10.0.1.1:80 tcp"}}\n')
        raw.shutdown(socket.SHUT_WR)
        assert answers(raw) == []
    assert len(service.datapath.model.services) == 1


@pytest.mark.parametrize("line", [b"GET / HTTP/1.1\n", b"\x00\xff\n", b"[]\n", b"[" * 50_000 + b"\n", b"\n"])
def test_a_message_that_is_none_costs_an_error_answer(service: Service, line: bytes) -> None:
    with connect(service) as raw:
        raw.sendall(line + encode_request(5, "version", {}))
        raw.shutdown(socket.SHUT_WR)
        first, second = answers(raw)
    assert first["error"]["code"] in (-32700, -32600)
    assert second["result"] == {"version": "0.1.0"}


def test_a_request_without_end_is_cut_at_the_cap(service: Service) -> None:
    """Memory is bounded: an error, and the connection is closed."""
    with connect(service) as raw:
        with contextlib.suppress(ConnectionError):
            for _ in range(64):
                raw.sendall(b"x" * (MAX_MESSAGE // 4))
            pytest.fail("16 MiB without a newline were taken")
        with contextlib.suppress(ConnectionError):
            assert answers(raw)[0]["error"]["data"]["code"] == "message-too-large"
    assert_serves(service)


def test_a_request_just_under_the_cap_is_read(service: Service) -> None:
    with connect(service) as raw, raw.makefile("rb") as lines:
        request = encode_request(1, "version", {}).rstrip()
        raw.sendall(request + b" " * (MAX_MESSAGE - len(request) - 1) + b"\n")
        assert json.loads(lines.readline())["result"] == {"version": "0.1.0"}


def test_an_idle_client_is_let_go(impatient_service: Service) -> None:
    with connect(impatient_service) as raw:
        assert answers(raw) == []
    assert_serves(impatient_service)


def test_a_client_that_drips_is_let_go(impatient_service: Service) -> None:
    """The time is for the whole request, not for each byte."""
    with connect(impatient_service) as raw, pytest.raises(ConnectionError):
        drip(raw)
    assert_serves(impatient_service)


def test_a_client_that_takes_no_answers_holds_up_nobody(service: Service) -> None:
    """It is stopped by its own full buffers; others are served meanwhile."""
    with connect(service) as rude:
        rude.settimeout(0.5)
        with pytest.raises(TimeoutError):
            flood(rude)
        assert_serves(service)


def test_a_client_that_takes_no_answers_is_let_go(impatient_service: Service) -> None:
    with connect(impatient_service) as rude, pytest.raises(ConnectionError):
        flood(rude)
    assert_serves(impatient_service)


def test_a_client_that_sends_many_requests_takes_turns(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of thousands of requests sent at once only a few are carried out before another client's one."""
    order: list[str] = []
    all_sent = threading.Event()

    def drops() -> dict[str, int]:
        assert all_sent.wait(10)
        order.append("busy")
        return {}

    monkeypatch.setattr(service.datapath, "drops", drops)
    monkeypatch.setattr(service.datapath, "neighbours", lambda: order.append("other") or [])
    with connect(service) as busy, connect(service) as other, other.makefile("rb") as answer:
        busy.sendall(encode_request(1, "drop/stats", {}) * 2000)
        other.sendall(encode_request(1, "arp/list", {}))
        all_sent.set()
        assert json.loads(answer.readline())["result"] == {"rows": [], "cursor": None}
    assert order.index("other") < 10


def test_a_new_client_displaces_the_one_that_was_silent_for_longest(service: Service) -> None:
    """However many sit there, an operator gets in; who has just spoken stays."""
    crowd = [connect(service) for _ in range(MAX_CLIENTS)]
    try:
        crowd[0].sendall(encode_request(1, "version", {}))
        with crowd[0].makefile("rb") as lines:
            assert json.loads(lines.readline())["id"] == 1
        assert_serves(service)
        assert answers(crowd[1]) == []
        crowd[0].sendall(encode_request(2, "version", {}))
        with crowd[0].makefile("rb") as lines:
            assert json.loads(lines.readline())["id"] == 2
    finally:
        for raw in crowd:
            raw.close()


def test_many_clients_at_once_are_all_served(service: Service) -> None:
    """Each adds a service of its own; all are there in the end."""

    def add(n: int) -> None:
        with service.client() as client:
            client.call("vs/add", service=f"10.0.1.{n}:80 tcp")

    threads = [threading.Thread(target=add, args=(n,)) for n in range(1, 33)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(service.datapath.model.services) == 32


def test_a_client_that_leaves_in_mid_request_is_forgotten(service: Service) -> None:
    for _ in range(2 * MAX_CLIENTS):
        with connect(service) as raw:
            raw.sendall(b'{"jsonrpc":')
    assert_serves(service)


def test_an_answer_that_would_be_too_large_is_an_error(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service.datapath, "drops", lambda: {"x" * MAX_MESSAGE: 1})
    with service.client() as client, pytest.raises(JupiterError) as error:
        client.call("drop/stats")
    assert error.value.code == "message-too-large"
