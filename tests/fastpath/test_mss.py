"""The largest segment of a SYN against scapy's reading of its options."""

from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP

from tests.fastpath import probe

KNOWN = st.one_of(
    st.just(("NOP", None)),
    st.tuples(st.just("MSS"), st.integers(0, 65535)),
    st.tuples(st.just("WScale"), st.integers(0, 14)),
    st.just(("SAckOK", b"")),
    st.tuples(st.just("Timestamp"), st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))),
)


def segment(options: list[tuple[str, object]]) -> bytes:
    """A SYN with a right checksum, its header alone."""
    return bytes(IP(src="1.1.1.1", dst="10.0.1.1") / TCP(sport=1, dport=2, flags="S", options=options))[20:]


def checksum_is_right(header: bytes) -> bool:
    packet = IP(src="1.1.1.1", dst="10.0.1.1") / TCP(header)
    del packet[TCP].chksum
    return bytes(packet)[20:] == header


@given(st.lists(KNOWN, max_size=6).filter(lambda o: len(segment(o)) <= 60), st.integers(1, 65535))
def test_clamped(options: list[tuple[str, object]], mss: int) -> None:
    """B33: each MSS option becomes the smaller of both, wherever it stands; the rest stays, the checksum is right."""
    wanted = [(name, min(value, mss)) if name == "MSS" else (name, value) for name, value in options]  # type: ignore[type-var]
    clamped = probe.clamp_mss(segment(options), mss)
    assert TCP(clamped).options[: len(wanted)] == TCP(segment(wanted)).options[: len(wanted)]
    assert [b for at, b in enumerate(clamped) if at not in (16, 17)] == [
        b for at, b in enumerate(segment(wanted)) if at not in (16, 17)
    ]
    assert checksum_is_right(clamped)


@given(
    st.integers(0, 10).flatmap(lambda words: st.binary(min_size=4 * words, max_size=4 * words)), st.integers(1, 65535)
)
def test_any_bytes(options: bytes, mss: int) -> None:
    """B33: whatever stands there, nothing but an MSS option's value and the checksum changes, and no value grows."""
    header = bytearray(20) + options
    header[12] = len(header) // 4 << 4
    clamped = probe.clamp_mss(bytes(header), mss)
    at, values = 20, set()
    while at < len(header) and header[at] != 0:  # RFC 9293, section 3.2, step by step
        length = 1 if header[at] == 1 else header[at + 1] if at + 1 < len(header) else 0
        if length == 0 or (length == 1 and header[at] != 1) or at + length > len(header):
            break
        if header[at] == 2 and length == 4:
            values.add(at + 2)
        at += length
    for at in range(20, len(header)):
        if at not in values and at - 1 not in values:
            assert clamped[at] == header[at]
    for at in values:
        was = int.from_bytes(header[at : at + 2], "big")
        assert int.from_bytes(clamped[at : at + 2], "big") == min(was, mss)
    if all(clamped[at : at + 2] == header[at : at + 2] for at in values):
        assert clamped == bytes(header)
