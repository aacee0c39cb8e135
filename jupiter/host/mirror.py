"""The kernel's routes and neighbours, followed for the addresses that the data path sends to.

Owner: the asyncio loop that start() runs in; everything here is called from it. The kernel decides: it looks up routes
and resolves neighbours. What it announces of routes only says what is to be asked again.
"""

import asyncio
import logging
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import NamedTuple

from pyroute2.netlink import rtnl

from jupiter.host.netlink import (
    Entry,
    Events,
    Hop,
    Link,
    Message,
    NeighbourState,
    Netlink,
    link_of,
    neighbour_of,
)
from jupiter.host.watchlist import Watchlist

GROUPS = rtnl.RTMGRP_LINK | rtnl.RTMGRP_NEIGH | rtnl.RTMGRP_IPV4_IFADDR | rtnl.RTMGRP_IPV4_ROUTE | rtnl.RTMGRP_IPV4_RULE
SLICE = 32  # requests to the kernel in one turn of the loop, 0.1 ms each: a control command waits 4 ms at most
DATAGRAMS = 64  # announcements read in one turn, 0.03 to 0.1 ms each
REFRESH_SECONDS = 5.0  # the kernel's own DELAY_PROBE_TIME: neighbours it does not manage are asked for again
RESYNC_SECONDS = 0.2  # after a loss; a storm of routes costs one dump in that time, not all of the loop's

_log = logging.getLogger(__name__)


class Neighbour(NamedTuple):
    """A line of arp/list. age_seconds: since the kernel last heard of it, as far as it has told."""

    address: IPv4Address
    mac: bytes | None
    interface: str
    state: str
    age_seconds: float


class Mirror:
    """Keeps next hops resolved and reports them; each callback comes once for the first answer and then on change only.

    interfaces: kernel interface name -> DPDK port number.
    on_next_hop(address, port, mac): mac is None while it is unresolved, unreachable or without a route through one of
        `interfaces` (port then is the last one known, or the first).
    on_address(port, interface): the primary IPv4 address of the port's kernel interface; None: it has none any more.
    """

    def __init__(
        self,
        interfaces: Mapping[str, int],
        on_next_hop: Callable[[IPv4Address, int, bytes | None], None],
        on_address: Callable[[int, IPv4Interface | None], None],
        receive_buffer: int = 4 << 20,
    ) -> None:
        self._interfaces = dict(interfaces)
        self._on_next_hop = on_next_hop
        self._on_address = on_address
        self._receive_buffer = receive_buffer

        self._watched = Watchlist()
        self._links: dict[int, Link] = {}
        self._neighbours: dict[Hop, Entry] = {}
        self._asked: set[Hop] = set()  # made managed by us
        self._told: dict[IPv4Address, tuple[int, bytes | None]] = {}
        self._told_address: dict[int, IPv4Interface | None] = dict.fromkeys(interfaces.values())

        self._stale: set[IPv4Address] = set()  # to look up
        self._unasked: set[Hop] = set()  # to solicit
        self._refused: dict[IPv4Address, OSError] = {}  # since the last refresh
        self._working: asyncio.Handle | None = None
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._events: Events | None = None

    async def start(self) -> None:
        """OSError if the kernel has no rtnetlink for us."""
        self._loop = asyncio.get_running_loop()
        self._kernel = Netlink()
        self._subscribe()
        self._refresh()

    async def stop(self) -> None:
        """Neighbours that were managed for us are ordinary ones again."""
        for timer in self._timers.values():
            timer.cancel()
        if self._working is not None:
            self._working.cancel()
        self._unsubscribe()
        for hop in list(self._asked):
            self._let_go(hop)
        self._kernel.close()

    def watch(self, address: IPv4Address) -> None:
        """Follow the next hop towards address. Watching twice is watching once."""
        if address not in self._watched:
            self._watched.add(address)
            self._look_up_soon([address])

    def unwatch(self, address: IPv4Address) -> None:
        if address in self._watched:
            hop = self._watched.hop(address)
            self._watched.remove(address)
            self._stale.discard(address)
            self._told.pop(address, None)
            self._let_go_unless_used(hop)

    def neighbours(self) -> list[Neighbour]:
        """All IPv4 neighbours on our interfaces that have or seek a MAC, watched or not, by address."""
        now = time.monotonic()
        return [
            Neighbour(
                hop.address, entry.mac, self._links[hop.interface].name, str(entry.state.name), now - entry.confirmed
            )
            for hop, entry in sorted(self._neighbours.items(), key=lambda item: item[0].address)
            if self._port(hop.interface) is not None and entry.state not in (NeighbourState.NONE, NeighbourState.NOARP)
        ]

    # What the kernel announces

    def _subscribe(self) -> None:
        """Listen first, then read all of it: what happens in between is announced."""
        self._events = Events(GROUPS, self._receive_buffer)
        self._loop.add_reader(self._events.fileno(), self._read, self._events)
        self._links = {link.index: link for link in self._kernel.links()}
        neighbours = dict(self._kernel.neighbours())
        for hop in self._neighbours.keys() | neighbours.keys():
            self._neighbour(hop, neighbours.get(hop))
        self._everything_is_stale()

    def _unsubscribe(self) -> None:
        if self._events is not None:
            self._loop.remove_reader(self._events.fileno())
            self._events.close()
            self._events = None

    def _read(self, events: Events) -> None:
        try:
            messages = events.read(DATAGRAMS)
        except OSError as loss:
            self._start_over(loss)
        else:
            for message in messages:
                self._take(message)

    def _start_over(self, reason: OSError) -> None:
        """ENOBUFS: a congested socket goes on losing in silence until it is drained, so take another."""
        _log.warning("lost announcements of the kernel (%s): reading routes and neighbours again", reason.strerror)
        self._unsubscribe()
        self._later("subscribe", RESYNC_SECONDS, self._subscribe_again)

    def _subscribe_again(self) -> None:
        try:
            self._subscribe()
        except OSError as refusal:
            self._start_over(refusal)

    def _take(self, message: Message) -> None:
        kind, family = message["header"]["type"], message["family"]
        if kind in (rtnl.RTM_NEWNEIGH, rtnl.RTM_DELNEIGH) and family == socket.AF_INET:
            hop, entry = neighbour_of(message)
            self._neighbour(hop, entry if kind == rtnl.RTM_NEWNEIGH else None)
        elif kind in (rtnl.RTM_NEWROUTE, rtnl.RTM_DELROUTE):
            network = IPv4Network((message.get_attr("RTA_DST") or "0.0.0.0", message["dst_len"]))
            self._look_up_soon(self._watched.within(network))
        elif kind in (rtnl.RTM_NEWLINK, rtnl.RTM_DELLINK) and family == socket.AF_UNSPEC:
            self._link(link_of(message), kind == rtnl.RTM_NEWLINK)
        elif kind in (rtnl.RTM_NEWADDR, rtnl.RTM_DELADDR, rtnl.RTM_NEWRULE, rtnl.RTM_DELRULE):
            self._everything_is_stale()

    def _neighbour(self, hop: Hop, entry: Entry | None) -> None:
        before = self._neighbours.pop(hop, None)
        if entry is None:
            self._asked.discard(hop)
        else:
            self._neighbours[hop] = entry
        for address in self._watched.users(hop):
            self._tell(address)
        lost = entry is None or (before is not None and before.managed and not entry.managed)
        if lost and hop in self._watched.hops():
            self._ask_soon([hop])

    def _link(self, link: Link, exists: bool) -> None:
        """Routes vanish with an interface that goes down, and the kernel does not announce those one by one."""
        if exists and self._links.get(link.index) != link:
            self._links[link.index] = link
            self._everything_is_stale()
        elif not exists and link.index in self._links:
            del self._links[link.index]
            self._everything_is_stale()

    # What is asked of the kernel, a slice each turn of the loop

    def _everything_is_stale(self) -> None:
        self._look_up_soon(self._watched.addresses())
        self._later("addresses", 0, self._tell_addresses)

    def _look_up_soon(self, addresses: Iterable[IPv4Address]) -> None:
        self._stale.update(addresses)
        self._work_soon()

    def _ask_soon(self, hops: Iterable[Hop]) -> None:
        self._unasked.update(hops)
        self._work_soon()

    def _work_soon(self) -> None:
        if self._working is None and self._events is not None and (self._stale or self._unasked):
            self._working = self._loop.call_soon(self._work)

    def _work(self) -> None:
        self._working = None
        try:
            for _ in range(SLICE):
                if self._stale:
                    self._look_up(self._stale.pop())
                elif self._unasked:
                    self._ask(self._unasked.pop())
        finally:
            self._work_soon()

    def _look_up(self, address: IPv4Address) -> None:
        before, hop = self._watched.hop(address), self._kernel.next_hop(address)
        if hop is not None and self._port(hop.interface) is None:
            hop = None
        if hop != before:
            self._watched.assign(address, hop)
            self._let_go_unless_used(before)
            if hop is not None:
                self._ask_soon([hop])
        self._tell(address)

    def _ask(self, hop: Hop) -> None:
        entry = self._neighbours.get(hop)
        if hop not in self._watched.hops() or (entry and (entry.managed or entry.state & NeighbourState.STATIC)):
            return
        try:
            self._kernel.solicit(hop, managed=True)
            self._asked.add(hop)
        except OSError as refusal:
            self._refused[hop.address] = refusal

    def _let_go_unless_used(self, hop: Hop | None) -> None:
        if hop in self._asked and hop not in self._watched.hops():
            self._let_go(hop)

    def _let_go(self, hop: Hop) -> None:
        self._asked.discard(hop)
        entry = self._neighbours.get(hop)
        if entry is None or not entry.state & NeighbourState.STATIC:
            try:
                self._kernel.solicit(hop, managed=False)
            except OSError as refusal:
                _log.info("%s stays a managed neighbour: %s", hop.address, refusal.strerror)

    def _refresh(self) -> None:
        """What the kernel does not keep fresh by itself: all before Linux 5.16, else those it refused or forgot."""
        self._report_refusals()
        self._ask_soon(self._watched.hops())
        self._later("refresh", REFRESH_SECONDS, self._refresh)

    def _report_refusals(self) -> None:
        """One line for all of them: a neighbour table that is full refuses by the thousand."""
        if self._refused:
            address, refusal = self._refused.popitem()
            _log.warning(
                "the kernel takes no entry for %s and %d other neighbours: %s (net.ipv4.neigh.default.gc_thresh3?)",
                address,
                len(self._refused),
                refusal.strerror,
            )
            self._refused.clear()

    def _later(self, name: str, seconds: float, call: Callable[[], None]) -> None:
        if (former := self._timers.get(name)) is not None:
            former.cancel()
        self._timers[name] = self._loop.call_later(seconds, call)

    # What is told

    def _port(self, interface: int) -> int | None:
        link = self._links.get(interface)
        return None if link is None else self._interfaces.get(link.name)

    def _tell(self, address: IPv4Address) -> None:
        hop, told = self._watched.hop(address), self._told.get(address)
        port = None if hop is None else self._port(hop.interface)
        news: tuple[int, bytes | None]
        if hop is None or port is None:
            news = (told[0] if told else min(self._interfaces.values()), None)
        else:
            entry = self._neighbours.get(hop)
            news = (port, entry.mac if entry else None)
        if news != told:
            self._told[address] = news
            self._call(self._on_next_hop, address, *news)

    def _tell_addresses(self) -> None:
        primary: dict[int, IPv4Interface] = {}
        for address in self._kernel.addresses():
            port = self._port(address.interface)
            if port is not None and isinstance(address.value, IPv4Interface):
                primary.setdefault(port, address.value)
        for port, told in self._told_address.items():
            if primary.get(port) != told:
                self._told_address[port] = primary.get(port)
                self._call(self._on_address, port, primary.get(port))

    @staticmethod
    def _call(listener: Callable[..., None], *arguments: object) -> None:
        try:
            listener(*arguments)
        except Exception:
            _log.exception(
                "cannot pass on a change"
            )  # one listener's failure must not blind us to the next announcement
