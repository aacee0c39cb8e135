"""Fragments among several workers: B21, B35."""

from random import Random

import pytest
from scapy.layers.inet import ICMP, IP, UDP, fragment
from scapy.packet import Raw

from fastpath import engine
from tests.packets.director import Director
from tests.packets.frames import CLIENT, LOCAL, OTHER_SERVER, SERVER, VIP, frame, inbound, server_mac, udp
from tests.packets.test_fragments import assert_whole, pieces, query, together

WORKERS = 3


def waiting() -> list[int]:
    return [counters.parked for counters in engine.worker_counters()]


@pytest.mark.parametrize("seed", range(20))
def test_whoever_receives_them(director: Director, seed: int) -> None:
    """B21, B35: fragments that come to any workers in any order reach one server by the owner of their connection."""
    director.service([SERVER, OTHER_SERVER], engine.UDP)
    random = Random(seed)
    sport = random.randrange(1, 65536)
    parts = pieces(query(400, sport), id=seed)
    random.shuffle(parts)
    sent = [p for part in parts for p in director.send(part, worker=random.randrange(WORKERS)).to_network]
    whole = assert_whole(sent, query(400, sport))
    (connection,) = director.connections(engine.UDP)
    assert (connection.client[1], connection.local[1], whole.src) == (sport, whole[UDP].sport, LOCAL)
    again = director.send(inbound(udp(sport=sport)), worker=random.randrange(WORKERS)).one()
    assert again[UDP].sport == whole[UDP].sport


@pytest.mark.parametrize("receiver", range(WORKERS))
def test_many_datagrams_in_one_burst(director: Director, receiver: int) -> None:
    """B21, B35: the same for 20 clients at once, received by one worker; their homes and owners are spread."""
    director.service(protocol=engine.UDP)
    clients = [f"1.1.2.{n}" for n in range(20)]
    frames = [part for src in clients for part in reversed(pieces(query(), src=src))]
    sent = director.send(*frames, worker=receiver).to_network
    for id in {p[IP].id for p in sent}:
        assert_whole([p for p in sent if p[IP].id == id], query())
    assert len({p[IP].id for p in sent}) == len(clients)
    assert {c.worker for c in director.connections(engine.UDP)} == set(range(WORKERS))


@pytest.mark.parametrize("seed", range(6))
def test_answers(director: Director, seed: int) -> None:
    """B21, B35: the fragments of a server's answer find the owner that opened the connection."""
    director.service(protocol=engine.UDP)
    random = Random(seed)
    request = director.send(inbound(udp(sport=1000 + seed))).one()
    answer = udp(53, request[UDP].sport, bytes(range(200)))
    parts = [
        frame(IP(bytes(p)), src=server_mac(SERVER)) for p in fragment(IP(src=SERVER, dst=LOCAL, id=9) / answer, 64)
    ]
    random.shuffle(parts)
    sent = [p for part in parts for p in director.send(part, worker=random.randrange(WORKERS)).to_network]
    whole = assert_whole(sent, answer)
    assert (whole.src, whole.dst, whole[UDP].dport) == (VIP, CLIENT, 1000 + seed)


def test_they_wait_at_one_worker(director: Director) -> None:
    """B21: all fragments of one datagram wait at one worker, whichever got them, and other datagrams elsewhere."""
    director.service(protocol=engine.UDP)
    homes = set()
    for id in range(20):
        before = waiting()
        for worker, part in enumerate(pieces(query(200), id=id)[1:]):
            director.send(part, worker=worker)
        (home,) = [n for n, (now, then) in enumerate(zip(waiting(), before, strict=True)) if now != then]
        assert waiting()[home] == before[home] + 3
        homes.add(home)
    assert homes == set(range(WORKERS))
    director.later(3)
    director.send(drops={"fragment_expired": 60})


def test_echo(director: Director) -> None:
    """B30, B35: a fragmented echo request is answered, whichever workers get its parts."""
    director.service()
    parts = pieces(ICMP(id=5, seq=6) / Raw(bytes(150)))
    sent = [p for worker, part in enumerate(reversed(parts)) for p in director.send(part, worker=worker).to_network]
    whole = together(sent)
    assert (whole.src, whole.dst, whole[ICMP].type) == (VIP, CLIENT, 0)


@pytest.mark.parametrize("receiver", range(WORKERS))
def test_of_a_client_that_is_known_elsewhere(director: Director, receiver: int) -> None:
    """B35, B44: while the first fragment asks its client's home for a server, the others do not overtake it."""
    director.service([SERVER, OTHER_SERVER], engine.UDP, persistence=engine.Persistence(100))
    for n in range(20):
        parts = pieces(query(400, 2000 + n), id=n, src=f"2.0.1.{n}")
        assert_whole(director.send(*parts, worker=receiver).to_network, query(400, 2000 + n))
    assert {c.worker for c in director.connections(engine.UDP)} == set(range(WORKERS))


def test_of_a_client_that_is_refused_elsewhere(director: Director) -> None:
    """B29, B35: where its home refuses the first fragment, the others are dropped once they are back."""
    director.service(protocol=engine.UDP, limits=engine.Limits(client_rate=1))
    for n in range(20):
        src = f"2.0.1.{n}"
        director.send(inbound(udp(sport=999), src=src))
        parts = pieces(query(400, 2000 + n), id=n, src=src)
        director.send(*parts, drops={"client_rate": 1, "no_connection": len(parts) - 1}, worker=n % WORKERS)
