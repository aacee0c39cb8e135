"""Our kernel interfaces as Linux has them now: their names, whether they are in use, their addresses.

They are known by index, which a change of name leaves alone. Linux forgets the routes and neighbours of an interface
that goes down or loses its last IPv4 address; it brings back only the routes of its own networks when that ends.
"""

import errno
import logging
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface
from typing import NamedTuple

from pyroute2.netlink import rtnl

from jupiter.host.netlink import Message, Netlink, address_of, link_of

GRACE_SECONDS = 30.0  # for routing daemons to put back what Linux forgot: BIRD begins 5 s later and tries for a while

_log = logging.getLogger(__name__)


class Interface(NamedTuple):
    """port: number of the DPDK port that it stands for. gateway: of its default route, which is put back when lost."""

    port: int
    gateway: IPv4Address | None = None


@dataclass
class State:
    """working: it is up and has an IPv4 address; since: time.monotonic() when that changed; said: as logged."""

    name: str = "?"
    up: bool = False
    addresses: set[IPv4Interface] = field(default_factory=set)
    working: bool = False
    since: float = 0.0
    said: bool = True
    gateway_lost: bool = False

    @property
    def trouble(self) -> str:
        return "has no address" if self.up else "is down"


class Interfaces:
    """Told what the kernel announces of links and addresses, in the order in which it does.

    on_change(index): it began or ceased to work.
    """

    def __init__(self, configured: Mapping[int, Interface], on_change: Callable[[int], None]) -> None:
        self._configured = dict(configured)
        self._on_change = on_change
        self._states = {index: State() for index in configured}

    def __contains__(self, index: int) -> bool:
        return index in self._configured

    def __iter__(self) -> Iterator[int]:
        return iter(self._configured)

    def port(self, index: int) -> int:
        return self._configured[index].port

    def first_port(self) -> int:
        return min(interface.port for interface in self._configured.values())

    def name(self, index: int) -> str:
        """As it is now; of one that was deleted, its last."""
        return self._states[index].name

    def works(self, index: int) -> bool:
        return self._states[index].working

    def recovers(self, index: int) -> bool:
        """True for GRACE_SECONDS after it began to work."""
        state = self._states[index]
        return state.working and time.monotonic() - state.since < GRACE_SECONDS

    def read(self, kernel: Netlink) -> None:
        """All of it, from the kernel. Not a recovery for those that work when they are first read."""
        for index, state in self._states.items():
            try:
                link = kernel.link(index)
                state.name, state.up = link.name, link.up
                state.addresses = set(self._ipv4(kernel, index))
            except OSError as refusal:
                if refusal.errno != errno.ENODEV:
                    raise
                state.up = False
            first = state.since == 0.0
            if first:
                state.working, state.since = bool(state.up and state.addresses), time.monotonic() - GRACE_SECONDS
                state.gateway_lost = not state.working
            self._judge(index)

    def link_changed(self, message: Message) -> None:
        """RTM_NEWLINK or RTM_DELLINK of one of ours."""
        link, state = link_of(message), self._states[message["index"]]
        exists = message["header"]["type"] == rtnl.RTM_NEWLINK
        if exists and link.name != state.name:
            _log.info("kernel interface %s is now called %s", state.name, link.name)
            state.name = link.name
        if not exists:
            _log.error("kernel interface %s was deleted: only a restart of jupiter-service brings it back", state.name)
        state.up = exists and link.up
        self._judge(link.index)

    def address_changed(self, message: Message) -> None:
        """RTM_NEWADDR or RTM_DELADDR, IPv4, of one of ours."""
        address, state = address_of(message), self._states[message["index"]]
        assert isinstance(address.value, IPv4Interface)
        if message["header"]["type"] == rtnl.RTM_NEWADDR:
            state.addresses.add(address.value)
        else:
            state.addresses.discard(address.value)
        self._judge(address.interface)

    def primary_addresses(self, kernel: Netlink) -> dict[int, IPv4Interface | None]:
        """Port -> the primary address of its interface."""
        return {
            interface.port: next(iter(self._ipv4(kernel, index)), None) for index, interface in self._configured.items()
        }

    def lacks_gateway(self, index: int) -> bool:
        """True if restore_gateway() has something to do."""
        state = self._states[index]
        return self._configured[index].gateway is not None and state.gateway_lost and state.working

    def restore_gateway(self, kernel: Netlink, index: int) -> None:
        """Put the configured default route back if it went with the interface and nobody has made another."""
        gateway, state = self._configured[index].gateway, self._states[index]
        if gateway is None or not self.lacks_gateway(index):
            return
        try:
            if not kernel.has_default_route(index, [socket.AF_INET]):
                kernel.add_default_route(index, gateway)
                _log.info("default route of %s through %s is put back", state.name, gateway)
            state.gateway_lost = False
        except OSError as refusal:
            _log.warning("default route of %s through %s not put back: %s", state.name, gateway, refusal.strerror)

    def report(self) -> None:
        """Changes that last, in the log: ifconfig takes an address away for an instant to change it."""
        for state in self._states.values():
            if state.working and not state.said:
                _log.info("kernel interface %s works again: next hops are looked up again", state.name)
            elif state.said and not state.working:
                _log.warning("kernel interface %s %s: its next hops stay as they were", state.name, state.trouble)
            state.said = state.working

    def _judge(self, index: int) -> None:
        state = self._states[index]
        working = bool(state.up and state.addresses)
        if working == state.working:
            return
        state.working, state.since = working, time.monotonic()
        state.gateway_lost |= not working
        self._on_change(index)

    @staticmethod
    def _ipv4(kernel: Netlink, index: int) -> list[IPv4Interface]:
        try:
            return [a.value for a in kernel.addresses(index) if isinstance(a.value, IPv4Interface)]
        except OSError as refusal:
            if refusal.errno != errno.ENODEV:
                raise
            return []
