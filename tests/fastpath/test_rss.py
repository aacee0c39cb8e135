"""What a card with receive side scaling does, told from its key and RETA: as DPDK and as Microsoft compute it."""

import random
from collections import Counter
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fastpath import probe
from tests.fastpath.test_hash import be16, be32

MICROSOFT_KEY = bytes.fromhex(
    "6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa",
)
MICROSOFT = [
    (("66.9.149.187", 2794), ("161.142.100.80", 1766), 0x323E8FC2, 0x51CCC178),
    (("199.92.111.2", 14230), ("65.69.140.83", 4739), 0xD718262A, 0xC626B0EA),
    (("24.19.198.95", 12898), ("12.22.207.184", 38024), 0xD2D0A5DE, 0x5C2B394A),
    (("38.27.205.30", 48228), ("209.142.163.6", 2217), 0x82989176, 0xAFC7327F),
    (("153.39.163.191", 44251), ("202.188.127.2", 1303), 0x5D1809C5, 0x10E828A2),
]
"""Verifying the RSS hash calculation, IPv4: source, destination, hash of the addresses, hash with the ports."""

KEYS = st.sampled_from([40, 52]).flatmap(lambda n: st.binary(min_size=n, max_size=n))
ADDRESS = st.integers(0, 2**32 - 1)
PORT = st.integers(0, 2**16 - 1)
TUPLES = st.tuples(ADDRESS, ADDRESS, PORT, PORT)
RETA_SIZES = [1, 2, 64, 128, 256, 512, 1024, 2048]

Tuple = tuple[int, int, int, int]


def number(address: str) -> int:
    return int.from_bytes(bytes(map(int, address.split("."))), "big")


def columns(t: Tuple) -> tuple[int, int]:
    """(source, destination, their ports) as struct batch has them, a protocol above the ports."""
    saddr, daddr, sport, dport = t
    return be32(saddr) | be32(daddr) << 32, be16(sport) | be16(dport) << 16 | 17 << 32


def spread(size: int, queues: int) -> list[int]:
    return [i % queues for i in range(size)]


@pytest.mark.parametrize(("source", "destination", "by_addresses", "by_ports"), MICROSOFT)
def test_published_vectors(
    source: tuple[str, int], destination: tuple[str, int], by_addresses: int, by_ports: int
) -> None:
    """Microsoft's verification suite: what every card with RSS computes."""
    addresses = (number(source[0]), number(destination[0]))
    rss = probe.Rss(MICROSOFT_KEY, [0])
    assert rss.hash(*columns((*addresses, source[1], destination[1]))) == by_ports
    assert rss.hash(*columns((*addresses, 0, 0))) == by_addresses


@given(KEYS, TUPLES)
def test_hash_is_dpdks(key: bytes, t: Tuple) -> None:
    """The hash is DPDK's own for any key and tuple, whatever the protocol."""
    assert probe.Rss(key, [0]).hash(*columns(t)) == probe.softrss(key, *t)


@given(
    KEYS, TUPLES, st.sampled_from(RETA_SIZES).flatmap(lambda n: st.lists(st.integers(0, 63), min_size=n, max_size=n))
)
def test_queue(key: bytes, t: Tuple, reta: list[int]) -> None:
    """The queue stands in the RETA where the low bits of the hash point, whatever the table holds."""
    assert probe.Rss(key, reta).queue(*columns(t)) == reta[probe.softrss(key, *t) % len(reta)]


@pytest.mark.parametrize("size", [64, 128, 512, 2048])
@pytest.mark.parametrize("queues", range(1, 65))
def test_every_number_of_queues(size: int, queues: int) -> None:
    """1 to 64 queues, one after the other in the RETA: each queue gets tuples, and those that DPDK's hash says."""
    rss = probe.Rss(MICROSOFT_KEY, spread(size, queues))
    tuples = [(0x0A000001, 0xC0000201, 80, 1024 + n) for n in range(2048)]
    found = [rss.queue(*columns(t)) for t in tuples]
    assert found == [probe.softrss(MICROSOFT_KEY, *t) % size % queues for t in tuples]
    assert set(found) == set(range(queues))


@given(KEYS, TUPLES, st.sampled_from(RETA_SIZES), st.integers(1, 64))
def test_stepwise(key: bytes, t: Tuple, size: int, queues: int) -> None:
    """The port allocator's way, from the server over the local address to the local port, ends in the same queue."""
    rss = probe.Rss(key, spread(size, queues))
    saddr, daddr, sport, dport = t
    assert rss.stepwise(be32(saddr), be16(sport), be32(daddr), be16(dport)) == rss.queue(*columns(t))


@given(KEYS, st.sampled_from(RETA_SIZES), st.sampled_from(RETA_SIZES), st.sampled_from([1, 2, 4, 8, 16, 32, 64]))
def test_equal(key: bytes, one: int, other: int, queues: int) -> None:
    """Two cards of one key steer alike exactly when the smaller RETA, repeated, is the larger one."""
    a, b = probe.Rss(key, spread(one, queues)), probe.Rss(key, spread(other, queues))
    assert a.equal(b) == b.equal(a) == (min(one, other) >= queues or one == other)


@given(KEYS, st.integers(0, 127), st.sampled_from(RETA_SIZES))
def test_another_key_is_not_equal(key: bytes, bit: int, size: int) -> None:
    """A bit of the key's 16 bytes for IPv4 changes what a card does; later ones do not."""
    changed = bytearray(key)
    changed[bit // 8] ^= 0x80 >> bit % 8
    reta = spread(size, 2)
    # The last bit of 128 begins no window, and ends only one that no bit of the tuple selects.
    assert probe.Rss(key, reta).equal(probe.Rss(bytes(changed), reta)) == (bit == 127)
    assert probe.Rss(key, reta).equal(probe.Rss(key[:16] + bytes(len(key) - 16), reta))


@given(KEYS, st.sampled_from(RETA_SIZES[1:]), st.data())
def test_another_reta_is_not_equal(key: bytes, size: int, data: st.DataObject) -> None:
    """One entry that differs is found, wherever it stands."""
    reta = spread(size, 2)
    at = data.draw(st.integers(0, size - 1))
    assert not probe.Rss(key, reta).equal(probe.Rss(key, [*reta[:at], 2, *reta[at + 1 :]]))


N = 1 << 14


@cache
def traffic(kind: str) -> list[tuple[int, int]]:
    """N tuples as a director's card sees them: towards a virtual address, or a server's answers."""
    chance = random.Random(7)
    vip, real, local = number("192.0.2.10"), number("10.0.0.7"), number("10.0.2.1")
    return [
        columns(
            {
                "clients": (chance.getrandbits(32), vip, chance.randrange(1024, 65536), 443),
                "client": (number("198.51.100.3"), vip, 32768 + n, 443),
                "proxy": (number("198.51.100.3"), vip, 1024 + n * 2, 443),
                "subnet": (number("20.0.0.0") + n, vip, 40000, 443),
                "answers": (real, local, 80, 1024 + n),
                "servers": (real + n % 50, local + n % 4, 80, chance.randrange(1024, 65536)),
            }[kind]
        )
        for n in range(N)
    ]


@pytest.mark.parametrize("queues", range(2, 17))
@pytest.mark.parametrize("size", [64, 128, 512, 2048])
@pytest.mark.parametrize("kind", ["clients", "client", "proxy", "subnet", "answers", "servers"])
def test_our_key_spreads(kind: str, size: int, queues: int) -> None:
    """Under our key each queue gets the packets that its share of the RETA lets expect, whatever runs through."""
    reta = spread(size, queues)
    rss = probe.Rss(probe.RSS_KEY, reta)
    found = Counter(rss.queue(*t) for t in traffic(kind))
    for queue in range(queues):
        assert found[queue] == pytest.approx(N * reta.count(queue) / size, rel=0.15)
