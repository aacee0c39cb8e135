"""The index of watched addresses, against a naive one."""

from ipaddress import IPv4Address, IPv4Network

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from jupiter.host.netlink import Hop
from jupiter.host.watchlist import Watchlist

# few of each, so that they meet
ADDRESSES = st.sampled_from([IPv4Address(n) for n in (0, 1, 2, 3, 255, 256, 0x0A000001, 0x0A0000FF, 0xFFFFFFFF)])
HOPS = st.none() | st.builds(Hop, st.integers(1, 2), ADDRESSES)
NETWORKS = st.builds(
    lambda address, length: IPv4Network((address, length), strict=False), ADDRESSES, st.integers(0, 32)
)


class WatchlistAgainstDictionary(RuleBasedStateMachine):
    """Whatever is added, assigned and removed, each question gets the answer that a scan of a dictionary gives."""

    def __init__(self) -> None:
        super().__init__()
        self.watched = Watchlist()
        self.naive: dict[IPv4Address, Hop | None] = {}

    @rule(address=ADDRESSES)
    def add(self, address: IPv4Address) -> None:
        if address not in self.naive:
            self.watched.add(address)
            self.naive[address] = None

    @rule(address=ADDRESSES)
    def remove(self, address: IPv4Address) -> None:
        if address in self.naive:
            self.watched.remove(address)
            del self.naive[address]

    @rule(address=ADDRESSES, hop=HOPS)
    def assign(self, address: IPv4Address, hop: Hop | None) -> None:
        if address in self.naive:
            self.watched.assign(address, hop)
            self.naive[address] = hop

    @rule(network=NETWORKS)
    def within(self, network: IPv4Network) -> None:
        assert list(self.watched.within(network)) == sorted(address for address in self.naive if address in network)

    @rule(hop=HOPS.filter(bool))
    def users(self, hop: Hop) -> None:
        assert self.watched.users(hop) == {address for address, used in self.naive.items() if used == hop}

    @invariant()
    def same_addresses_and_hops(self) -> None:
        assert self.watched.addresses() == self.naive.keys()
        assert self.watched.hops() == {hop for hop in self.naive.values() if hop is not None}
        for address, hop in self.naive.items():
            assert address in self.watched
            assert self.watched.hop(address) == hop


TestWatchlist = WatchlistAgainstDictionary.TestCase
