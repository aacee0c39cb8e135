"""The client as automation uses it: what runs on a fake data plane, over a real socket."""

import socket
import threading
import time
from pathlib import Path

import pytest

from jupiter.control.client import Client
from jupiter.control.protocol import MAX_BATCH
from jupiter.errors import JupiterError
from jupiter.session import MAX_DRAFT
from tests.control.conftest import Service

VS = {"service": "10.0.1.1:8888 tcp"}
TEXT = "[10.0.1.1:8888 tcp]\nscheduler = wrr\n1.1.1.3:80 = 7\n1.1.1.4:80 = 7\n"


def test_commands_change_and_read_what_runs(service: Service) -> None:
    with service.client() as client:
        assert client.call("vs/add", **VS, scheduler="wrr") is None
        assert client.call("rs/add", **VS, server="1.1.1.3:80", weight=7) is None
        assert [row["sched"] for row in client.rows("vs/list")] == ["wrr"]
        assert client.call("rs/weight", **VS, server="1.1.1.3:80") == {"weight": 7}


def test_what_the_data_plane_refuses_is_told_and_changes_nothing(service: Service) -> None:
    """B28: an invalid change is refused whole."""
    service.datapath.refuses = "out of memory"
    with service.client() as client:
        with pytest.raises(JupiterError, match="out of memory") as error:
            client.call("vs/add", **VS)
        assert error.value.code == "publish-failed"
        assert list(client.rows("vs/list")) == []


def test_stop_is_answered_before_it_stops(service: Service) -> None:
    with service.client() as client:
        assert client.call("stop") is None
    assert service.stopped.wait(10)


def test_a_batch_has_a_result_or_an_error_for_each(service: Service) -> None:
    with service.client() as client:
        added, again, listed = client.batch([("vs/add", VS), ("vs/add", VS), ("vs/list", {})])
    assert added is None
    assert isinstance(again, JupiterError)
    assert again.code == "service-exists"
    assert len(listed["rows"]) == 1


def test_a_batch_may_be_longer_than_a_message(service: Service) -> None:
    with service.client() as client:
        assert client.batch([]) == []
        answers = client.batch([("vs/add", {"service": f"10.0.1.1:{port} tcp"}) for port in range(1, 2 * MAX_BATCH)])
        assert answers == [None] * (2 * MAX_BATCH - 1)
        assert client.call("version")
    assert len(service.datapath.model.services) == 2 * MAX_BATCH - 1


@pytest.mark.parametrize("given", ["text", "file"])
def test_services_are_applied_from_a_text_or_a_file(service: Service, directory: Path, given: str) -> None:
    """Twice is once."""
    services: str | Path = TEXT
    if given == "file":
        services = directory / "services.cfg"
        services.write_text(TEXT)
    with service.client() as client:
        assert client.check(services) == {"services": 1, "servers": 2}
        assert [row["change"] for row in client.diff(services)] == ["add"] * len(client.diff(services))
        assert list(client.rows("vs/list")) == []
        first = client.apply(services)
        assert client.diff(services) == []
        second = client.apply(services, policy="reset")
        assert first != second
        assert not any(second.values())
        assert [row["weight"] for row in client.rows("rs/list", **VS)] == [7, 7]


def test_a_wrong_text_is_refused_with_its_lines(service: Service) -> None:
    with service.client() as client:
        with pytest.raises(JupiterError, match="text:3") as error:
            client.apply(TEXT.replace("= 7", "= seven"))
        assert error.value.code == "invalid-config"
        assert list(client.rows("vs/list")) == []


def test_a_text_longer_than_a_message_arrives_whole(service: Service) -> None:
    """In characters that JSON makes longest."""
    with service.client() as client:
        assert client.apply("; \U0001f600" * (1 << 20) + "\n" + TEXT)
        assert len(list(client.rows("vs/list"))) == 1


def test_a_text_that_is_too_large_is_refused_and_the_next_is_not(service: Service) -> None:
    with service.client() as client:
        with pytest.raises(JupiterError) as error:
            client.apply("x" * (MAX_DRAFT + 1))
        assert error.value.code == "draft-too-large"
        assert client.check(TEXT) == {"services": 1, "servers": 2}


@pytest.mark.parametrize("content", [None, b"\xff"], ids=["missing", "no UTF-8"])
def test_a_file_that_cannot_be_read_is_named(service: Service, directory: Path, content: bytes | None) -> None:
    path = directory / "services.cfg"
    if content:
        path.write_bytes(content)
    with service.client() as client, pytest.raises(JupiterError, match=f"Cannot read {path}") as error:
        client.apply(path)
    assert error.value.code == "file-unreadable"


def test_a_service_that_is_silent_is_not_waited_for_for_ever(directory: Path) -> None:
    """Nor one that is too busy to accept."""
    path = directory / "deaf.sock"
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(path))
        deaf.listen(0)
        with Client(path, timeout=0.1) as client, pytest.raises(JupiterError, match="timed out") as error:
            client.call("version")
        assert error.value.code == "no-answer"
        with pytest.raises(JupiterError) as error, Client(path, timeout=0.1), Client(path, timeout=0.1):
            pass
        assert error.value.code == "not-running"


def test_a_client_stands_in_line_while_many_connect(directory: Path) -> None:
    """It does not give up where the line is full, as a socket that does not block would."""
    path = directory / "busy.sock"
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(str(path))
        busy.listen(0)
        first = Client(path)
        waiting = threading.Thread(target=lambda: Client(path, timeout=10).close())
        waiting.start()
        time.sleep(0.05)
        assert waiting.is_alive()
        for _ in range(2):
            busy.accept()[0].close()
        waiting.join(10)
        assert not waiting.is_alive()
        first.close()


def test_who_was_let_go_meanwhile_learns_why(directory: Path) -> None:
    running = Service(directory, idle_seconds=0.05, slow_seconds=10).start()
    with running.client() as client:
        with socket.socket(socket.AF_UNIX) as other:
            other.connect(str(running.path))
            other.settimeout(10)
            while other.recv(1000):
                pass
        with pytest.raises(JupiterError) as error:
            client.call("version")
        assert error.value.code == "too-slow"
    running.stop()


def test_a_service_that_ends_is_no_traceback(service: Service) -> None:
    with service.client() as client:
        client.call("version")
        service.close()
        with pytest.raises(JupiterError, match=r"jupiter-service on .* closed the connection") as error:
            client.call("version")
        assert error.value.code == "no-answer"
