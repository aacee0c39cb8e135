"""A watch of one connection's: what the data plane saw, as rows for `trace` and `capture`, a page at a time.

Owner: the asyncio loop. It ends with its count, its time, its client, and when nobody asks for more.
"""

import asyncio
from base64 import b64encode
from collections import deque
from collections.abc import Callable
from typing import Final

from jupiter.counters import Seen, Watch
from jupiter.dissect import one_line
from jupiter.errors import JupiterError
from jupiter.pages import Json

ROWS: Final = 256
FRAMES: Final = 256 << 10
"""Bytes of the frames in one answer: with what JSON makes of them well under the protocol's message size."""
WAIT_SECONDS: Final = 0.25
"""For so long a page waits for its first row."""
LOOK_SECONDS: Final = 0.02
PATIENCE: Final = 10.0
"""Seconds after which a client that asks for nothing has lost its watch: others may want one."""

Row = Callable[[Seen], Json | None]
"""What a row makes of what was seen; None: it is not for this command."""


class Watching:
    """One watch. count: rows; seconds: from now on."""

    def __init__(self, watch: Watch, row: Row, count: int, seconds: float) -> None:
        self._watch: Watch | None = watch
        self._row = row
        self._left = count
        self._loop = asyncio.get_running_loop()
        self._end = self._loop.time() + seconds
        self._rows: deque[tuple[Json, int]] = deque()
        """Read and not yet taken, each with the bytes of its frame."""
        self._lost = 0
        self._stopped = False
        self._pages = 0
        self._impatience = self._loop.call_later(PATIENCE, self.close)

    def close(self) -> None:
        """Nothing is watched any more."""
        self._impatience.cancel()
        if self._watch:
            self._watch.end()
        self._watch = None
        self._rows.clear()  # the connection may go on for long

    async def page(self, cursor: str) -> Json:
        if cursor != (str(self._pages) if self._pages else ""):
            raise JupiterError("invalid-argument", "Invalid cursor, expected that of the last answer.")
        if self._watch is None:
            raise JupiterError("watch-ended", f"The watch has ended: for {PATIENCE:.0f} s nobody asked what it saw.")
        self._impatience.cancel()
        rows = await self._take()
        self._pages += 1
        over = self._left <= 0 or self._is_read_up()
        if self._lost and (over or not self._rows):
            rows.append(self._lost_row())
        if over:
            self.close()
            return {"rows": rows, "cursor": None}
        self._impatience = self._loop.call_later(PATIENCE, self.close)
        return {"rows": rows, "cursor": str(self._pages)}

    async def _take(self) -> list[Json]:
        """What is there, as far as a page holds it; if nothing is there, what soon comes."""
        until = min(self._loop.time() + WAIT_SECONDS, self._end)
        self._look()
        while not self._rows and self._loop.time() < until:
            await asyncio.sleep(LOOK_SECONDS)
            self._look()
        taken: list[Json] = []
        size = 0
        while self._rows and len(taken) < min(ROWS, self._left) and size < FRAMES:
            row, bytes_ = self._rows.popleft()
            size += bytes_
            taken.append(row)
        self._left -= len(taken)
        return taken

    def _look(self) -> bool:
        """Once what was read before is taken: the rest waits with the workers, which have room for more than we. False:
        there was nothing new."""
        if self._rows or self._watch is None:
            return False
        found, lost = self._watch.read(ROWS)
        self._lost += lost
        self._rows += [(row, len(seen.frame)) for seen in found if (row := self._row(seen)) is not None]
        return bool(found)

    def _is_read_up(self) -> bool:
        """Its time is over, and nothing is left that came within it."""
        if self._loop.time() < self._end:
            return False
        if self._watch and not self._stopped:
            self._watch.stop()
            self._stopped = True
        while self._look():
            pass
        return not self._rows

    def _lost_row(self) -> Json:
        lost, self._lost = self._lost, 0
        return {"lost": lost}


def trace_row(seen: Seen) -> Json:
    """What each stage decided, in words; None where the packet did not come, or the stage had nothing to do."""
    passed = seen.kind == "passed"
    return {
        "time": seen.ns,
        "lcore": seen.lcore,
        "dev": seen.device,
        "packet": one_line(seen.frame, seen.length),
        "drop": seen.reason,
        "receive": _receive(seen) if passed else None,
        "classify": _classify(seen) if passed else None,
        "lookup": _lookup(seen) if passed else None,
        "schedule": _schedule(seen) if passed else None,
        "track": _track(seen) if passed else None,
        "rewrite": f"{seen.left[0]} > {seen.left[1]}" if seen.left and _goes_on(seen) else None,
        "dispatch": _dispatch(seen) if passed else _end(seen),
    }


def _goes_on(seen: Seen) -> bool:
    """Whether what is sent is the packet, translated, and no answer to who sent it."""
    if seen.verdict not in ("send", "split") or seen.reason or not seen.left or not seen.ends:
        return False
    return seen.scheduled == "go_on" or seen.left[1] != seen.ends[0]


def _dropped(seen: Seen) -> str:
    answered = ", the sender is told" if seen.verdict == "send" else ""
    return f"dropped, {seen.reason}: {seen.reason_text}{answered}"


def _receive(seen: Seen) -> str:
    came = {
        "worker": ", from another worker",
        "parking": ", after it has waited for its server's MAC address",
        "home": ", a fragment with the ports of its first one",
    }
    return f"by {seen.device}{came.get(seen.came, '')}"


def _decided(seen: Seen, verdict: str | None) -> str | None:
    """What both classify and schedule may say."""
    match verdict:
        case "drop":
            return _dropped(seen)
        case "punt":
            return "for the kernel"
        case "hand":
            return f"owned by the worker on lcore {seen.to}"
        case "note":
            return f"goes to the worker on lcore {seen.to} first, with a note"
        case "park":
            return "waits for its first fragment"
        case "kept":
            return "kept until more of it comes"
        case "send" if _goes_on(seen):
            return "an ICMP error about a connection"
        case "send":
            return _dropped(seen) if seen.reason else "answered here"
    return None


def _classify(seen: Seen) -> str | None:
    if seen.classified == "go_on" and seen.ends:
        return f"{seen.protocol} {seen.ends[0]} > {seen.ends[1]}"
    return _decided(seen, seen.classified)


def _lookup(seen: Seen) -> str | None:
    if seen.classified != "go_on":
        return None
    if seen.found is None:
        return "no connection"
    ends = f" {seen.client} > {seen.virtual}, {seen.local} > {seen.real}" if seen.states else ""
    return f"{seen.found} of the connection{ends}"


def _schedule(seen: Seen) -> str | None:
    if seen.scheduled == "park":
        return f"server {seen.real}, waits for its MAC address"
    if seen.scheduled == "go_on":
        what = f"server {seen.real} from {seen.local}, " if seen.found is None else ""
        return f"{what}next hop {seen.hop[1]} by {seen.hop[0]}" if seen.hop else what
    return _decided(seen, seen.scheduled)


def _track(seen: Seen) -> str | None:
    if seen.states is None or seen.scheduled != "go_on":
        return None
    before, after = seen.states
    return before if before == after else f"{before} -> {after}"


def _dispatch(seen: Seen) -> str | None:
    match seen.verdict:
        case "send":
            return f"sent by {seen.out}"
        case "split":
            return f"sent by {seen.out}, in pieces: it is longer than the MTU there"
        case "punt":
            return f"to the kernel's {seen.device}"
        case "hand" | "note":
            return f"handed to the worker on lcore {seen.to}"
        case "drop" if "drop" not in (seen.classified, seen.scheduled):
            return _dropped(seen)
    return None


def _end(seen: Seen) -> str:
    """Of a frame that no packet before told of."""
    if seen.reason:
        return _dropped(seen)
    return f"sent by {seen.device}: of the kernel, of the director itself, or a piece of what was too long"


def capture_row(seen: Seen) -> Json | None:
    """A packet once for each time that it comes in or leaves: one that waited comes again only to be dropped."""
    if seen.verdict in ("hand", "note") or seen.classified == "park" or (seen.came == "parking" and not seen.reason):
        return None
    return {
        "time": seen.ns,
        "dev": seen.device,
        "direction": "out" if seen.kind == "left" else "in",
        "length": seen.length,
        "frame": b64encode(seen.frame).decode(),
        "comments": [*_remarks(seen), f"lcore {seen.lcore}"],
    }


def _remarks(seen: Seen) -> list[str]:
    if seen.reason:
        return [_dropped(seen)]
    if seen.verdict == "park":
        return [f"waits for the MAC address of server {seen.real}"]
    return ["for the kernel"] if seen.verdict == "punt" else []
