"""Local addresses and ports: B20, B22."""

import pytest

from fastpath import engine
from tests.packets.bulk import establish, packets, through
from tests.packets.director import Director, dotted
from tests.packets.frames import LOCAL, OTHER_SERVER, SERVER, inbound, tcp

CONNECTIONS = 4 * 64512
PORTS = range(1024, 65536)
TIMEOUT = 1000
"""Seconds."""


def test_every_port_of_an_address_to_one_server(director: Director) -> None:
    """B20, B22: 64,512 connections go through one local address to one server, no port under 1024, none twice;
    the next one is refused as no_local_port while living ones flow, another server is served, and it recovers."""
    director.service(timeout=TIMEOUT)
    count = len(PORTS)
    establish(director, range(count))
    rows = director.connections()
    assert sorted(row.local[1] for row in rows) == list(PORTS)
    assert {row.state for row in rows} == {"ESTABLISHED"}

    director.send(inbound(tcp("S")), drops={"no_local_port": 1})
    assert len(through(director, packets(range(0, count, 100), "A"))) == len(range(0, count, 100))

    director.service([OTHER_SERVER], id=1, first=1, vport=81)
    other = director.send(inbound(tcp("S", dport=81))).one()
    assert (other.payload.src, other.payload.dst) == (LOCAL, OTHER_SERVER)

    director.wait(TIMEOUT + 3)
    assert director.send(inbound(tcp("S"))).one().payload.dst == SERVER


def test_one_port_serves_every_server(director: Director) -> None:
    """B20: with one address and three servers, the same local ports are in use towards all of them at once."""
    director.service([SERVER, OTHER_SERVER, "1.1.1.5"])
    ways = through(director, packets(range(30000)))
    assert len(set(ways)) == 30000
    by_server = {server: {w.lport for w in ways if w.server == server} for server in {w.server for w in ways}}
    assert [len(ports) for ports in by_server.values()] == [10000] * 3
    shared = set.intersection(*by_server.values())
    assert len(shared) > 50  # of 10,000 ports each out of 64,512: about 240 by chance
    assert all(w.lport >= 1024 for w in ways)


def test_addresses_share_the_load(director: Director) -> None:
    """B20: connections spread over all local addresses."""
    addresses = [f"10.0.2.{n}" for n in range(1, 6)]
    director.locals(*addresses)
    director.service()
    ways = through(director, packets(range(10000)))
    assert len({(w.address, w.lport) for w in ways}) == 10000
    for address in addresses:
        assert 1700 < sum(found == address for found in dotted(w.address for w in ways)) < 2300


def test_no_local_address(director: Director) -> None:
    """B22: without one, no connection; living ones keep the address they have."""
    director.service()
    director.send(inbound(tcp("S", sport=1)))
    director.locals()
    director.send(inbound(tcp("S", sport=2)), drops={"no_local_port": 1})
    assert director.send(inbound(tcp("A", sport=1))).one().payload.src == LOCAL
    director.locals("10.0.2.9")
    assert director.send(inbound(tcp("S", sport=2))).one().payload.src == "10.0.2.9"


def test_two_services_with_one_server(director: Director) -> None:
    """B20, B22: a real server behind two services: local ports are unique over both, and none is refused while most are
    free."""
    director.service([SERVER])
    director.service([SERVER], id=1, first=1, vip="10.0.1.2")
    first = through(director, packets(range(20000)))
    elsewhere = (raw[:30] + bytes([10, 0, 1, 2]) + raw[34:] for raw in packets(range(20000)))
    second = through(director, elsewhere)
    assert len(set(first + second)) == 40000


def test_long_lived_connections_stand_in_no_ones_way(director: Director) -> None:
    """B22: 20,000 connections stay while all other local ports are used once: the next new ones find free ports."""
    director.service(timeout=7000)
    establish(director, range(20000))
    for batch in range(20000, 64512, 15000):
        through(director, packets(range(batch, min(batch + 15000, 64512))))
        director.wait(300)
    assert director.in_use() == 20000
    through(director, packets(range(100000, 101000)))


def test_server_ids_can_be_reused(director: Director) -> None:
    """B20: an id is busy while a connection counts for it, and released with fresh counters."""
    director.service(timeout=10)
    to_server = director.send(inbound(tcp("S"))).one()
    director.remove(0)
    assert engine.server_busy(0)
    with pytest.raises(engine.EngineError, match="server id 0"):
        engine.release_server(0)
    assert to_server.payload.dst == SERVER
    director.wait(300)
    assert not engine.server_busy(0)
    engine.release_server(0)
    assert engine.server_counters(0) == engine.ServerCounters(0, 0, 0, 0, 0, 0, 0)
    director.service([OTHER_SERVER])
    assert director.send(inbound(tcp("S"))).one().payload.dst == OTHER_SERVER
    assert engine.server_counters(0)[:4] == (1, 1, 1, 54)
