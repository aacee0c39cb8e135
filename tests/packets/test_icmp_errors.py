"""ICMP errors about packets of connections go on, translated: B31, B32, B34."""

import pytest
from scapy.compat import raw
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPerror, TCPerror, UDPerror
from scapy.packet import Packet, Raw

from fastpath import engine
from tests.packets.director import Director
from tests.packets.frames import (
    CLIENT,
    CLIENT_MAC,
    DIRECTOR,
    LOCAL,
    SERVER,
    VIP,
    frame,
    inbound,
    outbound,
    server_mac,
    tcp,
    udp,
)

ROUTER = "9.9.9.9"
ERRORS = [
    *[(3, code) for code in (0, 1, 2, 3, 4, 5, 9, 10, 13)],
    (11, 0),
    (11, 1),
    (12, 0),
]
"""Types and codes of RFC 792, RFC 1812."""


class Talk:
    """One connection in mid-life: what went to the server, and what came to the client."""

    def __init__(self, director: Director, protocol: int) -> None:
        self.director = director
        self.tcp = protocol == engine.TCP
        director.service(protocol=protocol)
        self.request = inbound(self.l4("S", sport=1234, seq=1000))
        self.to_server = director.send(self.request).one()
        self.reply = outbound(self.to_server, self.l4("SA", seq=2000, ack=1001, data=b"answer"))
        self.to_client = director.send(self.reply).one()
        self.to_router = raw(self.to_server[IP])
        """The packet as a router behind the director has it."""

    def l4(self, flags: str, data: bytes = b"some data", seq: int = 0, ack: int = 0, **fields: int) -> Packet:
        if self.tcp:
            return tcp(flags, data=data, seq=seq, ack=ack, window=77, options=[("MSS", 1400)], **fields)
        return udp(data=data, **fields)


@pytest.fixture(params=[engine.TCP, engine.UDP], ids=["tcp", "udp"])
def talk(director: Director, request: pytest.FixtureRequest) -> Talk:
    return Talk(director, request.param)


def error(
    quoted: bytes, dst: str, src: str = ROUTER, type: int = 3, code: int = 1, ttl: int = 60, **fields: int
) -> bytes:
    return frame(IP(src=src, dst=dst, ttl=ttl), ICMP(type=type, code=code, **fields), Raw(quoted))


def ports_of(l4: Packet) -> tuple[int, int]:
    return l4.sport, l4.dport


@pytest.mark.parametrize(("type", "code"), ERRORS)
@pytest.mark.parametrize("src", [SERVER, ROUTER])
def test_from_the_servers_side(talk: Talk, type: int, code: int, src: str) -> None:
    """B31: an error that quotes L->R goes to C, from V, and quotes C->V as the client sent it, all checksums right."""
    quoted = talk.to_router
    packet = talk.director.send(error(quoted, LOCAL, src, type, code)).one()
    assert (packet.dst, packet[IP].src, packet[IP].dst, packet[IP].ttl) == (CLIENT_MAC, VIP, CLIENT, 59)
    assert (packet[ICMP].type, packet[ICMP].code) == (type, code)
    inner = raw(packet[ICMP])[8:]
    original = bytearray(talk.request[14:])
    original[8:12] = inner[8:12]  # TTL and with it the header's checksum are the router's
    assert inner == bytes(original)
    assert packet[IPerror].chksum == IP(raw(IP(src=CLIENT, dst=VIP, ttl=63) / IP(inner).payload)).chksum


@pytest.mark.parametrize(("type", "code"), ERRORS)
def test_from_the_clients_side(talk: Talk, type: int, code: int) -> None:
    """B32: an error that quotes V->C goes to R, from L, and quotes R->L as the server sent it, all checksums right."""
    packet = talk.director.send(error(raw(talk.to_client[IP]), VIP, CLIENT, type, code)).one()
    assert (packet.dst, packet[IP].src, packet[IP].dst) == (server_mac(SERVER), LOCAL, SERVER)
    assert (packet[ICMP].type, packet[ICMP].code) == (type, code)
    inner = raw(packet[ICMP])[8:]
    original = bytearray(talk.reply[14:])
    original[8:12] = inner[8:12]
    assert inner == bytes(original)


@pytest.mark.parametrize("size", [28, 29, 36, 37, 38, 40, 45, 60])
def test_part_of_the_packet_is_enough(talk: Talk, size: int) -> None:
    """B31, B32: eight bytes of the quoted L4 header are enough; a checksum that is quoted in part stays as it is."""
    for quoted, dst, original in (
        (talk.to_router, LOCAL, talk.request[14:]),
        (raw(talk.to_client[IP]), VIP, talk.reply[14:]),
    ):
        part = quoted[:size]
        packet = talk.director.send(error(part, dst)).one()
        inner = raw(packet[ICMP])[8:]
        assert len(inner) == len(part)
        whole = 20 + (18 if talk.tcp else 8)
        upto = len(part) if len(part) >= whole else min(len(part), whole - 2)
        assert inner[12:upto] == original[12:upto]
        assert inner[upto:] == part[upto:]


def test_what_needs_fragmentation_keeps_its_mtu(talk: Talk) -> None:
    """B31: the MTU of the next hop that a router tells reaches the client (RFC 1191)."""
    packet = talk.director.send(error(talk.to_router, LOCAL, code=4, nexthopmtu=1300)).one()
    assert packet[ICMP].nexthopmtu == 1300


@pytest.mark.parametrize("dst", [LOCAL, VIP])
def test_extensions_survive(talk: Talk, dst: str) -> None:
    """B32: what follows the quoted packet by RFC 4884 is byte for byte the same, and so is its padding."""
    quoted = (talk.to_router if dst == LOCAL else raw(talk.to_client[IP])).ljust(128, b"\0")
    extension = bytes.fromhex("2000dfff") + bytes.fromhex("00080101") + b"\x12\x34\x56\x78"
    packet = talk.director.send(error(quoted + extension, dst, type=11, code=0, length=32)).one()
    inner = raw(packet[ICMP])[8:]
    assert (inner[128:], packet[ICMP].length) == (extension, 32)
    assert inner[68:128] == quoted[68:128]


def test_a_quote_that_ends_before_its_checksum(director: Director) -> None:
    """B32: an extension right behind eight quoted words is not taken for the quoted packet's checksum."""
    talk = Talk(director, engine.TCP)
    quoted = talk.to_router[:32]
    extension = b"\x20\x00\x00\x00" + bytes(range(100, 124))
    ((_, left),) = director.turn([error(quoted + extension, LOCAL, type=11, code=0, length=8)])
    assert left[14 + 20 + 8 + 32 :] == extension


def test_udp_without_checksum(director: Director) -> None:
    """B3, B31: a quoted UDP checksum of 0 stays 0."""
    director.service(protocol=engine.UDP)
    sent = director.send(inbound(udp(chksum=0))).one()
    packet = director.send(error(raw(sent[IP]), LOCAL)).one()
    assert packet[UDPerror].chksum == 0


@pytest.mark.parametrize("options", [4, 40])
def test_a_quoted_header_with_options(director: Director, options: int) -> None:
    """B7, B31: the quoted L4 header is found where the quoted IHL says it is."""
    director.service()
    sent = director.send(inbound(tcp("S", sport=4321), options=[bytes(options)])).one()
    assert sent[IP].ihl == 5 + options // 4
    packet = director.send(error(raw(sent[IP])[: 20 + options + 8], LOCAL)).one()
    assert (packet[IPerror].src, packet[IPerror].dst, ports_of(packet[TCPerror])) == (CLIENT, VIP, (4321, 80))


UNKNOWN = {
    "another local port": lambda t: error(raw(IP(src=LOCAL, dst=SERVER) / tcp(sport=1, dport=80)), LOCAL),
    "another client": lambda t: error(raw(IP(src=VIP, dst="1.1.1.77") / tcp(sport=80, dport=1234)), VIP),
    "the other protocol": lambda t: error(
        t.to_router[:9] + bytes([23 - t.to_server[IP].proto]) + t.to_router[10:], LOCAL
    ),
    "what the client sent, at the VIP": lambda t: error(t.request[14:], VIP),
    "its own connection, sent elsewhere": lambda t: error(t.to_router, VIP),
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_about_no_connection(talk: Talk, case: str) -> None:
    """B34: an error about no living connection, or to another address than it was sent from, is dropped."""
    talk.director.send(UNKNOWN[case](talk), drops={"icmp_no_connection": 1})


def test_about_a_connection_that_is_gone(talk: Talk) -> None:
    """B34: the same once the connection has expired."""
    talk.director.wait(8000)
    talk.director.send(error(talk.to_router, LOCAL), drops={"icmp_no_connection": 1})


def test_a_wrong_checksum(talk: Talk) -> None:
    """B34: an error whose own checksum is wrong is not made right."""
    for dst, quoted in ((LOCAL, talk.to_router), (VIP, raw(talk.to_client[IP]))):
        bad = bytearray(error(quoted, dst))
        bad[-1] ^= 1
        talk.director.send(bytes(bad), drops={"icmp_bad_checksum": 1})


@pytest.mark.parametrize("ttl", [0, 1])
def test_an_error_is_not_answered(talk: Talk, ttl: int) -> None:
    """B34: an error whose TTL runs out here is dropped in silence."""
    engine.set_policy(refuse=True, reset_unknown=True)
    talk.director.send(error(talk.to_router, LOCAL, ttl=ttl), drops={"ttl_exceeded": 1})
    talk.director.send(error(raw(talk.to_client[IP]), VIP, ttl=ttl), drops={"ttl_exceeded": 1})
    talk.director.send(error(raw(IP(src=VIP, dst=CLIENT) / tcp(sport=81)), VIP), drops={"icmp_no_connection": 1})
    engine.set_policy(refuse=False)


@pytest.mark.parametrize("src", ["127.0.0.1", "0.0.0.0", "224.0.0.5", VIP, LOCAL])
def test_a_forged_source(talk: Talk, src: str) -> None:
    """B10, B34: an error from an address that no router has is dropped."""
    talk.director.send(error(talk.to_router, LOCAL, src), drops={"spoofed_source": 1})


def test_nothing_is_learnt(talk: Talk) -> None:
    """B34: an error refreshes no timer, changes no state, and moves no client."""
    before = talk.director.connections(engine.TCP if talk.tcp else engine.UDP)
    talk.director.later(100)
    moved = frame(IP(src=CLIENT, dst=VIP), ICMP(type=3, code=1), Raw(raw(talk.to_client[IP])), src="02:00:00:00:07:07")
    talk.director.send(error(talk.to_router, LOCAL), moved)
    (after,) = talk.director.connections(engine.TCP if talk.tcp else engine.UDP)
    assert after == before[0]._replace(idle=100.0)
    assert talk.director.send(talk.reply).one().dst == CLIENT_MAC
    assert engine.server_counters(0).active == 1


def test_relayed_errors_are_counted(talk: Talk) -> None:
    """Errors that went on are counted beside what the director says itself."""
    before = engine.own_messages()
    talk.director.send(error(talk.to_router, LOCAL))
    assert engine.own_messages() == before._replace(icmp_relayed=before.icmp_relayed + 1)


def test_a_server_without_a_next_hop(talk: Talk) -> None:
    """B32, B40: an error for a server whose MAC address is not known does not wait for it."""
    quoted = raw(talk.to_client[IP])
    engine.set_next_hop(0, 0, None)
    talk.director.send(error(quoted, VIP, CLIENT), drops={"next_hop_unresolved": 1})


def test_through_the_other_device(director: Director) -> None:
    """B31, B32: with two arms an error leaves by the port of the end that it goes to."""
    director.locals(LOCAL, port=1)
    director.locals()
    director.service(hops={SERVER: (1, server_mac(SERVER))})
    sent = director.send(inbound(tcp("S")))
    assert sent.ports == [1]
    mac = "02:00:00:00:00:02"
    back = director.send((1, frame(IP(src=ROUTER, dst=LOCAL), ICMP(type=3), Raw(raw(sent.one()[IP])), dst=mac)))
    assert (back.ports, back.one()[IP].dst) == ([0], CLIENT)
    answer = outbound(sent.one(), tcp("SA"))
    reply = director.send((1, answer)).one()
    assert director.send(error(raw(reply[IP]), VIP, CLIENT)).ports == [1]


@pytest.mark.parametrize("padding", [0, 1, 18])
def test_padding_is_not_quoted(director: Director, padding: int) -> None:
    """B6, B31: what fills the frame up behind the error is no part of it."""
    director.service(protocol=engine.UDP)
    sent = director.send(inbound(udp())).one()
    packet = director.send(error(raw(sent[IP])[:28], LOCAL) + bytes(padding)).one()
    assert len(packet) == 14 + 20 + 8 + 28


def test_errors_about_the_director_are_the_kernels(director: Director) -> None:
    """B9: an error for the director's own address goes to the kernel, whatever it quotes."""
    director.service()
    sent = director.send(inbound(tcp("S"))).one()
    about = error(raw(sent[IP]), DIRECTOR)
    assert director.send(about).to_kernel == [about]
    assert UDP not in sent
    assert TCP in sent
