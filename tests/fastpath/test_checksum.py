"""The incremental checksum against full recomputation."""

from hypothesis import given
from hypothesis import strategies as st

from tests.fastpath import probe

U16, U32, U64 = (st.integers(0, 2**bits - 1) for bits in (16, 32, 64))
EDGY = st.one_of(U32, st.sampled_from([0, 1, 0xFFFF, 0x10000, 0xFFFF0000, 0xFFFFFFFE, 0xFFFFFFFF]))


def naive(message: bytes) -> int:
    """RFC 1071, word by word, as the checksum stands in memory (little-endian words)."""
    message += b"\0" * (len(message) % 2)
    total = 0
    for at in range(0, len(message), 2):
        total += int.from_bytes(message[at : at + 2], "little")
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


@given(st.binary(max_size=2000))
def test_compute(message: bytes) -> None:
    """compute() is RFC 1071's sum, for every length and content."""
    assert probe.compute(message) == naive(message)


def test_compute_of_extremes() -> None:
    """All zeros, all ones, and a frame of the largest size: no carry is lost."""
    for message in (b"", b"\0", b"\xff", bytes(9000), b"\xff" * 9000, b"\xff" * 65535):
        assert probe.compute(message) == naive(message)


@given(U64)
def test_fold(value: int) -> None:
    """fold() is the value modulo 0xffff, where 0 stands for 0 alone."""
    assert probe.fold(value) == (value % 0xFFFF or (0xFFFF if value else 0))


@given(EDGY, EDGY, EDGY, EDGY, st.binary(min_size=2, max_size=60))
def test_update(old_low: int, old_high: int, new_low: int, new_high: int, rest: bytes) -> None:
    """B2: replacing two 32-bit words changes the checksum as computing it anew does (RFC 1624, equation 3)."""
    rest += b"\1" * (len(rest) % 2) + b"\1\0"  # a word that is not zero: every real header has one
    old, new = old_high << 32 | old_low, new_high << 32 | new_low
    before = naive(old.to_bytes(8, "little") + rest)
    assert probe.update(before, probe.difference(old, new)) == naive(new.to_bytes(8, "little") + rest)


@given(st.lists(st.tuples(EDGY, EDGY), min_size=1, max_size=4), st.binary(min_size=2, max_size=20))
def test_updates_add_up(words: list[tuple[int, int]], rest: bytes) -> None:
    """B2: differences of several words may be summed and applied at once."""
    rest += b"\1" * (len(rest) % 2) + b"\1\0"
    old = b"".join(a.to_bytes(4, "little") for a, _ in words) + rest
    new = b"".join(b.to_bytes(4, "little") for _, b in words) + rest
    delta = sum(probe.difference(a, b) for a, b in words)
    assert probe.update(naive(old), delta) == naive(new)


def test_update_of_every_checksum() -> None:
    """B2: for each of the 65,536 checksums a word of the message can make, around one change of the TTL."""
    for word in range(0, 0x10000, 7):
        old, new = (word | 0x4006 << 16), (word | 0x3F06 << 16)
        before = naive(old.to_bytes(4, "little"))
        assert probe.update(before, probe.difference(old, new)) == naive(new.to_bytes(4, "little"))
