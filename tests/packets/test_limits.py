"""Limits of a service and of its servers, seen by one worker: exact, and for new connections only."""

from collections import Counter
from collections.abc import Iterable

import pytest
from scapy.layers.inet import IP
from scapy.packet import Packet

from fastpath import engine
from tests.packets.director import Director, dotted
from tests.packets.frames import OTHER_SERVER, SERVER, inbound, outbound, server_mac, tcp, udp

THIRD = "1.1.1.5"
SCHEDULERS = ["rr", "wrr", "ipport", "iponly", "lc", "wlc"]


def syns(ports: Iterable[int], src: str = "1.1.1.1") -> list[bytes]:
    return [inbound(tcp("S", sport=n), src=src) for n in ports]


def connect(director: Director, *ports: int) -> list[Packet]:
    """Established connections of these client ports; their SYNs as servers see them."""
    sent = director.send(*syns(ports)).to_network
    director.send(*[outbound(p, tcp("SA")) for p in sent])
    director.send(*[inbound(tcp("A", sport=n)) for n in ports])
    return sent


def end(director: Director, *ports: int) -> None:
    """Connections of these client ports, by a RST."""
    director.send(*[inbound(tcp("R", sport=n)) for n in ports])


def by_server(director: Director, protocol: int = engine.TCP) -> Counter[str]:
    return Counter(dotted(c.real[0] for c in director.connections(protocol)))


def test_connections_of_a_service(director: Director) -> None:
    """B29: as many connections as the service may have; what comes beyond is dropped under its own reason, and counted
    for the service; the living ones go on."""
    director.service([SERVER, OTHER_SERVER], limits=engine.Limits(connections=3))
    before = engine.service_counters(0).inbound_drops
    director.send(*syns(range(1, 6)), drops={"service_full": 2})
    assert engine.service_counters(0).inbound_drops == before + 2
    assert sorted(c.client[1] for c in director.connections()) == [1, 2, 3]
    director.send(*syns([1, 2, 3]), *syns([4]), drops={"service_full": 1})
    director.send(*[inbound(tcp("A", sport=n)) for n in (1, 2, 3)])


@pytest.mark.parametrize("flags", ["FA", "R", "RA"])
def test_a_place_is_free_when_a_connection_closes(director: Director, flags: str) -> None:
    """B29: a connection counts to its first FIN or RST, though its entry stays for a while."""
    director.service(limits=engine.Limits(connections=2))
    connect(director, 1, 2)
    director.send(*syns([3]), drops={"service_full": 1})
    director.send(inbound(tcp(flags, sport=1)))
    director.send(*syns([3, 4]), drops={"service_full": 1})
    assert director.in_use() == 3


def test_the_server_closes(director: Director) -> None:
    """B29: so it is when the server closes first, and when both have."""
    director.service(limits=engine.Limits(connections=1))
    (sent,) = connect(director, 1)
    director.send(outbound(sent, tcp("FA")))
    director.send(inbound(tcp("FA", sport=1)))
    connect(director, 2)
    director.send(*syns([3]), drops={"service_full": 1})


def test_a_place_is_free_when_a_connection_expires(director: Director) -> None:
    """B29: established connections and UDP flows count until they are forgotten."""
    director.service(timeout=300, limits=engine.Limits(connections=1))
    director.service(protocol=engine.UDP, id=1, first=1, limits=engine.Limits(connections=1))
    connect(director, 1)
    director.send(inbound(udp(sport=1)))
    director.wait(200)
    director.send(*syns([2]), inbound(udp(sport=2)), drops={"service_full": 2})
    director.wait(303)
    director.send(*syns([2]), inbound(udp(sport=2)))


@pytest.mark.parametrize("whose", ["service", "server"])
def test_forged_syns_do_not_keep_the_places(director: Director, whose: str) -> None:
    """B23, B29: a half-open connection whose client had time to answer makes room for the next one; no established one,
    and none of another service."""
    if whose == "service":
        director.service(limits=engine.Limits(connections=3))
    else:
        director.service([SERVER], most={SERVER: 3})
    full = f"{whose}_full"
    connect(director, 1)
    director.send(*syns([2, 3], "9.9.9.9"))
    director.later(3.9)
    director.send(*syns([4]), drops={full: 1})
    director.later(0.2)
    connect(director, 4, 5)
    director.send(*syns([6]), drops={full: 1})
    assert sorted(c.client[1] for c in director.connections()) == [1, 4, 5]
    director.service(id=1, first=1, vport=443)
    director.send(inbound(tcp("S", sport=7, dport=443), src="9.9.9.9"))
    director.later(100)
    director.send(*syns([6]), drops={full: 1})


def test_another_connection_in_the_same_place(director: Director) -> None:
    """B29, B16: at the limit, a SYN that opens a closed connection anew takes the place that this one had."""
    director.service(most={SERVER: 1}, limits=engine.Limits(connections=1))
    connect(director, 1)
    end(director, 1)
    director.send(*syns([1]))
    assert director.states() == ["SYN_SENT"]
    director.send(*syns([2]), drops={"service_full": 1})


@pytest.mark.parametrize("n", [1, 20])
def test_reopened_within_a_burst(director: Director, n: int) -> None:
    """B29: entries that a burst has retired, and that are free at its end only, hold no place of their server."""
    director.service(most={SERVER: n})
    connect(director, *range(1, n + 1))
    end(director, *range(1, n + 1))
    director.send(*syns(range(1, n + 1)))
    assert director.states() == ["SYN_SENT"] * n
    director.send(*syns([99]), drops={"server_full": 1})


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_full_server(director: Director, scheduler: str) -> None:
    """B29: another server of the service takes what a full one cannot; dropped is only what finds none."""
    most = {SERVER: 2, OTHER_SERVER: 7, THIRD: 4}
    director.service(most, scheduler=scheduler, most=most)
    sources = [f"2.0.0.{n}" for n in range(1, 17)]
    frames = [inbound(tcp("S", sport=n), src=src) for n, src in enumerate(sources, 1)]
    before = engine.service_counters(0).inbound_drops
    director.send(*frames, drops={"server_full": 3})
    assert by_server(director) == most
    assert engine.service_counters(0).inbound_drops == before + 3


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_drained_server_is_no_way_out(director: Director, scheduler: str) -> None:
    """B29, B26: where the others are full, a server of weight 0 still gets nothing."""
    director.service({SERVER: 1, OTHER_SERVER: 0}, scheduler=scheduler, most={SERVER: 1})
    director.send(*syns([1, 2]), drops={"server_full": 1})


@pytest.mark.parametrize("scheduler", ["rr", "wrr", "ipport"])
def test_one_small_server_among_many(director: Director, scheduler: str) -> None:
    """B29: one that has room is found among as many full ones as there are tries, though the round seldom meets it."""
    full = [f"1.1.1.{n}" for n in range(10, 73)]
    director.service({**dict.fromkeys(full, 100), SERVER: 1}, scheduler=scheduler, most=dict.fromkeys(full, 1))
    for n in range(8):
        director.send(*syns(range(1 + 20 * n, 21 + 20 * n)))
    assert by_server(director) == {**dict.fromkeys(full, 1), SERVER: 160 - len(full)}


def test_directors_agree_on_the_next_server(director: Director) -> None:
    """B25, B29: which server stands in for a full one depends on the client alone, in whatever order they come."""
    sources = [f"2.0.0.{n}" for n in range(1, 41)]
    servers = [SERVER, OTHER_SERVER, THIRD, "1.1.1.6"]
    found = []
    for order in (sources, sources[::-1]):
        director.service(servers, scheduler="iponly", most={SERVER: 1})
        director.send(inbound(tcp("S", sport=1), src="2.0.1.1"))  # whoever it goes to: fills nothing but SERVER
        while by_server(director)[SERVER] == 0:
            director.send(inbound(tcp("S", sport=1), src=f"2.0.2.{director.in_use()}"))
        director.send(*[inbound(tcp("S", sport=2), src=src) for src in order])
        rows = [c for c in director.connections() if c.client[1] == 2]
        found.append({dotted([c.client[0]])[0]: dotted([c.real[0]])[0] for c in rows})
        director.wait(250)
    assert found[0] == found[1]
    assert set(found[0].values()) == set(servers) - {SERVER}


def test_rate_of_a_service(director: Director) -> None:
    """B29: as many new connections a second as it may, a second's worth at once after a pause; packets of
    living connections cost nothing."""
    director.service(protocol=engine.UDP, limits=engine.Limits(rate=5))
    director.wait(10)
    director.send(*[inbound(udp(sport=n)) for n in range(1, 9)], drops={"connection_rate": 3})
    director.send(*[inbound(udp(sport=n)) for n in (1, 2, 3, 4, 5)] * 4)
    director.later(0.199)
    director.send(inbound(udp(sport=6)), drops={"connection_rate": 1})
    director.later(0.001)
    director.send(inbound(udp(sport=6)), inbound(udp(sport=7)), drops={"connection_rate": 1})
    director.later(60)
    director.send(*[inbound(udp(sport=n)) for n in range(10, 16)], drops={"connection_rate": 1})


def test_what_is_refused_costs_nothing(director: Director) -> None:
    """B29: a connection that was refused, for whatever reason, has taken nothing from the service's rate."""
    director.service(limits=engine.Limits(connections=1, rate=3))
    director.wait(10)
    connect(director, 1)
    director.send(*syns(range(2, 10)), drops={"service_full": 8})
    end(director, 1)
    director.send(*syns([2]))
    end(director, 2)
    director.locals()
    director.send(*syns([3, 3]), drops={"no_local_port": 2})
    director.locals("10.0.2.1")
    director.send(*syns([3]))
    end(director, 3)
    director.send(*syns([4]), drops={"connection_rate": 1})


def test_a_limit_is_lowered(director: Director) -> None:
    """B29: under a limit that is lower than what there is, living connections go on, and new ones wait for their number
    to fall below; without a limit all are welcome again."""
    director.service(limits=engine.Limits(connections=5), most={SERVER: 5})
    connect(director, 1, 2, 3, 4)
    director.service(limits=engine.Limits(connections=2), most={SERVER: 2})
    director.send(*[inbound(tcp("A", sport=n)) for n in (1, 2, 3, 4)])
    for n in (1, 2):
        end(director, n)
        director.send(*syns([9]), drops={"service_full": 1})
    end(director, 3)
    director.send(*syns([9, 10]), drops={"service_full": 1})
    director.service()
    director.send(*syns(range(20, 40)))


def test_a_limit_is_set_later(director: Director) -> None:
    """B29: connections count from the first one on, before there is a limit."""
    director.service()
    connect(director, 1, 2)
    director.service(limits=engine.Limits(connections=3))
    director.send(*syns([3, 4]), drops={"service_full": 1})


def test_a_server_that_leaves_and_comes_back(director: Director) -> None:
    """B29, B26: connections of a removed server still count for the service, and for the server when it is back."""
    director.service([SERVER, OTHER_SERVER], limits=engine.Limits(connections=4), most={SERVER: 2})
    connect(director, 1, 2, 3, 4)
    director.service([OTHER_SERVER], first=1, limits=engine.Limits(connections=4))
    director.send(*syns([5]), drops={"service_full": 1})
    director.service([SERVER, OTHER_SERVER], limits=engine.Limits(connections=6), most={SERVER: 2})
    director.send(*syns([5, 6, 7]), drops={"service_full": 1})
    assert by_server(director) == {SERVER: 2, OTHER_SERVER: 4}


def test_a_service_that_comes_back(director: Director) -> None:
    """B29: what a service left open when it was removed is counted down as it ends: under its id the next one has its
    whole limit."""
    director.service(limits=engine.Limits(connections=2))
    connect(director, 1, 2)
    director.remove(0)
    end(director, 1, 2)
    director.service([OTHER_SERVER], first=1, vport=82, limits=engine.Limits(connections=2))
    director.send(*[inbound(tcp("S", sport=n, dport=82)) for n in (1, 2, 3)], drops={"service_full": 1})


def test_reset_makes_room(director: Director) -> None:
    """B29, B26: connections that are reset with their server count no longer."""
    director.service([SERVER, OTHER_SERVER], limits=engine.Limits(connections=2))
    connect(director, 1, 2)
    director.service([OTHER_SERVER], first=1, limits=engine.Limits(connections=2), reset=[0])
    assert director.sweep()[0] == 1
    director.send(*syns([3, 4]), drops={"service_full": 1})


def test_parked_packets(director: Director) -> None:
    """B29, B40: what waits for a MAC address is judged when it opens its connection, and is charged once."""
    director.service(hops={SERVER: None}, limits=engine.Limits(connections=2, rate=2, client_rate=3))
    director.wait(10)
    director.send(*syns([1, 2, 3]))
    assert director.parked() == 3
    director.resolve(0, 0, server_mac(SERVER))
    assert len(director.send(drops={"service_full": 1}).to_network) == 2
    end(director, 1)
    director.send(*syns([4]), drops={"connection_rate": 1})


def test_a_server_that_fills_up_meanwhile(director: Director) -> None:
    """B29, B40: a packet that waited for a server which is full by now goes to another one."""
    director.service([SERVER, OTHER_SERVER], most={SERVER: 1}, hops={SERVER: None})
    for n in range(1, 5):
        director.send(*syns([n]))
    assert director.parked() == 2
    director.resolve(0, 0, server_mac(SERVER))
    left = director.send().to_network
    assert sorted(p[IP].dst for p in left) == [SERVER, OTHER_SERVER]


def test_no_limit(director: Director) -> None:
    """B29: 0 is no limit."""
    director.service(limits=engine.Limits(0, 0, 0, ()), most={SERVER: 0})
    for n in range(8):
        director.send(*syns(range(1 + 100 * n, 101 + 100 * n)))
    assert director.in_use() == 800
