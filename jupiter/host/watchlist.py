"""Which watched address goes through which neighbour. Pure: what the kernel says is told to it."""

from bisect import bisect_left, insort
from collections.abc import Iterator, Set
from ipaddress import IPv4Address, IPv4Network

from jupiter.host.netlink import Hop

NOBODY: Set[IPv4Address] = frozenset()


class Watchlist:
    """Addresses with their next hops, found by address, by next hop and by the network around them, never by a scan."""

    def __init__(self) -> None:
        self._hops: dict[IPv4Address, Hop | None] = {}
        self._users: dict[Hop, set[IPv4Address]] = {}
        self._ordered: list[int] = []

    def __contains__(self, address: IPv4Address) -> bool:
        return address in self._hops

    def addresses(self) -> Set[IPv4Address]:
        return self._hops.keys()

    def hops(self) -> Set[Hop]:
        """Next hops that at least one address uses."""
        return self._users.keys()

    def hop(self, address: IPv4Address) -> Hop | None:
        return self._hops[address]

    def users(self, hop: Hop) -> Set[IPv4Address]:
        return self._users.get(hop, NOBODY)

    def within(self, network: IPv4Network) -> Iterator[IPv4Address]:
        """Those that are in it now, by address; may be used while addresses come and go."""
        first = bisect_left(self._ordered, int(network.network_address))
        last = bisect_left(self._ordered, int(network.broadcast_address) + 1)
        return map(IPv4Address, self._ordered[first:last])

    def add(self, address: IPv4Address) -> None:
        """Without a next hop at first."""
        self._hops[address] = None
        insort(self._ordered, int(address))

    def remove(self, address: IPv4Address) -> None:
        self.assign(address, None)
        del self._hops[address]
        del self._ordered[bisect_left(self._ordered, int(address))]

    def assign(self, address: IPv4Address, hop: Hop | None) -> None:
        before = self._hops[address]
        if before is not None:
            self._users[before].discard(address)
            if not self._users[before]:
                del self._users[before]
        self._hops[address] = hop
        if hop is not None:
            self._users.setdefault(hop, set()).add(address)
