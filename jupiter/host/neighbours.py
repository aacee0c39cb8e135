"""The kernel's neighbours on our interfaces: those that serve as next hops, and how often the kernel asks for them.

The kernel resolves, by ARP requests of its own. By itself it holds a MAC to be right for 15 to 45 s, then for 8 s more
before it asks everybody, and one that did not answer it forgets. So it is asked to look sooner, at a bounded rate.

What it forgets is not yet news: a MAC holds until the kernel has found another or has asked everybody in vain. Nor is a
neighbour news that it has yet to find: whoever waits for one may go on with what he had.
"""

import errno
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator

from jupiter.host.interfaces import Interfaces
from jupiter.host.netlink import PART_SIZE, Entry, Hop, NeighbourState, Netlink
from jupiter.host.rotation import Rotation

# A probe is an ARP request to the MAC that is known, and its answer: 0.2 ms of this process. A MAC that has changed in
# silence is found out 3 s after it (ucast_solicit): in use for 5 s at most, with up to 200 next hops.
PROBE_SECONDS, PROBES = 2.0, 100.0  # period, and how many a second at most
# The kernel asks everybody three times, a second apart (mcast_solicit), and announces it when that was in vain. Then
# it is to begin again; and after a period where it announced nothing, as when it had no room.
SEEK_SECONDS, SEEKS = 5.0, 100.0

SETTLED = NeighbourState.VALID | NeighbourState.FAILED


class Neighbours:
    """Entries by next hop. on_change(hop): mac() or sought() of one in use changed. work(): something is waiting."""

    def __init__(self, interfaces: Interfaces, on_change: Callable[[Hop], None], work: Callable[[], None]) -> None:
        self._interfaces = interfaces
        self._on_change = on_change
        self._work = work
        self._entries: dict[Hop, Entry] = {}
        self._used: set[Hop] = set()
        self._sound: Rotation[Hop] = Rotation(PROBE_SECONDS, PROBES)  # those in use that have a MAC for certain
        self._sought: Rotation[Hop] = Rotation(SEEK_SECONDS, SEEKS)  # those that have none
        self._unasked: OrderedDict[Hop, None] = OrderedDict()
        self._refused: dict[Hop, OSError] = {}  # since they were last fetched
        self._reading: Iterator[list[tuple[Hop, Entry]]] | None = None
        self._current: set[Hop] = set()  # those read, or announced meanwhile

    def mac(self, hop: Hop) -> bytes | None:
        """To send to; None while nobody is known to be there."""
        entry = self._entries.get(hop)
        return entry.mac if entry else None

    def sought(self, hop: Hop) -> bool:
        """True while the kernel has not said yet whether anybody is there."""
        entry = self._entries.get(hop)
        return entry is None or not entry.state & SETTLED

    def listed(self) -> list[tuple[Hop, Entry]]:
        """All that have or seek a MAC, in use or not, by address."""
        nothing = (NeighbourState.NONE, NeighbourState.NOARP)
        known = [item for item in self._entries.items() if item[0] in self._used or item[1].state not in nothing]
        return sorted(known, key=lambda item: item[0].address)

    def use(self, hop: Hop) -> None:
        """Keep it resolved from now on."""
        if hop not in self._used:
            self._used.add(hop)
            if self.mac(hop) is None:
                self._entries.pop(hop, None)  # what was asked for in vain before
            self._attend(hop)
            self._ask_soon([hop])

    def let_go(self, hop: Hop) -> None:
        self._used.discard(hop)
        self._sound.discard(hop)
        self._sought.discard(hop)
        entry = self._entries.get(hop)
        if entry is not None and not entry.state & NeighbourState.VALID:  # the kernel may have less than we held
            if entry.state == NeighbourState.NONE:
                del self._entries[hop]
            else:
                self._entries[hop] = entry._replace(mac=None)

    def announced(self, hop: Hop, entry: Entry | None) -> None:
        """entry None: the kernel has forgotten it."""
        self._current.add(hop)
        self._take(hop, entry)

    def interface_works(self, index: int) -> None:
        """Again; the kernel knows nobody there yet."""
        self._ask_soon(hop for hop in self._used if hop.interface == index)

    def tick(self) -> None:
        """Several times a second: those whose turn it is are asked for."""
        now = time.monotonic()
        self._ask_soon(self._sought.due(now))
        self._ask_soon(self._sound.due(now))

    def fetch_refusals(self) -> dict[Hop, OSError]:
        """What the kernel refused to ask for since the last time."""
        refused, self._refused = self._refused, {}
        return refused

    # Work, in portions

    @property
    def waiting(self) -> bool:
        return bool(self._unasked or self._reading)

    def begin_reading(self) -> None:
        """All that the kernel has, from the beginning; announcements of it must be read from before now on."""
        self._reading, self._current = self._read(), set()

    def read_on(self) -> None:
        """A datagram of it, if there is more to be read."""
        if self._reading is None:
            return
        part = next(self._reading, None)
        if part is None:
            self._reading = None
            for hop in self._entries.keys() - self._current:
                self._take(hop, None)
            return
        for hop, entry in part:
            if hop not in self._current:  # else announced meanwhile, and newer
                self.announced(hop, entry)

    def ask(self, kernel: Netlink, limit: int) -> int:
        """Requests that are waiting, so many at most; returns how many they were."""
        done = 0
        while self._unasked and done < limit:
            self._ask(kernel, self._unasked.popitem(last=False)[0])
            done += 1
        return done

    def _read(self) -> Iterator[list[tuple[Hop, Entry]]]:
        for index in self._interfaces:
            with Netlink(PART_SIZE) as kernel:
                yield from kernel.neighbours(index)

    def _take(self, hop: Hop, entry: Entry | None) -> None:
        before, used = self._entries.get(hop), hop in self._used
        former = self.mac(hop), self.sought(hop)
        if used and before is not None:
            entry = self._held(hop, before, entry)
        if entry is None:
            self._entries.pop(hop, None)
        else:
            self._entries[hop] = entry
        if used:
            self._attend(hop)
            if former != (self.mac(hop), self.sought(hop)):
                self._on_change(hop)

    def _held(self, hop: Hop, before: Entry, entry: Entry | None) -> Entry | None:
        """The news, with the MAC that we had while the kernel is only about to find out."""
        if before.mac is None or (entry is not None and entry.mac is not None):
            return entry
        if entry is None:
            return before._replace(state=NeighbourState.NONE)
        in_vain = entry.state & NeighbourState.FAILED and not before.state & NeighbourState.VALID
        if in_vain and self._interfaces.works(hop.interface):
            return entry
        return before._replace(state=entry.state)

    def _attend(self, hop: Hop) -> None:
        """See to it that a next hop in use is asked for as its state demands."""
        entry, now = self._entries.get(hop), time.monotonic()
        state = entry.state if entry else NeighbourState.NONE
        if state & NeighbourState.VALID:
            self._sought.discard(hop)
            if state & NeighbourState.STATIC:
                self._sound.discard(hop)
            else:
                self._sound.add(hop, now)
            return
        self._sound.discard(hop)
        if hop not in self._sought:
            self._sought.add(hop, now)
            self._ask_soon([hop])
        elif state & NeighbourState.FAILED:
            self._sought.hurry(hop, now)

    def _ask_soon(self, hops: Iterable[Hop]) -> None:
        self._unasked.update(dict.fromkeys(hops))
        self._work()

    def _ask(self, kernel: Netlink, hop: Hop) -> None:
        if hop not in self._used or not self._interfaces.works(hop.interface):
            return
        entry = self._entries.get(hop)
        try:
            if entry is None or not entry.state & NeighbourState.VALID:
                kernel.solicit(hop)
            elif not entry.state & NeighbourState.STATIC:
                kernel.probe(hop)
        except OSError as refusal:
            if refusal.errno not in (errno.ENOENT, errno.EINVAL):  # of a probe: its announcement is on its way
                self._refused[hop] = refusal
                if entry is None:
                    self._take(hop, Entry(None, NeighbourState.FAILED, time.monotonic()))
