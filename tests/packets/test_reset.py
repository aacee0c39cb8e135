"""Servers taken away with the wish to reset both ends of their connections: B26."""

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from fastpath import engine
from tests.packets.director import Director, Sent
from tests.packets.frames import (
    CLIENT,
    CLIENT_MAC,
    DIRECTOR_MAC,
    LOCAL,
    OTHER_SERVER,
    SERVER,
    VIP,
    inbound,
    outbound,
    server_mac,
    tcp,
    udp,
)

C, S = 1000, 5000
"""First sequence numbers of client and server."""
BUFFERS = 512


class Conversation:
    """One connection with sequence numbers as real ends have them. to_server: its SYN as the server got it."""

    def __init__(self, director: Director, sport: int = 1000) -> None:
        self.director, self.sport = director, sport
        self.to_server = director.send(self.client("S", C)).one()

    def client(self, flags: str, seq: int = C + 1, ack: int = 0, data: bytes = b"", **ip: object) -> bytes:
        return inbound(tcp(flags, sport=self.sport, seq=seq, ack=ack, data=data), **ip)

    def server(self, flags: str, seq: int = S + 1, ack: int = 0, data: bytes = b"", **ip: object) -> bytes:
        return outbound(self.to_server, tcp(flags, seq=seq, ack=ack, data=data), **ip)

    def frame(self, step: str) -> bytes:
        return {
            "SYN-ACK": self.server("SA", S, C + 1),
            "ACK": self.client("A", C + 1, S + 1),
            "client's FIN": self.client("FA", C + 1, S + 1),
            "server's FIN": self.server("FA", S + 1, C + 1),
            "server's FIN, acknowledging the client's": self.server("FA", S + 1, C + 2),
            "last ACK": self.client("A", C + 2, S + 2),
            "client's RST": self.client("R", C + 1),
            "server's RST": self.server("RA", S + 1, C + 1),
        }[step]

    def play(self, *steps: str) -> None:
        for step in steps:
            self.director.send(self.frame(step)).one()

    def open(self) -> "Conversation":
        self.play("SYN-ACK", "ACK")
        return self


def take_away(director: Director) -> None:
    """Its server, with that wish; another one stays."""
    director.service([OTHER_SERVER], first=1, reset=[0])


def told(sent: Sent) -> dict[str, int]:
    """Who got a RST with which sequence number; every other field must be right (the checksums are, or send()
    fails)."""
    heard = {}
    for packet in sent.to_network:
        ip, segment = packet[IP], packet[TCP]
        who = "server" if ip.dst == SERVER else "client"
        assert who not in heard
        assert (ip.ihl, ip.len, ip.id, ip.flags, ip.ttl, ip.tos, ip.options) == (5, 40, 0, "DF", 64, 0, [])
        assert (segment.flags, segment.ack, segment.window, segment.dataofs) == ("R", 0, 0, 5)
        assert len(bytes(packet)) == 54
        heard[who] = segment.seq
    return heard


STATES = {
    "SYN_RECV": (["SYN-ACK"], {"server": C + 1}),
    "ESTABLISHED": (["SYN-ACK", "ACK"], {"server": C + 1, "client": S + 1}),
    "FIN_WAIT": (["SYN-ACK", "ACK", "client's FIN"], {"server": C + 1, "client": S + 1}),
    "CLOSE_WAIT": (["SYN-ACK", "ACK", "server's FIN"], {"server": C + 1, "client": S + 1}),
    "CLOSE": (["SYN-ACK", "ACK", "client's RST"], {"server": C + 1, "client": S + 1}),
}


@pytest.mark.parametrize("state", STATES)
def test_every_state(director: Director, state: str) -> None:
    """B26: each end is told with exactly the sequence number that it expects next (RFC 5961), through its own next hop;
    the entry stays for the short timeout, and then its server's id is free."""
    steps, expected = STATES[state]
    director.service()
    Conversation(director).play(*steps)
    assert director.states() == [state]
    director.wait(5)
    take_away(director)
    n, sent = director.sweep()
    assert (n, told(sent)) == (1, expected)
    (row,) = director.connections()
    assert (row.state, row.timeout, row.idle) == ("RESET", 10, 0)
    assert engine.worker_counters()[0].half_open == 0
    director.wait(9.999)
    assert director.in_use() == 1
    director.wait(2.1)
    assert director.in_use() == 0
    assert not engine.server_busy(0)


def test_who_has_closed_is_left_in_peace(director: Director) -> None:
    """B26: both ends are done with it; a RST into TIME_WAIT does harm (RFC 1337)."""
    director.service()
    closing = ("SYN-ACK", "ACK", "client's FIN", "server's FIN, acknowledging the client's", "last ACK")
    Conversation(director).play(*closing)
    assert director.states() == ["TIME_WAIT"]
    take_away(director)
    _, sent = director.sweep()
    assert (told(sent), director.in_use()) == ({}, 0)
    assert not engine.server_busy(0)


def test_addresses(director: Director) -> None:
    """B26: the server hears it from L, the client from V, each at its MAC address and port."""
    director.service()
    conversation = Conversation(director).open()
    take_away(director)
    by = {p[IP].dst: p for p in director.sweep()[1].to_network}
    to_server, to_client = by[SERVER], by[CLIENT]
    assert (to_server.src, to_server.dst) == (DIRECTOR_MAC, server_mac(SERVER))
    assert (to_server[IP].src, to_server[TCP].sport) == (LOCAL, conversation.to_server[TCP].sport)
    assert to_server[TCP].dport == 80
    assert (to_client.src, to_client.dst) == (DIRECTOR_MAC, CLIENT_MAC)
    assert (to_client[IP].src, to_client[TCP].sport, to_client[TCP].dport) == (VIP, 80, 1000)


def test_two_ports(director: Director) -> None:
    """B26: servers behind the second port are told there."""
    director.locals("10.0.3.1", port=1)
    director.service(hops={SERVER: (1, server_mac(SERVER))})
    conversation = Conversation(director)
    for raw in (conversation.server("SA", S, C + 1), conversation.client("A", C + 1, S + 1)):
        inside = bytes.fromhex("020000000002") + raw[6:]
        director.send((1, inside) if Ether(raw)[IP].src == SERVER else raw)
    take_away(director)
    sent = director.sweep()[1]
    assert {(port, p.src, p[IP].dst) for port, p in zip(sent.ports, sent.to_network, strict=True)} == {
        (0, DIRECTOR_MAC, CLIENT),
        (1, "02:00:00:00:00:02", SERVER),
    }


def test_acknowledgements_are_followed(director: Director) -> None:
    """B26: what counts is what each end acknowledged last; packets without an acknowledgement change nothing."""
    director.service()
    conversation = Conversation(director).open()
    director.send(
        conversation.client("PA", C + 1, S + 1, b"x" * 100),
        conversation.server("PA", S + 1, C + 101, b"y" * 300),
        conversation.client("A", C + 101, S + 301),
        conversation.client("S", C, 77),
        conversation.server("S", S, 77),
        conversation.client("", C + 101, 88),
        conversation.client("F", C + 101, 99),
        conversation.server("P", S + 301, 99),
    )
    take_away(director)
    assert told(director.sweep()[1]) == {"server": C + 101, "client": S + 301}


@pytest.mark.parametrize("ack", [0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x12345678])
def test_every_byte_of_an_acknowledgement(director: Director, ack: int) -> None:
    """B26: sequence numbers are 32 bits that wrap."""
    director.service()
    conversation = Conversation(director).open()
    director.send(conversation.server("A", ack=ack), conversation.client("A", ack=ack ^ 0x01020304))
    take_away(director)
    assert told(director.sweep()[1]) == {"server": ack, "client": ack ^ 0x01020304}


LATE = {
    "an acknowledgement": {"flags": "A"},
    "a challenge ACK": {"flags": "A", "seq": 99},
    "data": {"flags": "PA", "data": b"x" * 1400},
    "one byte of data": {"flags": "A", "data": b"x"},
    "a FIN": {"flags": "FA"},
    "urgent data": {"flags": "UA", "data": b"!"},
    "IPv4 options": {"flags": "A", "options": b"\1" * 8},
    "DSCP and ECN": {"flags": "A", "tos": 0xFF},
    "a TTL that ran out": {"flags": "A", "ttl": 1},
}


@pytest.mark.parametrize("who", ["client", "server"])
@pytest.mark.parametrize("late", LATE.values(), ids=LATE)
def test_what_ends_still_send(director: Director, who: str, late: dict[str, object]) -> None:
    """B26: whatever an end sends after the reset is answered by a RST that it must believe: SEQ is its own ACK
    (RFC 9293 3.10.7.1); the packet is dropped under connection_reset, for its service and direction too."""
    director.service()
    conversation = Conversation(director).open()
    take_away(director)
    director.sweep()
    before = engine.service_counters(0)
    raw = getattr(conversation, who)(ack=0xDEADBEEF, **late)
    sent = director.send(raw, drops={"connection_reset": 1}, errors=1)
    assert told(sent) == {who: 0xDEADBEEF}
    question, answer = Ether(raw), sent.one()
    assert (answer[IP].src, answer[IP].dst) == (question[IP].dst, question[IP].src)
    assert (answer[TCP].sport, answer[TCP].dport) == (question[TCP].dport, question[TCP].sport)
    assert (answer.src, answer.dst) == (question.dst, question.src)
    counted = [now - then for now, then in zip(engine.service_counters(0), before, strict=True)]
    assert counted == ([1, len(raw), 0, 0] if who == "client" else [0, 0, 1, len(raw)])


def test_padding_of_a_late_packet(director: Director) -> None:
    """B6, B26: a short frame filled up to 60 bytes is answered like any other."""
    director.service()
    conversation = Conversation(director).open()
    take_away(director)
    director.sweep()
    assert told(director.send(conversation.client("A", ack=5) + bytes(6), drops={"connection_reset": 1}, errors=1)) == {
        "client": 5
    }


@pytest.mark.parametrize("who", ["client", "server"])
@pytest.mark.parametrize("flags", ["R", "RA", "", "P", "F"])
def test_what_is_not_answered(director: Director, who: str, flags: str) -> None:
    """B26: a RST is never answered, nor a packet without the ACK that every synchronized end sends: dropped all the
    same."""
    director.service()
    conversation = Conversation(director).open()
    take_away(director)
    director.sweep()
    director.send(getattr(conversation, who)(flags, ack=1), drops={"connection_reset": 1})


def test_late_packets_keep_nothing_alive(director: Director) -> None:
    """B26, B17: an end that does not stop sending is answered for the short timeout and no longer."""
    director.service()
    conversation = Conversation(director).open()
    take_away(director)
    director.sweep()
    for _ in range(9):
        director.later(1)
        director.send(conversation.client("A", ack=1), drops={"connection_reset": 1}, errors=1)
    director.wait(3.1)
    assert director.in_use() == 0


def test_reopen(director: Director) -> None:
    """B16, B26: a SYN of the client opens a new connection at once, at another server, also in one burst with what
    the old one still sends."""
    director.service()
    conversation = Conversation(director).open()
    take_away(director)
    director.sweep()
    late = conversation.client("A", ack=7)
    burst = [late, conversation.client("S", C + 90000), conversation.client("A", ack=8)]
    old, new, *rest = director.send(*burst, drops={"connection_reset": 1}, errors=1).to_network
    assert (old[TCP].flags, old[TCP].seq) == ("R", 7)
    assert (new[TCP].flags, new[IP].dst) == ("S", OTHER_SERVER)
    assert [p[IP].dst for p in rest] == [OTHER_SERVER]
    assert director.states() == ["SYN_SENT"]
    director.send(conversation.server("A", ack=1), drops={"no_connection": 1})


def test_a_syn_sent_again_in_the_middle_of_the_handshake(director: Director) -> None:
    """B16, B26: the client whose SYN-ACK was lost does not wait: its second SYN goes to another server."""
    director.service()
    conversation = Conversation(director)
    conversation.play("SYN-ACK")
    take_away(director)
    director.sweep()
    assert director.send(conversation.client("S", C)).one()[IP].dst == OTHER_SERVER


def test_the_last_packet_of_a_handshake(director: Director) -> None:
    """B26: a client that has the SYN-ACK, and whose ACK is on its way when the server goes, is told by it."""
    director.service()
    conversation = Conversation(director)
    conversation.play("SYN-ACK")
    take_away(director)
    assert told(director.sweep()[1]) == {"server": C + 1}
    sent = director.send(conversation.frame("ACK"), drops={"connection_reset": 1}, errors=1)
    assert told(sent) == {"client": S + 1}


def test_before_the_server_answered(director: Director) -> None:
    """B26: a SYN without an answer is forgotten: nobody has anything to reset; the next one finds another server."""
    director.service()
    conversation = Conversation(director)
    take_away(director)
    n, sent = director.sweep()
    assert (n, sent.to_network, director.in_use(), engine.server_busy(0)) == (1, [], 0, False)
    assert director.send(conversation.client("S", C)).one()[IP].dst == OTHER_SERVER


def test_udp(director: Director) -> None:
    """B26: UDP has no reset: the connection is gone at once, the next packet goes to another server."""
    director.service([SERVER], engine.UDP)
    director.send(inbound(udp()))
    director.service([OTHER_SERVER], engine.UDP, first=1, reset=[0])
    n, sent = director.sweep()
    assert (n, sent.to_network, director.in_use(), engine.server_busy(0)) == (1, [], 0, False)
    assert director.send(inbound(udp())).one()[IP].dst == OTHER_SERVER


def test_only_those_servers(director: Director) -> None:
    """B26: connections of servers that stay, and of those removed without that wish, feel nothing; who was reset is not
    reset again."""
    third = "1.1.1.5"
    director.service([SERVER, OTHER_SERVER, third])
    conversations = [Conversation(director, sport).open() for sport in (1, 2, 3)]
    director.service([third], first=2, reset=[0])
    assert director.sweep()[0] == 1
    assert sorted(director.states()) == ["ESTABLISHED", "ESTABLISHED", "RESET"]
    for conversation in conversations:
        if conversation.to_server[IP].dst != SERVER:
            director.send(conversation.client("A", ack=S + 1)).one()
    assert director.sweep() == (0, Sent([], [], []))


def test_a_service_that_goes(director: Director) -> None:
    """B26: a service removed as a whole, with that wish for its servers: the same; new SYNs are the kernel's."""
    director.service()
    conversation = Conversation(director).open()
    director.remove(0, reset=[0])
    assert told(director.sweep()[1]) == {"server": C + 1, "client": S + 1}
    syn = conversation.client("S", C)
    assert director.send(syn).to_kernel == [syn]


def test_a_server_without_a_next_hop(director: Director) -> None:
    """B26: a server that is out of reach cannot be told; the client is."""
    director.service()
    Conversation(director).open()
    engine.set_next_hop(0, 0, None)
    take_away(director)
    assert told(director.sweep()[1]) == {"client": S + 1}


def test_without_a_packet_buffer(director: Director) -> None:
    """B22, B26: no buffer for a RST: counted as no_mbuf; the connection is reset all the same, and its ends hear of
    it when they send."""
    director.service()
    conversation = Conversation(director).open()
    take_away(director)
    director.turn()
    filler = bytes(60)
    dropped = engine.drops()["no_mbuf"]
    held = engine.send(0, 1, [filler] * (BUFFERS + 10)).result()  # the other end of the ring does not take them yet
    assert 0 < held < BUFFERS + 10
    assert engine.drops()["no_mbuf"] == dropped + BUFFERS + 10 - held
    assert engine.sweep(0).result() == 1
    assert engine.drops()["no_mbuf"] == dropped + BUFFERS + 10 - held + 2
    assert engine.run_once([], now=director.seconds()) == [(1, filler)] * held
    assert director.states() == ["RESET"]
    sent = director.send(conversation.server("A", ack=9), drops={"connection_reset": 1}, errors=1)
    assert told(sent) == {"server": 9}


def test_hundreds(director: Director) -> None:
    """B26: every connection of the server, and every end of it, is told."""
    director.service()
    for sport in range(1, 201):
        Conversation(director, sport).open()
    take_away(director)
    n, sent = director.sweep()
    assert n == 200
    assert len({(p[IP].dst, p[TCP].sport, p[TCP].dport) for p in sent.to_network}) == 400


@pytest.mark.parametrize("reset", [[1], [0, 7], ["0"]])
def test_only_servers_that_leave(director: Director, reset: list[int]) -> None:
    """B28: a wish to reset a server that stays, or that is none, refuses the whole change."""
    director.service([SERVER, OTHER_SERVER])
    with pytest.raises(engine.EngineError, match="reset"):
        director.service([OTHER_SERVER], first=1, reset=reset)
    assert {p[IP].dst for p in (Conversation(director, sport).to_server for sport in (1, 2))} == {SERVER, OTHER_SERVER}


def test_a_server_that_comes_back(director: Director) -> None:
    """B11, B26: under its id, before the sweep, it keeps its connections."""
    director.service()
    conversation = Conversation(director).open()
    take_away(director)
    director.service([SERVER])
    assert director.sweep()[0] == 0
    packet: Packet = director.send(conversation.client("A", ack=S + 1)).one()
    assert packet[IP].dst == SERVER
