"""What is asked of a card with several queues, what is believed of its answers, and the words when it cannot."""

import os
from collections.abc import Iterator
from errno import ENOTSUP

import pytest

from fastpath import engine
from tests.fastpath import probe

TCP, UDP = 1 << 4, 1 << 5
"""RTE_ETH_RSS_NONFRAG_IPV4_TCP and _UDP."""
LOCAL = [bytes([10, 0, 0, n]) for n in range(1, 5)]


@pytest.fixture(scope="module", autouse=True)
def _eal() -> Iterator[None]:
    cpu = min(os.sched_getaffinity(0))
    words = f"--lcores 0@{cpu},1@{cpu} --no-huge --no-shconf -m 128 --no-pci --no-telemetry --log-level 3"
    engine.init([*words.split(), "--vdev", "net_null0", "--vdev", "net_ring0"], 1024, buffers=1024)
    yield
    engine.close()


@pytest.fixture
def card() -> Iterator[int]:
    """net_null: keeps key and RETA as a card does. Its faults are the test's."""
    yield probe.port_number("net_null0")
    probe.set_faults()


@pytest.mark.parametrize("queues", [1, 2, 3, 7, 16, 64])
def test_key_and_reta_come_back(card: int, queues: int) -> None:
    """A port steers by our key, and its RETA names the queues in turn: what it reports is what was asked for."""
    assert probe.open_port(card, queues) is None
    assert probe.card_rss(card, queues).equal(probe.Rss(probe.RSS_KEY, [i % queues for i in range(128)]))


def test_a_key_of_its_own(card: int) -> None:
    """A port that has another key than ours is believed: owners are told by the key that the card has."""
    key = bytes(range(40))
    assert probe.open_port(card, 2) is None
    assert probe.set_key(card, key) == 0
    found = probe.card_rss(card, 2)
    assert probe.set_key(card, probe.RSS_KEY) == 0
    assert found.equal(probe.Rss(key, [0, 1]))


@pytest.mark.parametrize(
    ("faults", "reason"),
    [
        ({"conf": -ENOTSUP}, "the driver net_null does not tell its RSS key (Operation not supported)"),
        ({"query": -ENOTSUP}, "the driver net_null does not tell its RSS table (Operation not supported)"),
        ({"unhashed": UDP}, "as configured, the card does not hash UDP ports"),
        ({"unhashed": TCP | UDP}, "as configured, the card does not hash TCP and UDP ports"),
        ({"key_size": 8}, "the driver net_null has an RSS key of 8 bytes, 16 needed"),
        ({"blank": 1}, "the driver net_null tells an RSS key of zeros"),
        ({"size": 96}, "the driver net_null has an RSS table of 96 entries, a power of two up to 2048 needed"),
        ({"size": 4096}, "the driver net_null has an RSS table of 4096 entries, a power of two up to 2048 needed"),
        ({"at": 77, "queue": 2}, "the driver net_null gives RSS entry 77 to queue 2, of 2 queues"),
    ],
)
def test_not_believed(card: int, faults: dict[str, int], reason: str) -> None:
    """A port whose answers do not say to which worker a tuple goes does not steer, and the reason says why."""
    assert probe.open_port(card, 2) is None
    probe.set_faults(**faults)
    assert probe.card_rss(card, 2) == reason


def test_a_table_of_its_own(card: int) -> None:
    """A port that refuses a new RETA is believed its own; one that leaves a worker without packets is not."""
    assert probe.open_port(card, 4) is None
    probe.card_rss(card, 2)
    probe.set_faults(update=-ENOTSUP)
    assert probe.card_rss(card, 2).equal(probe.Rss(probe.RSS_KEY, [0, 1]))
    assert probe.card_rss(card, 3) == "the driver net_null gives no RSS entry to queue 2"


@pytest.mark.parametrize(
    ("driver", "queues", "hashed", "reason"),
    [
        ("net_ixgbe", 128, TCP | UDP, None),
        ("net_af_packet", 2, 0, "the driver net_af_packet offers no RSS"),
        ("net_tap", 16, TCP | UDP, "the driver net_tap crashes when it has several queues with RSS"),
        ("net_igb", 1, TCP | UDP, "the card has 1 receive queue for 2 workers"),
        ("net_null", 0, TCP | UDP, "the card has 0 receive queues for 2 workers"),
        ("net_other", 2, TCP, "the card does not hash UDP ports"),
        ("net_other", 2, UDP, "the card does not hash TCP ports"),
        ("net_other", 2, 1 << 2, "the card does not hash TCP and UDP ports"),
    ],
)
def test_offered(driver: str, queues: int, hashed: int, reason: str | None) -> None:
    """RSS is asked for where the driver offers what is needed, and nowhere else."""
    assert probe.offers_rss(driver.encode(), queues, hashed, 2) == reason


def test_net_ring_has_none() -> None:
    """A real driver without RSS says so."""
    assert probe.open_port(probe.port_number("net_ring0"), 1) == "the driver net_ring offers no RSS"


@pytest.mark.parametrize("name", ["net_null", "net_ring"])
def test_flow_rules_refused(name: str) -> None:
    """A driver without flow rules refuses, in its own words."""
    outcome = probe.flow_steering(probe.port_number(f"{name}0"), LOCAL[:1], 1)
    assert outcome == (f"the driver {name} takes no rule for a local address (Function not implemented)", 0)


def test_flow_rules_all_or_none(card: int) -> None:
    """When one rule is refused, those made before it are taken back; rules made anew replace the old ones."""
    probe.set_faults(rules=4)
    assert probe.flow_steering(card, LOCAL[:3], 2) == (None, 3)
    assert probe.flow_steering(card, LOCAL, 2) == (None, 4)
    probe.set_faults(rules=3)
    reason, rules = probe.flow_steering(card, LOCAL, 2)
    assert reason is not None
    assert rules == 0


def test_flow_needs_addresses(card: int) -> None:
    """Each worker needs a local address of its own, and a queue."""
    assert probe.flow_steering(card, LOCAL[:1], 2) == ("1 local address for 2 workers", 0)
    assert probe.flow_steering(card, [], 2) == ("0 local addresses for 2 workers", 0)
    assert probe.flow_steering(card, LOCAL, 2000)[0] == "the card has 1024 receive queues for 2000 workers"
