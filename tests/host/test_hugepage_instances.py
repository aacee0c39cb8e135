"""Instances that share a pool of huge pages: starting at once, ending, killed at any moment. The pool is a fake."""

import os
import signal
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from jupiter.errors import JupiterError
from jupiter.host import hugepages
from jupiter.host.hugepages import PAGE_MEGABYTES, Account, Reservation, give_back, reserve

from .fake_pool import FakePool
from .waiting import until

BEFORE = 7
"""Pages that an operator had in the pool."""


class Machine:
    """A fake pool and the notes of its instances."""

    def __init__(self, home: Path, pages: int = BEFORE, room: int = 1000) -> None:
        self.home = home
        self.pool = FakePool(home / "pool", pages, room)
        self.lock = home / "lock"

    def account(self, name: str) -> Account:
        return Account(self.home / f"{name}.hugepages", self.lock, self.pool.path)

    def reserve(self, name: str, pages: int, patience: float = 10) -> Reservation:
        return reserve(pages * PAGE_MEGABYTES, self.account(name), patience)

    def start(self, name: str, pages: int, touched: int = 0) -> Reservation:
        """Reserve, map so many, touch some of them: a service that is up."""
        reservation = self.reserve(name, pages)
        self.pool.promise(pages)
        self.pool.touch(touched)
        reservation.settle()
        return reservation

    def notes(self) -> dict[str, int]:
        return {path.stem: int(path.read_text()) for path in self.home.glob("*.hugepages")}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine(tmp_path)
    monkeypatch.setattr(hugepages, "_set_persistent", lambda path, pages: machine.pool.resize(pages))
    return machine


def in_a_process(body: Callable[[], object]) -> int:
    """Run body in a child process; its exit code, or minus the signal that killed it."""
    pid = os.fork()
    if not pid:
        code = 1
        try:
            body()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_what_a_killed_instance_had_is_adopted_by_its_next_start(machine: Machine) -> None:
    """The second life adds nothing, for what the first one added is free; its end gives all of it back."""
    assert in_a_process(lambda: (machine.reserve("a", 30), os.kill(os.getpid(), signal.SIGKILL))) == -signal.SIGKILL
    assert machine.notes() == {"a": 30 - BEFORE}
    again = machine.reserve("a", 30)
    assert (machine.pool["nr"], again.added) == (30, 30 - BEFORE)
    again.release()
    assert (machine.pool["nr"], machine.notes()) == (BEFORE, {})


def test_a_next_start_that_wants_no_huge_pages_gives_them_back(machine: Machine) -> None:
    """give_back() alone is enough, also twice."""
    in_a_process(lambda: (machine.reserve("a", 30), os.kill(os.getpid(), signal.SIGKILL)))
    for _ in range(2):
        give_back(machine.account("a"))
        assert (machine.pool["nr"], machine.notes()) == (BEFORE, {})


def test_another_instance_neither_gives_back_nor_inherits_them(machine: Machine) -> None:
    """What the killed one had is free, so another may use it; who gives it back is its owner all the same."""
    in_a_process(lambda: (machine.reserve("a", 30), os.kill(os.getpid(), signal.SIGKILL)))
    other = machine.start("b", 20, touched=5)
    assert other.added == 0
    first = machine.start("a", 30, touched=30)
    assert machine.pool["nr"] == 50
    machine.pool.let_go(0, 30)
    first.release()
    assert (machine.pool["nr"], machine.pool["surplus"]) == (20, 20 - BEFORE), "b's pages are b's until it lets go"
    machine.pool.let_go(15, 5)
    other.release()
    assert (machine.pool["nr"], machine.pool["surplus"], machine.notes()) == (BEFORE, 0, {})


def test_two_that_start_at_once_do_not_count_on_the_same_pages(machine: Machine) -> None:
    """The second one waits until the first has mapped its pages, and then counts what is left."""
    first = machine.reserve("a", 30)
    second: list[Reservation] = []
    waiting = threading.Thread(target=lambda: second.append(machine.start("b", 40, touched=40)))
    waiting.start()
    assert not until(lambda: second, seconds=0.2)
    machine.pool.promise(30)
    first.settle()
    waiting.join(10)
    assert second
    assert machine.notes() == {"a": 30 - BEFORE, "b": 40}


def test_one_that_ends_waits_for_one_that_starts(machine: Machine) -> None:
    """It does not take away free pages that the other has counted on and not yet mapped."""
    first = machine.start("a", 30)
    machine.pool.let_go(30, 0)
    second = machine.reserve("b", 30)
    assert second.added == 0
    ending = threading.Thread(target=first.release)
    ending.start()
    ending.join(0.2)
    assert (ending.is_alive(), machine.pool["free"]) == (True, 30)
    machine.pool.promise(30)
    second.settle()
    ending.join(10)
    assert (machine.pool["free"], machine.pool["resv"]) == (30, 30), "promised pages stay"


def test_one_that_starts_for_too_long_is_named(machine: Machine) -> None:
    """An error with the lock's path after the patience is over; at the end the note then stays for the next life."""
    first = machine.start("a", 30)
    second = machine.reserve("b", 40)
    with pytest.raises(JupiterError, match=rf"for 0.1 s another instance has held {machine.lock}") as error:
        machine.reserve("c", 10, patience=0.1)
    assert error.value.code == "hugepages-busy"
    with pytest.raises(JupiterError, match="another instance"):
        give_back(machine.account("a"), patience=0.1)
    assert machine.notes()["a"] == first.added > 0
    second.settle()


def test_memory_that_is_short_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused, with what an earlier life had added given back as well, and the lock free."""
    machine = Machine(tmp_path, room=25)
    monkeypatch.setattr(hugepages, "_set_persistent", lambda path, pages: machine.pool.resize(pages))
    in_a_process(lambda: (machine.reserve("a", 20), os.kill(os.getpid(), signal.SIGKILL)))
    with pytest.raises(JupiterError, match=r"60 MB .* room for 50 MB"):
        machine.reserve("a", 30)
    assert (machine.pool["nr"], machine.notes()) == (BEFORE, {})
    machine.reserve("b", 25, patience=0).release()


def test_a_signal_while_it_reserves_leaves_the_lock_free(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGTERM during the start: the exception passes through, and the clean-up does not wait for ourselves."""
    resize = hugepages._set_persistent

    def interrupted(path: Path, pages: int) -> None:
        resize(path, pages)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(hugepages, "_set_persistent", interrupted)
        with pytest.raises(KeyboardInterrupt):
            machine.reserve("a", 30)
    assert machine.notes() == {"a": 30 - BEFORE}
    give_back(machine.account("a"), patience=0)
    assert (machine.pool["nr"], machine.notes()) == (BEFORE, {})


@pytest.mark.parametrize("rubbish", [b"", b"many\n", b"-4\n", b"\xff\xfe"])
def test_a_note_with_rubbish_counts_as_none(machine: Machine, rubbish: bytes) -> None:
    """Nothing is given back on its word, and it does not keep the instance from starting."""
    machine.account("a").note.write_bytes(rubbish)
    reservation = machine.reserve("a", 10)
    assert reservation.added == 10 - BEFORE
    reservation.release()
    assert machine.pool["nr"] == BEFORE


def test_an_announcement_of_rubbish_is_as_good_as_none(machine: Machine) -> None:
    """It was cut off: its writer was killed before it changed anything."""
    change = machine.account("a").change
    for rubbish in (b"", b'{"note": 1', b'{"note": 1}', b"[]", b"\xff"):
        change.write_bytes(rubbish)
        machine.reserve("a", 10).release()
        assert (machine.pool["nr"], change.exists()) == (BEFORE, False)


STEPS = ("announce", "half of the pool", "the pool", "note written", "note in place", "announcement gone")


def die_at(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a child process: SIGKILL right after this step of the first change of the pool."""

    def die(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def after(owner: object, name: str) -> None:
        real = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *args, **kw: (real(*args, **kw), die()))

    resize = hugepages._set_persistent
    match step:
        case "announce":
            after(hugepages.Lock, "_announce")
        case "half of the pool":
            now = hugepages._persistent
            monkeypatch.setattr(
                hugepages, "_set_persistent", lambda path, pages: (resize(path, (now(path) + pages) // 2), die())
            )
        case "the pool":
            after(hugepages, "_set_persistent")
        case "note written":
            monkeypatch.setattr(Path, "replace", die)
        case "note in place":
            after(Account, "write")
        case "announcement gone":
            after(hugepages.Lock, "change")


@pytest.mark.parametrize("next_one", ["a", "b"])
@pytest.mark.parametrize(
    ("step", "change"),
    [(step, "growing") for step in STEPS] + [(step, "shrinking") for step in STEPS if step != "note written"],
)
def test_killed_in_the_middle_of_a_change(
    machine: Machine, step: str, change: str, next_one: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever takes the lock next completes the note: nothing is lost, nothing is given back twice."""

    def body() -> None:
        reservation = machine.reserve("a", 20) if change == "shrinking" else None
        die_at(step, monkeypatch)
        reservation.release() if reservation else machine.reserve("a", 20)

    assert in_a_process(body) == -signal.SIGKILL
    machine.reserve(next_one, 40).release()
    give_back(machine.account("a"))
    assert (machine.pool["nr"], machine.pool["surplus"], machine.notes()) == (BEFORE, 0, {})


class Instances(RuleBasedStateMachine):
    """Instances start, touch what they mapped, end and are killed in any order: the books are always right."""

    NAMES = ("a", "b", "c")

    def __init__(self) -> None:
        super().__init__()
        self.undo = ExitStack()
        self.machine = Machine(Path(self.undo.enter_context(TemporaryDirectory())))
        patch = self.undo.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(hugepages, "_set_persistent", lambda path, pages: self.machine.pool.resize(pages))
        self.live: dict[str, tuple[int, int]] = {}
        """Name -> pages that it has mapped and not touched, and that it has touched."""

    @rule(name=st.sampled_from(NAMES), pages=st.integers(1, 20))
    def start(self, name: str, pages: int) -> None:
        if name not in self.live:
            self.machine.start(name, pages)
            self.live[name] = pages, 0

    @rule(name=st.sampled_from(NAMES))
    def touch(self, name: str) -> None:
        if name in self.live and self.live[name][0]:
            promised, touched = self.live[name]
            self.machine.pool.touch(1)
            self.live[name] = promised - 1, touched + 1

    @rule(name=st.sampled_from(NAMES))
    def kill(self, name: str) -> None:
        if name in self.live:
            self.machine.pool.let_go(*self.live.pop(name))

    @rule(name=st.sampled_from(NAMES), early=st.booleans())
    def end(self, name: str, early: bool) -> None:
        """early: it gives back before its memory is gone, as EAL's is until the process ends."""
        if name not in self.live:
            return
        held = self.live.pop(name)
        if not early:
            self.machine.pool.let_go(*held)
        give_back(self.machine.account(name))
        if early:
            self.machine.pool.let_go(*held)

    @invariant()
    def books_are_right(self) -> None:
        assert self.machine.pool.persistent == BEFORE + sum(self.machine.notes().values())

    def teardown(self) -> None:
        """When the last one has ended the pool is what it was."""
        with self.undo:
            for name in self.NAMES:
                self.end(name, True)
                give_back(self.machine.account(name))
            pool = self.machine.pool
            assert (pool["nr"], pool["free"], pool["surplus"], pool["resv"]) == (BEFORE, BEFORE, 0, 0)


TestInstances = Instances.TestCase
TestInstances.settings = settings(max_examples=40, stateful_step_count=30)
