"""Huge pages of 2 MB: reserved when too few are free, given back at the end.

Source: Documentation/admin-guide/mm/hugetlbpage.rst of Linux. On several NUMA nodes the kernel spreads what is added.
"""

from pathlib import Path

from jupiter.errors import JupiterError

PAGE_MEGABYTES = 2
POOL = Path("/sys/kernel/mm/hugepages/hugepages-2048kB")


class Reservation:
    """Huge pages that were added to the pool and are to leave it again. added: pages, 0 if enough were free."""

    def __init__(self, pool: Path, added: int) -> None:
        self.added = added
        self._pool = pool

    def release(self) -> None:
        """Take out of the pool what was added, nothing else; once.

        Free pages go at once. Of those in use the kernel takes none away: it counts them as surplus and frees each when
        its user lets go, EAL's at the latest when this process ends.
        """
        if self.added:
            _set_persistent(self._pool, _persistent(self._pool) - self.added)
            self.added = 0


def reserve(megabytes: int, pool: Path = POOL) -> Reservation:
    """See to it that so much is free, adding only what is missing.

    JupiterError hugepages-unavailable: no such pages, no permission, or not enough memory in pieces of that size.
    """
    wanted = -(-megabytes // PAGE_MEGABYTES)
    try:
        reservation = Reservation(pool, _add(pool, wanted - _free(pool)))
        found = _free(pool)
    except OSError as refusal:
        raise JupiterError(
            "hugepages-unavailable", f"Cannot reserve {megabytes} MB of huge pages in {pool}: {refusal.strerror}."
        ) from refusal
    if found < wanted:
        reservation.release()
        raise JupiterError(
            "hugepages-unavailable",
            f"Cannot reserve {megabytes} MB of huge pages: "
            f"memory has room for {found * PAGE_MEGABYTES} MB in pieces of {PAGE_MEGABYTES} MB.",
        )
    return reservation


def _add(pool: Path, missing: int) -> int:
    """Pages by which the pool grew. Surplus ones count: the kernel makes them persistent before it adds any."""
    if missing <= 0:
        return 0
    before = _persistent(pool)
    _set_persistent(pool, _count(pool, "nr_hugepages") + missing)
    return _persistent(pool) - before


def _free(pool: Path) -> int:
    return _count(pool, "free_hugepages") - _count(pool, "resv_hugepages")


def _persistent(pool: Path) -> int:
    return _count(pool, "nr_hugepages") - _count(pool, "surplus_hugepages")


def _set_persistent(pool: Path, pages: int) -> None:
    """The kernel does what it can: with a short memory the pool grows by fewer."""
    (pool / "nr_hugepages").write_text(str(max(pages, 0)))


def _count(pool: Path, name: str) -> int:
    return int((pool / name).read_text())
