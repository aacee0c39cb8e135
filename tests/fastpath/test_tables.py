"""The small tables: the service map against a dict, lists against lists, the frame ring against a queue."""

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fastpath import probe

ADDRESSES = st.one_of(st.integers(0, 3), st.integers(0, 2**32 - 1))
KEYS = st.tuples(ADDRESSES, st.sampled_from([0, 80, 0x5000, 0xFFFF]), st.sampled_from([0, 6, 17]))


@given(st.lists(st.tuples(KEYS, st.integers(1, 3), st.integers(0, 65535)), max_size=60), st.lists(KEYS, max_size=20))
def test_service_map(added: list[tuple[tuple[int, int, int], int, int]], strangers: list[tuple[int, int, int]]) -> None:
    """The service map answers as a dict whose keys keep their first kind and take its values; at most half full."""
    made = probe.Map(len(added))
    oracle: dict[tuple[int, int, int], tuple[int, int]] = {}
    for key, kind, service in added:
        made.put(*key, kind, service)
        if oracle.get(key, (kind,))[0] == kind:
            oracle[key] = kind, service
    assert made.slots >= 2 * len(oracle)
    for key in [*oracle, *strangers]:
        assert made.find(*key) == oracle.get(key)


SERVICE_KEYS = st.tuples(st.integers(1, 4), st.sampled_from([80, 81]), st.sampled_from([6, 17]))


@given(st.lists(st.tuples(SERVICE_KEYS, st.integers(0, 3), st.booleans()), max_size=200))
def test_services_come_and_go(steps: list[tuple[tuple[int, int, int], int, bool]]) -> None:
    """B28: in place, without end: a key leads to the service that took it last; an address is virtual while it has a
    service; dropping a service whose key another has taken changes nothing; room that became free is used again."""
    made = probe.Map(20)
    oracle: dict[tuple[int, int, int], int] = {}
    for key, id, comes in steps:
        if comes:
            made.serve(id, *key)
            oracle[key] = id
        else:
            made.drop(id, *key)
            if oracle.get(key) == id:
                del oracle[key]
        for port, protocol in ((80, 6), (80, 17), (81, 6), (81, 17)):
            wanted = (key[0], port, protocol)
            assert made.find(*wanted) == ((3, oracle[wanted]) if wanted in oracle else None)
        services = sum(known[0] == key[0] for known in oracle)
        assert made.find(key[0], 0, 0) == ((1, services) if services else None)
    assert made.used <= 20


@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 1000, 65536])
def test_service_map_of_any_size(n: int) -> None:
    """A map for n keys takes n keys and n more, finds each, and still says no."""
    made = probe.Map(n)
    for i in range(2 * n):
        assert made.has_room(1)
        made.put(i << 8, 80, 6, 3, i)
    assert all(made.find(i << 8, 80, 6) == (3, i) for i in range(2 * n))
    assert made.find(1, 80, 6) is None


HEADS, NODES = 3, 12
STEPS = st.lists(st.tuples(st.integers(0, HEADS - 1), st.integers(HEADS, HEADS + NODES - 1), st.sampled_from("pauo")))


@given(STEPS)
def test_lists(steps: list[tuple[int, int, str]]) -> None:
    """Push, append, unlink and pop leave every circle in the order that Python's lists have."""
    made = probe.Lists(HEADS, NODES)
    oracle: list[list[int]] = [[] for _ in range(HEADS)]
    for head, n, step in steps:
        home = next((entries for entries in oracle if n in entries), None)
        if step == "o":
            assert made.pop(head) == (oracle[head].pop(0) if oracle[head] else None)
        elif step == "u" and home is not None:
            made.unlink(n)
            home.remove(n)
        elif step in "pa" and home is None:
            (made.push if step == "p" else made.append)(head, n)
            oracle[head].insert(0 if step == "p" else len(oracle[head]), n)
        assert [made.walk(h) for h in range(HEADS)] == oracle


@given(st.lists(st.one_of(st.none(), st.binary(max_size=70)), max_size=400), st.sampled_from([0, 2**32 - 5, 2**31 - 5]))
def test_frame_ring(steps: list[bytes | None], begin: int) -> None:
    """B9: frames come out whole and in order; a full ring and an oversized frame are refused; counters wrap."""
    ring = probe.Ring(64, begin)
    queue: deque[bytes] = deque()
    for frame in steps:
        if frame is None:
            assert ring.take() == (queue.popleft() if queue else None)
        else:
            assert ring.write(frame) == (len(frame) <= 64)
            if len(frame) <= 64:
                queue.append(frame)
    while queue:
        assert ring.take() == queue.popleft()
    assert ring.take() is None


def test_full_frame_ring() -> None:
    """B9: 256 frames fill it; one taken makes room for one."""
    ring = probe.Ring(64, 2**32 - 100)
    frames = [bytes([n]) * (n % 65) for n in range(256)]
    assert all(ring.write(frame) for frame in frames)
    assert not ring.write(b"more")
    assert ring.take() == frames[0]
    assert ring.write(b"more")
    assert [ring.take() for _ in range(257)] == [*frames[1:], b"more", None]
