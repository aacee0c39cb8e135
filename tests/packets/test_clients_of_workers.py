"""Limits, rates of clients and persistence with several workers: a client's home knows it, whoever owns connections."""

from collections import Counter

import pytest
from scapy.layers.inet import IP

from fastpath import engine
from tests.packets.director import Director, dotted
from tests.packets.frames import OTHER_SERVER, SERVER, inbound, outbound, server_mac, tcp, udp

WORKERS = 3
ALL = [SERVER, OTHER_SERVER, "1.1.1.5"]
CLIENTS = [f"2.0.0.{n}" for n in range(1, 41)]


def syns(ports: range, src: str) -> list[bytes]:
    return [inbound(tcp("S", sport=n), src=src) for n in ports]


def opened(director: Director) -> dict[str, set[str]]:
    """Client -> its servers."""
    found: dict[str, set[str]] = {}
    for c in director.connections():
        found.setdefault(*dotted([c.client[0]]), set()).update(dotted([c.real[0]]))
    return found


def owners(director: Director) -> set[int]:
    return {c.worker for c in director.connections()}


def share(limit: int, worker: int) -> int:
    return limit // WORKERS + (worker < limit % WORKERS)


@pytest.mark.parametrize("limit", [3, 7, 20])
def test_shares_of_a_service(director: Director, limit: int) -> None:
    """B29: each worker has its part of the limit, the sum is exact, and a place that becomes free is its own."""
    director.service(limits=engine.Limits(connections=limit))
    director.send(*syns(range(1, 201), CLIENTS[0]), drops={"service_full": 200 - limit})
    rows = director.connections()
    assert Counter(c.worker for c in rows) == {w: share(limit, w) for w in range(WORKERS)}
    director.send(inbound(tcp("R", sport=rows[0].client[1]), src=CLIENTS[0]))
    director.send(*syns(range(301, 401), CLIENTS[0]), drops={"service_full": 99})
    (new,) = [c for c in director.connections() if c.client[1] > 300]
    assert new.worker == rows[0].worker


def test_a_limit_below_the_number_of_workers(director: Director) -> None:
    """B29: a limit that is smaller than the number of workers is 1 for each, lest most clients be refused for ever."""
    director.service(limits=engine.Limits(connections=1), most={SERVER: 2})
    director.send(*syns(range(1, 101), CLIENTS[0]), drops={"service_full": 97})
    assert Counter(c.worker for c in director.connections()) == {0: 1, 1: 1, 2: 1}


def test_shares_of_servers(director: Director) -> None:
    """B29: so have they of a server's limit, and look for another server each for itself."""
    director.service(ALL[:2], most={SERVER: 4, OTHER_SERVER: 6})
    director.send(*syns(range(1, 201), CLIENTS[0]), drops={"server_full": 190})
    rows = director.connections()
    for address, limit in ((SERVER, 4), (OTHER_SERVER, 6)):
        share_of = Counter(c.worker for c in rows if dotted([c.real[0]]) == [address])
        assert share_of == {w: share(limit, w) for w in range(WORKERS)}


def test_shares_of_a_rate(director: Director) -> None:
    """B29: and of a service's rate."""
    director.service(limits=engine.Limits(rate=10))
    director.wait(10)
    director.send(*syns(range(1, 201), CLIENTS[0]), drops={"connection_rate": 190})
    director.later(1)
    director.send(*syns(range(201, 401), CLIENTS[0]), drops={"connection_rate": 190})
    assert Counter(c.worker for c in director.connections()) == {w: 2 * share(10, w) for w in range(WORKERS)}


@pytest.mark.parametrize("receiver", range(WORKERS))
def test_rate_of_a_client(director: Director, receiver: int) -> None:
    """B29: exact, though the client's connections belong to all workers, and whoever receives them."""
    director.service(limits=engine.Limits(client_rate=20))
    for src in CLIENTS[:6]:
        for n in range(1, 31):
            drops = {"client_rate": 1} if n > 20 else None
            director.send(*syns(range(n, n + 1), src), drops=drops, worker=receiver)
    assert owners(director) == set(range(WORKERS))
    director.later(0.512)  # time goes by 16 ms here
    director.send(*syns(range(61, 121), CLIENTS[0]), drops={"client_rate": 50}, worker=receiver)


def test_rates_of_listed_clients(director: Director) -> None:
    """B29: so are the rates of clients that have their own; whoever has none and needs none is not looked up."""
    clients = tuple((bytes([2, 0, 0, n]), n) for n in range(6))
    director.service(limits=engine.Limits(clients=clients))
    for n in range(6):
        director.send(*syns(range(1, 21), f"2.0.0.{n}"), drops={"client_rate": 20 - n})
    before = sum(c.handed_out for c in engine.worker_counters())
    director.send(*syns(range(1, 21), "2.0.0.9"))
    rows = [c for c in director.connections() if dotted([c.client[0]]) == ["2.0.0.9"]]
    assert sum(c.handed_out for c in engine.worker_counters()) - before == sum(c.worker != 0 for c in rows)


@pytest.mark.parametrize("receiver", range(WORKERS))
@pytest.mark.parametrize("scheduler", ["rr", "ipport", "wlc"])
def test_persistence(director: Director, receiver: int, scheduler: str) -> None:
    """B44: all connections of a client go to one server, on whichever workers, and whoever receives them; all servers
    have clients."""
    director.service(ALL, scheduler=scheduler, persistence=engine.Persistence(100))
    for start in range(1, 41, 10):
        for src in CLIENTS:
            director.send(*syns(range(start, start + 10), src), worker=receiver)
    found = opened(director)
    assert {len(servers) for servers in found.values()} == {1}
    assert set.union(*found.values()) == set(ALL)
    assert owners(director) == set(range(WORKERS))


def test_persistence_of_udp(director: Director) -> None:
    """B44: a burst of first packets of one flow opens one connection, and each packet is sent."""
    director.service(ALL, engine.UDP, persistence=engine.Persistence(100))
    for n in range(1, 13):
        sent = director.send(*[inbound(udp(sport=n, data=bytes([k]))) for k in range(8)]).to_network
        assert sorted(bytes(p[IP].payload.payload)[0] for p in sent) == list(range(8))
    assert len(director.connections(engine.UDP)) == 12
    assert len({c.real for c in director.connections(engine.UDP)}) == 1


@pytest.mark.parametrize("how", ["drained", "removed", "full"])
def test_persistence_gives_way(director: Director, how: str) -> None:
    """B44: when a client's server takes no more, whoever owns the connection, it goes to another one, which is
    remembered for the connections of all workers."""
    director.service(ALL, persistence=engine.Persistence(100))
    for src in CLIENTS:
        director.send(*syns(range(1, 11), src))
    former = {src: servers.pop() for src, servers in opened(director).items()}
    if how == "drained":
        director.service({ALL[0]: 0, ALL[1]: 1, ALL[2]: 1}, persistence=engine.Persistence(100))
    elif how == "removed":
        director.service(ALL[1:], first=1, persistence=engine.Persistence(100))
    else:
        director.service(ALL, most={ALL[0]: 1}, persistence=engine.Persistence(100))
    for src in CLIENTS:
        director.send(*syns(range(11, 12), src))
        director.send(*syns(range(12, 31), src))
    director.service(ALL, persistence=engine.Persistence(100))
    for src in CLIENTS:
        director.send(*syns(range(31, 41), src))
    later: dict[str, set[str]] = {}
    for c in director.connections():
        if c.client[1] > 10:
            later.setdefault(*dotted([c.client[0]]), set()).update(dotted([c.real[0]]))
    assert {len(servers) for servers in later.values()} == {1}
    moved = [src for src in CLIENTS if former[src] == ALL[0]]
    assert moved
    for src in CLIENTS:
        assert (later[src] == {former[src]}) == (src not in moved)


def test_the_whole_address(director: Director) -> None:
    """B44: a client has one home for all services of an address."""
    director.service(ALL, persistence=engine.Persistence(100, True))
    director.service(ALL[::-1], id=1, first=3, vport=443, persistence=engine.Persistence(100, True))
    for src in CLIENTS:
        director.send(*syns(range(1, 11), src))
        director.send(*[inbound(tcp("S", sport=n, dport=443), src=src) for n in range(1, 11)])
    assert {len(servers) for servers in opened(director).values()} == {1}


def test_both_ways(director: Director) -> None:
    """B21, B44: a connection that was opened by way of a home is its owner's: nothing else is handed over."""
    director.service(ALL, persistence=engine.Persistence(100))
    sent = director.send(*syns(range(1, 31), CLIENTS[0])).to_network
    assert len(director.send(*[outbound(p, tcp("SA")) for p in sent]).to_network) == 30
    by_owner = {c.client[1]: c.worker for c in director.connections()}
    before = [c.handed_out for c in engine.worker_counters()]
    for n in range(1, 31):
        director.send(inbound(tcp("A", sport=n), src=CLIENTS[0]), worker=by_owner[n])
    assert [c.handed_out for c in engine.worker_counters()] == before


def test_a_service_that_goes_while_a_packet_asks(director: Director) -> None:
    """B44, B27: a packet on its way to a home meets a service that is gone, or asks nothing any more."""
    director.service(ALL, persistence=engine.Persistence(100))
    before = sum(engine.drops().values())
    engine.run_once(syns(range(1, 31), CLIENTS[0]), 0, director.seconds())
    engine.run_once([], 1, director.seconds())
    director.service(ALL)
    director.settle()
    rows = director.connections()
    assert len(rows) == 30
    assert sum(engine.drops().values()) == before
    for c in rows:  # each with its owner: nothing is handed over
        handed = [w.handed_out for w in engine.worker_counters()]
        director.send(inbound(tcp("A", sport=c.client[1]), src=CLIENTS[0]), worker=c.worker)
        assert [w.handed_out for w in engine.worker_counters()] == handed


def test_parked(director: Director) -> None:
    """B44, B40: a packet that waits for its server's MAC address waits at its owner, and goes there then."""
    director.service(ALL, persistence=engine.Persistence(100), hops=dict.fromkeys(ALL))
    few = CLIENTS[:6]  # fewer than may wait for one server
    director.send(*[inbound(tcp("S", sport=1), src=src) for src in few])
    assert director.parked() == len(few)
    for n, address in enumerate(ALL):
        director.resolve(n, 0, server_mac(address))
    assert len(director.send().to_network) == len(few)
    for src in few:
        director.send(*syns(range(2, 11), src))
    assert {len(servers) for servers in opened(director).values()} == {1}


def test_a_flood_of_clients(director: Director) -> None:
    """B29, B44: forged addresses by the thousand: everything is counted somewhere, and a client is served as before."""
    director.service(ALL, limits=engine.Limits(client_rate=5), persistence=engine.Persistence(100))
    for block in range(12):
        flood = [inbound(tcp("S"), src=f"3.{block}.{n // 250}.{n % 250 + 1}") for n in range(1000)]
        director.turn(flood, worker=block % WORKERS)
    director.send(*syns(range(1, 21), CLIENTS[0]), drops={"client_rate": 15})
    assert len(opened(director)[CLIENTS[0]]) == 1
