"""Paths of an instance."""

from dataclasses import replace
from pathlib import Path

import pytest

from jupiter import config, control, eal
from jupiter.errors import JupiterError
from jupiter.instance import Instance, instance


def paths(place: Instance) -> set[str]:
    return {
        str(path)
        for path in (
            place.config,
            place.pidfile,
            place.socket,
            place.readonly_socket,
            place.log,
            place.state,
            place.pages,
            place.file_prefix,
        )
    }


def test_without_a_name_everything_is_where_it_always_was() -> None:
    """What jupiter-ctl and old scripts know stays."""
    place = instance()
    assert (str(place.socket), place.config, place.file_prefix) == (
        control.DEFAULT_SOCKET,
        config.DEFAULT_PATH,
        eal.FILE_PREFIX,
    )
    assert (str(place.pidfile), str(place.log)) == ("/var/run/jupiter.pid", "/var/log/jupiter.log")


@pytest.mark.parametrize(("one", "other"), [("", "a"), ("a", "b"), ("ro", ""), ("a", "a-ro"), ("a_1", "A_1")])
def test_two_instances_share_no_path(one: str, other: str) -> None:
    """Every path of every instance is its own."""
    assert len(paths(instance(one)) | paths(instance(other))) == 2 * len(paths(instance(one)))


def test_the_note_of_its_pages_stands_beside_the_pid_file() -> None:
    """It is the pid file's lock that guards it, wherever --pidfile puts that."""
    assert str(instance("blue").pages) == "/var/run/jupiter-blue.pid.hugepages"
    assert str(replace(instance(), pidfile=Path("/run/own")).pages) == "/run/own.hugepages"


@pytest.mark.parametrize("name", ["../etc", "a/b", "a.b", "-a", "a b", "ä", "a" * 33, "jupiter", "a\n"])
def test_a_name_that_is_no_name_is_refused(name: str) -> None:
    """The error names it and what was expected; no name leads out of the directories."""
    with pytest.raises(JupiterError, match=r"(?s)Invalid instance .*expected 1 to 32 letters") as error:
        instance(name)
    assert (error.value.code, name in error.value.text) == ("invalid-instance", True)


def test_what_nobody_names_goes_with_what_was_named() -> None:
    """Services told apart by their paths share neither state nor sockets; what is named wins."""
    place = instance().at(config=Path("/tmp/try.cfg"), socket=Path("/tmp/try.sock"))
    assert place.state == Path("/var/lib/jupiter/try.state")
    assert place.readonly_socket == Path("/tmp/try.ro.sock")
    assert instance("blue").at(log=Path("/tmp/log")).state == instance("blue").state
