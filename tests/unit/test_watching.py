"""What was seen, as rows; a watch that is asked for page after page, and how it ends."""

import asyncio
from base64 import b64decode
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from jupiter import watching
from jupiter.counters import Seen
from jupiter.errors import JupiterError
from jupiter.watching import Watching, capture_row, trace_row
from tests.fakes import FakeWatch

C, V, L, R = "1.1.1.1:1000", "10.0.1.1:80", "10.0.2.1:5000", "1.1.1.3:80"
MAC = "02:00:00:00:02:03"
SEEN = Seen(
    lcore=2,
    ns=1_700_000_000_123_456_789,
    kind="passed",
    device="jupiter0",
    length=60,
    frame=bytes(60),
    protocol="tcp",
    ends=(C, V),
    classified="go_on",
    scheduled="go_on",
    verdict="send",
    client=C,
    virtual=V,
    local=L,
    real=R,
    states=("SYN_SENT", "SYN_SENT"),
    hop=("jupiter1", MAC),
    left=(L, R),
    out="jupiter1",
)
DROPPED = {
    "verdict": "drop",
    "reason": "no_service",
    "reason_text": "no such port",
    "states": None,
    "hop": None,
    "left": None,
}
STAGES = ("receive", "classify", "lookup", "schedule", "track", "rewrite", "dispatch")
ANSWERED = {"verdict": "send", "reason": "ttl_exceeded", "reason_text": "it ran out", "states": None, "hop": None}

TOLD: dict[str, tuple[Seen, dict[str, str]]] = {
    "a connection is opened": (
        SEEN,
        {
            "receive": "by jupiter0",
            "classify": f"tcp {C} > {V}",
            "lookup": "no connection",
            "schedule": f"server {R} from {L}, next hop {MAC} by jupiter1",
            "track": "SYN_SENT",
            "rewrite": f"{L} > {R}",
            "dispatch": "sent by jupiter1",
        },
    ),
    "the answer": (
        SEEN._replace(found="outbound", ends=(R, L), left=(V, C), states=("SYN_SENT", "SYN_RECV"), out="jupiter0"),
        {
            "receive": "by jupiter0",
            "classify": f"tcp {R} > {L}",
            "lookup": f"outbound of the connection {C} > {V}, {L} > {R}",
            "schedule": f"next hop {MAC} by jupiter1",
            "track": "SYN_SENT -> SYN_RECV",
            "rewrite": f"{V} > {C}",
            "dispatch": "sent by jupiter0",
        },
    ),
    "dropped by classify": (
        SEEN._replace(classified="drop", scheduled=None, **DROPPED),
        {"receive": "by jupiter0", "classify": "dropped, no_service: no such port"},
    ),
    "dropped by schedule": (
        SEEN._replace(scheduled="drop", **DROPPED),
        {
            "receive": "by jupiter0",
            "classify": f"tcp {C} > {V}",
            "lookup": "no connection",
            "schedule": "dropped, no_service: no such port",
        },
    ),
    "dropped on its way to the kernel": (
        SEEN._replace(classified="punt", scheduled=None, **DROPPED),
        {"receive": "by jupiter0", "classify": "for the kernel", "dispatch": "dropped, no_service: no such port"},
    ),
    "punted": (
        SEEN._replace(classified="punt", scheduled=None, verdict="punt", states=None),
        {"receive": "by jupiter0", "classify": "for the kernel", "dispatch": "to the kernel's jupiter0"},
    ),
    "answered": (
        SEEN._replace(classified="send", scheduled=None, states=None, out="jupiter0", left=(V, C)),
        {"receive": "by jupiter0", "classify": "answered here", "dispatch": "sent by jupiter0"},
    ),
    "dropped and answered": (
        SEEN._replace(scheduled="send", out="jupiter0", **ANSWERED),
        {
            "receive": "by jupiter0",
            "classify": f"tcp {C} > {V}",
            "lookup": "no connection",
            "schedule": "dropped, ttl_exceeded: it ran out, the sender is told",
            "dispatch": "sent by jupiter0",
        },
    ),
    "parked": (
        SEEN._replace(scheduled="park", verdict="park", states=None),
        {
            "receive": "by jupiter0",
            "classify": f"tcp {C} > {V}",
            "lookup": "no connection",
            "schedule": f"server {R}, waits for its MAC address",
        },
    ),
    "handed over": (
        SEEN._replace(classified="hand", scheduled=None, verdict="hand", to=3, states=None),
        {
            "receive": "by jupiter0",
            "classify": "owned by the worker on lcore 3",
            "dispatch": "handed to the worker on lcore 3",
        },
    ),
    "kept by a stage": (
        SEEN._replace(classified="kept", scheduled=None, verdict="kept", states=None),
        {"receive": "by jupiter0", "classify": "kept until more of it comes"},
    ),
    "another worker is asked": (
        SEEN._replace(scheduled="note", verdict="note", to=3, states=None, left=None),
        {
            "receive": "by jupiter0",
            "classify": f"tcp {C} > {V}",
            "lookup": "no connection",
            "schedule": "goes to the worker on lcore 3 first, with a note",
            "dispatch": "handed to the worker on lcore 3",
        },
    ),
    "a fragment waits": (
        SEEN._replace(classified="park", scheduled=None, verdict="park", states=None),
        {"receive": "by jupiter0", "classify": "waits for its first fragment"},
    ),
    "sent in pieces": (
        SEEN._replace(verdict="split", found="inbound"),
        {
            "receive": "by jupiter0",
            "classify": f"tcp {C} > {V}",
            "lookup": f"inbound of the connection {C} > {V}, {L} > {R}",
            "schedule": f"next hop {MAC} by jupiter1",
            "track": "SYN_SENT",
            "rewrite": f"{L} > {R}",
            "dispatch": "sent by jupiter1, in pieces: it is longer than the MTU there",
        },
    ),
    "an ICMP error goes on": (
        SEEN._replace(
            classified="send", scheduled=None, states=None, ends=("9.9.9.9", "10.0.2.1"), left=("10.0.1.1", "1.1.1.1")
        ),
        {
            "receive": "by jupiter0",
            "classify": "an ICMP error about a connection",
            "rewrite": "10.0.1.1 > 1.1.1.1",
            "dispatch": "sent by jupiter1",
        },
    ),
    "waited in vain": (
        SEEN._replace(kind="ended", reason="next_hop_unresolved", reason_text="not known", verdict=None, left=None),
        {"dispatch": "dropped, next_hop_unresolved: not known"},
    ),
    "of the kernel": (
        SEEN._replace(kind="left", verdict=None, left=None),
        {"dispatch": "sent by jupiter0: of the kernel, of the director itself, or a piece of what was too long"},
    ),
}


@pytest.mark.parametrize(("seen", "told"), TOLD.values(), ids=TOLD)
def test_each_stage_says_what_it_decided(seen: Seen, told: dict[str, str]) -> None:
    """And those that had nothing to decide say nothing."""
    row = trace_row(seen)
    assert {stage: row[stage] for stage in STAGES if row[stage] is not None} == told
    assert (row["time"], row["lcore"], row["dev"], row["drop"]) == (seen.ns, 2, "jupiter0", seen.reason)


def test_where_a_packet_came_from() -> None:
    assert trace_row(SEEN._replace(came="worker"))["receive"] == "by jupiter0, from another worker"
    assert "waited" in trace_row(SEEN._replace(came="parking"))["receive"]


CAPTURED: dict[str, tuple[Seen, str | None, list[str]]] = {
    "it came in": (SEEN, "in", []),
    "it left": (SEEN._replace(kind="left", verdict=None), "out", []),
    "it was dropped": (SEEN._replace(scheduled="drop", **DROPPED), "in", ["dropped, no_service: no such port"]),
    "not taken by the port": (
        SEEN._replace(kind="left", verdict=None, reason="tx_full", reason_text="full"),
        "out",
        ["dropped, tx_full: full"],
    ),
    "for the kernel": (SEEN._replace(verdict="punt"), "in", ["for the kernel"]),
    "it waits": (SEEN._replace(verdict="park"), "in", [f"waits for the MAC address of server {R}"]),
    "it waited in vain": (
        SEEN._replace(kind="ended", verdict=None, reason="next_hop_unresolved", reason_text="not known"),
        "in",
        ["dropped, next_hop_unresolved: not known"],
    ),
    "it has waited": (SEEN._replace(came="parking"), None, []),
    "another worker tells of it": (SEEN._replace(verdict="hand"), None, []),
    "handed over by another": (SEEN._replace(came="worker"), "in", []),
    "a fragment waits": (SEEN._replace(classified="park", verdict="park"), None, []),
    "a fragment has its ports": (SEEN._replace(came="home"), "in", []),
}


@pytest.mark.parametrize(("seen", "direction", "remarks"), CAPTURED.values(), ids=CAPTURED)
def test_a_packet_is_captured_once_each_way(seen: Seen, direction: str | None, remarks: list[str]) -> None:
    """With what became of it, and its lcore, as comments."""
    row = capture_row(seen)
    if direction is None:
        assert row is None
        return
    assert (row["direction"], row["comments"]) == (direction, [*remarks, "lcore 2"])
    assert (row["time"], row["dev"], row["length"], b64decode(row["frame"])) == (seen.ns, "jupiter0", 60, seen.frame)


# Pages


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "WAIT_SECONDS", 0.01)
    monkeypatch.setattr(watching, "LOOK_SECONDS", 0.001)


def run(
    watch: FakeWatch, work: Callable[[Watching], Coroutine[Any, Any, None]], count: int, seconds: float = 60
) -> None:
    async def begin() -> None:
        await work(Watching(watch, capture_row, count, seconds))

    asyncio.run(begin())


def test_it_ends_by_its_count(quick: None) -> None:
    """The last page says so, and nothing is watched any more."""
    watch = FakeWatch([SEEN] * 700)

    async def work(watching: Watching) -> None:
        cursor, sizes = "", []
        while cursor is not None:
            page = await watching.page(cursor)
            sizes.append(len(page["rows"]))
            cursor = page["cursor"]
        assert sizes == [256, 256, 88]

    run(watch, work, 600)
    assert watch.ended


def test_it_ends_by_its_time(quick: None) -> None:
    """Pages are empty while nothing comes."""
    watch = FakeWatch([])

    async def work(watching: Watching) -> None:
        page = await watching.page("")
        assert page == {"rows": [], "cursor": "1"}
        await asyncio.sleep(0.06)
        assert await watching.page("1") == {"rows": [], "cursor": None}

    run(watch, work, 10, 0.05)
    assert watch.ended


def test_what_came_within_its_time_is_told(quick: None) -> None:
    """When its time is over nothing more is noted, and what waits with the workers by then is read to the end."""
    watch = FakeWatch([SEEN._replace(verdict="hand")] * 700 + [SEEN] * 700)

    async def work(watching: Watching) -> None:
        cursor, rows = "", 0
        while cursor is not None:
            await asyncio.sleep(0.01)
            page = await watching.page(cursor)
            assert watch.stopped
            rows += len(page["rows"])
            cursor = page["cursor"]
        assert rows == 700

    run(watch, work, 10_000, 0.005)
    assert watch.ended


def test_what_was_lost_is_told_at_the_end(quick: None) -> None:
    """Also where the count is reached within what was read."""
    watch = FakeWatch([SEEN] * 200)
    watch.lost = 7

    async def work(watching: Watching) -> None:
        page = await watching.page("")
        assert (len(page["rows"]), page["rows"][-1], page["cursor"]) == (101, {"lost": 7}, None)

    run(watch, work, 100)


def test_a_page_comes_with_the_first_packet(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not with the end of its waiting."""
    monkeypatch.setattr(watching, "WAIT_SECONDS", 60)
    watch = FakeWatch([])

    async def work(watching: Watching) -> None:
        asyncio.get_running_loop().call_later(0.05, lambda: watch.waiting.append(SEEN))
        assert len((await watching.page(""))["rows"]) == 1
        watching.close()

    run(watch, work, 10)


def test_large_frames_make_small_pages(quick: None) -> None:
    """A message holds a megabyte."""
    watch = FakeWatch([SEEN._replace(frame=bytes(16384))] * 100)

    async def work(watching: Watching) -> None:
        assert len((await watching.page(""))["rows"]) == 16
        watching.close()

    run(watch, work, 100)


def test_what_was_lost_is_told_once(quick: None) -> None:
    watch = FakeWatch([SEEN])
    watch.lost = 7

    async def work(watching: Watching) -> None:
        page = await watching.page("")
        assert page["rows"][1:] == [{"lost": 7}]
        assert (await watching.page(page["cursor"]))["rows"] == []
        watching.close()

    run(watch, work, 100)


def test_a_client_that_asks_for_nothing_loses_it(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another one may want to watch."""
    monkeypatch.setattr(watching, "PATIENCE", 0.02)
    watch = FakeWatch([])

    async def work(watching: Watching) -> None:
        await watching.page("")
        assert not watch.ended
        await asyncio.sleep(0.05)
        assert watch.ended
        with pytest.raises(JupiterError, match="nobody asked"):
            await watching.page("1")

    run(watch, work, 100)


def test_a_wrong_cursor_is_refused(quick: None) -> None:
    async def work(watching: Watching) -> None:
        for cursor in ("1", "x"):
            with pytest.raises(JupiterError, match="Invalid cursor"):
                await watching.page(cursor)
        watching.close()

    run(FakeWatch([]), work, 1)
