"""Backup servers: new connections only while no other server is eligible."""

import pytest
from scapy.layers.inet import IP

from fastpath import engine
from tests.packets.director import Director, dotted
from tests.packets.frames import OTHER_SERVER, SERVER, inbound, outbound, server_mac, tcp

BACKUP, OTHER_BACKUP = "1.1.1.7", "1.1.1.8"
SCHEDULERS = ["rr", "wrr", "ipport", "iponly", "lc", "wlc"]
ALL = [SERVER, OTHER_SERVER, BACKUP, OTHER_BACKUP]


def publish(director: Director, scheduler: str = "rr", primary: int = 1, backup: int = 1, **more: object) -> None:
    weights = dict(zip(ALL, (primary, primary, backup, backup), strict=True))
    director.service(weights, scheduler=scheduler, backup=(BACKUP, OTHER_BACKUP), **more)  # type: ignore[arg-type]


def opened(director: Director, first: int, n: int = 24) -> set[str]:
    """Servers of so many new connections from all kinds of clients."""
    frames = [inbound(tcp("S", sport=k), src=f"2.0.0.{k % 200 + 1}") for k in range(first, first + n)]
    return {p[IP].dst for p in director.send(*frames).to_network}


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_only_when_needed(director: Director, scheduler: str) -> None:
    """B27: backup servers get nothing while another server is eligible, everything while none is."""
    publish(director, scheduler)
    assert opened(director, 1) == {SERVER, OTHER_SERVER}
    publish(director, scheduler, primary=0)
    assert opened(director, 100) == {BACKUP, OTHER_BACKUP}
    publish(director, scheduler)
    assert opened(director, 200) == {SERVER, OTHER_SERVER}


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_none_at_all(director: Director, scheduler: str) -> None:
    """B27: a drained backup server is no help either."""
    publish(director, scheduler, primary=0, backup=0)
    assert engine.drops()["no_server"] == director_drops(director) - 1


def director_drops(director: Director) -> int:
    """no_server drops after a SYN that finds nobody; however it is told."""
    engine.run_once([inbound(tcp("S"))], 0, director.seconds())
    return engine.drops()["no_server"]


def test_one_backup_is_drained(director: Director) -> None:
    """B27: of the backup servers, too, only those of some weight."""
    director.service({SERVER: 0, BACKUP: 0, OTHER_BACKUP: 3}, scheduler="wrr", backup=(BACKUP, OTHER_BACKUP))
    assert opened(director, 1) == {OTHER_BACKUP}


def test_their_connections_stay(director: Director) -> None:
    """B27, B11: what a backup server has got it keeps when the others are back."""
    publish(director, primary=0)
    sent = director.send(inbound(tcp("S"))).one()
    director.send(outbound(sent, tcp("SA")))
    publish(director)
    assert director.send(inbound(tcp("A"))).one()[IP].dst == sent[IP].dst
    assert opened(director, 100) == {SERVER, OTHER_SERVER}


def test_a_full_server_calls_no_backup(director: Director) -> None:
    """B27, B29: a server that is full is eligible: its backup stays out."""
    director.service([SERVER, BACKUP], most={SERVER: 1}, backup=[BACKUP])
    director.send(inbound(tcp("S", sport=1)), inbound(tcp("S", sport=2)), drops={"server_full": 1})


def test_parked_for_a_backup(director: Director) -> None:
    """B27, B40: a packet that waits for a backup server goes to another one, if that has come back meanwhile."""
    hops = {BACKUP: None, OTHER_BACKUP: None}
    publish(director, primary=0, hops=hops)
    director.send(inbound(tcp("S")))
    publish(director, hops=hops)
    for n, server in enumerate((BACKUP, OTHER_BACKUP), 2):
        director.resolve(n, 0, server_mac(server))
    assert director.send().one()[IP].dst in (SERVER, OTHER_SERVER)


def test_persistence_gives_way(director: Director) -> None:
    """B44, B27: a client that went to a backup server comes back with the others."""
    publish(director, primary=0, persistence=engine.Persistence(100))
    director.send(inbound(tcp("S", sport=1)))
    publish(director, persistence=engine.Persistence(100))
    director.send(inbound(tcp("S", sport=2)))
    (row,) = [c for c in director.connections() if c.client[1] == 2]
    assert dotted([row.real[0]])[0] in (SERVER, OTHER_SERVER)
