"""A flood that comes by hand-over and by two ports at once: B23."""

from fastpath import engine
from tests.packets.director import Director
from tests.packets.frames import inbound, outbound, tcp

WORKERS = 2
CONNECTIONS = 2048
PORT_1_MAC = bytes.fromhex("020000000002")


def own(director: Director, n: int) -> list[int]:
    """Source ports of which worker 0 owns the tuple."""
    found = []
    for sport in range(1, 65536):
        before = engine.worker_counters()[0].handed_out
        engine.run_once([inbound(tcp("A", sport=sport))], 0, director.seconds())
        if engine.worker_counters()[0].handed_out == before:
            found.append(sport)
        director.settle()
        if len(found) == n:
            break
    return found


def test_a_turn_full_of_syns_finds_room(director: Director) -> None:
    """B23: with the table full of established connections, half-open ones make way for all that one turn may bring."""
    director.service()
    sports = own(director, 1200)
    established, flood, last = sports[:860], sports[860:1060], sports[1060:1188]
    for n in range(0, len(established), 32):
        some = established[n : n + 32]
        sent = director.send(*[inbound(tcp("S", sport=sport)) for sport in some]).to_network
        director.send(*[outbound(p, tcp("SA")) for p in sent])
        director.send(*[inbound(tcp("A", sport=sport)) for sport in some])
    for n in range(0, len(flood), 8):
        director.send(*[inbound(tcp("S", sport=sport)) for sport in flood[n : n + 8]])
    before = engine.drops()
    frames = [inbound(tcp("S", sport=sport)) for sport in last]
    engine.run_once(frames[:64], 1, director.seconds())
    second = [(1, PORT_1_MAC + raw[6:]) for raw in frames[96:]]
    left = engine.run_once([*frames[64:96], *second], 0, director.seconds())
    assert engine.drops() == before
    assert len(left) == len(last)
