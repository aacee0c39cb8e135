"""Local ports that are used again while the server may still be in TIME_WAIT: B38, B43, and B16's memory."""

from collections.abc import Callable

import pytest
from scapy.layers.inet import ICMP, IP, TCP, TCPerror
from scapy.packet import Packet, Raw
from scapy.utils import checksum

from fastpath import engine
from tests.packets.bulk import packets, through
from tests.packets.director import Director
from tests.packets.frames import CLIENT, LOCAL, OTHER_SERVER, SERVER, frame, inbound, outbound, tcp

CONNECTIONS = 4 * 64512
PORTS = 64512
MARGIN = 65537
"""From what the server acknowledged last to the next connection's first number."""
S = 7_000_000
"""The servers' first sequence number."""
U32 = 2**32
Stamps = tuple[int, int] | None
"""TSval and TSecr of a packet."""


def newer(stamp: int) -> int:
    """What a SYN says after the server saw this timestamp."""
    return ((stamp >> 16) + 1 << 16) % U32


class Conversation:
    """One connection with numbers as real ends have them; isn: the client's. sent: its SYN, as the server got it."""

    def __init__(self, director: Director, sport: int, isn: int, stamps: Stamps = None) -> None:
        self.director, self.sport, self.isn = director, sport, isn
        self.sent = director.send(self.client("S", 0, 0, stamps)).one()

    @property
    def port(self) -> int:
        return self.sent[TCP].sport

    def client(self, flags: str, seq: int = 1, ack: int = S + 1, stamps: Stamps = None, **fields: object) -> bytes:
        """seq: counted from its ISN."""
        fields.setdefault("options", [("Timestamp", stamps)] if stamps else [])
        return inbound(tcp(flags, sport=self.sport, seq=(self.isn + seq) % U32, ack=ack, **fields))

    def server(self, flags: str, ack: int, seq: int = S + 1, **fields: object) -> bytes:
        """ack: as the server itself counts."""
        return outbound(self.sent, tcp(flags, seq=seq, ack=ack % U32, **fields))

    def play(self, *frames: bytes) -> list[Packet]:
        return [self.director.send(raw).one() for raw in frames]

    def open(self) -> "Conversation":
        first = self.sent[TCP].seq
        self.play(self.server("SA", first + 1, S), self.client("A"))
        return self

    def close(self, stamp: int | None = None) -> "Conversation":
        """The server first, the client's FIN with this timestamp; the server is in TIME_WAIT."""
        first = self.sent[TCP].seq
        stamps = None if stamp is None else (stamp, 1)
        self.play(self.server("FA", first + 1), self.client("FA", 1, S + 2, stamps), self.server("A", first + 2, S + 2))
        return self


def fill(director: Director, used: int) -> None:
    """All local ports but the first `used`, by connections that are refused."""
    for at in range(0, PORTS - used, 1024):
        clients = range(at, min(at + 1024, PORTS - used))
        through(director, packets(clients))
        through(director, packets(clients, "R"))


def stamps_of(packet: Packet) -> Stamps:
    return dict(packet[TCP].options).get("Timestamp")


def taken_over(director: Director, isn: int = 5, stamp: int | None = None) -> Conversation:
    """A connection in the place of one whose last number the server acknowledged is 1002, its last timestamp
    0x50123."""
    director.service()
    before = Conversation(director, 1, 1000, (0x50000, 0)).open().close(0x50123)
    fill(director, 1)
    conversation = Conversation(director, 2, isn, None if stamp is None else (stamp, 0))
    assert conversation.port == before.port
    return conversation


EDGES = [0, 1, 0xFFFF, 0x7FFFFFFF, 0x80000000, U32 - MARGIN - 3, U32 - 2, U32 - 1]


def test_beyond_what_the_server_saw(director: Director) -> None:
    """B43: wherever the last numbers and the new client's are: the SYN comes right behind what the server acknowledged,
    and its timestamp above the last."""
    director.service()
    ended = [Conversation(director, sport, edge, (edge, 0)).open().close(edge) for sport, edge in enumerate(EDGES, 1)]
    fill(director, len(EDGES))
    for sport, edge, before in zip(range(101, 200), EDGES, ended, strict=False):
        after = Conversation(director, sport, edge ^ 0x80000000, (edge - 1 & 0xFFFFFFFF, 0)).sent
        assert (after[IP].dst, after[TCP].sport) == (SERVER, before.port)
        assert after[TCP].seq == (edge + 2 + MARGIN) % U32
        assert stamps_of(after) == (newer(edge), 0)
        assert 0 < (newer(edge) - edge) % U32 <= 1 << 16


def test_the_one_before_is_gone(director: Director) -> None:
    """B43: its port is another's now: its late packets belong to nothing, the server's to the new connection; nothing
    is counted twice, and a SYN sent again is the same again."""
    conversation = taken_over(director, stamp=9)
    before = engine.server_counters(0)
    assert (before.active, director.in_use()) == (PORTS, PORTS)
    director.send(inbound(tcp("FA", sport=1)), drops={"no_connection": 1})
    again = director.send(conversation.client("S", 0, 0, (10, 0))).one()
    assert (again[TCP].seq, stamps_of(again)) == (conversation.sent[TCP].seq, (newer(0x50123) + 1, 0))
    conversation.open()
    assert engine.server_counters(0).established == 1
    director.wait(300)
    assert [(row.client[1], row.local[1]) for row in director.connections()] == [(2, conversation.port)]


Layout = Callable[[Stamps, tuple[int, ...]], list[tuple[str | int, object]]]
"""The options of a packet, from its timestamps and SACK blocks."""

NOP = ("NOP", None)
LAYOUTS: dict[str, Layout] = {
    "Linux's": lambda stamps, sack: [NOP, NOP, ("Timestamp", stamps), NOP, NOP, ("SAck", sack)],
    "at odd addresses": lambda stamps, sack: [NOP, ("Timestamp", stamps), ("SAck", sack)],
    "behind one of odd length": lambda stamps, sack: [(254, b"x"), ("SAck", sack), ("Timestamp", stamps)],
    "timestamps alone": lambda stamps, sack: [("Timestamp", stamps)],
    "SACK alone": lambda stamps, sack: [NOP, ("SAck", sack)],
    "none": lambda stamps, sack: [],
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_both_directions(director: Director, layout: Layout) -> None:
    """B38, B43: each end hears its own numbers, whatever carries them: the server of sequence numbers and timestamps
    beyond those before, the client of acknowledgements, SACK blocks and echoes of its own. What counts the server's
    bytes and time is left alone, and so is all else. The checksums are right, or send() fails."""
    isn, stamp = 0xFFFFFFF0, 0xFFFFFFFE
    conversation = taken_over(director, isn, stamp).open()
    for data in (b"", b"x", b"xy" * 700):
        to_server(conversation, layout, data, isn, stamp)
        to_client(conversation, layout, data, isn, stamp)


def to_server(conversation: Conversation, layout: Layout, data: bytes, isn: int, stamp: int) -> None:
    offset, later = 1002 + MARGIN - isn, newer(0x50123) - stamp
    sack = (S + 300, S + 400, S + 500, S + 600)
    options = layout((stamp + 1, 77), sack)
    raw = conversation.client("PA", 20, S + 9, options=options, data=data, window=99, urgptr=7)
    (packet,) = conversation.play(raw)
    assert (packet[TCP].seq, packet[TCP].ack) == ((isn + 20 + offset) % U32, S + 9)
    told = dict(packet[TCP].options)
    assert told.get("Timestamp", (stamp + 1 + later, 77)) == ((stamp + 1 + later) % U32, 77)
    assert told.get("SAck", sack) == sack
    assert (packet[TCP].window, packet[TCP].urgptr, bytes(packet[TCP].payload)) == (99, 7, data)


def to_client(conversation: Conversation, layout: Layout, data: bytes, isn: int, stamp: int) -> None:
    sack = tuple((1002 + MARGIN + n) % U32 for n in (30, 40, 50, 60))
    options = layout((4242, newer(0x50123) + 5), sack)
    raw = conversation.server("PA", 1002 + MARGIN + 20, S + 9, options=options, data=data, window=99)
    (packet,) = conversation.play(raw)
    assert (packet[TCP].seq, packet[TCP].ack) == (S + 9, (isn + 20) % U32)
    told = dict(packet[TCP].options)
    stamps, sack = (4242, (stamp + 5) % U32), tuple((isn + n) % U32 for n in (30, 40, 50, 60))
    assert told.get("Timestamp", stamps) == stamps
    assert told.get("SAck", sack) == sack
    assert (packet[TCP].window, bytes(packet[TCP].payload)) == (99, data)


def test_refusals_and_resets(director: Director) -> None:
    """B15, B43: RSTs of both ends are translated like everything else; an acknowledgement without its flag is none."""
    conversation = taken_over(director)
    first = conversation.sent[TCP].seq
    (packet,) = conversation.play(conversation.server("RA", first + 1, 0))
    assert (packet[TCP].seq, packet[TCP].ack) == (0, 6)
    (packet,) = conversation.play(conversation.server("R", 0, 44, options=[("Timestamp", (1, 2))]))
    assert (packet[TCP].seq, packet[TCP].ack, stamps_of(packet)) == (44, 0, (1, 2))
    (packet,) = conversation.play(conversation.client("R", 1, 0))
    assert (packet[TCP].seq, packet[TCP].ack) == (first + 1, 0)


@pytest.mark.parametrize(("seq", "state"), [(1, "CLOSE"), (0, "ESTABLISHED")])
def test_reset_within_the_window(director: Director, seq: int, state: str) -> None:
    """B15, B43: a client's RST is judged by what the server expects, in the server's numbers."""
    conversation = taken_over(director).open()
    director.wait(13)  # the others are gone
    conversation.play(conversation.client("R", seq, 0))
    assert director.states() == [state]


def test_a_server_that_is_taken_away(director: Director) -> None:
    """B26, B43: each end is reset with the number that it expects, in its own numbers; so is an answer to what it says
    then."""
    conversation = taken_over(director).open()
    first = conversation.sent[TCP].seq
    conversation.play(conversation.client("PA", data=b"abc"), conversation.server("A", first + 4))
    director.wait(13)  # the others are gone
    director.service([OTHER_SERVER], first=1, reset=[0])
    told = {packet[IP].dst: packet[TCP].seq for packet in director.sweep()[1].to_network}
    assert (told[SERVER], told[CLIENT]) == (first + 4, S + 1)
    (answer,) = director.send(conversation.server("A", first + 4), drops={"connection_reset": 1}, errors=1).to_network
    assert answer[TCP].seq == first + 4


def test_icmp_errors(director: Director) -> None:
    """B31, B32, B43: what an ICMP error quotes is what its receiver sent: the client's own number, and the server's
    acknowledgement as it said it. One about a port that is held for the next goes to nobody."""
    conversation = taken_over(director).open()
    first = conversation.sent[TCP].seq
    error = ICMP(type=3, code=1)
    quoted = bytes(conversation.sent[IP])
    (to_client,) = director.send(frame(IP(src=SERVER, dst=LOCAL), error, Raw(quoted))).to_network
    assert (to_client[IP].dst, to_client[TCPerror].seq, to_client[TCPerror].sport) == (CLIENT, 5, 2)
    (answer,) = conversation.play(conversation.server("PA", first + 1, data=b"abc"))
    (to_server,) = director.send(inbound(error / Raw(bytes(answer[IP])))).to_network
    assert (to_server[IP].dst, to_server[TCPerror].seq, to_server[TCPerror].ack) == (SERVER, S + 1, first + 1)
    conversation.close()
    Conversation(director, 2, 7)
    director.send(frame(IP(src=SERVER, dst=LOCAL), error, Raw(quoted)), drops={"icmp_no_connection": 1})


@pytest.mark.parametrize(("last", "new"), [(None, 3), (0x50123, None), (None, None)])
def test_without_timestamps(director: Director, last: int | None, new: int | None) -> None:
    """B43: where either connection has no timestamps, the sequence number has to do, and no timestamp is touched."""
    director.service()
    before = Conversation(director, 1, 1000).open().close(last)
    fill(director, 1)
    after = Conversation(director, 2, 5, None if new is None else (new, 0)).sent
    assert (after[TCP].sport, after[TCP].seq) == (before.port, 1002 + MARGIN)
    assert stamps_of(after) == (None if new is None else (new, 0))


def test_from_one_to_the_next(director: Director) -> None:
    """B43: the numbers of a connection that was translated itself are remembered as the server saw them, also if the
    server never said a word, or had no timestamp from it."""
    conversation = taken_over(director, stamp=1).open().close(2)
    first, stamp = 1002 + MARGIN, newer(0x50123)
    around(director)
    second = Conversation(director, 3, 77, (88, 0))
    assert (second.port, second.sent[TCP].seq) == (conversation.port, first + 2 + MARGIN)
    assert stamps_of(second.sent) == (newer(stamp + 1), 0)
    second.play(second.client("R", 1, 0))
    around(director)
    third = Conversation(director, 4, 99)
    assert (third.port, third.sent[TCP].seq) == (conversation.port, first + 2 + 2 * MARGIN)
    third.play(third.client("R", 1, 0))
    around(director)
    fourth = Conversation(director, 5, 99, (5, 0)).sent
    assert fourth[TCP].sport == conversation.port
    assert stamps_of(fourth) == (newer(newer(stamp + 1)), 0)


def around(director: Director) -> None:
    """Every other port is used once more."""
    fill(director, 1)


@pytest.mark.parametrize("closing", ["client first", "both at once", "an acknowledgement behind the FINs"])
def test_whoever_closes(director: Director, closing: str) -> None:
    """B43: the timestamp that counts is the last, on whichever packet after both ends have closed."""
    director.service()
    one = Conversation(director, 1, 1000, (0x50000, 0)).open()
    fin, answer = one.client("FA", stamps=(0x50000, 0)), one.server("FA", 1001)
    last = one.client("A", 2, S + 2, (0x70000, 0))
    one.play(*((fin, answer, last) if closing == "client first" else (answer, fin, last)))
    if closing == "both at once":
        one.play(one.client("A", 2, S + 2, (0x90000, 0)))
    one.play(one.server("A", 1002, S + 2), one.client("A", 2, S + 2), one.client("R", 2, 0))
    fill(director, 1)
    after = Conversation(director, 2, 5, (1, 0)).sent
    assert (after[TCP].seq, stamps_of(after)) == (1002 + MARGIN, (0xA0000 if "both" in closing else 0x80000, 0))


def test_living_connections_are_left_alone(director: Director) -> None:
    """B22, B43: whatever is under way or half closed keeps its port, though it is the longest unused; its packets are
    forwarded as they are."""
    director.service()
    living = [Conversation(director, sport, 1000) for sport in range(1, 6)]
    for conversation in living[1:]:
        conversation.play(conversation.server("SA", 1001, S))
    for conversation in living[2:]:
        conversation.play(conversation.client("A"))
    living[3].play(living[3].client("FA"))
    living[4].play(living[4].server("FA", 1001))
    ended = Conversation(director, 6, 1000).open().close()
    fill(director, 6)
    assert Conversation(director, 7, 1).port == ended.port
    states = {row.client[1]: row.state for row in director.connections() if row.client[1] < 6}
    assert [states[n] for n in range(1, 6)] == ["SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT", "CLOSE_WAIT"]
    for conversation in living:
        (packet,) = conversation.play(conversation.client("A", 3, 4, (5, 6)))
        assert packet[TCP].sport == conversation.port
        assert (packet[TCP].seq, packet[TCP].ack, stamps_of(packet)) == (1003, 4, (5, 6))


def test_a_free_port_is_better(director: Director) -> None:
    """B43: among the next few that are longest unused, one that is free is taken before those in TIME_WAIT, as it is;
    the next connection gets the one behind it."""
    director.service()
    ended = [Conversation(director, sport, 1000).open() for sport in (1, 2, 3)]
    gone = Conversation(director, 4, 1000)
    director.later(239)
    for conversation in ended:
        conversation.close()
    fill(director, 4)
    director.wait(2)
    fresh = Conversation(director, 5, 1, (2, 0)).sent
    assert (fresh[TCP].sport, fresh[TCP].seq, stamps_of(fresh)) == (gone.port, 1, (2, 0))
    assert Conversation(director, 6, 1).port not in {conversation.port for conversation in ended}
    assert len([row for row in director.connections() if row.state == "TIME_WAIT"]) == 3


def test_held_for_the_next(director: Director) -> None:
    """B16, B38, B43: a client that comes again over its own TIME_WAIT gets another port, its numbers as they are; on
    the old one the server's packets belong to nothing, and who gets that next comes behind what the server saw
    there."""
    director.service()
    old = Conversation(director, 1, 1000, (0x50000, 0)).open().close(0x50123)
    new = Conversation(director, 1, 500, (3, 0))
    assert new.port != old.port
    assert (new.sent[TCP].seq, stamps_of(new.sent)) == (500, (3, 0))
    director.send(old.server("A", 1002), drops={"no_connection": 1})
    assert sorted(director.states()) == ["HELD", "SYN_SENT"]
    counters = engine.server_counters(0)
    assert (counters.active, counters.established) == (2, 0)
    new.open()
    fill(director, 2)
    after = Conversation(director, 2, 5, (1, 0)).sent
    assert (after[TCP].sport, after[TCP].seq) == (old.port, 1002 + MARGIN)
    assert stamps_of(after) == (newer(0x50123), 0)
    assert "HELD" not in director.states()


def test_held_no_longer_than_time_wait(director: Director) -> None:
    """B14, B16: what is held for the next expires when it would have, and is no obstacle to a server's removal."""
    director.service()
    Conversation(director, 1, 1000).open().close()
    director.wait(100)
    Conversation(director, 1, 2000).open()
    director.wait(139)
    assert sorted(director.states()) == ["ESTABLISHED", "HELD"]
    director.wait(3)
    assert director.states() == ["ESTABLISHED"]
    Conversation(director, 2, 1000).open().close()
    Conversation(director, 2, 2000)
    director.service([OTHER_SERVER], first=1, reset=[0])
    assert director.sweep()[0] == 3
    assert director.states() == ["RESET"]


def test_one_real_server_behind_two_services(director: Director) -> None:
    """B20, B43: the port belongs to the server's tuple, whichever service had it: each is counted where it belongs."""
    director.service()
    before = Conversation(director, 1, 1000).open().close()
    fill(director, 1)
    director.service([SERVER], id=1, first=1, vip="10.0.1.2")
    sent = director.send(inbound(tcp("S", sport=9, seq=3), dst="10.0.1.2")).one()
    beyond = (
        1002 + MARGIN if sent[TCP].sport == before.port else MARGIN
    )  # a SYN that was refused is acknowledged nowhere
    assert (sent[IP].dst, sent[TCP].seq) == (SERVER, beyond)
    assert [engine.server_counters(n).active for n in (0, 1)] == [PORTS - 1, 1]


def test_cut_options(director: Director) -> None:
    """B8, B43: options that lie about their length, in a SYN and later: the packet goes its way, nothing else is
    touched."""
    director.service()
    Conversation(director, 1, 1000, (0x50000, 0)).open().close(0x50123)
    fill(director, 1)
    for options in (
        b"\x08\x0a\0\0\0\1\0\0",
        b"\x05\x00\1\1",
        b"\1\1\1\x08",
        b"\x08\xff\0\0",
        b"\0\x08\x0a\0" + bytes(8),
    ):
        segment = TCP(sport=2, dport=80, flags="S", seq=5, dataofs=5 + len(options) // 4) / Raw(options + b"payload")
        ((_, raw),) = director.turn([inbound(segment)])  # scapy cannot write again what it reads here
        assert int.from_bytes(raw[38:42], "big") == 1002 + MARGIN
        assert raw[54:] == options + b"payload"
        pseudo = raw[26:34] + (6).to_bytes(2, "big") + (len(raw) - 34).to_bytes(2, "big")
        assert checksum(pseudo + raw[34:]) == 0
