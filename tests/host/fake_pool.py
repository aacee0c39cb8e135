"""A FAKE of the kernel's pool of huge pages: plain files, and what mm/hugetlb.c does when nr_hugepages is written.

Several processes may share it, as they share the kernel's; each change is one process's at a time.
"""

from pathlib import Path

NAMES = ("nr_hugepages", "free_hugepages", "resv_hugepages", "surplus_hugepages")


class FakePool:
    """room: pages that memory has in pieces of that size."""

    def __init__(self, path: Path, pages: int = 0, room: int = 1000) -> None:
        self.path = path
        self.room = room
        path.mkdir()
        for name in NAMES:
            self._set(name, pages if name in ("nr_hugepages", "free_hugepages") else 0)

    def __getitem__(self, name: str) -> int:
        """By the first word of the file's name: nr, free, resv, surplus."""
        return int((self.path / f"{name}_hugepages").read_text())

    @property
    def persistent(self) -> int:
        return self["nr"] - self["surplus"]

    def resize(self, pages: int) -> None:
        """set_max_huge_pages(): surplus pages become persistent first; pages in use or promised are not taken away."""
        count, nr, free, surplus = max(pages, 0), self["nr"], self["free"], self["surplus"]
        while surplus and count > nr - surplus:
            surplus -= 1
        while count > nr - surplus and nr < self.room:
            nr, free = nr + 1, free + 1
        least = max(count, self["resv"] + nr - free)
        while nr - surplus > least and free:
            nr, free = nr - 1, free - 1
        surplus += max(nr - surplus - count, 0)
        self._write(nr=nr, free=free, surplus=surplus)

    def promise(self, pages: int) -> None:
        """mmap() of so many: nobody else gets them, though they still count as free."""
        assert self["free"] - self["resv"] >= pages, "mmap: ENOMEM"
        self._write(resv=self["resv"] + pages)

    def touch(self, pages: int) -> None:
        """Of what was promised."""
        self._write(resv=self["resv"] - pages, free=self["free"] - pages)

    def let_go(self, promised: int, touched: int) -> None:
        """munmap(), or the end of the process: pages that the pool no longer owns go to the kernel."""
        gone = min(touched, self["surplus"])
        self._write(
            resv=self["resv"] - promised,
            nr=self["nr"] - gone,
            surplus=self["surplus"] - gone,
            free=self["free"] + touched - gone,
        )
        excess = min(
            self["surplus"], self["free"] - self["resv"]
        )  # hugetlb_acct_memory(): surplus that nobody is promised
        self._write(nr=self["nr"] - excess, surplus=self["surplus"] - excess, free=self["free"] - excess)

    def _write(self, **counts: int) -> None:
        for name, count in counts.items():
            assert count >= 0, (name, count)
            self._set(f"{name}_hugepages", count)

    def _set(self, name: str, count: int) -> None:
        with (self.path / name).open("w") as file:
            file.write(f"{count}\n")
