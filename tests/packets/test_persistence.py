"""Persistence and the rates of clients, seen by one worker."""

import pytest
from scapy.layers.inet import IP

from fastpath import engine
from tests.packets.director import Director, dotted
from tests.packets.frames import CLIENT, OTHER_CLIENT, OTHER_SERVER, SERVER, inbound, outbound, server_mac, tcp, udp

THIRD = "1.1.1.5"
ALL = [SERVER, OTHER_SERVER, THIRD]
SCHEDULERS = ["rr", "wrr", "ipport", "iponly", "lc", "wlc"]
CONNECTIONS = 1 << 15
LONG = 100


def keep(seconds: int = LONG, whole_address: bool = False) -> engine.Persistence:
    return engine.Persistence(seconds, whole_address)


def other(server: str) -> str:
    """Of two."""
    return OTHER_SERVER if server == SERVER else SERVER


def opens(director: Director, sport: int, src: str = CLIENT, dport: int = 80) -> str:
    """The server to which a client's new connection goes."""
    return str(director.send(inbound(tcp("S", sport=sport, dport=dport), src=src)).one()[IP].dst)


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_client_stays(director: Director, scheduler: str) -> None:
    """B44: whatever the scheduler would say, a client's new connections go where its last one went; other clients go
    elsewhere."""
    director.service(ALL, scheduler=scheduler, persistence=keep())
    (server,) = {opens(director, n) for n in range(1, 20)}
    assert {opens(director, 1, f"2.0.0.{n}") for n in range(1, 60)} >= set(ALL) - {server}


def test_from_the_last_connection_on(director: Director) -> None:
    """B44: the time counts from the client's last new connection; packets of living ones do not prolong it."""
    director.service([SERVER, OTHER_SERVER], persistence=keep(10))
    server = opens(director, 1)
    for n in range(2, 5):
        director.later(9.9)
        assert opens(director, n) == server
    opens(director, 1, OTHER_CLIENT)  # the round: the next one goes to `server`, and the one after it does not
    opens(director, 1, "2.0.0.1")
    director.later(9.9)
    director.send(inbound(tcp("A", sport=4)))
    director.later(0.2)
    assert opens(director, 5) == other(server)


def test_udp(director: Director) -> None:
    """B44: flows of UDP are new connections, too."""
    director.service(ALL, engine.UDP, persistence=keep())
    assert len({director.send(inbound(udp(sport=n))).one()[IP].dst for n in range(1, 10)}) == 1


@pytest.mark.parametrize("how", ["drained", "removed", "full"])
def test_gives_way(director: Director, how: str) -> None:
    """B44: to a server that takes no new connections the client does not come back; the next one is remembered, and
    stays when the first is there again."""
    director.service({SERVER: 1, OTHER_SERVER: 0}, persistence=keep())
    assert opens(director, 1) == SERVER
    if how == "drained":
        director.service({SERVER: 0, OTHER_SERVER: 1}, persistence=keep())
    elif how == "removed":
        director.service([OTHER_SERVER], first=1, persistence=keep())
    else:
        director.service([SERVER, OTHER_SERVER], most={SERVER: 1}, persistence=keep())
    assert opens(director, 2) == OTHER_SERVER
    director.service([SERVER, OTHER_SERVER], persistence=keep())
    assert {opens(director, n) for n in range(3, 9)} == {OTHER_SERVER}


def test_all_full(director: Director) -> None:
    """B44, B29: where no server has room, the client is refused like everybody."""
    director.service(most={SERVER: 1}, persistence=keep())
    assert opens(director, 1) == SERVER
    director.send(inbound(tcp("S", sport=2)), drops={"server_full": 1})


def test_an_id_that_another_server_has(director: Director) -> None:
    """B44: a server that has the id of the former one is not taken for it."""
    director.service({SERVER: 1, OTHER_SERVER: 0}, persistence=keep(1000))
    assert opens(director, 1) == SERVER
    director.service([OTHER_SERVER], first=1, persistence=keep(1000))
    director.wait(250)
    engine.release_server(0)
    director.service({THIRD: 1, OTHER_SERVER: 1}, persistence=keep(1000))
    seen = [opens(director, n, src) for n, src in enumerate([OTHER_CLIENT, CLIENT], 10)]
    assert set(seen) == {THIRD, OTHER_SERVER}


def test_each_service_for_itself(director: Director) -> None:
    """B44: without whole_address a service knows nothing of another one's clients."""
    director.service([SERVER, OTHER_SERVER], persistence=keep())
    director.service([OTHER_SERVER, SERVER], id=1, first=2, vport=443, persistence=keep())
    here = opens(director, 1)
    if opens(director, 1, OTHER_CLIENT, 443) == other(here):
        opens(director, 2, "2.0.0.1", 443)  # the round: next is the other one
    there = opens(director, 2, dport=443)
    assert there == other(here)
    assert opens(director, 3) == here
    assert opens(director, 4, dport=443) == there


def test_the_whole_address(director: Director) -> None:
    """B44: services of one address that say so send a client to the same real address, each to its own server there; a
    service of the address that does not say so goes its own way, and so does another address."""
    director.service(ALL, persistence=keep(whole_address=True))
    director.service(ALL[::-1], id=1, first=3, vport=443, persistence=keep(whole_address=True))
    director.service(ALL, id=2, first=6, vport=444, persistence=keep())
    director.service(ALL, id=3, first=9, vport=443, vip="10.0.1.9", persistence=keep(whole_address=True))
    servers = set()
    for n, client in enumerate([CLIENT, OTHER_CLIENT, "2.0.0.1"]):
        first = opens(director, 10 + n, client)
        servers.add(first)
        assert opens(director, 20 + n, client, 443) == first
        assert opens(director, 30 + n, client) == first
    assert servers == set(ALL)
    assert {opens(director, 40, client, 444) for client in [CLIENT, *["2.0.0.1"] * 2, OTHER_CLIENT]} == set(ALL)
    elsewhere = [
        inbound(tcp("S", dport=443), src=client, dst="10.0.1.9") for client in (CLIENT, OTHER_CLIENT, "2.0.0.1")
    ]
    assert {p[IP].dst for p in director.send(*elsewhere).to_network} == set(ALL)


def test_the_whole_address_gives_way(director: Director) -> None:
    """B44: where the other service has no eligible server at that address, its choice is the client's server from then
    on."""
    director.service({SERVER: 1, OTHER_SERVER: 0}, persistence=keep(whole_address=True))
    director.service({SERVER: 0, OTHER_SERVER: 1}, id=1, first=2, vport=443, persistence=keep(whole_address=True))
    assert opens(director, 1) == SERVER
    assert opens(director, 2, dport=443) == OTHER_SERVER
    director.service([SERVER, OTHER_SERVER], persistence=keep(whole_address=True))
    assert [opens(director, n) for n in (3, 4)] == [OTHER_SERVER] * 2


def test_a_parked_packet_keeps_its_server(director: Director) -> None:
    """B44, B40: a client whose server is not reachable yet waits for it, and is remembered there."""
    director.service([SERVER, OTHER_SERVER], persistence=keep(), hops={SERVER: None, OTHER_SERVER: None})
    director.send(inbound(tcp("S", sport=1)))
    director.send(inbound(tcp("S", sport=2)))
    for n, server in enumerate([SERVER, OTHER_SERVER]):
        director.resolve(n, 0, server_mac(server))
    (server,) = {p[IP].dst for p in director.send().to_network}
    assert opens(director, 3) == server


def test_a_connection_that_is_opened_anew(director: Director) -> None:
    """B44, B16: so does a SYN over a closed connection."""
    director.service([SERVER, OTHER_SERVER], persistence=keep())
    server = opens(director, 1)
    director.send(inbound(tcp("R", sport=1)))
    assert opens(director, 1) == server


def test_rate_of_clients(director: Director) -> None:
    """B29: each client opens as many connections a second as it may, whatever the others do; packets of those cost
    nothing."""
    director.service(limits=engine.Limits(client_rate=5))
    for src in (CLIENT, OTHER_CLIENT):
        director.send(*[inbound(tcp("S", sport=n), src=src) for n in range(1, 9)], drops={"client_rate": 3})
    assert engine.service_counters(0).inbound_drops >= 6
    director.send(*[inbound(tcp("S", sport=n)) for n in range(1, 6)] * 5)
    director.later(0.3)
    director.send(*[inbound(tcp("S", sport=n)) for n in range(6, 9)], drops={"client_rate": 2})
    director.later(100)
    director.send(*[inbound(tcp("S", sport=n)) for n in range(16, 24)], drops={"client_rate": 3})


def test_listed_clients(director: Director) -> None:
    """B29: a client of the list has its own rate, more or less than the others', or may open none at all."""
    clients = ((bytes([2, 0, 0, 1]), 2), (bytes([2, 0, 0, 2]), 7), (bytes([1, 0, 0, 9]), 0))
    for rate, expected in ((4, 4), (0, 10)):
        director.service(limits=engine.Limits(client_rate=rate, clients=clients))
        director.later(10)
        for src, n in (("2.0.0.1", 2), ("2.0.0.2", 7), ("1.0.0.9", 0), ("2.0.0.3", expected)):
            frames = [inbound(tcp("S", sport=rate * 100 + k), src=src) for k in range(1, 11)]
            director.send(*frames, drops={"client_rate": 10 - n} if n < 10 else None)


def test_what_is_refused_before(director: Director) -> None:
    """B29: what the service itself refuses costs the client nothing, nor does being refused cost it anything later."""
    director.service(limits=engine.Limits(connections=2, client_rate=3))
    director.send(*[inbound(tcp("S", sport=n)) for n in range(1, 11)], drops={"service_full": 8})
    director.service(limits=engine.Limits(client_rate=3))
    director.send(*[inbound(tcp("S", sport=n)) for n in range(11, 111)], drops={"client_rate": 99})
    director.later(1.1)
    director.send(*[inbound(tcp("S", sport=n)) for n in range(211, 215)], drops={"client_rate": 1})


def test_rate_and_persistence(director: Director) -> None:
    """B29, B44: both for one client; a connection that is refused keeps nothing alive."""
    director.service([SERVER, OTHER_SERVER], limits=engine.Limits(client_rate=1), persistence=keep(3))
    server = opens(director, 1)
    director.send(*[inbound(tcp("S", sport=n)) for n in range(10, 20)], drops={"client_rate": 10})
    director.later(2.9)
    director.service([SERVER, OTHER_SERVER], limits=engine.Limits(clients=((b"\1\1\1\1", 0),)), persistence=keep(3))
    director.send(*[inbound(tcp("S", sport=n)) for n in range(10, 20)], drops={"client_rate": 10})
    director.service([SERVER, OTHER_SERVER], limits=engine.Limits(client_rate=1), persistence=keep(3))
    opens(director, 1, OTHER_CLIENT)
    opens(director, 1, "2.0.0.1")
    director.later(0.2)
    assert opens(director, 2) == other(server)


def test_a_flood_of_clients(director: Director) -> None:
    """B29, B44: whoever floods with forged addresses fills a table of fixed size, 16 bytes for each connection that
    there may be; a living connection is not touched, and new clients are served as before."""
    (size,) = [area.length for area in engine.written_by(0) if area.name == "clients"]
    assert size == 16 * CONNECTIONS
    director.service(ALL, limits=engine.Limits(client_rate=5), persistence=keep())
    sent = director.send(inbound(tcp("S", sport=1))).one()
    director.send(outbound(sent, tcp("SA")))
    director.send(inbound(tcp("A", sport=1)))
    frame = bytearray(inbound(tcp("S"), src="2.0.0.1"))
    for block in range(3 * CONNECTIONS // 1000):
        flood = []
        for n in range(1000):
            frame[26:30] = (0x02000000 + 1000 * block + n + 1).to_bytes(4, "big")
            flood.append(bytes(frame))
        assert len(director.turn(flood)) == 1000
    assert director.send(inbound(tcp("A", sport=1))).one()[IP].dst == sent[IP].dst
    assert len({opens(director, n, OTHER_CLIENT) for n in range(1, 6)}) == 1
    director.send(inbound(tcp("S", sport=7), src=OTHER_CLIENT), drops={"client_rate": 1})


def test_after_a_wrap_of_the_clock(director: Director) -> None:
    """B44: 49.7 days later the worker's clock shows the same time, and the client is forgotten nevertheless."""
    director.service([SERVER, OTHER_SERVER], persistence=keep())
    server = opens(director, 1)
    for _ in range(4):
        director.wait(2**30 / 1000)
    assert opens(director, 2) == other(server)


def test_reads_like_the_table(director: Director) -> None:
    """B44: what the connection table says of a client agrees with where its packets go."""
    director.service(ALL, persistence=keep())
    server = opens(director, 1)
    opens(director, 2)
    assert dotted(c.real[0] for c in director.connections()) == [server] * 2
