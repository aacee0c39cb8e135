"""Files that an operator names: read whole, written whole or not at all."""

import os
import stat
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from jupiter.errors import JupiterError


def read(name: str) -> tuple[str, str]:
    """(what to call it in front of people, its text); `-` is standard input. Raises "file-unreadable"."""
    called = "standard input" if name == "-" else name
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        return called, data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        reason = f"line {line}: expected UTF-8"
    except (OSError, ValueError) as error:  # ValueError: a name with a null byte
        reason = getattr(error, "strerror", None) or str(error)
    raise JupiterError("file-unreadable", f"Cannot read {called}: {reason}.")


def write(name: str, lines: Iterable[str]) -> None:
    """An existing file is replaced once all is on the disk; its mode and owner stay. `name` may be a link to it.

    Whatever goes wrong, be it an error of `lines`, the file is as it was. Raises "file-unwritable".
    """
    path = Path(os.path.realpath(name))
    try:
        before = path.stat() if path.exists() else None
        if before and not stat.S_ISREG(before.st_mode):  # /dev/stdout, a pipe: nothing to replace
            with path.open("w", encoding="utf-8") as out:
                return out.writelines(f"{line}\n" for line in lines)
        _replace(path, before, lines)
    except OSError as error:
        raise _unwritable(name, error) from None


@contextmanager
def growing(name: str) -> Iterator[Callable[[bytes], None]]:
    """A file that begins empty; what is written can be read by others at once. `-` is standard output. A new one is its
    owner's alone. Raises "file-unwritable"."""

    def write(data: bytes) -> None:
        try:
            out.write(data)
            out.flush()
        except BrokenPipeError:  # whoever reads it has left
            raise
        except OSError as error:
            raise _unwritable(name, error) from None

    if name == "-":
        out: BinaryIO = sys.stdout.buffer
        yield write
        return
    try:
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    except (OSError, ValueError) as error:  # ValueError: a name with a null byte
        raise _unwritable(name, error) from None
    with os.fdopen(fd, "wb") as out:
        yield write


def _unwritable(name: str, error: OSError | ValueError) -> JupiterError:
    return JupiterError("file-unwritable", f"Cannot write {name}: {getattr(error, 'strerror', None) or error}.")


def _replace(path: Path, before: os.stat_result | None, lines: Iterable[str]) -> None:
    fd, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as out:
            out.writelines(f"{line}\n" for line in lines)
            out.flush()
            if before:
                os.fchown(fd, before.st_uid, before.st_gid)
            os.fchmod(fd, stat.S_IMODE(before.st_mode) if before else 0o666 & ~_umask())
            os.fsync(fd)
        Path(temporary).replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            Path(temporary).unlink()
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)  # the new name, too
    finally:
        os.close(directory)


def _umask() -> int:
    umask = os.umask(0o077)
    os.umask(umask)
    return umask
