"""Whose turn it is, and what a second costs at most."""

from collections import Counter

import pytest

from jupiter.host.rotation import Rotation


def run(rotation: Rotation[int], seconds: int, step: float = 0.25) -> list[tuple[float, int]]:
    """(when, who) of what is due in so many seconds, asked each `step`."""
    times = [number * step for number in range(round(seconds / step))]
    return [(now, key) for now in times for key in rotation.due(now)]


def test_few_are_due_once_a_period() -> None:
    """While the rate allows, each key comes once a period, the first time a period after it was added."""
    rotation: Rotation[int] = Rotation(period=2, rate=100)
    for key in range(3):
        rotation.add(key, now=0)
    attended = run(rotation, 10)
    assert Counter(key for _, key in attended) == {0: 4, 1: 4, 2: 4}
    assert [now for now, key in attended if key == 0] == [2, 4, 6, 8]


@pytest.mark.parametrize("step", [0.25, 1.0, 3.0])
def test_many_share_the_rate(step: float) -> None:
    """With more keys than the rate allows all come in turn, none twice before the others; the rate is not exceeded."""
    rotation: Rotation[int] = Rotation(period=1, rate=100)
    for key in range(1000):
        rotation.add(key, now=-1)
    attended = run(rotation, 12, step)
    assert len(attended) <= 100 * 12 + 100
    assert [key for _, key in attended] == [number % 1000 for number in range(len(attended))]
    if step <= 1:
        assert len(attended) >= 100 * 11


def test_hurried_does_not_wait_for_its_period() -> None:
    """What became urgent is due at once; then it waits for its period like the others."""
    rotation: Rotation[int] = Rotation(period=5, rate=100)
    for key in range(10):
        rotation.add(key, now=0)
    rotation.hurry(7, now=1)
    assert list(rotation.due(1)) == [7]
    assert list(rotation.due(2)) == []
    assert list(rotation.due(5)) == [0, 1, 2, 3, 4, 5, 6, 8, 9]


def test_those_in_a_hurry_do_not_pass_each_other() -> None:
    """More urgent keys than the rate allows, urgent again as soon as they were attended to: all have their turn."""
    rotation: Rotation[int] = Rotation(period=5, rate=20)
    for key in range(100):
        rotation.add(key, now=0)
        rotation.hurry(key, now=0)
    attended: Counter[int] = Counter()
    for now in range(1, 31):
        for key in rotation.due(now):
            attended[key] += 1
            rotation.hurry(key, now)
    assert attended.keys() == set(range(100))
    assert max(attended.values()) - min(attended.values()) <= 1


def test_added_twice_and_taken_away() -> None:
    """Adding again does not postpone; what was taken away is due no more."""
    rotation: Rotation[int] = Rotation(period=1, rate=100)
    rotation.add(1, now=0)
    rotation.add(2, now=0)
    rotation.add(1, now=0.9)
    rotation.hurry(2, now=0)
    rotation.discard(2)
    rotation.discard(3)
    assert (1 in rotation, 2 in rotation, len(rotation)) == (True, False, 1)
    assert list(rotation.due(1)) == [1]
