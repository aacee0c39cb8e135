"""The page of the channel says what is so: its examples are tried, its bounds are the code's."""

import json
import re
from pathlib import Path

import pytest

import jupiter.control
from jupiter.control import client, protocol, server
from jupiter.control.client import Client
from jupiter.session import MAX_DRAFT, MAX_DRAFTS
from tests.control.conftest import Service
from tests.control.wire import connect

PAGE = (Path(jupiter.control.__file__).parent / "README.md").read_text()
EXAMPLE = re.compile(r"^    → (.*)\n    ← (.*)$", re.M)
PYTHON = re.findall(r"^```python\n(.*?)^```$", PAGE, re.M | re.S)


def test_every_message_is_an_example_that_was_tried(service: Service) -> None:
    """One after the other, on one connection: each answer is word for word the page's."""
    examples = EXAMPLE.findall(PAGE)
    assert len(re.findall("^    [→←{\\[]", PAGE, re.M)) == 2 * len(examples) > 20
    with connect(service.path) as raw, raw.makefile("rb") as lines:
        for sent, expected in examples:
            raw.sendall(sent.encode() + b"\n")
            assert json.loads(lines.readline()) == json.loads(expected), sent


def test_the_python_runs_and_does_what_it_says(service: Service) -> None:
    reading, applying, ensuring = PYTHON
    names = {"socket_path": service.path}
    exec(reading, names)
    assert [error.code for error in names["failed"]] == ["service-not-found"]
    for changed in (True, False):
        exec(applying, names)
        assert names["changed"] is changed
    exec(ensuring, names)
    with service.client() as jupiter:
        for server, weight, changed in (("1.1.1.3:80", 9, True), ("1.1.1.3:80", 9, False), ("1.1.1.5:80", 1, True)):
            assert names["ensure_weight"](jupiter, "10.0.1.1:8888 tcp", server, weight) is changed
        weights = {row["ip"]: row["weight"] for row in jupiter.rows("rs/list", service="10.0.1.1:8888 tcp")}
    assert weights == {"1.1.1.3": 9, "1.1.1.4": 7, "1.1.1.5": 1}


@pytest.mark.parametrize(
    "words",
    [
        f"{protocol.MAX_MESSAGE:,} bytes with its newline",
        f"at most {protocol.MAX_ID} characters",
        f"{protocol.MAX_VALUES:,} values and {protocol.MAX_BATCH:,} requests to the service",
        f"| a client's time to ask something | {server.IDLE_SECONDS:.0f} s; {server.SLOW_SECONDS:.0f} s while",
        f"| an answer, taken | {server.SLOW_SECONDS:.0f} s |",
        f"| clients of a socket | {server.MAX_CLIENTS} |",
        f"A newcomer beyond the {server.MAX_CLIENTS} takes",
        f"{server.SPARE_CLIENTS} more places are for",
        f"| a draft | {MAX_DRAFT >> 20} MiB; all of both sockets together {MAX_DRAFTS >> 20} MiB",
        f"waits {server.GRACE_SECONDS:.0f} s for requests",
        f"more than {server.LARGE >> 10} KiB",
        f"took more than {server.LONG_SECONDS * 1000} ms",
    ],
)
def test_the_bounds_are_those_of_the_code(words: str) -> None:
    assert words in " ".join(PAGE.split())


def test_the_client_waits_as_long_as_the_page_says() -> None:
    assert Client.__init__.__defaults__ == (client.DEFAULT_SOCKET, 120.0)
    assert "Client(path, timeout=120)" in PAGE
