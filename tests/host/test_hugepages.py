"""Huge pages, on the machine's own pool: a few of them, and all of them given back."""

import mmap
from collections.abc import Iterator
from pathlib import Path

import pytest

from jupiter.errors import JupiterError
from jupiter.host import hugepages
from jupiter.host.hugepages import PAGE_MEGABYTES, POOL, reserve

from .waiting import until

MAP_HUGETLB = 0x40000  # asm-generic/mman-common.h; pages of the default size, 2 MB on x86-64


def count(name: str) -> int:
    return int((POOL / name).read_text())


def touch(number: int) -> mmap.mmap:
    """Map so many huge pages and use each."""
    size = number * PAGE_MEGABYTES << 20
    used = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_HUGETLB)
    for page in range(0, size, PAGE_MEGABYTES << 20):
        used[page : page + 4] = b"mine"
    return used


@pytest.fixture
def pages() -> Iterator[int]:
    """Pages in the pool before the test, which must be there after it."""
    if not POOL.is_dir():
        pytest.skip("this kernel has no huge pages of 2 MB")
    try:
        (POOL / "nr_hugepages").write_text(str(count("nr_hugepages")))
    except OSError as refusal:
        pytest.skip(f"cannot change the pool of huge pages: {refusal}")
    before = count("nr_hugepages")
    yield before
    assert count("nr_hugepages") == before


def test_adds_what_is_missing_and_gives_it_back(pages: int) -> None:
    """Free pages are used first, missing ones are added, release() restores the pool exactly, also when repeated."""
    free = count("free_hugepages") - count("resv_hugepages")
    reservation = reserve((free + 3) * PAGE_MEGABYTES)
    assert reservation.added == 3
    assert count("nr_hugepages") == pages + 3
    assert reserve((free + 3) * PAGE_MEGABYTES).added == 0
    reservation.release()
    reservation.release()
    assert count("nr_hugepages") == pages


def test_an_odd_number_of_megabytes_is_rounded_up(pages: int) -> None:
    """Three megabytes are two pages."""
    free = count("free_hugepages") - count("resv_hugepages")
    reservation = reserve(free * PAGE_MEGABYTES + 3)
    assert reservation.added == 2
    reservation.release()


def test_pages_that_someone_else_added_stay(pages: int) -> None:
    """Of two reservations each gives back its own."""
    free = count("free_hugepages") - count("resv_hugepages")
    first = reserve((free + 1) * PAGE_MEGABYTES)
    second = reserve((free + 3) * PAGE_MEGABYTES)
    first.release()
    assert count("nr_hugepages") == pages + 2
    second.release()


def test_pages_still_in_use_leave_when_they_become_free(pages: int) -> None:
    """A page that is mapped at release() stays with its user, and leaves the pool with him."""
    free = count("free_hugepages") - count("resv_hugepages")
    reservation = reserve((free + 2) * PAGE_MEGABYTES)
    used = touch(free + 1)
    reservation.release()
    assert used[:4] == b"mine"
    assert count("nr_hugepages") == pages + 1
    used.close()
    assert until(lambda: count("nr_hugepages") == pages)


def test_reservations_that_overlap_with_use(pages: int) -> None:
    """While pages of a former reservation are in use others come and go: in the end the pool is exact."""
    free = count("free_hugepages") - count("resv_hugepages")
    first = reserve((free + 2) * PAGE_MEGABYTES)
    used = touch(free + 2)
    second = reserve(3 * PAGE_MEGABYTES)
    first.release()
    assert count("surplus_hugepages") == 0  # the free pages of the second went first
    second.release()
    third = reserve(1 * PAGE_MEGABYTES)
    assert count("free_hugepages") == 1
    third.release()
    assert count("nr_hugepages") == pages + 2
    used.close()
    assert until(lambda: count("nr_hugepages") == pages)


def test_too_much_is_refused_and_leaves_the_pool_as_it_was(pages: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory that yields fewer pages than asked for: an error with both numbers, and no page kept."""
    set_persistent = hugepages._set_persistent
    most = count("nr_hugepages") + 1
    monkeypatch.setattr(
        hugepages, "_set_persistent", lambda pool, n: set_persistent(pool, min(n, most))
    )  # short memory
    free = count("free_hugepages") - count("resv_hugepages")
    wanted = (free + 3) * PAGE_MEGABYTES
    with pytest.raises(JupiterError, match=rf"{wanted} MB .* room for {(free + 1) * PAGE_MEGABYTES} MB") as error:
        reserve(wanted)
    assert error.value.code == "hugepages-unavailable"
    assert count("nr_hugepages") == pages


def test_a_kernel_without_huge_pages(tmp_path: Path) -> None:
    """No pool: an error that names where it was looked for."""
    with pytest.raises(JupiterError, match=f"Cannot reserve 64 MB of huge pages in {tmp_path}/none"):
        reserve(64, tmp_path / "none")
