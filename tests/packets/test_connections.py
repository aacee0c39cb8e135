"""One tuple, one connection, one server: B11, B12, B13."""

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.packet import Packet

from fastpath import engine
from tests.packets.director import Director
from tests.packets.frames import LOCAL, OTHER_SERVER, SERVER, VIP, frame, inbound, outbound, server_mac, tcp, udp

THIRD_SERVER = "1.1.1.5"


def way(packet: Packet) -> tuple[str, str, int]:
    """Server, local address and local port that a packet was given."""
    return packet[IP].dst, packet[IP].src, packet[IP].payload.sport


@pytest.mark.parametrize("protocol", [engine.TCP, engine.UDP])
@pytest.mark.parametrize("scheduler", ["rr", "wrr", "ipport", "iponly"])
def test_a_tuple_keeps_its_server(director: Director, protocol: int, scheduler: str) -> None:
    """B11: whatever is added or reweighted meanwhile, all packets of a 5-tuple go to its server from its local port."""

    def packet(sport: int, first: bool) -> bytes:
        l4 = tcp("S" if first else "A", sport=sport) if protocol == engine.TCP else udp(sport=sport)
        return inbound(l4, src=f"1.1.2.{sport % 256}")

    sports = range(2000, 2040)
    director.service([SERVER, OTHER_SERVER], protocol, scheduler)
    ways = [way(p) for p in director.send(*[packet(s, True) for s in sports]).to_network]
    assert {w[0] for w in ways} == {SERVER, OTHER_SERVER}
    for servers in (
        {SERVER: 1, OTHER_SERVER: 1, THIRD_SERVER: 9},
        {SERVER: 100, OTHER_SERVER: 1, THIRD_SERVER: 1},
        {SERVER: 1, OTHER_SERVER: 0, THIRD_SERVER: 1},
        {SERVER: 0, OTHER_SERVER: 0},
    ):
        director.service(servers, protocol, scheduler)
        assert [way(p) for p in director.send(*[packet(s, False) for s in sports]).to_network] == ways


def test_a_change_of_scheduler_keeps_connections(director: Director) -> None:
    """B11: the same for a change of the scheduler in place."""
    director.service([SERVER, OTHER_SERVER], scheduler="rr")
    sports = range(3000, 3020)
    ways = [way(p) for p in director.send(*[inbound(tcp("S", sport=s)) for s in sports]).to_network]
    director.service([SERVER, OTHER_SERVER], scheduler="iponly")
    assert [way(p) for p in director.send(*[inbound(tcp("A", sport=s)) for s in sports]).to_network] == ways


def test_retransmitted_syn(director: Director) -> None:
    """B12: goes to the same server from the same local port, in a burst of its own or in the same one."""
    director.service([SERVER, OTHER_SERVER])
    syn, other = inbound(tcp("S", sport=1)), inbound(tcp("S", sport=2))
    first, twin, stranger = director.send(syn, syn, other).to_network
    assert way(first) == way(twin) != way(stranger)
    assert way(director.send(syn).one()) == way(first)
    director.wait(3)
    assert way(director.send(syn).one()) == way(first)
    assert director.in_use() == 2


def test_retransmitted_syn_ack(director: Director) -> None:
    """B12: passes, before and after the client's ACK, also twice in one burst."""
    director.service()
    to_server = director.send(inbound(tcp("S"))).one()
    answer = outbound(to_server, tcp("SA"))
    assert len(director.send(answer, answer).to_network) == 2
    director.send(inbound(tcp("A")))
    assert len(director.send(answer).to_network) == 1
    assert director.states() == ["ESTABLISHED"]


def test_handshake_and_data_in_one_burst(director: Director) -> None:
    """B12: a SYN, its ACK and data in one burst belong to one connection."""
    director.service([SERVER, OTHER_SERVER])
    ways = [way(p) for p in director.send(*[inbound(tcp(f)) for f in ("S", "A", "PA", "PA")]).to_network]
    assert len(set(ways)) == 1
    assert director.in_use() == 1


def test_first_udp_packets_in_one_burst(director: Director) -> None:
    """B12, B18: so do the first packets of a UDP flow."""
    director.service([SERVER, OTHER_SERVER], engine.UDP)
    assert len({way(p) for p in director.send(*[inbound(udp())] * 5).to_network}) == 1


@pytest.mark.parametrize("flags", ["S", "SA", "A", "R", "F", "FA", ""])
def test_answer_to_a_free_local_port(director: Director, flags: str) -> None:
    """B13: R->L to a port that no connection holds creates nothing and is dropped."""
    director.service()
    stray = frame(IP(src=SERVER, dst=LOCAL), tcp(flags, sport=80, dport=5000), src=server_mac(SERVER))
    director.send(stray, drops={"no_connection": 1})
    assert director.in_use() == 0


@pytest.mark.parametrize("change", ["port", "server", "local port", "protocol"])
def test_answer_that_is_not_quite_the_connections(director: Director, change: str) -> None:
    """B13: one field of R->L away from a living connection is a stranger."""
    director.locals("10.0.2.1", "10.0.2.2")
    director.service()
    sent = director.send(inbound(tcp("S"))).one()
    l4 = tcp("A", sport=81 if change == "port" else 80, dport=sent[TCP].sport ^ (change == "local port"))
    if change == "protocol":
        l4 = UDP(sport=80, dport=sent[TCP].sport)
    source = OTHER_SERVER if change == "server" else SERVER
    director.send(frame(IP(src=source, dst=sent[IP].src), l4), drops={"no_connection": 1})
    assert director.states() == ["SYN_SENT"]


@pytest.mark.parametrize("flags", ["A", "SA", "F", "FA", "R", "RA", "PA", "", "FPU"])
def test_only_a_syn_opens(director: Director, flags: str) -> None:
    """B13: a TCP packet of no connection opens none unless it is a SYN; counted for the service too."""
    director.service()
    before = engine.service_counters(0)
    director.send(inbound(tcp(flags)), drops={"no_connection": 1})
    assert director.in_use() == 0
    after = engine.service_counters(0)
    assert (after.inbound_drops - before.inbound_drops, after.inbound_drop_bytes - before.inbound_drop_bytes) == (1, 54)


@pytest.mark.parametrize("flags", ["S", "SE", "SEC", "SP", "SU"])
def test_every_kind_of_syn_opens(director: Director, flags: str) -> None:
    """B11: ECN's and odd bits do not make a SYN less of one."""
    director.service()
    assert director.send(inbound(tcp(flags))).one()[TCP].flags == flags


def test_icmp_errors_create_nothing(director: Director) -> None:
    """B13, B34: an ICMP error to a virtual or local address makes no connection."""
    director.service()
    for address in (VIP, LOCAL):
        about = IP(src=address, dst=SERVER) / tcp(sport=80, dport=1000)
        director.send(frame(IP(src=SERVER, dst=address), ICMP(type=3, code=3), about), drops={"icmp_no_connection": 1})
    assert director.in_use() == 0


def test_no_server(director: Director) -> None:
    """B26: a service without an eligible server refuses new connections under its counter."""
    director.service({SERVER: 0})
    director.send(inbound(tcp("S")), drops={"no_server": 1})
    director.service([])
    director.send(inbound(tcp("S")), drops={"no_server": 1})


def test_unresolved_next_hop(director: Director) -> None:
    """B40: a server without a MAC address costs its packets, living connections' too, until it has one (parking puts
    that off by a second)."""
    director.service()
    director.send(inbound(tcp("S")))
    engine.set_next_hop(0, 0, None)
    director.send(inbound(tcp("A")), inbound(tcp("S", sport=7)))
    director.later(1)
    director.send(drops={"next_hop_unresolved": 2})
    assert director.in_use() == 1
    engine.set_next_hop(0, 0, bytes.fromhex("020000000299"))
    assert director.send(inbound(tcp("A"))).one().dst == "02:00:00:00:02:99"
