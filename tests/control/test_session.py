"""Drafts: whole or not at all, within bounds."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupiter.errors import JupiterError
from jupiter.session import MAX_DRAFT, MAX_DRAFTS, MAX_READERS_DRAFTS, DraftBudget, Session


def peer(budget: DraftBudget | None = None, read_only: bool = False) -> Session:
    return Session(123, 0, 0, user="root", read_only=read_only, budget=budget)


def refusal(session: Session, text: str) -> str:
    with pytest.raises(JupiterError) as error:
        session.add_draft(text)
    return error.value.code


def test_the_log_names_the_peer() -> None:
    assert str(peer()) == "uid 0 (root) pid 123"
    assert str(Session(7, 1001, 1001)) == "uid 1001 pid 7"


@given(st.lists(st.text()))
def test_a_draft_is_the_sum_of_its_pieces_and_is_taken_once(pieces: list[str]) -> None:
    budget = DraftBudget()
    session = peer(budget)
    sizes = [session.add_draft(piece) for piece in pieces]
    assert sizes[-1:] == [len("".join(pieces).encode())] * bool(pieces)
    assert budget.used == sum(sizes[-1:])
    if pieces:
        assert session.take_draft() == "".join(pieces)
    assert budget.used == 0
    with pytest.raises(JupiterError) as error:
        session.take_draft()
    assert error.value.code == "draft-missing"


@pytest.mark.parametrize("bad", ["x" * (MAX_DRAFT + 1), "\ud800"], ids=["too large", "half of a surrogate pair"])
def test_of_a_draft_that_was_refused_no_part_is_ever_taken(bad: str) -> None:
    """A client that does not wait for answers would else apply the part that was accepted."""
    budget = DraftBudget()
    session = peer(budget)
    session.add_draft("[10.0.1.1:80 tcp]\n")
    code = refusal(session, bad)
    assert code in ("draft-too-large", "invalid-argument")
    assert refusal(session, "more") == code
    with pytest.raises(JupiterError) as error:
        session.take_draft()
    assert error.value.code == code
    assert budget.used == 0
    session.drop_draft()
    assert session.add_draft("new") == 3


def test_small_pieces_cost_no_more_than_large_ones() -> None:
    """Nor do empty ones: a draft's memory is its text."""
    session = peer()
    tracemalloc.start()
    for _ in range(100_000):
        session.add_draft("\u00e4")
        session.add_draft("")
    assert tracemalloc.get_traced_memory()[0] < 2 * 200_000
    tracemalloc.stop()
    assert session.take_draft() == "\u00e4" * 100_000


def test_the_drafts_of_all_connections_are_bounded() -> None:
    budget = DraftBudget()
    first, second, third = (peer(budget) for _ in range(3))
    half = "x" * MAX_DRAFT
    assert first.add_draft(half) == second.add_draft(half) == MAX_DRAFTS // 2
    assert refusal(third, "x") == "draft-too-large"
    first.drop_draft()
    third.drop_draft()
    assert third.add_draft("x") == 1


def test_those_who_may_only_read_leave_room_for_an_operator() -> None:
    budget = DraftBudget()
    readers = [peer(budget, read_only=True) for _ in range(2)]
    assert readers[0].add_draft("x" * MAX_READERS_DRAFTS) == MAX_READERS_DRAFTS
    assert refusal(readers[1], "x") == "draft-too-large"
    assert peer(budget).add_draft("x" * MAX_DRAFT) == MAX_DRAFT


def test_what_is_to_be_done_at_the_end_is_done() -> None:
    """And the draft is given back."""
    session, done = peer(DraftBudget()), []
    session.add_draft("x")
    session.at_end(lambda: done.append(1))
    session.at_end(lambda: done.append(2))
    session.end()
    assert (done, session.has_draft) == ([1, 2], False)
