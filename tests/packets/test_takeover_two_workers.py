"""Two workers, one local address, all its ports used once: B43."""

from tests.packets.bulk import HANDED, packets, through
from tests.packets.director import Director

WORKERS = 2
CONNECTIONS = 8 * 64512
PORTS = 64512
NEW = 2000


def test_each_takes_over_its_own(director: Director) -> None:
    """B21, B43: a worker takes over only what it owns itself, so the answers come home: no port changes hands, none is
    used twice."""
    director.service()
    for at in range(0, PORTS, HANDED):
        clients = range(at, at + HANDED)
        through(director, packets(clients))
        through(director, packets(clients, "R"))
    rows = director.connections()
    owners = {row.local[1]: row.worker for row in rows}
    assert len(owners) == len(rows) > 0.97 * PORTS  # the last tries of a worker may meet none of its own
    through(director, packets(range(PORTS, PORTS + NEW)))
    after = director.connections()
    opened = [row for row in after if row.state == "SYN_SENT"]
    assert len(opened) == NEW
    assert {row.worker for row in opened} == {0, 1}
    assert len({row.local[1] for row in after}) == len(after)
    assert all(owners.get(row.local[1], row.worker) == row.worker for row in opened)
    assert sum(row.local[1] in owners for row in opened) > 0.9 * NEW
