"""How connections end, and begin again: B14, B15, B16."""

import pytest
from scapy.layers.inet import IP, TCP
from scapy.packet import Packet

from fastpath import engine
from tests.packets.director import Director
from tests.packets.frames import OTHER_SERVER, SERVER, inbound, outbound, tcp

C, S = "client", "server"
HOUR = 3600


class Connection:
    """One TCP connection through the director, played packet by packet."""

    def __init__(self, director: Director, sport: int = 1000) -> None:
        self.director, self.sport = director, sport
        self.to_server = director.send(self.of_client("S")).one()
        director.send(self.of_server("SA"))
        director.send(self.of_client("A"))

    def of_client(self, flags: str) -> bytes:
        return inbound(tcp(flags, sport=self.sport))

    def of_server(self, flags: str) -> bytes:
        return outbound(self.to_server, tcp(flags))

    def play(self, *steps: tuple[str, str]) -> str:
        """Send (who, flags) in turn, each must pass; the state afterwards."""
        for who, flags in steps:
            self.director.send(self.of_client(flags) if who == C else self.of_server(flags)).one()
        return self.director.connections()[0].state

    def lport(self, packet: Packet) -> tuple[str, int]:
        return packet[IP].src, packet[TCP].sport


CLOSINGS = {
    "nobody": ([], "ESTABLISHED"),
    "the client half": ([(C, "FA")], "FIN_WAIT"),
    "the server half": ([(S, "FA")], "CLOSE_WAIT"),
    "the client, then the server": ([(C, "FA"), (S, "A"), (S, "FA"), (C, "A")], "TIME_WAIT"),
    "the server, then the client": ([(S, "FA"), (C, "A"), (C, "FA"), (S, "A")], "TIME_WAIT"),
    "both at once": ([(C, "FA"), (S, "FA"), (C, "A"), (S, "A")], "TIME_WAIT"),
    "the client, its FIN sent twice": ([(C, "FA"), (C, "FA"), (S, "FA"), (S, "FA")], "TIME_WAIT"),
    "the server, its FIN sent twice": ([(S, "FA"), (S, "FA"), (C, "FA"), (C, "FA")], "TIME_WAIT"),
    "the client's reset": ([(C, "R")], "CLOSE"),
    "the server's reset": ([(S, "RA")], "CLOSE"),
    "a reset within a half-close": ([(C, "FA"), (S, "R")], "CLOSE"),
    "a reset after the close": ([(C, "FA"), (S, "FA"), (C, "R")], "TIME_WAIT"),
    "a FIN with a RST in it": ([(C, "FRA")], "CLOSE"),
}
TRANSITORY = {"FIN_WAIT", "CLOSE_WAIT", "TIME_WAIT"}


@pytest.mark.parametrize(("steps", "state"), CLOSINGS.values(), ids=CLOSINGS)
def test_closing(director: Director, steps: list[tuple[str, str]], state: str) -> None:
    """B14, B15: each packet of a close passes; the entry is freed after the timeout of its state, not before."""
    director.service()
    assert Connection(director).play(*steps) == state
    timeout = 240 if state in TRANSITORY else 10 if state == "CLOSE" else 7440
    assert director.connections()[0].timeout == timeout
    director.wait(timeout - 1)
    assert director.states() == [state]
    director.wait(1 + 2)
    assert director.states() == []
    assert not engine.server_busy(0)


@pytest.mark.parametrize(("closer", "flower"), [(C, S), (S, C)])
def test_half_close_flows_for_hours(director: Director, closer: str, flower: str) -> None:
    """B14: the direction that nobody closed keeps flowing, for hours; silence then ends it."""
    director.service()
    connection = Connection(director)
    connection.play((closer, "FA"))
    for _ in range(3 * HOUR // 200):
        director.later(200)
        connection.play((flower, "PA"), (closer, "A"))
    director.wait(239)
    assert director.in_use() == 1
    director.wait(3)
    assert director.in_use() == 0


def test_packets_of_a_closed_connection_pass(director: Director) -> None:
    """B14: late packets of both ends pass while the entry lives, and change nothing."""
    director.service()
    connection = Connection(director)
    assert connection.play((C, "FA"), (S, "FA"), (C, "A"), (S, "PA"), (C, "PA")) == "TIME_WAIT"
    assert connection.play((C, "R"), (S, "A"), (C, "A"), (S, "FA")) == "TIME_WAIT"


ENDS = {"TIME_WAIT": [(C, "FA"), (S, "FA"), (C, "A")], "CLOSE": [(C, "R")]}


@pytest.mark.parametrize("end", ENDS)
def test_reopen(director: Director, end: str) -> None:
    """B16: a SYN on a tuple that ended opens a new connection at once, through another local port."""
    director.service([SERVER, OTHER_SERVER])
    connection = Connection(director)
    assert connection.play(*ENDS[end]) == end
    fresh = director.send(connection.of_client("S")).one()
    assert connection.lport(fresh) != connection.lport(connection.to_server)
    assert fresh[IP].dst != connection.to_server[IP].dst  # the round went on
    held = ["HELD"] if end == "TIME_WAIT" else []  # for who gets the old port (test_takeover.py)
    assert sorted(director.states()) == [*held, "SYN_SENT"]
    director.send(connection.of_server("A"), drops={"no_connection": 1})
    connection.to_server = fresh
    connection.play((S, "SA"), (C, "A"))
    assert sorted(director.states()) == ["ESTABLISHED", *held]


@pytest.mark.parametrize("end", ENDS)
def test_reopen_within_a_burst(director: Director, end: str) -> None:
    """B16: also with an old packet before the SYN, a second SYN and data behind it in the same burst."""
    director.service([SERVER, OTHER_SERVER])
    connection = Connection(director)
    connection.play(*ENDS[end])
    old, *new = director.send(*[connection.of_client(flags) for flags in ("A", "S", "S", "PA")]).to_network
    assert connection.lport(old) == connection.lport(connection.to_server)
    assert len({connection.lport(packet) for packet in new}) == 1
    assert connection.lport(new[0]) != connection.lport(old)
    assert "SYN_SENT" in director.states()


@pytest.mark.parametrize(("before", "last"), [([], "R"), ([(S, "FA")], "FA")])
def test_end_and_reopen_in_one_burst(director: Director, before: list[tuple[str, str]], last: str) -> None:
    """B16: the packet that ends a connection and the SYN that opens the next may come in one burst."""
    director.service()
    connection = Connection(director)
    connection.play(*before)
    connection.to_server = director.send(connection.of_client(last), connection.of_client("S")).to_network[1]
    assert connection.play((S, "SA"), (C, "A")) == "ESTABLISHED"


@pytest.mark.parametrize("state", ["SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT", "CLOSE_WAIT"])
def test_a_living_connection_is_not_reopened(director: Director, state: str) -> None:
    """B11, B16: a SYN on a connection that has not ended belongs to it: its server answers as RFC 5961 says."""
    director.service([SERVER, OTHER_SERVER])
    first = director.send(inbound(tcp("S"))).one()
    steps = {"SYN_SENT": "", "SYN_RECV": "s", "ESTABLISHED": "sa", "FIN_WAIT": "saf", "CLOSE_WAIT": "sag"}[state]
    for step in steps:
        director.send({"s": outbound(first, tcp("SA")), "a": inbound(tcp("A")), "f": inbound(tcp("FA")),
                       "g": outbound(first, tcp("FA"))}[step])  # fmt: skip
    assert director.states() == [state]
    again = director.send(inbound(tcp("S"))).one()
    assert (again[IP].dst, again[TCP].sport) == (first[IP].dst, first[TCP].sport)
    assert director.states() == [state]


@pytest.mark.parametrize(("steps", "state"), [("", "SYN_SENT"), ("s", "SYN_RECV")])
@pytest.mark.parametrize("who", [C, S])
def test_reset_of_a_half_open_connection(director: Director, steps: str, state: str, who: str) -> None:
    """B15: a refused connection is on the short timeout, and no longer half-open."""
    director.service()
    first = director.send(inbound(tcp("S"))).one()
    if steps:
        director.send(outbound(first, tcp("SA")))
    assert director.states() == [state]
    director.send(inbound(tcp("R")) if who == C else outbound(first, tcp("RA")))
    assert director.states() == ["CLOSE"]
    assert engine.worker_counters()[0].half_open == 0
    director.wait(13)
    assert director.in_use() == 0


WINDOW = 1 << 20
"""How far beyond the last acknowledgement a RST is believed."""


def conversation(director: Director, expected: int) -> Packet:
    """An established connection both ends of which are acknowledged up to `expected`; the packet to the server."""
    first = director.send(inbound(tcp("S", seq=expected - 1))).one()
    director.send(outbound(first, tcp("SA", seq=expected - 1, ack=expected)))
    director.send(inbound(tcp("A", seq=expected, ack=expected)))
    return first


@pytest.mark.parametrize("who", [C, S])
@pytest.mark.parametrize("expected", [1, 1000, 2**31, 2**32 - 1])
@pytest.mark.parametrize(
    ("beyond", "state"),
    [(0, "CLOSE"), (1, "CLOSE"), (WINDOW - 1, "CLOSE"), *[(n, "ESTABLISHED") for n in (WINDOW, 2**31, -1)]],
)
def test_reset_within_the_window(director: Director, who: str, expected: int, beyond: int, state: str) -> None:
    """B15: a RST beyond what its receiver can expect goes on, for that one to judge, but ends nothing here."""
    director.service()
    first = conversation(director, expected)
    seq = (expected + beyond) % 2**32
    director.send(inbound(tcp("R", seq=seq)) if who == C else outbound(first, tcp("R", seq=seq))).one()
    assert director.states() == [state]


def test_an_unbelieved_reset_shortens_no_life(director: Director) -> None:
    """B15: a connection that was shot at lives on after the short timeout."""
    director.service()
    first = conversation(director, 1000)
    director.send(inbound(tcp("R", seq=999)), outbound(first, tcp("R", seq=5)))
    director.wait(60)
    director.send(inbound(tcp("A", seq=1000, ack=1000))).one()


@pytest.mark.parametrize(("seq", "state"), [(8, "CLOSE"), (8 + WINDOW, "SYN_RECV"), (7, "SYN_RECV")])
def test_reset_of_a_client_that_the_server_has_answered(director: Director, seq: int, state: str) -> None:
    """B15: from the SYN-ACK on it is known what the server expects of the client."""
    director.service()
    first = director.send(inbound(tcp("S", seq=7))).one()
    director.send(outbound(first, tcp("SA", seq=70, ack=8)))
    director.send(inbound(tcp("R", seq=seq))).one()
    assert director.states() == [state]
