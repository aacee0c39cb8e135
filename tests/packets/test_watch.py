"""Following packets: what is noted of each, at each stage, and which are chosen. What leaves does not differ by it."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from socket import inet_aton

import pytest
from scapy.layers.inet import ICMP, IP, TCP
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from fastpath import engine
from tests.packets.director import Director
from tests.packets.frames import (
    CLIENT,
    CLIENT_MAC,
    DIRECTOR,
    LOCAL,
    OTHER_CLIENT,
    OTHER_SERVER,
    SERVER,
    VIP,
    arp,
    frame,
    inbound,
    outbound,
    server_mac,
    tcp,
    udp,
)

ANY_END = engine.CLIENT | engine.VIRTUAL | engine.LOCAL | engine.REAL


def end(address: str, port: int) -> tuple[bytes, int]:
    return inet_aton(address), port


def match(ends: int, address: str | None = None, port: int = 0) -> engine.Match:
    mask = "255.255.255.255" if address else "0.0.0.0"
    return engine.Match(ends, inet_aton(address or "0.0.0.0"), inet_aton(mask), port)


class Watch:
    """What has been seen since the last look."""

    @staticmethod
    def look() -> list[engine.Seen]:
        seen, lost = engine.watch_read(1 << 20)
        assert lost == 0
        return seen

    def passed(self) -> engine.Seen:
        """The only packet."""
        (seen,) = self.look()
        assert seen.kind == "passed"
        return seen


@contextmanager
def watching(
    *matches: engine.Match,
    protocol: int = 0,
    reason: str | None = None,
    snap: int = engine.MAX_SNAP,
    leaving: bool = False,
) -> Iterator[Watch]:
    engine.watch_begin(protocol, matches, reason, snap, leaving)
    try:
        yield Watch()
    finally:
        engine.watch_end()


def opened(director: Director) -> Packet:
    """An established connection; its SYN as the server got it."""
    first = director.send(inbound(tcp("S"))).one()
    director.send(outbound(first, tcp("SA")), inbound(tcp("A")))
    return first


def test_what_was_noted_is_read_after_the_stop(director: Director) -> None:
    """A watch that is stopped notes nothing more, and keeps what it has."""
    director.service()
    with watching() as watch:
        director.send(inbound(tcp("S")))
        engine.watch_stop()
        director.send(inbound(tcp("S", sport=2000)))
        assert watch.passed().client == end(CLIENT, 1000)
        assert watch.look() == []


# Stages


def test_a_connection_is_followed_from_its_first_packet(director: Director) -> None:
    """The SYN finds none, gets a server and a local port; its answer finds the connection, and changes its state."""
    director.service()
    with watching() as watch:
        syn = inbound(tcp("S"))
        first = director.send(syn).one()
        seen = watch.passed()
        local, real, client, virtual = end(LOCAL, first.sport), end(SERVER, 80), end(CLIENT, 1000), end(VIP, 80)
        assert (seen.came, seen.port, seen.frame, seen.length) == ("port", 0, syn, len(syn))
        assert (seen.classified, seen.found, seen.scheduled, seen.verdict) == ("go_on", None, "go_on", "send")
        assert (seen.client, seen.virtual, seen.local, seen.real) == (client, virtual, local, real)
        assert (seen.ends, seen.left, seen.out, seen.server) == ((client, virtual), (local, real), 0, 0)
        assert seen.hop == (0, bytes.fromhex(server_mac(SERVER).replace(":", "")))
        assert seen.states == ("SYN_SENT", "SYN_SENT")

        director.send(outbound(first, tcp("SA")))
        seen = watch.passed()
        assert (seen.found, seen.states) == (1, ("SYN_SENT", "SYN_RECV"))
        assert (seen.ends, seen.left) == ((real, local), (virtual, client))
        assert (seen.client, seen.virtual, seen.local, seen.real) == (client, virtual, local, real)

        director.send(inbound(tcp("A")))
        seen = watch.passed()
        assert (seen.found, seen.states, seen.reason) == (0, ("SYN_RECV", "ESTABLISHED"), None)


def test_what_an_answer_overwrites_is_seen_as_it_came(director: Director) -> None:
    """ARP and ping are answered in the packet's own buffer: noted is the question, and what leaves."""
    director.service()
    ping = inbound(ICMP(type=8) / b"payload")
    with watching(leaving=True) as watch:
        for question in (arp(VIP), ping):
            answer = director.turn([question])[0][1]
            came, left = watch.look()
            assert (came.kind, came.classified, came.verdict, came.frame) == ("passed", "send", "send", question)
            assert (left.kind, left.frame) == ("left", answer)
            assert answer != question


DROPPED = {
    "not_for_us": (frame(IP(src=CLIENT, dst=VIP), tcp("S"), dst="02:00:00:00:09:09"), "drop", None),
    "ipv4_truncated": (inbound(tcp("S"))[:30], "drop", None),
    "tcp_truncated": (inbound(tcp("S"), len=30), "drop", None),
    "protocol_not_served": (inbound(ICMP(), proto=47), "drop", None),
    "no_service": (inbound(tcp("S", dport=81)), "go_on", "drop"),
    "no_connection": (inbound(tcp("A", sport=9)), "go_on", "drop"),
    "spoofed_source": (inbound(tcp("S"), src=LOCAL), "go_on", "drop"),
}


@pytest.mark.parametrize("reason", DROPPED)
def test_a_drop_is_told_by_the_stage_that_decided(director: Director, reason: str) -> None:
    """Each dropped packet shows its reason, and how far it came."""
    director.service()
    raw, classified, scheduled = DROPPED[reason]
    with watching() as watch:
        director.send(raw, drops={reason: 1})
        seen = watch.passed()
    assert (seen.reason, seen.verdict, seen.frame) == (reason, "drop", raw)
    assert (seen.classified, seen.scheduled) == (classified, scheduled)


def test_a_drop_that_is_answered_shows_both(director: Director) -> None:
    """A packet whose TTL ran out is dropped under that reason, and its verdict is that the error is sent."""
    director.service()
    with watching() as watch:
        director.send(inbound(tcp("S"), ttl=1), drops={"ttl_exceeded": 1}, errors=1)
        seen = watch.passed()
    assert (seen.reason, seen.scheduled, seen.verdict) == ("ttl_exceeded", "send", "send")
    assert seen.left == (end(DIRECTOR, 0), end(CLIENT, 0))


def test_without_an_eligible_server(director: Director) -> None:
    """A client that finds no server shows as dropped by schedule, with the two ends that are known."""
    director.service({SERVER: 0})
    with watching() as watch:
        director.send(inbound(tcp("S")), drops={"no_server": 1})
        seen = watch.passed()
    assert (seen.scheduled, seen.reason, seen.server, seen.local, seen.real) == ("drop", "no_server", None, None, None)


def test_a_parked_packet_is_followed_until_it_leaves(director: Director) -> None:
    """It shows the server that it waits for, and comes again when that is known."""
    director.service(hops={SERVER: None})
    with watching(match(engine.REAL, SERVER, 80)) as watch:
        director.send(inbound(tcp("S")))
        seen = watch.passed()
        assert (seen.scheduled, seen.verdict, seen.server, seen.local) == ("park", "park", 0, None)
        director.resolve(0, 0, server_mac(SERVER))
        director.send()
        seen = watch.passed()
        assert (seen.came, seen.verdict, seen.server) == ("parking", "send", 0)


def test_a_parked_packet_that_waits_in_vain(director: Director) -> None:
    """It is told of when its second is over, under next_hop_unresolved, with its frame."""
    director.service(hops={SERVER: None})
    syn = inbound(tcp("S"))
    with watching(reason="next_hop_unresolved") as watch:
        director.send(syn)
        assert watch.look() == []
        director.later(1)
        director.send(drops={"next_hop_unresolved": 1})
        (seen,) = watch.look()
    assert (seen.kind, seen.frame, seen.reason) == ("ended", syn, "next_hop_unresolved")


def test_a_fragment_is_followed_home_and_on(director: Director) -> None:
    """B35: one that waits for its first one shows so, and comes again with its connection and all four ends."""
    director.service(protocol=engine.UDP)
    first, later = (frame(p) for p in Ether(inbound(udp(data=bytes(1600))))[IP].fragment(1000))
    with watching() as watch:
        engine.run_once([later], now=director.seconds())
        seen = watch.passed()
        assert (seen.classified, seen.verdict, seen.ends) == ("park", "park", (end(CLIENT, 0), end(VIP, 0)))
        engine.run_once([first], now=director.seconds())
        opens, follows = watch.look()
    assert (opens.came, opens.classified, opens.verdict, opens.server) == ("port", "go_on", "send", 0)
    assert (follows.came, follows.classified, follows.verdict, follows.found) == ("home", "go_on", "send", 0)
    assert (follows.client, follows.real) == (end(CLIENT, 1000), end(SERVER, 53))


def test_a_fragment_that_waits_in_vain(director: Director) -> None:
    """It is told of when its time is over, under its reason."""
    director.service(protocol=engine.UDP)
    later = frame(Ether(inbound(udp(data=bytes(1600))))[IP].fragment(1000)[1])
    with watching(reason="fragment_expired") as watch:
        engine.run_once([later], now=director.seconds())
        director.later(3)
        engine.run_once([], now=director.seconds())
        (seen,) = watch.look()
    assert (seen.kind, seen.frame, seen.reason) == ("ended", later, "fragment_expired")


def test_one_burst_with_gaps(director: Director) -> None:
    """Of a full burst of all kinds each packet is noted with its own fate, in the order in which they came."""
    director.service()
    frames, fates = [], []
    for n in range(8):
        frames += [inbound(tcp("S", sport=100 + n)), inbound(tcp("A", sport=200 + n))]
        frames += [arp(VIP), inbound(tcp("S", dport=n + 1))]
        fates += [(None, "send"), ("no_connection", "drop"), (None, "send"), ("no_service", "drop")]
    with watching() as watch:
        director.turn(frames, drops={"no_connection": 8, "no_service": 8})
        seen = watch.look()
    assert [s.frame for s in seen] == frames
    assert [(s.reason, s.verdict) for s in seen] == fates


def test_more_than_a_burst_leaves(director: Director) -> None:
    """Frames on their way out are noted as they leave, a buffer at a time, each once."""
    director.service(protocol=engine.UDP)
    with watching(leaving=True) as watch:
        sent = director.turn([inbound(udp(sport=n)) for n in range(1000, 1100)])
        seen = watch.look()
    assert [s.frame for s in seen if s.kind == "left"] == [raw for _, raw in sent]
    assert len(seen) == 200


# Which packets


def conditions() -> Iterator[tuple[engine.Match, bool, bool, bool]]:
    """Condition; whether a connection of CLIENT, another one of OTHER_CLIENT by another server, and ARP match."""
    yield match(ANY_END, CLIENT), True, False, True
    yield match(engine.CLIENT, CLIENT, 1000), True, False, False
    yield match(engine.CLIENT, CLIENT, 1001), False, False, False
    yield match(engine.VIRTUAL, VIP), True, True, True
    yield match(engine.VIRTUAL, VIP, 81), False, False, False
    yield match(engine.LOCAL, LOCAL), True, True, False
    yield match(engine.REAL, SERVER), True, False, False
    yield match(engine.REAL, OTHER_SERVER, 80), False, True, False
    yield match(ANY_END, None, 80), True, True, False
    yield match(engine.CLIENT, SERVER), False, False, False


@pytest.mark.parametrize(("condition", "first", "second", "ask"), conditions())
def test_all_four_ends_count(director: Director, condition: engine.Match, first: bool, second: bool, ask: bool) -> None:
    """A condition on any end of a connection holds for the packets of both directions, from the first one on, as they
    come and as they leave; what has no connection is known by its own two ends."""
    director.service([SERVER, OTHER_SERVER])
    while director.send(inbound(tcp("S", sport=director.in_use() + 1))).one()[IP].dst != OTHER_SERVER:
        pass  # the next one is SERVER's
    with watching(condition, leaving=True) as watch:
        for client, wanted in ((CLIENT, first), (OTHER_CLIENT, second)):
            syn = director.send(inbound(tcp("S"), src=client)).one()
            assert len(watch.look()) == 2 * wanted
            director.send(outbound(syn, tcp("SA")))
            assert len(watch.look()) == 2 * wanted
            director.send(inbound(tcp("A"), src=client))
            assert len(watch.look()) == 2 * wanted
        director.send(arp(VIP))
        assert len(watch.look()) == 2 * ask


def test_all_conditions_must_hold(director: Director) -> None:
    """Two conditions that hold for two connections each show the one for which both do."""
    director.service([SERVER, OTHER_SERVER])
    with watching(match(engine.CLIENT, CLIENT), match(engine.REAL, OTHER_SERVER)) as watch:
        for client in (CLIENT, OTHER_CLIENT):
            director.send(inbound(tcp("S", sport=1), src=client), inbound(tcp("S", sport=2), src=client))
        seen = watch.passed()
    assert seen.client in (end(CLIENT, 1), end(CLIENT, 2))
    assert seen.real == end(OTHER_SERVER, 80)


def test_a_protocol(director: Director) -> None:
    """TCP alone, UDP alone, ICMP alone, ARP alone."""
    director.service()
    director.service(protocol=engine.UDP, id=1, first=1)
    frames = [inbound(tcp("S")), inbound(udp()), inbound(ICMP(type=8)), arp(VIP)]
    for protocol, wanted in zip((engine.TCP, engine.UDP, 1, engine.ARP), frames, strict=True):
        with watching(protocol=protocol) as watch:
            director.turn(frames)
            assert [s.frame for s in watch.look()] == [wanted]


def test_a_drop_reason(director: Director) -> None:
    """Only what is dropped under one reason, or under any, whether it is answered or not."""
    director.service()
    frames = [inbound(tcp("S")), inbound(tcp("A", sport=9)), inbound(tcp("S", sport=7), ttl=1)]
    fates = {"no_connection": frames[1:2], "ttl_exceeded": frames[2:], "any": frames[1:], None: frames}
    for reason, wanted in fates.items():
        with watching(reason=reason) as watch:
            director.send(*frames, drops={"no_connection": 1, "ttl_exceeded": 1}, errors=1)
            assert [s.frame for s in watch.look()] == wanted


def test_a_packet_for_the_kernel(director: Director) -> None:
    """B9: it shows as punted, by classify or by schedule; what the kernel's ring does not take as dropped."""
    director.service()
    frames = [inbound(tcp("S", sport=n), dst=DIRECTOR) for n in range(1, 260)]
    with watching() as watch:
        director.send(*frames, arp(DIRECTOR), drops={"kernel_ring_full": 4})
        seen = watch.look()
    assert [s.frame for s in seen] == [*frames, arp(DIRECTOR)]
    fates = [(s.classified, s.scheduled, s.verdict, s.reason) for s in seen]
    assert fates[:256] == [("go_on", "punt", "punt", None)] * 256
    assert fates[256:259] == [("go_on", "punt", "drop", "kernel_ring_full")] * 3
    assert fates[259:] == [("punt", None, "drop", "kernel_ring_full")]


@pytest.mark.parametrize("leaving", [False, True])
def test_a_full_transmit_queue(director: Director, leaving: bool) -> None:
    """Frames that the port does not take are noted as such, each once: as far as the stages know they were sent."""
    director.service(protocol=engine.UDP)
    handles = engine.handles()
    turn = ctypes.CFUNCTYPE(ctypes.c_uint32, ctypes.c_void_p, ctypes.c_uint32)(handles.take_turn)
    before, seen = engine.drops()["tx_full"], []
    with watching(leaving=leaving, snap=64) as watch:
        for _ in range(5):  # its ring holds 4,095
            for n in range(1000):
                engine.arrive(0, inbound(udp(sport=1000 + n)))
            while turn(handles.worker, director.ms):
                pass
            seen += watch.look()
    director.settle()
    left = [s.reason for s in seen if s.kind == "left"]
    assert engine.drops()["tx_full"] - before == left.count("tx_full") == 5000 - 4095
    assert left.count(None) == 4095 * leaving
    assert [s.verdict for s in seen if s.kind == "passed"] == ["send"] * 5000


def test_the_kernels_packets(director: Director) -> None:
    """What the kernel sends is noted as it leaves, also where frames that packets of the stages became are not."""
    director.service()
    own = frame(IP(src=DIRECTOR, dst=CLIENT), udp(sport=179), src="02:00:00:00:00:01", dst=CLIENT_MAC)
    with watching() as watch:
        director.send(inbound(tcp("S")), kernel=[(0, own)])
        seen = watch.look()
    assert [(s.kind, s.frame) for s in seen if s.kind == "left"] == [("left", own)]
    assert len(seen) == 2


# Bounds


def test_only_the_beginning_of_a_frame(director: Director) -> None:
    """With a snap length frames are cut, and their length is told."""
    director.service()
    raw = inbound(tcp("S", data=b"x" * 500))
    with watching(snap=100) as watch:
        director.send(raw)
        seen = watch.passed()
    assert (seen.frame, seen.length) == (raw[:100], len(raw))


def test_records_are_lost_and_packets_are_not(director: Director) -> None:
    """With nobody reading, what does not fit is counted, every packet is forwarded; once read, there is room again."""
    director.service(protocol=engine.UDP)
    with watching():
        forwarded = 0
        for _ in range(100):
            forwarded += len(director.turn([inbound(udp(sport=1000 + k, data=bytes(1400))) for k in range(32)]))
        kept, lost = [], 0
        while True:
            seen, more = engine.watch_read()
            kept += seen
            lost += more
            if not seen:
                break
        assert forwarded == 3200
        assert len(kept) + lost == 3200
        assert 2000 < len(kept) < 3000
        director.turn([inbound(udp(sport=1000, data=b"again"))])
        seen, more = engine.watch_read()
        assert (len(seen), more, seen[0].frame[-5:]) == (1, 0, b"again")


def test_many_rounds_through_the_log(director: Director) -> None:
    """Records come out as they went in however often the log has been filled and read."""
    director.service(protocol=engine.UDP)
    with watching() as watch:
        for n in range(400):
            sizes = [(n * 37 + k * 101) % 1400 for k in range(16)]
            frames = [inbound(udp(sport=1000 + k, data=bytes([k]) * size)) for k, size in enumerate(sizes)]
            director.turn(frames)
            assert [s.frame for s in watch.look()] == frames


def test_nothing_is_noted_before_and_after(director: Director) -> None:
    """A watch shows what comes between its begin and its end."""
    director.service()
    director.send(inbound(tcp("S", sport=1)))
    with watching() as watch:
        director.send(inbound(tcp("S", sport=2)))
        assert watch.passed().client == end(CLIENT, 2)
    director.send(inbound(tcp("S", sport=3)))
    with watching() as watch:
        assert watch.look() == []


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"snap": 63}, "snap 63: expected 64 to 16384"),
        ({"protocol": 65536}, "protocol 65536: expected 0 to 65535"),
        ({"reason": "tired"}, "drop reason 'tired': not one of those"),
        ({"matches": [match(0)]}, "ends 0: expected 1 to 15"),
    ],
)
def test_wrong_wishes_are_refused(director: Director, arguments: dict[str, object], text: str) -> None:
    """What cannot be is named, and nothing is watched."""
    with pytest.raises(engine.EngineError, match=text):
        engine.watch_begin(**arguments)  # type: ignore[arg-type]
    with pytest.raises(engine.EngineError, match="Nobody watches"):
        engine.watch_read()


def test_one_at_a_time(director: Director) -> None:
    """A second watch is refused, and the first goes on."""
    director.service()
    with watching() as watch:
        with pytest.raises(engine.EngineError, match="watched already"):
            engine.watch_begin()
        director.send(inbound(tcp("S")))
        assert watch.passed().verdict == "send"


def test_the_same_leaves_watched_or_not(director: Director) -> None:
    """Not a byte of what leaves differs."""
    director.service()
    first = opened(director)
    frames = [inbound(tcp("PA", data=b"x" * n)) for n in range(40)] + [outbound(first, tcp("A")), arp(VIP)]
    before = director.turn(frames)
    with watching(leaving=True):
        assert director.turn(frames) == before
    assert first[TCP].flags == "S"
