"""The walk over a TCP header's options, and the numbers moved in it, against a naive oracle."""

from hypothesis import example, given
from hypothesis import strategies as st

from tests.fastpath import probe

U32 = st.integers(0, 2**32 - 1)
ACK = 0x10
TIMESTAMPS, SACK, NOP, END = 8, 5, 1, 0


def word(value: int) -> bytes:
    return value.to_bytes(4, "big")


def option(kind: int, body: bytes) -> bytes:
    return bytes([kind, 2 + len(body)]) + body


OPTIONS = st.one_of(
    st.just(bytes([NOP])),
    st.just(bytes([END])),
    st.builds(lambda a, b: option(TIMESTAMPS, word(a) + word(b)), U32, U32),
    st.builds(lambda words: option(SACK, b"".join(map(word, words))), st.lists(U32, max_size=8)),
    st.builds(lambda kind, body: option(kind, body), st.sampled_from([2, 3, 4, 5, 8, 30, 254]), st.binary(max_size=12)),
    st.binary(max_size=4),
)


@st.composite
def headers(draw: st.DrawFn) -> bytes:
    """A TCP header whose options are well-formed, or not, or both; cut where its data offset ends."""
    options = b"".join(draw(st.lists(OPTIONS, max_size=8)))[:40]
    options += draw(st.binary(min_size=3, max_size=3))[: -len(options) % 4]
    offset = (20 + len(options)) // 4 << 4
    flags = draw(st.sampled_from([0x02, ACK, 0x12, 0x04, 0x14, 0x11]))
    return (
        bytes(4)
        + word(draw(U32))
        + word(draw(U32))
        + bytes([offset, flags])
        + draw(st.binary(min_size=6, max_size=6))
        + options
    )


def naive(header: bytes) -> list[tuple[int, int, bytes]]:
    """(where, kind, body) of each option, by RFC 9293 3.1; nothing from the first that cannot be."""
    found, at = [], 20
    while at < len(header) and header[at] != END:
        if header[at] == NOP:
            at += 1
            continue
        length = header[at + 1] if at + 1 < len(header) else 0
        if length < 2 or at + length > len(header):
            break
        found.append((at, header[at], header[at + 2 : at + length]))
        at += length
    return found


def moved(header: bytes, seq: int, ack: int, tsval: int, tsecr: int) -> bytes:
    result = bytearray(header)

    def add(at: int, n: int) -> None:
        result[at : at + 4] = word((int.from_bytes(header[at : at + 4], "big") + n) % 2**32)

    acknowledges = header[13] & ACK
    add(4, seq)
    if acknowledges:
        add(8, ack)
    for at, kind, body in naive(header):
        if kind == TIMESTAMPS and len(body) == 8:
            add(at + 2, tsval)
            if acknowledges:
                add(at + 6, tsecr)
        if kind == SACK and acknowledges:
            for edge in range(len(body) // 8 * 2):
                add(at + 2 + 4 * edge, ack)
    return bytes(result)


def one_sum(message: bytes) -> int:
    """The one's complement sum of its words as they stand in memory; 0 and 0xffff are both zero, here 0."""
    return sum(int.from_bytes(message[at : at + 2], "little") for at in range(0, len(message), 2)) % 0xFFFF


@given(headers(), U32, U32, U32, U32)
@example(bytes(12) + b"\xf0\x10" + bytes(6) + bytes([NOP, TIMESTAMPS, 10]) + bytes(37), 1, 2, 3, 4)
@example(bytes(12) + b"\xf0\x10" + bytes(6) + bytes([NOP, SACK, 34]) + b"\xff" * 32 + bytes(5), 1, 0xFFFFFFFF, 3, 4)
def test_move_numbers(header: bytes, seq: int, ack: int, tsval: int, tsecr: int) -> None:
    """B38, B43: exactly the sequence number, and what acknowledges and echoes, move, at whatever address; what is said
    of the checksum is what they change."""
    delta, made = probe.move_numbers(header, seq, ack, tsval, tsecr)
    assert made == moved(header, seq, ack, tsval, tsecr)
    assert (one_sum(header) + delta) % 0xFFFF == one_sum(made)


@given(headers())
def test_timestamps_at(header: bytes) -> None:
    """B8, B43: the first timestamps option of the right length, or none; nothing behind the header counts."""
    found = [at for at, kind, body in naive(header) if kind == TIMESTAMPS and len(body) == 8]
    behind = option(TIMESTAMPS, bytes(8))
    assert probe.timestamps_at(header + behind) == (found[0] if found else 0)


@given(headers())
def test_what_is_cut_short(header: bytes) -> None:
    """B8: an option that says it is longer than the header is left alone, and what stands behind the header too."""
    end = (header[12] >> 4) * 4
    _, made = probe.move_numbers(header + b"\x55" * 64, 1, 1, 1, 1)
    assert made[end:] == b"\x55" * 64
