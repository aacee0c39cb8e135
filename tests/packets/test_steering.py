"""Three workers behind a card that steers by RSS, and one that steers nothing (B21).

The card itself is played: frames are fed to the queue that a naive Toeplitz hash says.
"""

from collections import Counter

import pytest
from scapy.layers.inet import IP

from fastpath import engine
from tests.packets.director import Director
from tests.packets.frames import LOCAL, SERVER, frame, inbound, outbound, server_mac, tcp, udp

WORKERS = 3
KEY = bytes(range(40, 80))
RETA = bytes(i % WORKERS for i in range(128))
CARDS = ((KEY, RETA), None)
SPORTS = range(1, 61)
SECOND_MAC = "02:00:00:00:00:02"
SECOND_LOCAL = "10.0.3.1"


def queue(raw: bytes) -> int:
    """Toeplitz (Microsoft, "RSS Hashing Types"): for each bit of the tuple that is set, 32 bits of the key."""
    header = 14 + (raw[14] & 15) * 4
    data = int.from_bytes(raw[26:34] + raw[header : header + 4], "big")
    key = int.from_bytes(KEY, "big")
    hash = 0
    for bit in range(96):
        if data >> (95 - bit) & 1:
            hash ^= key >> (len(KEY) * 8 - 32 - bit) & 0xFFFFFFFF
    return RETA[hash % len(RETA)]


def by_card(director: Director, *frames: bytes) -> list[IP]:
    """Each to the worker to which the card gives it; what left."""
    return [packet for raw in frames for packet in director.send(raw, worker=queue(raw)).to_network]


def out(worker: int) -> int:
    return engine.worker_counters()[worker].handed_out


def handed() -> int:
    return sum(map(out, range(WORKERS)))


@pytest.mark.parametrize("protocol", [engine.TCP, engine.UDP])
def test_nothing_is_handed_over(director: Director, protocol: int) -> None:
    """B21: packets of both directions come to their owner, for the local port was chosen by its key and table."""
    director.service(protocol=protocol)
    before = handed()
    opening, answer = (tcp("S"), tcp("SA")) if protocol == engine.TCP else (udp(), udp())
    frames = []
    for n in SPORTS:
        opening.sport = n
        frames.append(inbound(opening.copy()))
    sent = by_card(director, *frames)
    assert len(sent) == len(SPORTS)
    answers = by_card(director, *[outbound(p, answer.copy()) for p in sent])
    assert sorted(p[IP].dport for p in answers) == sorted(SPORTS)
    assert handed() == before
    share = Counter(c.worker for c in director.connections(protocol))
    assert set(share) == set(range(WORKERS))


def test_strays(director: Director) -> None:
    """B21: a packet that the card does not bring to its owner gets there all the same, and is counted."""
    director.service()
    sent = by_card(director, *[inbound(tcp("S", sport=n)) for n in SPORTS])
    strays = engine.port_counters(0).strays
    answers = [outbound(p, tcp("SA")) for p in sent]
    wrong = sum(queue(raw) != 0 for raw in answers)
    assert len(director.send(*answers, worker=0).to_network) == len(SPORTS)
    assert engine.port_counters(0).strays == strays + wrong
    assert set(director.states()) == {"SYN_RECV"}


def test_a_port_without_a_card_looks_first(director: Director) -> None:
    """B21: what comes by a port that steers nothing finds the owner that the other port's card would give it to."""
    director.service(hops={SERVER: (1, server_mac(SERVER))})
    director.locals(SECOND_LOCAL, port=1)
    sent = by_card(director, *[inbound(tcp("S", sport=n)) for n in SPORTS])
    assert {p[IP].src for p in sent} == {SECOND_LOCAL}
    owners = {c.client[1]: c.worker for c in director.connections()}
    strays = engine.port_counters(1).strays
    for worker in range(WORKERS):
        answers = [
            (1, frame(IP(src=SERVER, dst=SECOND_LOCAL), tcp("SA", sport=80, dport=p.sport), dst=SECOND_MAC))
            for p in sent
        ]
        assert len(director.send(*answers, worker=worker).to_network) == len(SPORTS)
    assert engine.port_counters(1).strays == strays
    assert {c.client[1]: c.worker for c in director.connections()} == owners
    acks = [(1, frame(IP(src="1.1.1.1", dst="10.0.1.1"), tcp("A", sport=n), dst=SECOND_MAC)) for n in SPORTS]
    assert len(director.send(*acks, worker=1).to_network) == len(SPORTS)


def test_tcp_of_a_removed_service_lives_on(director: Director) -> None:
    """B26: what comes by a port that steers nothing finds its connection, though the virtual address is gone."""
    director.service()
    by_card(director, *[inbound(tcp("S", sport=n)) for n in SPORTS])
    director.remove(0)
    acks = [(1, frame(IP(src="1.1.1.1", dst="10.0.1.1"), tcp("A", sport=n), dst=SECOND_MAC)) for n in SPORTS]
    for worker in range(WORKERS):
        assert len(director.send(*acks, worker=worker).to_network) == len(SPORTS)


def test_both_ports_are_named(director: Director) -> None:
    """What steers each port."""
    assert [engine.port_info(port).steering for port in (0, 1)] == ["rss", "ring"]


def test_local_addresses_of_each_port_have_their_own_owner(director: Director) -> None:
    """Towards servers behind either port, all local ports of a worker can be used: each about a third."""
    usage = [u for u in engine.usage() if u.port == 0]
    assert [u.local_ports for u in usage] == [(65536 - 1024) // WORKERS] * WORKERS


def test_a_card_that_keeps_its_word_stays(director: Director) -> None:
    """What is seldom wrong (fragments, options) is no reason to distrust a card. LOCAL is the address it knows."""
    assert engine.review_steering() == []
    assert engine.port_info(0).steering == "rss"
    assert LOCAL


def test_a_card_that_lies_is_found_out(director: Director) -> None:
    """All on queue 0, whatever the card claims (as an emulated vmxnet3 does): then owners are looked at first."""
    director.service()
    engine.review_steering()
    for start in range(1, 301, 50):
        director.send(*[inbound(tcp("S", sport=start + n)) for n in range(50)], worker=0)
    ((port, reason),) = engine.review_steering()
    assert port == 0
    assert reason.startswith("rss found out: ")
    info = engine.port_info(0)
    assert (info.steering, info.steering_reason) == ("ring", reason)
    assert engine.review_steering() == []
    strays = engine.port_counters(0).strays
    sent = director.send(*[inbound(tcp("A", sport=n)) for n in SPORTS], worker=0).to_network
    assert len(sent) == len(SPORTS)
    assert engine.port_counters(0).strays == strays
