"""Following packets from worker to worker."""

from fastpath import engine
from tests.packets.director import Director
from tests.packets.frames import inbound, udp
from tests.packets.test_watch import watching

WORKERS = 3
QUEUES = 1
"""Ports that worker 0 alone receives from and sends by."""


def test_followed_to_the_owner(director: Director) -> None:
    """B21: the worker that received it shows whom it was handed to, the owner what became of it there."""
    director.service(protocol=engine.UDP)
    frames = {n: inbound(udp(sport=n)) for n in range(1000, 1060)}
    with watching() as watch:
        director.turn([*frames.values()])
        seen = watch.look()
    owners = {c.client[1]: c.worker for c in director.connections(engine.UDP)}
    passed = [s for s in seen if s.kind == "passed"]
    for sport, raw in frames.items():
        owner = owners[sport]
        steps = [(s.worker, s.came, s.classified, s.verdict, s.to) for s in passed if s.frame == raw]
        if owner == 0:
            assert steps == [(0, "port", "go_on", "send", None)]
        else:
            assert steps == [(0, "port", "hand", "hand", owner), (owner, "worker", "go_on", "send", None)]
    assert set(owners.values()) == {0, 1, 2}


def test_a_full_ring_between_workers(director: Director) -> None:
    """What the owner's ring does not take shows at the worker that received it, dropped under handover_full."""
    director.service(protocol=engine.UDP)
    director.send(inbound(udp()))
    (connection,) = director.connections(engine.UDP)
    sport = 1000
    while connection.worker == 0:
        sport += 1
        director.send(inbound(udp(sport=sport)))
        connection = next(c for c in director.connections(engine.UDP) if c.client[1] == sport)
    raw = inbound(udp(sport=sport))
    director.settle()
    with watching(reason="handover_full") as watch:
        before = engine.drops()["handover_full"]
        engine.run_once([raw] * 1030, 0, director.seconds())
        seen = watch.look()
        assert len(seen) == engine.drops()["handover_full"] - before == 6
        assert {(s.worker, s.verdict, s.reason) for s in seen} == {(0, "drop", "handover_full")}
    director.settle()
