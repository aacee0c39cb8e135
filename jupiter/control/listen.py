"""A listening Unix socket at a path, with an owner, a group and a mode."""

import errno
import grp
import os
import socket
import stat
from pathlib import Path

from jupiter.errors import JupiterError

BACKLOG = 256
"""Clients in line to be accepted, which a newcomer has before it; further ones wait in connect(2)."""


def listen(path: Path, mode: int | None = None, group: str | None = None) -> socket.socket:
    """A listening socket that does not block; takes the place of a dead one.

    Nobody can connect before it listens, and then it has its group and mode (default 0600, with a group 0660).
    Raises JupiterError when another process answers there, a file is in the way, or there is no such group.
    """
    gid = _gid(path, group) if group else -1
    try:
        _remove_stale(path)
        listener = socket.socket(socket.AF_UNIX)
        try:
            listener.setblocking(False)
            os.fchmod(listener.fileno(), 0o600)  # what the file is born with (Linux), whatever the umask
            listener.bind(str(path))
            os.chown(path, -1, gid, follow_symlinks=False)
            path.chmod(mode if mode is not None else 0o660 if group else 0o600)
            listener.listen(BACKLOG)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise JupiterError("socket-unusable", f"Cannot listen on {path}: {error.strerror or error}.") from None
    return listener


def _gid(path: Path, group: str) -> int:
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise JupiterError(
            "group-not-found", f"Cannot give {path} to group {group}: this machine has no such group."
        ) from None


def _remove_stale(path: Path) -> None:
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise JupiterError("socket-unusable", f"Cannot listen on {path}: a file that is no socket is in the way.")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)  # one that is alive but busy must not hold us up
        refused = probe.connect_ex(str(path)) == errno.ECONNREFUSED
    if not refused:
        raise JupiterError("already-running", f"Cannot listen on {path}: another service answers there.")
    path.unlink()
