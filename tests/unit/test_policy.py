"""What packets get that nobody serves, and when."""

import asyncio
from typing import Any

import pytest

from jupiter import assembly
from jupiter.config import PolicySettings


class Told:
    """A data plane that remembers its policies."""

    def __init__(self) -> None:
        self.policies: list[tuple[bool, bool]] = []

    def set_policy(self, refuse: bool, reset_unknown: bool) -> None:
        self.policies.append((refuse, reset_unknown))


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that were waited for: no time passes."""
    seconds: list[float] = []

    async def sleep(asked: float) -> None:
        seconds.append(asked)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    return seconds


def end_grace(policy: PolicySettings) -> list[tuple[bool, bool]]:
    datapath: Any = Told()
    asyncio.run(assembly.end_grace(datapath, policy))
    return list(datapath.policies)


@pytest.mark.parametrize("refuse", [True, False])
def test_unknown_packets_are_reset_when_the_grace_is_over_and_not_before(refuse: bool, slept: list[float]) -> None:
    """B19: the window after a fail-over; what is not served is refused or not, as before."""
    assert end_grace(PolicySettings(refuse, reset_unknown=True, grace=300)) == [(refuse, True)]
    assert slept == [300]


def test_without_a_wish_for_resets_there_is_never_one(slept: list[float]) -> None:
    """B19: by default unknown packets go in silence for good."""
    assert end_grace(PolicySettings(refuse=True, reset_unknown=False, grace=300)) == []
