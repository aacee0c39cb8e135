"""Huge pages of 2 MB: reserved when too few are free, given back at the end; by whoever shares the machine's pool.

Source: Documentation/admin-guide/mm/hugetlbpage.rst of Linux. On several NUMA nodes the kernel spreads what is added.

What an instance added stands in its note, a file; so whatever ends it, its next start gives back what it had. A page
that is free while another instance starts is about to be that one's: from counting until its memory is mapped it holds
the lock, a file too, and nobody else changes the pool meanwhile. A file beside the lock says which change is under way,
so that the next holder can complete the note of one that was killed in the middle of it.
"""

import fcntl
import json
import os
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from jupiter.errors import JupiterError

PAGE_MEGABYTES = 2
POOL = Path("/sys/kernel/mm/hugepages/hugepages-2048kB")
NODES = Path("/sys/devices/system/node")
PATIENCE = 60.0
"""Seconds that an instance may hold the lock before others give up: memory that is fragmented takes a while."""
_RETRY = 0.02


@dataclass(frozen=True, slots=True)
class Account:
    """Where an instance keeps its books. note: its own file; lock: one file for all instances."""

    note: Path
    lock: Path
    pool: Path = POOL

    @property
    def change(self) -> Path:
        """What the holder of the lock is about to do; there only while it does."""
        return self.lock.with_suffix(".change")

    def added(self) -> int:
        """Pages that the instance has added and not given back, be it in an earlier life."""
        with suppress(OSError, ValueError):  # none, or nothing that we wrote
            return max(int(self.note.read_text()), 0)
        return 0

    def write(self, pages: int) -> None:
        """All or nothing, also when we are killed meanwhile; no note says 0."""
        if not pages:
            self.note.unlink(missing_ok=True)
            return
        fresh = self.note.with_name(self.note.name + ".new")
        fresh.write_text(f"{pages}\n")
        fresh.replace(self.note)


class Lock:
    """The pool is ours from enter to exit. JupiterError hugepages-busy: it is another's for longer than `patience`."""

    def __init__(self, account: Account, patience: float = PATIENCE) -> None:
        self._account = account
        self._patience = patience
        self._fd = -1

    def __enter__(self) -> Self:
        self._fd = os.open(self._account.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + self._patience
        while True:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    self.leave()
                    raise JupiterError(
                        "hugepages-busy",
                        f"Cannot change the pool of huge pages: for {self._patience:g} s another instance "
                        f"has held {self._account.lock}, as it does while it starts.",
                    ) from None
                time.sleep(_RETRY)
        self._complete()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.leave()

    def leave(self) -> None:
        """Repeatable."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def change(self, persistent: int) -> None:
        """Make the pool so many pages, as far as memory allows, and enter the difference in our note."""
        self._announce()
        try:
            _set_persistent(self._account.pool, persistent)
        finally:
            self._complete()

    def _announce(self) -> None:
        now = {"added": self._account.added(), "persistent": _persistent(self._account.pool)}
        self._account.change.write_text(json.dumps({"note": str(self._account.note)} | now))

    def _complete(self) -> None:
        """Finish the change that is announced: by us, or by one that was killed."""
        with suppress(FileNotFoundError):
            with suppress(ValueError, KeyError, TypeError):  # killed before it was written: nothing changed
                change = json.loads(self._account.change.read_text())
                grown = _persistent(self._account.pool) - int(change["persistent"])
                replace(self._account, note=Path(change["note"])).write(max(int(change["added"]) + grown, 0))
            self._account.change.unlink()


class Reservation:
    """Pages that are free for the holder until settle(), whose users then hold them until they end."""

    def __init__(self, account: Account, lock: Lock) -> None:
        self._account = account
        self._lock = lock

    @property
    def added(self) -> int:
        """Pages that this instance has added to the pool, in this life and before."""
        return self._account.added()

    def settle(self) -> None:
        """All that was reserved is mapped: what is free now is free for others. Repeatable."""
        self._lock.leave()

    def release(self) -> None:
        """Take out of the pool what was added, nothing else; repeatable. As give_back()."""
        self.settle()
        give_back(self._account)


def reserve(megabytes: int, account: Account, patience: float = PATIENCE) -> Reservation:
    """See to it that so much is free, adding only what is missing to what the instance added in an earlier life.

    JupiterError hugepages-unavailable: no such pages, no permission, or not enough memory in pieces of that size; the
    pool then is without whatever this instance had added. hugepages-busy: see Lock.
    """
    wanted, pool = -(-megabytes // PAGE_MEGABYTES), account.pool
    lock = Lock(account, patience)
    with ExitStack() as undo:
        undo.callback(lock.leave)  # also when a signal ends us in here
        try:
            lock.__enter__()
            found = _free(pool)
            if found < wanted:
                # The whole pool, for the kernel makes surplus pages persistent before it adds any.
                lock.change(_count(pool, "nr_hugepages") + wanted - found)
                found = _free(pool)
        except OSError as refusal:
            raise JupiterError(
                "hugepages-unavailable", f"Cannot reserve {megabytes} MB of huge pages in {pool}: {refusal.strerror}."
            ) from refusal
        if found >= wanted:
            undo.pop_all()
            return Reservation(account, lock)
    give_back(account, patience)
    raise JupiterError(
        "hugepages-unavailable",
        f"Cannot reserve {megabytes} MB of huge pages: "
        f"memory has room for {found * PAGE_MEGABYTES} MB in pieces of {PAGE_MEGABYTES} MB.",
    )


def give_back(account: Account, patience: float = PATIENCE) -> None:
    """Take out of the pool what this instance has added, in this life or before.

    Free pages go at once. Of those in use the kernel takes none away: it counts them as surplus and frees each when its
    user lets go, EAL's at the latest when its process ends. JupiterError: as reserve(); the note stays, for next time.
    """
    if not account.added() and not account.change.exists():
        return
    try:
        with Lock(account, patience) as lock:
            lock.change(_persistent(account.pool) - account.added())
            # Where someone else has taken them out of the pool, they are not there to be given back.
            account.write(0)
    except OSError as refusal:
        raise JupiterError(
            "hugepages-unavailable",
            f"Cannot give back {account.added()} huge pages in {account.pool}: {refusal.strerror}.",
        ) from refusal


def on_one_node(nodes: Path = NODES) -> bool:
    """Whether all memory is alike, so that any free page can be anybody's."""
    return len(list(nodes.glob("node[0-9]*"))) <= 1


def _free(pool: Path) -> int:
    return _count(pool, "free_hugepages") - _count(pool, "resv_hugepages")


def _persistent(pool: Path) -> int:
    return _count(pool, "nr_hugepages") - _count(pool, "surplus_hugepages")


def _set_persistent(pool: Path, pages: int) -> None:
    """The kernel does what it can: with a short memory the pool grows by fewer."""
    (pool / "nr_hugepages").write_text(str(max(pages, 0)))


def _count(pool: Path, name: str) -> int:
    return int((pool / name).read_text())
