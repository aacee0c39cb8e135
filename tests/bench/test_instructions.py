"""What a packet costs in instructions: seconds depend on the machine and its neighbours, these on the code alone."""

import json
from pathlib import Path

from tools.bench.instructions import per_handed_packet, per_packet

BASELINE = Path(__file__).with_name("baseline.json")


def test_an_established_packet_costs_what_it_did() -> None:
    """At most 5 % more instructions than the stored baseline; much fewer means that the baseline should follow."""
    stored = json.loads(BASELINE.read_text())["instructions_per_established_packet"]
    assert 0.8 * stored < per_packet() < 1.05 * stored


def test_a_packet_of_another_worker_costs_what_it_did() -> None:
    """The same for one that the receiving worker hands over: what it costs both."""
    stored = json.loads(BASELINE.read_text())["instructions_per_handed_packet"]
    assert 0.8 * stored < per_handed_packet() < 1.05 * stored
