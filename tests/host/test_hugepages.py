"""Huge pages, on the machine's own pool: a few of them, and all of them given back.

The pool is one for the whole machine, so nothing else may reserve huge pages while these tests run.
"""

import mmap
from collections.abc import Iterator
from pathlib import Path

import pytest

from jupiter.errors import JupiterError
from jupiter.host import hugepages
from jupiter.host.hugepages import PAGE_MEGABYTES, POOL, Account, Reservation, reserve

from .waiting import until

MAP_HUGETLB = 0x40000  # asm-generic/mman-common.h; pages of the default size, 2 MB on x86-64


def count(name: str) -> int:
    return int((POOL / name).read_text())


class Pool:
    """The machine's pool: how many pages there were and how many free, and what a test took, to be given back.

    home: where instances keep their notes, a new instance for each reservation.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.pages = count("nr_hugepages")
        self.free = count("free_hugepages") - count("resv_hugepages")
        self.reservations: list[Reservation] = []
        self.maps: list[mmap.mmap] = []

    def reserve(self, pages: int) -> Reservation:
        """As reserve(), by an instance of its own; others may reserve at once."""
        self.reservations.append(reserve(pages * PAGE_MEGABYTES, self.account()))
        self.reservations[-1].settle()
        return self.reservations[-1]

    def account(self) -> Account:
        return Account(self.home / f"{len(self.reservations)}.hugepages", self.home / "lock")

    def use(self, pages: int) -> mmap.mmap:
        """Map so many huge pages and write to each."""
        size = pages * PAGE_MEGABYTES << 20
        self.maps.append(mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_HUGETLB))
        for page in range(0, size, PAGE_MEGABYTES << 20):
            self.maps[-1][page : page + 4] = b"mine"
        return self.maps[-1]

    def clear(self) -> None:
        for used in self.maps:
            used.close()
        for reservation in self.reservations:
            reservation.release()


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    """A test leaves as many pages in the pool as it found."""
    if not POOL.is_dir():
        pytest.skip("this kernel has no huge pages of 2 MB")
    try:
        (POOL / "nr_hugepages").open("w").close()
    except OSError as refusal:
        pytest.skip(f"cannot change the pool of huge pages: {refusal}")
    pool = Pool(tmp_path)
    yield pool
    pool.clear()
    assert until(lambda: count("nr_hugepages") == pool.pages)


def test_adds_what_is_missing_and_gives_it_back(pool: Pool) -> None:
    """Free pages are used first, missing ones are added, release() restores the pool exactly, also when repeated."""
    reservation = pool.reserve(pool.free + 3)
    assert reservation.added == 3
    assert count("nr_hugepages") == pool.pages + 3
    assert pool.reserve(pool.free + 3).added == 0
    reservation.release()
    reservation.release()
    assert count("nr_hugepages") == pool.pages


def test_an_odd_number_of_megabytes_is_rounded_up(pool: Pool) -> None:
    """Three megabytes are two pages."""
    reservation = reserve(pool.free * PAGE_MEGABYTES + 3, pool.account())
    pool.reservations.append(reservation)
    assert reservation.added == 2


def test_pages_that_someone_else_added_stay(pool: Pool) -> None:
    """Of two reservations each gives back its own."""
    first = pool.reserve(pool.free + 1)
    pool.reserve(pool.free + 3)
    first.release()
    assert count("nr_hugepages") == pool.pages + 2


def test_pages_still_in_use_leave_when_they_become_free(pool: Pool) -> None:
    """A page that is mapped at release() stays with its user, and leaves the pool with him."""
    reservation = pool.reserve(pool.free + 2)
    used = pool.use(pool.free + 1)
    reservation.release()
    assert used[:4] == b"mine"
    assert count("nr_hugepages") == pool.pages + 1
    used.close()
    assert until(lambda: count("nr_hugepages") == pool.pages)


def test_reservations_that_overlap_with_use(pool: Pool) -> None:
    """While pages of a former reservation are in use others come and go: in the end the pool is exact."""
    first = pool.reserve(pool.free + 2)
    used = pool.use(pool.free + 2)
    first.release()
    assert count("surplus_hugepages") == 2
    second = pool.reserve(1)
    assert count("free_hugepages") - count("resv_hugepages") == 1
    second.release()
    used.close()
    assert until(lambda: count("nr_hugepages") == pool.pages)


def test_too_much_is_refused_and_leaves_the_pool_as_it_was(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory that yields fewer pages than asked for: an error with both numbers, and no page kept."""
    set_persistent = hugepages._set_persistent
    most = pool.pages + 1
    monkeypatch.setattr(
        hugepages, "_set_persistent", lambda path, n: set_persistent(path, min(n, most))
    )  # short memory
    wanted, room = (pool.free + 3) * PAGE_MEGABYTES, (pool.free + 1) * PAGE_MEGABYTES
    with pytest.raises(JupiterError, match=rf"{wanted} MB .* room for {room} MB") as error:
        pool.reserve(pool.free + 3)
    assert error.value.code == "hugepages-unavailable"
    assert count("nr_hugepages") == pool.pages


def test_a_kernel_without_huge_pages(tmp_path: Path) -> None:
    """No pool: an error that names where it was looked for."""
    with pytest.raises(JupiterError, match=f"Cannot reserve 64 MB of huge pages in {tmp_path}/none"):
        reserve(64, Account(tmp_path / "note", tmp_path / "lock", tmp_path / "none"))
