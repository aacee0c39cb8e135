"""What the hand has done is what differs from the configuration, and survives as text."""

from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from hypothesis import given

from jupiter import handmade
from jupiter.handmade import Deed, Handmade, between, together
from jupiter.ini import ConfigError
from jupiter.model import Protocol, RealServer, ServiceKey, VirtualService
from tests.unit.test_services import sets_of_services, virtual_services

VIP = ServiceKey(IPv4Address("10.0.1.1"), 80, Protocol.TCP)
R3, R4, R5 = (RealServer(IPv4Address(f"1.1.1.{n}"), 80, 7) for n in (3, 4, 5))


def service(*servers: RealServer, scheduler: str = "wrr") -> VirtualService:
    return VirtualService(VIP, scheduler, servers={server.key: server for server in servers})


def deeds(configured: dict[ServiceKey, VirtualService], running: dict[ServiceKey, VirtualService]) -> list[Handmade]:
    found = (between(configured.get(key), running.get(key)) for key in configured.keys() | running.keys())
    return [deed for deed in found if deed]


@given(sets_of_services, sets_of_services)
def test_upon_the_configuration_they_make_what_ran(
    configured: dict[ServiceKey, VirtualService], running: dict[ServiceKey, VirtualService]
) -> None:
    """state = keep: a restart with the same configuration brings back what ran, health included."""
    assert together(configured, deeds(configured, running)) == running


@given(sets_of_services, virtual_services, virtual_services)
def test_one_service_by_hand_leaves_the_others_as_configured(
    configured: dict[ServiceKey, VirtualService], before: VirtualService, after: VirtualService
) -> None:
    configured |= {before.key: before}
    running = configured | {before.key: replace(after, key=before.key)}
    found = deeds(configured, running)
    assert {deed.key for deed in found} <= {before.key}
    assert together(configured, found) == running


@given(sets_of_services, sets_of_services)
def test_what_is_written_is_read(
    configured: dict[ServiceKey, VirtualService], running: dict[ServiceKey, VirtualService]
) -> None:
    found = deeds(configured, running)
    assert handmade.parse("\n".join(handmade.lines(found)), "state") == found


def test_a_configuration_edited_meanwhile_and_the_hands_deeds_come_together() -> None:
    """A drained server stays drained though the file got another one, and a deleted one stays deleted."""
    drained = replace(R3, weight=0)
    deed = between(service(R3, R4), service(drained))
    assert deed
    assert deed.upon(service(R3, R4, R5, scheduler="rr")) == service(drained, R5, scheduler="rr")


def test_a_service_that_was_only_changed_by_hand_goes_with_its_configuration() -> None:
    """One that was added by hand stays, whatever the configuration says of it."""
    changed, added = between(service(R3), service(R4)), between(None, service(R4))
    assert changed
    assert added
    assert changed.upon(None) is None
    assert added.upon(None) == service(R4)
    assert added.upon(service(R3, scheduler="rr")) == service(R3, R4)
    assert Handmade(VIP, Deed.DELETED).upon(service(R3)) is None


@pytest.mark.parametrize(
    "text",
    [
        "[10.0.1.1:80 tcp]\n",
        "[10.0.1.1:80 tcp]\nby-hand = x\n",
        "[10.0.1.1:80]\nby-hand = added\n",
        "[10.0.1.1:80 tcp]\nby-hand = added\n1.1.1.3:80 = x\n",
        "[10.0.1.1:80 tcp\n",
    ],
)
def test_what_nobody_understands_is_refused_with_its_line(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^state:\d: "):
        handmade.parse(text, "state")
