"""The tuple hash: even over the sequences that real clients and port allocators make."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fastpath import probe

U64 = st.integers(0, 2**64 - 1)
N = 1 << 16
KEYS = (0x0123456789ABCDEF, 0xFEDCBA9876543210)


def be32(x: int) -> int:
    return int.from_bytes(x.to_bytes(4, "big"), "little")


def be16(x: int) -> int:
    return int.from_bytes(x.to_bytes(2, "big"), "little")


def keys(kind: str) -> Iterator[tuple[int, int]]:
    """N tuples as (addresses, ports and protocol), in network order like the packet's."""
    vip, service = be32(0x0A000101), be16(80)
    for n in range(N):
        address, port = {
            "ports": (0x01010101, 1024 + n % 60000),
            "addresses": (0x14000000 + n, 40000),
            "subnets": (0x14000000 + (n << 8), 40000),
            "both": (0x14000000 + (n >> 8), 1024 + (n & 255)),
            "strides": (0x14000000 + n * 16, 1024 + n * 2 % 60000),
        }[kind]
        yield be32(address) | vip << 32, be16(port) | service << 16 | (n // 60000 + 6) << 32


def chi_squared(values: Iterator[int], bins: int) -> float:
    """Distance from an even spread, in standard deviations of the statistic."""
    counts = [0] * bins
    for value in values:
        counts[value] += 1
    expected = N / bins
    statistic = sum((count - expected) ** 2 / expected for count in counts)
    return (statistic - (bins - 1)) / (2 * (bins - 1)) ** 0.5


@pytest.mark.parametrize("kind", ["ports", "addresses", "subnets", "both", "strides"])
def test_uniform(kind: str) -> None:
    """Buckets (upper half), owners (bits 16..31), tags (lower 16) are even: within 6 standard deviations of chance."""
    hashes = [probe.hash2(a, b, *KEYS) for a, b in keys(kind)]
    for shift, bits in ((32, 32), (16, 16), (0, 16)):
        spread = chi_squared((((h >> shift) & (1 << bits) - 1) * 1000 >> bits for h in hashes), 1000)
        assert abs(spread) < 6


@pytest.mark.parametrize("kind", ["ports", "addresses", "both"])
def test_tags_do_not_follow_buckets(kind: str) -> None:
    """Within one bucket tags are even too: (bucket, tag) pairs spread like chance."""
    hashes = [probe.hash2(a, b, *KEYS) for a, b in keys(kind)]
    assert abs(chi_squared((((h >> 32) * 32 >> 32) * 32 + (h & 31) for h in hashes), 1024)) < 6


@given(U64, U64, st.integers(0, 63))
def test_one_bit_changes_half_of_the_hash(a: int, b: int, bit: int) -> None:
    """A bit of the key changes many bits of the hash."""
    changed = bin(probe.hash2(a, b, *KEYS) ^ probe.hash2(a ^ 1 << bit, b, *KEYS)).count("1")
    assert changed >= 8


@given(st.integers(0, 2**32 - 1), st.integers(1, 2**32 - 1))
def test_scale(x: int, n: int) -> None:
    """scale() maps 32 bits to [0, n), in order."""
    assert probe.scale(x, n) == x * n // 2**32


@given(U64, st.integers(1, 64))
def test_owner_is_a_worker(hash: int, n: int) -> None:
    """B21: owner() names one of the workers."""
    assert 0 <= probe.owner(hash, n) < n


@pytest.mark.parametrize("n", [1, 2, 3, 7, 16])
def test_owners_share_evenly(n: int) -> None:
    """B21: each worker owns its share of the tuples."""
    owned = [probe.owner(probe.hash2(a, b, *KEYS), n) for a, b in keys("both")]
    assert n == 1 or abs(chi_squared(iter(owned), n)) < 6
