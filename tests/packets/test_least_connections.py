"""lc and wlc, and what they count: B24. Their shares on several workers: tests/fastpath/test_loads.py."""

from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scapy.packet import Packet

from fastpath import engine
from tests.packets.bulk import establish, packets, through
from tests.packets.director import Director, dotted
from tests.packets.frames import OTHER_SERVER, SERVER, inbound, outbound, tcp, udp

THIRD_SERVER = "1.1.1.5"
FOUR = ["1.1.1.3", "1.1.1.4", "1.1.1.5", "1.1.1.6"]
COUNTED = {"ESTABLISHED", "UDP"}


def choices(director: Director, first: int, n: int) -> Counter[str]:
    return Counter(dotted(way.server for way in through(director, packets(range(first, first + n)))))


def open_now(director: Director) -> Counter[str]:
    return Counter(dotted(connection.real[0] for connection in director.connections()))


def check_established(director: Director) -> None:
    """The counters say what a dump says."""
    rows = director.connections() + director.connections(engine.UDP)
    for server in director.servers:
        counted = engine.server_counters(server)
        assert counted.active == sum(row.server == server for row in rows)
        assert counted.established == sum(row.server == server and row.state in COUNTED for row in rows)


@pytest.mark.parametrize("scheduler", ["lc", "wlc"])
def test_two_servers_are_compared_each_time(director: Director, scheduler: str) -> None:
    """B24: with one worker and two servers, connections that last are shared exactly, off by one."""
    director.service({SERVER: 3, OTHER_SERVER: 1} if scheduler == "wlc" else FOUR[:2], scheduler=scheduler)
    parts = (3, 1) if scheduler == "wlc" else (1, 1)
    for n in range(0, 240, 8):
        choices(director, n, 8)
        got = open_now(director)
        for server, part in zip((SERVER, OTHER_SERVER), parts, strict=True):
            assert abs(got[server] - (n + 8) * part / sum(parts)) <= 1


def test_many_between_two_sums(director: Director) -> None:
    """B24: 2,000 connections between two sums spread as if each were known: 2 % off the mean at most."""
    director.service(FOUR, scheduler="lc")
    establish(director, range(400))
    engine.weigh()
    establish(director, range(400, 2400))
    assert all(abs(n - 600) <= 12 for n in open_now(director).values())


def test_a_server_that_answers_no_syn_draws_no_more_than_its_share(director: Director) -> None:
    """B24: half-open connections count in full."""
    director.service(FOUR[:2], scheduler="lc")
    choices(director, 0, 100)
    assert open_now(director) == {SERVER: 50, OTHER_SERVER: 50}


def test_a_new_server_catches_up(director: Director) -> None:
    """B24: it is preferred until it has as many as the others, and not beyond."""
    director.service(FOUR[:3], scheduler="lc")
    establish(director, range(600))
    director.service(FOUR, scheduler="lc")
    for round in range(6, 32):
        establish(director, range(100 * round, 100 * round + 100))
        engine.weigh()
    assert all(abs(n - 800) <= 16 for n in open_now(director).values())


def test_sums_are_there_when_the_scheduler_changes(director: Director) -> None:
    """B24: what servers carry from the time of another scheduler counts from the first connection on."""
    director.service({SERVER: 1, OTHER_SERVER: 0}, scheduler="rr")
    establish(director, range(100))
    director.service(FOUR[:2], scheduler="lc")
    assert choices(director, 100, 100) == {OTHER_SERVER: 100}
    assert set(choices(director, 200, 50)) == {SERVER, OTHER_SERVER}


@pytest.mark.parametrize("scheduler", ["lc", "wlc"])
def test_nothing_new_for_a_drained_server(director: Director, scheduler: str) -> None:
    """B24, B26: nor for one that has left, however idle they are; without any other, connections are refused."""
    director.service(dict.fromkeys(FOUR, 2), scheduler=scheduler)
    assert set(choices(director, 0, 40)) == set(FOUR)
    director.service({SERVER: 2, OTHER_SERVER: 0, THIRD_SERVER: 2}, scheduler=scheduler)
    assert set(choices(director, 100, 100)) == {SERVER, THIRD_SERVER}
    director.service({SERVER: 0, OTHER_SERVER: 0, THIRD_SERVER: 0}, scheduler=scheduler)
    director.turn(list(packets(range(300, 310))), drops={"no_server": 10})


def test_an_unresolved_server_is_passed_over(director: Director) -> None:
    """B24, B40: as long as another can be reached; nothing waits for it."""
    director.service(FOUR[:2], scheduler="lc", hops={OTHER_SERVER: None})
    assert choices(director, 0, 20) == {SERVER: 20}
    director.resolve(1, 0, "02:00:00:00:02:04")
    assert choices(director, 100, 20) == {OTHER_SERVER: 20}


def test_without_load_the_draw_decides(director: Director) -> None:
    """B24: one client whose connections never overlap meets all servers, and wlc gives by weight."""
    director.service({SERVER: 9, OTHER_SERVER: 1, THIRD_SERVER: 0}, scheduler="wlc")
    got: Counter[str] = Counter()
    for _ in range(300):
        (raw,) = director.turn(list(packets(range(1))))
        got.update(dotted([raw[1][30:34]]))
        director.wait(4 + 240)
    assert 250 < got[SERVER] < 290
    assert set(got) == {SERVER, OTHER_SERVER}


def of_server(sent: Packet, flags: str) -> bytes:
    return outbound(sent, tcp(flags))


STORIES = {
    "handshake": [("S", 0), ("s", 0), ("A", 1)],
    "client closes": [("S", 0), ("s", 0), ("A", 1), ("F", 0), ("f", 0)],
    "server closes": [("S", 0), ("s", 0), ("A", 1), ("f", 0), ("F", 0)],
    "client's reset": [("S", 0), ("s", 0), ("A", 1), ("R", 0)],
    "server refuses": [("S", 0), ("r", 0)],
    "opened again": [("S", 0), ("s", 0), ("A", 1), ("R", 0), ("S", 0), ("s", 0), ("A", 1)],
}


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
def test_established(director: Director, story: list[tuple[str, int]]) -> None:
    """B24, B32: from the client's ACK to the first FIN or RST."""
    flags = {"s": "SA", "f": "FA", "r": "RA", "F": "FA", "A": "A", "R": "R", "S": "S"}
    director.service(scheduler="lc")
    to_server = None
    for step, established in story:
        if step.islower():
            assert to_server is not None
            director.send(of_server(to_server, flags[step]))
        else:
            sent = director.send(inbound(tcp(flags[step]))).one()
            to_server = sent if step == "S" else to_server
        assert engine.server_counters(0).established == established
        check_established(director)
    director.wait(3 * 7440)
    assert engine.server_counters(0)[-1] == engine.server_counters(0).active == 0


def test_established_udp(director: Director) -> None:
    """B24, B18: UDP connections count from their first packet on, until they are silent for too long."""
    director.service(protocol=engine.UDP, scheduler="lc")
    director.send(inbound(udp()), inbound(udp(sport=7)))
    check_established(director)
    assert engine.server_counters(0).established == 2
    director.wait(310)
    assert engine.server_counters(0).established == 0


def test_established_after_a_sweep(director: Director) -> None:
    """B24, B26: connections that are reset here are none any more."""
    director.service(FOUR[:2], scheduler="lc")
    establish(director, range(20))
    check_established(director)
    director.service(FOUR[:1], scheduler="lc", reset=[1])
    director.sweep()
    assert (engine.server_counters(0).established, engine.server_counters(1).established) == (10, 0)
    check_established(director)


STEPS = st.tuples(
    st.integers(0, 5),
    st.sampled_from(["S", "A", "FA", "R", "server SA", "server FA", "server RA", "wait", "sweep", "udp"]),
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])  # begins and ends with reset()
@given(steps=st.lists(STEPS, max_size=60))
def test_established_is_what_a_dump_shows(director: Director, steps: list[tuple[int, str]]) -> None:
    """B24: after any packets of six clients, waiting and resetting among them."""
    director.reset()
    director.service(FOUR[:2], scheduler="lc")
    director.service(FOUR[:2], engine.UDP, "wlc", id=1, first=2)
    sent: dict[int, Packet] = {}
    for client, what in steps:
        source = {"src": f"1.1.2.{client}"}
        if what == "wait":
            director.wait(5 * (client + 1) ** 2)
        elif what == "sweep":
            director.service([FOUR[client % 2]], scheduler="lc", first=client % 2, reset=[1 - client % 2])
            director.sweep()
            director.service(FOUR[:2], scheduler="lc")
        elif what == "udp":
            engine.run_once([inbound(udp(), **source)], now=director.seconds())
        elif what.startswith("server"):
            if client in sent:
                engine.run_once([of_server(sent[client], what.split()[1])], now=director.seconds())
        else:
            left = director._sent(engine.run_once([inbound(tcp(what), **source)], now=director.seconds()))
            if what == "S" and left.to_network:
                sent[client] = left.to_network[0]
        check_established(director)
    director.reset()
