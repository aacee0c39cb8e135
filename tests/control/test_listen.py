"""Who may use the socket, and whose place it takes."""

import grp
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from jupiter.control.listen import listen
from jupiter.errors import JupiterError
from tests.control.conftest import Service


@pytest.fixture(params=[0o000, 0o022, 0o777], ids="umask {:o}".format)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    former = os.umask(request.param)
    yield
    os.umask(former)


@pytest.mark.usefixtures("umask")
def test_only_the_owner_may_use_the_socket(directory: Path) -> None:
    """Mode 0600, whatever the umask."""
    path = directory / "jupiter.sock"
    with closing(listen(path)):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.usefixtures("umask")
def test_a_group_may_use_it_if_configured(directory: Path) -> None:
    """Mode 0660 and that group's gid; the owner stays."""
    path, group = directory / "jupiter.sock", grp.getgrnam("adm")
    with closing(listen(path, group="adm")):
        there = path.stat()
        assert (stat.S_IMODE(there.st_mode), there.st_gid, there.st_uid) == (0o660, group.gr_gid, os.geteuid())


@pytest.mark.usefixtures("umask")
def test_everybody_may_if_configured(directory: Path) -> None:
    path = directory / "read-only.sock"
    with closing(listen(path, mode=0o666)):
        assert stat.S_IMODE(path.stat().st_mode) == 0o666


def test_nobody_connects_before_mode_and_group_are_right(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the moment of each step that makes it so, a connection is refused, root's too."""
    path, moments = directory / "jupiter.sock", []

    def attempt(*_: object, **__: object) -> None:
        with socket.socket(socket.AF_UNIX) as early:
            moments.append(early.connect_ex(str(path)) != 0)

    for name in ("chown", "chmod"):
        monkeypatch.setattr(os, name, attempt)
    listen(path, group="adm").close()
    assert moments == [True, True]


def test_an_unknown_group_is_named_and_leaves_nothing(directory: Path) -> None:
    path = directory / "jupiter.sock"
    with pytest.raises(JupiterError, match="group no-such-group: this machine has no such group") as error:
        listen(path, group="no-such-group")
    assert error.value.code == "group-not-found"
    assert not path.exists()


def test_the_socket_of_a_killed_service_is_taken_over(directory: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(directory / "jupiter.sock"))
    running = Service(directory).start()
    with running.client() as client:
        assert client.call("version")
    running.stop()


def test_the_socket_of_a_living_service_is_left_alone(service: Service) -> None:
    with pytest.raises(JupiterError, match="another service answers there") as error:
        listen(service.path)
    assert error.value.code == "already-running"
    with service.client() as client:
        assert client.call("version")


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
