"""Two workers and one local address: each has its part of the local ports, and one may run out of them alone."""

from fastpath import engine
from tests.packets.bulk import FEW, answer, establish, number, packets, through
from tests.packets.director import Director
from tests.packets.frames import OTHER_SERVER, SERVER

WORKERS = 2
CONNECTIONS = 8 * 64512
PORTS = 64512
CLIENTS = 72000
TIMEOUT = 1000
"""Seconds."""
TOLERANCE = 600
"""Of a fair share of the ports, 32,256: the owner of each is drawn, so one standard deviation is 127."""


def owned(director: Director) -> tuple[list[int], list[int]]:
    """The clients of each worker, told by half-open connections, with two servers, which vanish."""
    director.service([SERVER, OTHER_SERVER])
    through(director, packets(range(CLIENTS)))
    mine: tuple[list[int], list[int]] = ([], [])
    for connection in director.connections():
        mine[connection.worker].append(number(connection))
    director.reset()
    return mine


def fill(director: Director, clients: list[int]) -> int:
    """Establish connections through worker 0 until one is refused; how many there are."""
    made = 0
    for at in range(0, len(clients), FEW):
        some = clients[at : at + FEW]
        sent = engine.run_once(list(packets(some)), 0, director.seconds())
        engine.run_once([answer(raw) for _, raw in sent], 0, director.seconds())
        made += len(engine.run_once(list(packets(some[: len(sent)], "A")), 0, director.seconds()))
        if len(sent) < len(some):
            break
    return made


def test_one_worker_without_local_ports(director: Director) -> None:
    """B22: worker 0 uses all its local ports towards a server, about half of all, and refuses the next connection as
    no_local_port; its living ones go on, the other worker opens new ones, it recovers when some of its own close."""
    mine, theirs = owned(director)
    director.service(timeout=TIMEOUT)
    made = fill(director, mine)
    assert abs(made - PORTS // 2) < TOLERANCE
    rows = director.connections()
    assert {row.worker for row in rows} == {0}
    assert len({row.local[1] for row in rows}) == len(rows) == made

    more = mine[made + FEW :]
    director.turn(list(packets(more[:10])), drops={"no_local_port": 10})
    assert len(through(director, packets(mine[:made:50], "A"))) == len(range(0, made, 50))
    establish(director, theirs[:2000])
    assert sum(row.worker == 1 for row in director.connections()) == 2000

    through(director, packets(mine[: made // 4], "R"))
    director.wait(30)
    establish(director, more[:500])
    assert {number(row) for row in director.connections()} >= set(more[:500])
