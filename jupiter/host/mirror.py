"""The kernel's routes and neighbours, followed for the addresses that the data path sends to.

Owner: the asyncio loop that start() runs in; everything here is called from it. The kernel decides: it looks up routes
and resolves neighbours. What it announces of routes only says what is to be asked again.

What the kernel forgets with an interface is not yet news: a next hop through one that does not work holds until that
works again.
"""

import asyncio
import enum
import logging
import socket
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from itertools import islice
from typing import NamedTuple

from pyroute2.netlink import rtnl

from jupiter.host.interfaces import GRACE_SECONDS, Interface, Interfaces
from jupiter.host.neighbours import Neighbours
from jupiter.host.netlink import (
    RTM_DELNEXTHOP,
    RTM_NEWNEXTHOP,
    RTMGRP_NEXTHOP,
    Events,
    Hop,
    Message,
    Netlink,
    link_of,
    neighbour_of,
)
from jupiter.host.watchlist import Watchlist

GROUPS = (
    rtnl.RTMGRP_LINK
    | rtnl.RTMGRP_NEIGH
    | rtnl.RTMGRP_IPV4_IFADDR
    | rtnl.RTMGRP_IPV4_ROUTE
    | rtnl.RTMGRP_IPV4_RULE
    | RTMGRP_NEXTHOP
)
SLICE = 8  # requests to the kernel in one turn of the loop, 0.1 ms each: a command has several turns, and waits in each
DATAGRAMS = 64  # announcements read in one turn, 0.03 to 0.1 ms each
SPREAD = 512  # addresses in one turn that a change may concern, 4 us each
TELLS = 512  # addresses in one turn whose next hop may be news, 4 us each
RESYNC_SECONDS = 0.2  # after a loss; a storm of routes costs one dump in that time, not all of the loop's
SETTLE_SECONDS = 0.1  # after an interface began to work: its routes come just after that
TICK_SECONDS = 0.25
REPORT_SECONDS = 5.0
EVERYTHING = IPv4Network("0.0.0.0/0")

_log = logging.getLogger(__name__)


class Neighbour(NamedTuple):
    """A line of arp/list. age_seconds: since the kernel last heard of it, as far as it has told."""

    address: IPv4Address
    mac: bytes | None
    interface: str
    state: str
    age_seconds: float


class Why(enum.IntEnum):
    """Why an address is looked up again; of two reasons the greater one counts."""

    PERHAPS = 1
    NEW_ROUTE = 2
    ROUTE_WITHDRAWN = 3


class Mirror:
    """Keeps next hops resolved and reports them; each callback comes once for the first answer and then on change only.

    interfaces: index of a kernel interface -> what it stands for.
    on_next_hop(address, port, mac): mac is None while it is unresolved, unreachable or without a route through one of
        `interfaces` (port then is the last one known, or the first).
    on_address(port, interface): the primary IPv4 address of the port's kernel interface; None: it has none any more.
    """

    def __init__(
        self,
        interfaces: Mapping[int, Interface],
        on_next_hop: Callable[[IPv4Address, int, bytes | None], None],
        on_address: Callable[[int, IPv4Interface | None], None],
        receive_buffer: int = 4 << 20,
    ) -> None:
        self._interfaces = Interfaces(interfaces, self._interface_changed)
        self._on_next_hop = on_next_hop
        self._on_address = on_address
        self._receive_buffer = receive_buffer

        self._watched = Watchlist()
        self._neighbours = Neighbours(self._interfaces, self._mac_changed, self._work_soon)
        self._others: dict[int, tuple[bool, bool]] = {}  # interfaces that are not ours: up, carrier
        self._told: dict[IPv4Address, tuple[int, bytes | None]] = {}
        self._told_address: dict[int, IPv4Interface | None] = {i.port: None for i in interfaces.values()}

        self._addresses_changed = False
        self._changed: OrderedDict[IPv4Network, Why] = OrderedDict()  # networks whose addresses are stale
        self._spreading: tuple[Iterator[IPv4Address], Why] | None = None  # the rest of one of them
        self._stale: OrderedDict[IPv4Address, Why] = OrderedDict()  # to look up
        self._untold: set[IPv4Address] = set()
        self._working: asyncio.Handle | None = None
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._events: Events | None = None

    async def start(self) -> None:
        """OSError if the kernel has no rtnetlink for us."""
        self._loop = asyncio.get_running_loop()
        self._kernel = Netlink()
        self._subscribe()
        self._tick()
        self._report()

    async def stop(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        if self._working is not None:
            self._working.cancel()
        self._unsubscribe()
        self._kernel.close()

    def watch(self, address: IPv4Address) -> None:
        """Follow the next hop towards address. Watching twice is watching once."""
        if address not in self._watched:
            self._watched.add(address)
            self._stale[address] = Why.PERHAPS
            self._work_soon()

    def unwatch(self, address: IPv4Address) -> None:
        if address in self._watched:
            hop = self._watched.hop(address)
            self._watched.remove(address)
            self._stale.pop(address, None)
            self._untold.discard(address)
            self._told.pop(address, None)
            self._let_go_unless_used(hop)

    def names(self) -> dict[int, str]:
        """Port -> what its kernel interface is called now."""
        return {self._interfaces.port(index): self._interfaces.name(index) for index in self._interfaces}

    def neighbours(self) -> list[Neighbour]:
        """All IPv4 neighbours on our interfaces that have or seek a MAC, watched or not, by address."""
        now = time.monotonic()
        return [
            Neighbour(
                hop.address,
                entry.mac,
                self._interfaces.name(hop.interface),
                str(entry.state.name),
                now - entry.confirmed,
            )
            for hop, entry in self._neighbours.listed()
        ]

    # What the kernel announces

    def _subscribe(self) -> None:
        """Listen first, then read all of it: what happens in between is announced."""
        self._events = Events(GROUPS, self._receive_buffer)
        self._loop.add_reader(self._events.fileno(), self._read, self._events)
        self._interfaces.read(self._kernel)
        self._others.clear()
        self._neighbours.begin_reading()
        self._look_up_everything()

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
        kind = message["header"]["type"]
        if kind in (rtnl.RTM_NEWNEIGH, rtnl.RTM_DELNEIGH):
            if message["family"] == socket.AF_INET and message["ifindex"] in self._interfaces:
                hop, entry = neighbour_of(message)
                self._neighbours.announced(hop, entry if kind == rtnl.RTM_NEWNEIGH else None)
        elif kind in (rtnl.RTM_NEWROUTE, rtnl.RTM_DELROUTE):
            self._route_changed(message, kind == rtnl.RTM_NEWROUTE)
        elif kind in (rtnl.RTM_NEWLINK, rtnl.RTM_DELLINK):
            self._link_changed(message)
        elif kind in (rtnl.RTM_NEWADDR, rtnl.RTM_DELADDR):
            self._address_changed(message)
        elif kind in (rtnl.RTM_NEWRULE, rtnl.RTM_DELRULE, RTM_NEWNEXTHOP, RTM_DELNEXTHOP):
            self._look_up_everything()

    def _route_changed(self, message: Message, exists: bool) -> None:
        network = IPv4Network((message.get_attr("RTA_DST") or "0.0.0.0", message["dst_len"]))
        interface = message.get_attr("RTA_OIF")
        if interface in self._interfaces and not self._interfaces.works(interface):
            why = Why.PERHAPS  # it goes with the interface
        else:
            why = Why.NEW_ROUTE if exists else Why.ROUTE_WITHDRAWN
        self._look_up_soon(network, why)

    def _link_changed(self, message: Message) -> None:
        """Routes vanish with an interface that goes down, and the kernel does not announce those one by one."""
        if message["family"] != socket.AF_UNSPEC:
            return  # a bridge, of its member
        link, exists = link_of(message), message["header"]["type"] == rtnl.RTM_NEWLINK
        if link.index in self._interfaces:
            self._interfaces.link_changed(message)
        elif not exists:
            self._others.pop(link.index, None)
            self._look_up_everything()
        elif self._others.get(link.index) != (link.up, link.carrier):
            self._others[link.index] = link.up, link.carrier
            self._look_up_everything()

    def _address_changed(self, message: Message) -> None:
        """The route to an address's network is announced; others that go with an interface's last address are not."""
        index = message["index"]
        if index in self._interfaces:
            self._interfaces.address_changed(message)
            if self._interfaces.lacks_gateway(index):
                self._later(f"recovered {index}", SETTLE_SECONDS, lambda: self._recovered(index))
            self._look_up_everything()
        elif message["header"]["type"] == rtnl.RTM_DELADDR:
            self._look_up_everything()

    def _interface_changed(self, index: int) -> None:
        self._look_up_everything()
        self._later("interfaces", SETTLE_SECONDS, self._interfaces.report)
        if self._interfaces.works(index):
            self._later(f"recovered {index}", SETTLE_SECONDS, lambda: self._recovered(index))
            self._later(f"grace {index}", GRACE_SECONDS, self._look_up_everything)

    def _recovered(self, index: int) -> None:
        self._interfaces.restore_gateway(self._kernel, index)
        self._look_up_everything()
        self._neighbours.interface_works(index)

    def _mac_changed(self, hop: Hop) -> None:
        self._untold.update(self._watched.users(hop))
        self._work_soon()

    # Regular work

    def _tick(self) -> None:
        self._neighbours.tick()
        self._later("tick", TICK_SECONDS, self._tick)

    def _report(self) -> None:
        """One line for all refusals: a neighbour table that is full refuses by the thousand."""
        if refused := self._neighbours.fetch_refusals():
            hop, refusal = refused.popitem()
            _log.warning(
                "the kernel takes no entry for %s and %d other neighbours: %s (net.ipv4.neigh.default.gc_thresh3?)",
                hop.address,
                len(refused),
                refusal.strerror,
            )
        self._later("report", REPORT_SECONDS, self._report)

    # What is asked and told, a slice each turn of the loop

    def _look_up_everything(self) -> None:
        self._addresses_changed = True
        self._look_up_soon(EVERYTHING, Why.PERHAPS)

    def _look_up_soon(self, network: IPv4Network, why: Why) -> None:
        self._changed[network] = max(why, self._changed.get(network, why))
        self._work_soon()

    def _work_soon(self) -> None:
        spreading = self._addresses_changed or self._changed or self._spreading
        waiting = spreading or self._stale or self._untold or self._neighbours.waiting
        if self._working is None and self._events is not None and waiting:
            self._working = self._loop.call_soon(self._work)

    def _work(self) -> None:
        self._working = None
        try:
            self._neighbours.read_on()
            self._spread()
            for _ in range(min(TELLS, len(self._untold))):
                self._tell(self._untold.pop())
            asked = self._neighbours.ask(self._kernel, SLICE)
            for _ in range(min(SLICE - asked, len(self._stale))):
                self._look_up(*self._stale.popitem(last=False))
        finally:
            self._work_soon()

    def _spread(self) -> None:
        """What changed, to the addresses that it may concern."""
        if self._addresses_changed:
            self._addresses_changed = False
            self._tell_addresses()
        if self._spreading is None and self._changed:
            network, why = self._changed.popitem(last=False)
            self._spreading = self._watched.within(network), why
        if self._spreading is not None:
            addresses, why = self._spreading
            portion = list(islice(addresses, SPREAD))
            for address in portion:
                if address in self._watched and self._stale.get(address, Why.PERHAPS) <= why:
                    self._stale[address] = why
            if len(portion) < SPREAD:
                self._spreading = None

    def _look_up(self, address: IPv4Address, why: Why) -> None:
        before, hop = self._watched.hop(address), self._kernel.next_hop(address)
        if hop is not None and hop.interface not in self._interfaces:
            hop = None
        if before is not None and hop != before and self._holds(before, hop, why):
            hop = before
        if hop != before:
            self._watched.assign(address, hop)
            self._let_go_unless_used(before)
            if hop is not None:
                self._neighbours.use(hop)
        self._tell(address)

    def _holds(self, before: Hop, hop: Hop | None, why: Why) -> bool:
        """True if what we had is better than the kernel's answer `hop`: it forgets routes with an interface."""
        if self._interfaces.works(before.interface):
            return hop is None and self._interfaces.recovers(before.interface) and why != Why.ROUTE_WITHDRAWN
        return hop is None or why != Why.NEW_ROUTE

    def _let_go_unless_used(self, hop: Hop | None) -> None:
        if hop is not None and hop not in self._watched.hops():
            self._neighbours.let_go(hop)

    def _later(self, name: str, seconds: float, call: Callable[[], None]) -> None:
        if (former := self._timers.get(name)) is not None:
            former.cancel()
        self._timers[name] = self._loop.call_later(seconds, call)

    def _tell(self, address: IPv4Address) -> None:
        hop, told = self._watched.hop(address), self._told.get(address)
        news: tuple[int, bytes | None]
        if hop is None:
            news = (told[0] if told else self._interfaces.first_port(), None)
        else:
            news = (self._interfaces.port(hop.interface), self._neighbours.mac(hop))
            if told and told[1] and not news[1] and self._neighbours.sought(hop):
                return  # the former next hop serves until this one is found
        if news != told:
            self._told[address] = news
            self._call(self._on_next_hop, address, *news)

    def _tell_addresses(self) -> None:
        for port, primary in self._interfaces.primary_addresses(self._kernel).items():
            if self._told_address[port] != primary:
                self._told_address[port] = primary
                self._call(self._on_address, port, primary)

    @staticmethod
    def _call(listener: Callable[..., None], *arguments: object) -> None:
        try:
            listener(*arguments)
        except Exception:
            _log.exception("cannot pass on a change")  # one failure must not blind us to the next announcement
