"""Files that an operator names."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from jupiter import files
from jupiter.errors import JupiterError


def test_a_file_is_read_as_utf8_under_its_own_name(tmp_path: Path) -> None:
    """A byte order mark is no part of the text."""
    path = tmp_path / "services.cfg"
    path.write_bytes(b"\xef\xbb\xbf# caf\xc3\xa9\n")
    assert files.read(str(path)) == (str(path), "# caf\u00e9\n")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing", "No such file or directory"),
        ("directory", "Is a directory"),
        ("binary", "line 3: expected UTF-8"),
        ("zero\0", "embedded null byte"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_the_reason(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "binary").write_bytes(b"a\nb\n\xff\n")
    with pytest.raises(JupiterError) as error:
        files.read(f"{tmp_path}/{name}")
    assert (error.value.code, error.value.text) == ("file-unreadable", f"Cannot read {tmp_path}/{name}: {reason}.")


def test_a_new_file_gets_the_mode_that_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        files.write(str(tmp_path / "new.cfg"), ["a", "b"])
    finally:
        os.umask(before)
    assert (tmp_path / "new.cfg").read_text() == "a\nb\n"
    assert stat.S_IMODE((tmp_path / "new.cfg").stat().st_mode) == 0o640


def test_an_existing_file_keeps_mode_and_owner(tmp_path: Path) -> None:
    """It is another file afterwards: whoever reads the old one meanwhile reads it to its end."""
    path = tmp_path / "services.cfg"
    path.write_text("old\n")
    path.chmod(0o604)
    if os.geteuid() == 0:
        os.chown(path, 12345, 54321)
    before = path.stat()
    with path.open() as reader:
        files.write(str(path), ["new"])
        assert reader.read() == "old\n"
    after = path.stat()
    assert path.read_text() == "new\n"
    assert after.st_ino != before.st_ino
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)


def test_a_link_stays_one(tmp_path: Path) -> None:
    """What it points to is written."""
    (tmp_path / "target").write_text("old\n")
    (tmp_path / "link").symlink_to("target")
    files.write(str(tmp_path / "link"), ["new"])
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "new\n"


def test_whatever_goes_wrong_the_file_is_as_it_was(tmp_path: Path) -> None:
    """Also when the service fails in the middle of the answer; no temporary file is left."""
    path = tmp_path / "services.cfg"
    path.write_text("old\n")

    def lines() -> Iterator[str]:
        yield "new"
        raise JupiterError("no-answer", "gone")

    with pytest.raises(JupiterError, match="gone"):
        files.write(str(path), lines())
    assert path.read_text() == "old\n"
    assert [p.name for p in tmp_path.iterdir()] == ["services.cfg"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(JupiterError) as error:
        files.write(f"{tmp_path}/none/services.cfg", ["x"])
    assert error.value.text == f"Cannot write {tmp_path}/none/services.cfg: No such file or directory."
    assert error.value.code == "file-unwritable"


def test_what_is_no_file_is_written_into(tmp_path: Path) -> None:
    """/dev/stdout, a pipe: there is nothing to replace."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        files.write(str(path), ["a"])
        assert os.read(reader, 100) == b"a\n"
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(path.stat().st_mode)
