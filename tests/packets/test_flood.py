"""Connection memory runs out, and SYN floods: B22, B23."""

from fastpath import engine
from tests.packets.bulk import establish, packets, through
from tests.packets.director import Director
from tests.packets.frames import inbound, tcp, udp

CONNECTIONS = 1024
HALF_OPEN = CONNECTIONS // 4
TIMEOUTS = engine.Timeouts(udp=100)


def counters() -> tuple[int, int]:
    """Connections, and how many of them are half-open."""
    worker = engine.worker_counters()[0]
    assert worker.connections + worker.connections_free == CONNECTIONS
    return worker.connections, worker.half_open


def test_half_open_connections_are_bounded(director: Director) -> None:
    """B23: however many SYNs come, a quarter of the table at most is half-open, and each SYN is served."""
    director.service()
    assert len(through(director, packets(range(20000)))) == 20000
    assert counters() == (HALF_OPEN, HALF_OPEN)


def test_the_oldest_half_open_goes_first(director: Director) -> None:
    """B23: what is recycled is the oldest half-open connection: the newest ones can still be completed."""
    director.service()
    through(director, packets(range(HALF_OPEN + 10)))
    director.turn(list(packets(range(10), "A")), drops={"no_connection": 10})
    assert len(through(director, packets(range(10, HALF_OPEN + 10), "A"))) == HALF_OPEN


def test_a_flood_pushes_out_no_established_connection(director: Director) -> None:
    """B23: established ones survive a flood and carry packets on, when the table is full of them, too."""
    director.service()
    establish(director, range(880))
    through(director, packets(range(10000, 15000)))
    assert counters()[0] <= CONNECTIONS
    assert len(through(director, packets(range(880), "A"))) == 880
    assert director.states().count("ESTABLISHED") == 880


def test_established_ones_fill_the_table(director: Director) -> None:
    """B22: the table full of established connections: new ones are refused under a counter, living ones untouched, and
    it recovers when some have gone."""
    director.service()
    for n in range(CONNECTIONS):  # one by one: half-open ones make way in time
        establish(director, range(n, n + 1))
    assert counters() == (CONNECTIONS, 0)
    director.send(inbound(tcp("S")), drops={"connections_exhausted": 1})
    assert len(through(director, packets(range(CONNECTIONS), "A"))) == CONNECTIONS
    through(director, packets(range(5), "R"))
    director.send(inbound(tcp("S")), drops={"connections_exhausted": 1})
    director.wait(13)
    director.send(inbound(tcp("S")))
    assert counters() == (CONNECTIONS - 4, 1)


def test_udp_fills_the_table(director: Director) -> None:
    """B22: the same with UDP, where nothing is half-open; all comes back after the timeout."""
    director.service(protocol=engine.UDP)
    flows = [inbound(udp(sport=sport)) for sport in range(1, CONNECTIONS + 1)]
    director.turn(flows)
    director.send(inbound(udp(sport=60000)), drops={"connections_exhausted": 1})
    director.turn(flows)
    director.wait(103)
    assert counters() == (0, 0)
    director.turn(flows)


def test_a_flood_ends_by_itself(director: Director) -> None:
    """B22, B23: after a flood nothing is left when the transitory timeout has passed."""
    director.service()
    through(director, packets(range(3000)))
    director.wait(243)
    assert counters() == (0, 0)


def test_expiry_keeps_up_with_new_flows(director: Director) -> None:
    """B22: full bursts of new flows find room as soon as the old ones have timed out: as many are freed as come."""
    director.service(protocol=engine.UDP)
    director.turn([inbound(udp(sport=sport)) for sport in range(1, CONNECTIONS - 32)])
    director.later(103)
    director.turn([inbound(udp(sport=sport)) for sport in range(10001, 10001 + CONNECTIONS - 64)])
