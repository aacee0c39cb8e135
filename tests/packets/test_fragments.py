"""Fragments: B35, and of echo requests B30. Among several workers: test_fragments_handed.py."""

from collections.abc import Sequence
from itertools import permutations
from random import Random

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, fragment
from scapy.packet import Packet, Raw

from fastpath import engine
from tests.packets.director import Director
from tests.packets.frames import (
    CLIENT,
    CLIENT_MAC,
    LOCAL,
    OTHER_SERVER,
    SERVER,
    VIP,
    frame,
    inbound,
    server_mac,
    tcp,
    udp,
)

HELD, HELD_DATAGRAM, DATAGRAMS = 256, 64, 1024
LIFE = 2
"""Seconds that the first fragment is waited for."""


def pieces(l4: Packet, size: int = 64, src: str = CLIENT, dst: str = VIP, id: int = 7, **fields: object) -> list[bytes]:
    """A client's datagram in fragments of `size` bytes."""
    parts = fragment(IP(src=src, dst=dst, id=id, **fields) / l4, size)
    return [frame(IP(bytes(part))) for part in parts]


def query(size: int = 300, sport: int = 1000, dport: int = 53) -> Packet:
    return udp(sport, dport, bytes(n * 5 & 255 for n in range(size)))


def together(fragments: Sequence[Packet]) -> Packet:
    """The datagram that these fragments make; they must fit."""
    data = b""
    ordered = sorted(fragments, key=lambda p: p[IP].frag)
    for part in ordered:
        assert part[IP].frag * 8 == len(data)
        data += bytes(part[IP].payload)
    assert not ordered[-1][IP].flags.MF
    assert len({(p[IP].src, p[IP].dst, p[IP].id, p.dst) for p in ordered}) == 1
    first = ordered[0][IP]
    return IP(bytes(IP(src=first.src, dst=first.dst, proto=first.proto) / Raw(data)))


def assert_whole(fragments: Sequence[Packet], original: Packet, l4: type[Packet] = UDP) -> Packet:
    """Together they carry the original's payload under a right checksum."""
    whole = together(fragments)
    checksum = whole[l4].chksum
    del whole[l4].chksum
    assert IP(bytes(whole))[l4].chksum == checksum
    assert bytes(whole[l4].payload) == bytes(original.payload)
    return whole


@pytest.mark.parametrize("order", list(permutations(range(4))), ids=str)
def test_any_order(director: Director, order: tuple[int, ...]) -> None:
    """B35: in whatever order a client's fragments come, all reach one server from one local port, and fit together."""
    director.service([SERVER, OTHER_SERVER], engine.UDP)
    parts = pieces(query(200))
    assert len(parts) == 4
    sent = [p for n in order for p in director.send(parts[n]).to_network]
    whole = assert_whole(sent, query(200))
    assert (whole.src, whole[UDP].dport) == (LOCAL, 53)
    assert [p[IP].ttl for p in sent] == [63] * 4
    (connection,) = director.connections(engine.UDP)
    assert (connection.client[1], connection.local[1]) == (1000, whole[UDP].sport)


@pytest.mark.parametrize("order", list(permutations(range(4))), ids=str)
def test_one_burst(director: Director, order: tuple[int, ...]) -> None:
    """B35: the same when all of them come in one burst, with another client's packet between."""
    director.service([SERVER, OTHER_SERVER], engine.UDP)
    parts = pieces(query(200))
    frames = [parts[n] for n in order]
    frames.insert(2, inbound(udp(sport=5)))
    sent = director.send(*frames).to_network
    assert_whole([p for p in sent if p[IP].flags.MF or p[IP].frag], query(200))
    assert len(sent) == 5


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
def test_answers(director: Director, order: tuple[int, ...]) -> None:
    """B35: a server's large answer, in fragments of any order, reaches the client from the virtual address."""
    director.service(protocol=engine.UDP)
    request = director.send(inbound(udp())).one()
    answer = udp(53, request[UDP].sport, bytes(range(150)))
    parts = [
        frame(IP(bytes(p)), src=server_mac(SERVER)) for p in fragment(IP(src=SERVER, dst=LOCAL, id=9) / answer, 64)
    ]
    assert len(parts) == 3
    sent = director.send(*[parts[n] for n in order]).to_network
    whole = assert_whole(sent, answer)
    assert (whole.src, whole.dst, whole[UDP].sport, whole[UDP].dport) == (VIP, CLIENT, 53, 1000)
    assert {p.dst for p in sent} == {CLIENT_MAC}


@pytest.mark.parametrize("order", ["in order", "reversed", "shuffled"])
def test_the_largest_datagram(director: Director, order: str) -> None:
    """B35: 45 fragments of 1,480 bytes, the largest datagram that there is, in any order."""
    director.service(protocol=engine.UDP)
    original = query(65507)
    parts = pieces(original, 1480)
    assert len(parts) == 45
    if order != "in order":
        parts.reverse()
    if order == "shuffled":
        Random(1).shuffle(parts)
    assert_whole(director.send(*parts).to_network, original)


def test_a_second_datagram_of_the_connection(director: Director) -> None:
    """B35, B18: fragments and whole packets of one client ride the same connection."""
    director.service([SERVER, OTHER_SERVER], engine.UDP)
    first = director.send(inbound(udp())).one()
    for id in (1, 2):
        sent = director.send(*reversed(pieces(query(), id=id))).to_network
        assert together(sent)[UDP].sport == first[UDP].sport
    assert director.in_use() == 1


def test_tcp(director: Director) -> None:
    """B35: the same for TCP, whose first fragment counts for the connection's state."""
    director.service()
    director.send(inbound(tcp("S")))
    assert director.states() == ["SYN_SENT"]
    data = tcp("FA", data=bytes(100))
    sent = director.send(*pieces(data, 64)).to_network
    assert_whole(sent, data, TCP)


def test_a_later_fragments_payload_is_no_header(director: Director) -> None:
    """B35: what stands where ports would be, in a fragment that is not the first, is neither read nor written."""
    director.service(protocol=engine.UDP)
    first, second = pieces(udp(data=bytes(56) + bytes(udp(sport=4444, dport=53, data=b"not a header"))), 64)
    sent = director.send(second, first).to_network
    assert bytes(sent[1][IP].payload) == bytes(IP(second[14:]).payload)
    assert [c.client[1] for c in director.connections(engine.UDP)] == [1000]


def test_identifications_do_not_collide(director: Director) -> None:
    """B35, B5: clients that chose the same identification are told apart behind one local address (RFC 6864)."""
    director.service(protocol=engine.UDP)
    clients = [f"1.1.1.{n}" for n in range(20, 50)]
    frames = [part for each in zip(*[pieces(query(), src=src) for src in clients], strict=True) for part in each]
    sent = director.send(*frames).to_network
    by_id: dict[int, list[Packet]] = {}
    for packet in sent:
        by_id.setdefault(packet[IP].id, []).append(packet)
    assert len(by_id) == len(clients)
    for group in by_id.values():
        assert_whole(group, query())


@pytest.mark.parametrize("missing", [1, 2, 3])
def test_a_part_missing(director: Director, missing: int) -> None:
    """B35: a later part that does not come holds nothing back: the end will see what is missing."""
    director.service(protocol=engine.UDP)
    parts = pieces(query(200))
    del parts[missing]
    assert len(director.send(*parts).to_network) == 3
    director.wait(LIFE)


def test_the_first_part_missing(director: Director) -> None:
    """B35: without their first fragment the others wait for a bounded time, and are dropped under their own reason."""
    director.service(protocol=engine.UDP)
    director.send(*pieces(query(200))[1:])
    assert director.parked() == 3
    director.later(LIFE - 0.001)
    director.send()
    director.later(0.001)
    director.send(drops={"fragment_expired": 3})
    assert director.parked() == 0
    assert director.in_use() == 0


def test_the_first_part_too_late(director: Director) -> None:
    """B35: a first fragment that comes after that finds nothing of the others any more, and goes on alone."""
    director.service(protocol=engine.UDP)
    first, *others = pieces(query(200))
    director.send(*others)
    director.later(LIFE)
    director.send(drops={"fragment_expired": 3})
    director.send(first).one()


def overlapping(start: int, data: bytes, more: bool = True) -> bytes:
    """A fragment of the datagram with identification 7, `start` in units of eight bytes."""
    return frame(IP(src=CLIENT, dst=VIP, id=7, proto=17, flags="MF" * more, frag=start), Raw(data))


@pytest.mark.parametrize(
    ("start", "units"), [(8, 9), (15, 2), (15, 4), (1, 17), (12, 40)], ids=["longer", "edge", "behind", "header", "far"]
)
def test_overlapping(director: Director, start: int, units: int) -> None:
    """B35: a fragment that covers another in part is dropped, and what follows of its datagram too (RFC 5722)."""
    director.service(protocol=engine.UDP)
    first, second, *rest = pieces(query(400))
    skipped = rest.pop(0)
    director.send(first, second)
    director.send(overlapping(start, b"x" * (8 * units)), drops={"fragment_overlap": 1})
    director.send(skipped, *rest, drops={"fragment_overlap": 1 + len(rest)})
    director.wait(LIFE)
    assert len(director.send(*pieces(query(400))).to_network) == 7


def test_overlapping_ones_that_wait(director: Director) -> None:
    """B35: the same before the first fragment has come: nothing of the datagram goes on."""
    director.service(protocol=engine.UDP)
    first, second, *_ = pieces(query(400))
    director.send(second)
    director.send(overlapping(10, b"x" * 80), drops={"fragment_overlap": 2})
    director.send(first, drops={"fragment_overlap": 1})


@pytest.mark.parametrize(("start", "units"), [(7, 2), (1, 8), (0, 16), (3, 1)])
def test_covered(director: Director, start: int, units: int) -> None:
    """B35: a fragment of which all has come already, whatever its bounds, is dropped alone: it adds nothing."""
    director.service(protocol=engine.UDP)
    first, second, *rest = pieces(query(400))
    sent = director.send(first, second).to_network
    director.send(overlapping(start, b"x" * (8 * units)), drops={"fragment_overlap": 1})
    assert_whole(sent + director.send(*rest).to_network, query(400))


def test_duplicates(director: Director) -> None:
    """B35: a fragment that comes twice goes on once, and harms nothing."""
    director.service(protocol=engine.UDP)
    parts = pieces(query(200))
    sent = director.send(
        parts[1], parts[1], parts[0], parts[0], parts[2], parts[3], parts[3], drops={"fragment_overlap": 3}
    )
    assert_whole(sent.to_network, query(200))


MALFORMED = {
    "no payload": IP(flags="MF", proto=17),
    "not a multiple of eight": IP(flags="MF", proto=17) / Raw(bytes(12)),
    "beyond 65,535 bytes": IP(frag=8189, proto=17) / Raw(bytes(32)),
    "a first one without its UDP header": IP(flags="MF", proto=17, len=20) / Raw(b""),
    "a first one without its TCP header": IP(flags="MF", proto=6) / Raw(bytes(16)),
    "a first one without its TCP options": IP(flags="MF", proto=6) / Raw(bytes(12) + b"\xf0" + bytes(11)),
    "a first one with a short data offset": IP(flags="MF", proto=6) / Raw(bytes(12) + b"\x40" + bytes(11)),
    "one that overwrites TCP's flags": IP(frag=1, proto=6) / Raw(bytes(16)),
    "one that overwrites TCP's checksum": IP(frag=2, proto=6) / Raw(bytes(16)),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed(director: Director, case: str) -> None:
    """B8, B35: a fragment that no host sends is dropped under its own reason (RFC 791, RFC 1858, RFC 3128)."""
    director.service()
    director.service(protocol=engine.UDP, id=1, first=10)
    packet = MALFORMED[case]
    packet.src, packet.dst = CLIENT, VIP
    director.send(frame(packet), drops={"fragment_malformed": 1})
    assert director.parked() == 0


def test_another_protocol(director: Director) -> None:
    """B8: a fragment of what is not served is dropped as the whole packet would be."""
    director.service()
    director.send(
        frame(IP(src=CLIENT, dst=VIP, proto=47, flags="MF"), Raw(bytes(16))), drops={"protocol_not_served": 1}
    )


@pytest.mark.parametrize("source", ["127.0.0.1", "224.0.0.1", VIP, LOCAL])
def test_a_forged_source(director: Director, source: str) -> None:
    """B10, B35: fragments from an address that no client has do not even wait."""
    director.service(protocol=engine.UDP)
    director.send(*pieces(query(200), src=source), drops={"spoofed_source": 4})


def test_fragments_of_no_connection(director: Director) -> None:
    """B13, B35: fragments to a local port that nobody has open, and to a service that is not there, are dropped."""
    director.service(protocol=engine.UDP)
    director.send(*pieces(query(200), src=SERVER, dst=LOCAL), drops={"no_connection": 4})
    director.send(*pieces(query(200, dport=54)), drops={"no_service": 1, "no_connection": 3})


def test_only_the_first_is_answered(director: Director) -> None:
    """B4, B9, B35: ICMP errors are about first fragments only (RFC 1122 3.2.2)."""
    engine.set_policy(refuse=True)
    director.service(protocol=engine.UDP)
    refused = director.send(*pieces(query(200, dport=54)), drops={"no_service": 1, "no_connection": 3}, errors=1)
    assert (refused.one()[ICMP].type, refused.one()[ICMP].code) == (3, 3)
    engine.set_policy(refuse=False)
    director.send(*pieces(query(200), id=8))
    expired = director.send(*pieces(query(200), id=9, ttl=1), drops={"ttl_exceeded": 4}, errors=1)
    assert expired.one()[ICMP].type == 11


def test_waiting_is_bounded(director: Director) -> None:
    """B35: of one datagram 64 fragments wait, of all 256; the rest is dropped under its own reason."""
    director.service(protocol=engine.UDP)
    many = [overlapping(1 + n, bytes(8)) for n in range(HELD_DATAGRAM + 1)]
    director.send(*many, drops={"fragment_full": 1})
    others = [pieces(query(60), id=100 + n)[1] for n in range(HELD - HELD_DATAGRAM + 5)]
    director.send(*others, drops={"fragment_full": 5})
    assert director.parked() == HELD
    director.later(LIFE)
    director.send(drops={"fragment_expired": HELD})
    assert_whole(director.send(*reversed(pieces(query(200), id=9))).to_network, query(200))


def test_a_flood_of_first_parts(director: Director) -> None:
    """B35: a flood of datagrams that never end takes no memory but what is set aside: the oldest makes room."""
    director.service(protocol=engine.UDP)
    first, second = pieces(query(60), id=1)
    director.send(first)
    for start in range(0, 2 * DATAGRAMS, 512):
        frames = [pieces(query(60), id=1000 + start + n)[0] for n in range(512)]
        director.send(*frames)
    director.send(second)
    assert director.parked() == 1
    director.later(LIFE)
    director.send(drops={"fragment_expired": 1})


def test_the_oldest_waiting_one_makes_room(director: Director) -> None:
    """B35: what waits longest is dropped for newer datagrams, and counted."""
    director.service(protocol=engine.UDP)
    director.send(pieces(query(60), id=1)[1])
    for start in range(0, DATAGRAMS - 1, 341):
        director.send(*[pieces(query(60), id=1000 + start + n)[0] for n in range(341)])
    assert director.parked() == 1
    director.send(pieces(query(60), id=60000)[0], drops={"fragment_full": 1})


@pytest.mark.parametrize("dst", [VIP, LOCAL])
@pytest.mark.parametrize("order", ["in order", "reversed", "second first"])
def test_fragmented_echo(director: Director, dst: str, order: str) -> None:
    """B30, B35: an echo request in fragments is answered fragment by fragment, whatever their order."""
    director.service()
    request = ICMP(id=5, seq=6) / Raw(bytes(range(200)))
    parts = pieces(request, dst=dst, ttl=3)
    if order != "in order":
        parts.reverse()
    if order == "second first":
        parts[0], parts[2] = parts[2], parts[0]
    sent = director.send(*parts).to_network
    whole = together(sent)
    assert (whole.src, whole.dst, {p[IP].ttl for p in sent}, {p[IP].id for p in sent}) == (dst, CLIENT, {64}, {7})
    assert (whole[ICMP].type, whole[ICMP].id, whole[ICMP].seq) == (0, 5, 6)
    assert bytes(whole[ICMP].payload) == bytes(range(200))
    checksum = whole[ICMP].chksum
    del whole[ICMP].chksum
    assert IP(bytes(whole))[ICMP].chksum == checksum


def test_other_fragmented_icmp(director: Director) -> None:
    """B34, B35: a fragmented ICMP message that is no echo request is dropped, all of it."""
    director.service()
    parts = pieces(ICMP(type=0, id=5, seq=6) / Raw(bytes(range(200))))
    director.send(parts[1])
    director.send(parts[0], parts[2], drops={"icmp_not_handled": 2, "fragment_overlap": 1})


def test_the_kernels_fragments(director: Director) -> None:
    """B9: fragments for the director's own address go to the kernel unchanged, in any order."""
    director.service(protocol=engine.UDP)
    parts = pieces(query(200), dst="1.1.1.2")
    assert director.send(*parts[::-1]).to_kernel == parts[::-1]


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
def test_the_first_one_waits_for_a_next_hop(director: Director, order: tuple[int, ...]) -> None:
    """B35, B40: the datagram that opens a flow to a server whose MAC address is not known yet waits as a whole."""
    director.service(protocol=engine.UDP, hops={SERVER: None})
    parts = pieces(query(150))
    assert len(parts) == 3
    for n in order:
        assert director.send(parts[n]) == ([], [], [])
    assert director.parked() == 3
    director.resolve(0, 0, server_mac(SERVER))
    assert_whole(director.send().to_network, query(150))
