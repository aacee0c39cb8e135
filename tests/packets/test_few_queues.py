"""Three workers on ports with two queue pairs: who has none receives and sends by those who have."""

import pytest
from scapy.layers.inet import IP

from fastpath import engine
from tests.packets.director import Director
from tests.packets.frames import frame, inbound, outbound, tcp

WORKERS = 3
QUEUES = 2
SPORTS = range(1, 61)


def test_queues(director: Director) -> None:
    """A port says how many queues it has, whatever the number of workers."""
    info = engine.port_info(0)
    assert (info.rx_queues, info.tx_queues) == (QUEUES, QUEUES)


@pytest.mark.parametrize("receiver", range(QUEUES))
def test_workers_without_a_queue_carry_their_part(director: Director, receiver: int) -> None:
    """B1, B21: connections are spread over all workers, and every packet leaves, in the order of its flow."""
    director.service()
    sent = director.send(*[inbound(tcp("S", sport=n)) for n in SPORTS], worker=receiver).to_network
    assert len(sent) == len(SPORTS)
    assert {c.worker for c in director.connections()} == set(range(WORKERS))
    answers = director.send(*[outbound(p, tcp("SA")) for p in sent], worker=receiver).to_network
    assert sorted(p[IP].dport for p in answers) == sorted(SPORTS)
    port = next(c.client[1] for c in director.connections() if c.worker == 2)
    acks = director.send(*[inbound(tcp("A", sport=port, seq=n)) for n in range(100)], worker=receiver).to_network
    assert [p.seq for p in acks] == list(range(100))


def test_the_kernels_frames_leave_by_others(director: Director) -> None:
    """B9: a frame of the kernel that a worker without a queue sends leaves unchanged."""
    raw = frame(IP(src="1.1.1.2", dst="9.9.9.9") / tcp())
    left = director.turn(kernel=[(0, raw)], worker=2)
    assert left == [(0, raw)]


def test_whoever_sends_does_not_keep_up(director: Director) -> None:
    """What a worker without a queue cannot pass on is dropped as handover_full, and it recovers by itself."""
    director.service()
    director.send(*[inbound(tcp("S", sport=n)) for n in SPORTS])
    port = next(c.client[1] for c in director.connections() if c.worker == 2)
    before = engine.drops(2)["handover_full"]
    for _ in range(2):  # each fills the ring to worker 2, which passes all on to worker 0
        engine.run_once([inbound(tcp("A", sport=port))] * 512, 1, director.seconds())
        engine.run_once([], 2, director.seconds())
    assert engine.drops(2)["handover_full"] == before + 512
    assert len(engine.run_once([], 0, director.seconds())) == 512
    director.send(inbound(tcp("A", sport=port)), worker=1).one()


def test_what_is_asked_at_the_end_leaves_too(director: Director) -> None:
    """B26: stop() has questions answered; what a worker without a queue then sends leaves by one that has."""
    director.service()
    sent = director.send(*[inbound(tcp("S", sport=n)) for n in SPORTS]).to_network
    director.send(*[outbound(p, tcp("SA")) for p in sent])
    director.send(*[inbound(tcp("A", sport=n)) for n in SPORTS])
    director.remove(0, reset=[0])
    before = engine.drops()
    resets = engine.sweep(2).result()
    engine.stop()
    assert resets > 0
    assert engine.drops() == before
    assert len(engine.run_once([], 0, director.seconds())) == 2 * resets
