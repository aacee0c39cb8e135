"""Pages of connections, and what they say."""

import pytest

from fastpath import engine
from tests.packets.bulk import establish, packets, through
from tests.packets.director import Director
from tests.packets.frames import inbound, outbound, tcp, udp


def pages(limit: int, protocol: int = engine.TCP) -> list[list[engine.Connection]]:
    found: list[list[engine.Connection]] = []
    cursor: int | None = 0
    while cursor is not None:
        rows, cursor = engine.connections(0, protocol, cursor, limit)
        found.append(rows)
    return found


def test_a_row(director: Director) -> None:
    """All ends, state, silence and timeout of a connection, as they are."""
    director.service()
    to_server = director.send(inbound(tcp("S"))).one()
    director.send(outbound(to_server, tcp("SA")))
    director.send(inbound(tcp("A")))
    director.wait(12.5)
    lport = to_server.payload.payload.sport
    assert director.connections() == [
        engine.Connection(
            worker=0, protocol=engine.TCP, client=(b"\1\1\1\1", 1000), virtual=(b"\n\0\1\1", 80),
            local=(b"\n\0\2\1", lport), real=(b"\1\1\1\3", 80), flags=0, state="ESTABLISHED", idle=12.5, timeout=7440,
            server=0,
        )
    ]  # fmt: skip


@pytest.mark.parametrize("limit", [1, 7, 100, 1000, 5000])
def test_pages_are_complete(director: Director, limit: int) -> None:
    """Each connection is in exactly one page, none is longer than the limit, asking again gives the same."""
    director.service()
    establish(director, range(1000))
    found = pages(limit)
    assert all(len(page) <= limit for page in found)
    rows = [row for page in found for row in page]
    assert len({row.client for row in rows}) == len(rows) == 1000
    assert [row for page in pages(limit) for row in page] == rows


def test_protocols_apart(director: Director) -> None:
    """A page holds the protocol that was asked for; the other one's entries lie between."""
    director.service()
    director.service(protocol=engine.UDP, id=1, first=1)
    for sport in range(1, 51):
        director.send(inbound(tcp("S", sport=sport)), inbound(udp(sport=sport)))
    for protocol in (engine.TCP, engine.UDP):
        rows = [row for page in pages(10, protocol) for row in page]
        assert sorted(row.client[1] for row in rows) == list(range(1, 51))
        assert {row.protocol for row in rows} == {protocol}


def test_stable_under_change(director: Director) -> None:
    """A connection that lives through the whole dump is in it once, whatever comes and goes meanwhile."""
    director.service()
    establish(director, range(500))
    seen: list[tuple[bytes, int]] = []
    cursor: int | None = 0
    fresh = 1000
    while cursor is not None:
        rows, cursor = engine.connections(0, engine.TCP, cursor, 50)
        seen += [row.client for row in rows if row.state == "ESTABLISHED"]
        through(director, packets(range(fresh, fresh + 20)))
        fresh += 20
    assert len(seen) == len(set(seen)) == 500


def test_nothing_to_show(director: Director) -> None:
    """No connections: one empty page, and that was the last."""
    assert pages(10) == [[]]


@pytest.mark.parametrize("arguments", [(1, 6), (64, 6), (0, 6, 0, 0), (0, 6, 0, (1 << 20) + 1)])
def test_bad_questions(director: Director, arguments: tuple[int, ...]) -> None:
    """A worker or a limit that cannot be is refused with its value and what was expected."""
    with pytest.raises(engine.EngineError, match="expected"):
        engine.connections(*arguments)
