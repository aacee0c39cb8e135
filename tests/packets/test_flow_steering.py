"""Three workers behind a card that has a rule for each local address, and no RSS (B21)."""

from scapy.layers.inet import IP

from fastpath import engine
from tests.packets.director import Director, dotted
from tests.packets.frames import inbound, outbound, tcp

WORKERS = 3
CARDS = ("flow", None)
LOCALS = ["10.0.2.1", "10.0.2.2", "10.0.2.3", "10.0.2.4"]
SPORTS = range(1, 61)


def test_each_worker_has_its_own_addresses(director: Director) -> None:
    """B20, B21: a connection leaves from an address of its worker, and the rule for that brings the answer there."""
    director.locals(*LOCALS)
    director.service()
    sent = director.send(*[inbound(tcp("S", sport=n)) for n in SPORTS], worker=1).to_network
    connections = director.connections()
    assert {c.worker for c in connections} == set(range(WORKERS))
    for c in connections:
        assert LOCALS.index(dotted([c.local[0]])[0]) % WORKERS == c.worker
    before = [c.handed_out for c in engine.worker_counters()]
    for p in sent:
        director.send(outbound(p, tcp("SA")), worker=LOCALS.index(p[IP].src) % WORKERS).one()
    assert [c.handed_out for c in engine.worker_counters()] == before


def test_usage(director: Director) -> None:
    """Local ports of a worker are those of its own addresses."""
    director.locals(*LOCALS)
    ports = 65536 - 1024
    assert [u.local_ports for u in engine.usage() if u.port == 0] == [2 * ports, ports, ports]


def test_rules_that_are_ignored_are_found_out(director: Director) -> None:
    """A card takes rules and ignores them (as an emulated igb does): no packet is lost, and it is found out."""
    director.locals(*LOCALS)
    director.service()
    engine.review_steering()
    sent = [p for n in range(1, 301) for p in director.send(inbound(tcp("S", sport=n)), worker=0).to_network]
    assert engine.review_steering() == []  # that clients' packets come to queue 0 is no breach of any rule
    answers = director.send(*[outbound(p, tcp("SA")) for p in sent], worker=0).to_network
    assert len(answers) == 300
    ((port, reason),) = engine.review_steering()
    assert port == 0
    assert reason.startswith("flow found out: ")
    assert engine.port_info(0).steering == "ring"
    assert len(director.send(*[outbound(p, tcp("SA")) for p in sent], worker=2).to_network) == 300


def test_tcp_of_a_removed_service_lives_on(director: Director) -> None:
    """B26: its clients' packets come to their connections, whichever queue brings them, though the address is gone."""
    director.locals(*LOCALS)
    director.service()
    director.send(*[inbound(tcp("S", sport=n)) for n in SPORTS], worker=1)
    director.remove(0)
    for receiver in range(WORKERS):
        left = director.send(*[inbound(tcp("A", sport=n)) for n in SPORTS], worker=receiver)
        assert (len(left.to_network), len(left.to_kernel)) == (len(SPORTS), 0)
