"""The model: pure values and their difference."""

from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupiter.errors import JupiterError
from jupiter.model import (
    MAX_WRR_SLOTS,
    Change,
    Model,
    Protocol,
    RealServer,
    ServiceKey,
    VirtualService,
    check_service,
    diff,
    why_unusable,
)
from tests.fakes import START

VIP = ServiceKey(IPv4Address("10.0.1.1"), 80, Protocol.TCP)

servers = st.builds(
    RealServer, st.ip_addresses(v=4), st.integers(1, 9), st.integers(0, 9), st.booleans(), st.booleans()
)
services = st.builds(
    lambda port, scheduler, found: VirtualService(
        replace(VIP, port=port), scheduler, servers={s.key: s for s in found}
    ),
    st.integers(1, 6),
    st.sampled_from(["rr", "wrr", "ipport"]),
    st.lists(servers, max_size=3),
)
models = st.builds(lambda found: Model(services={s.key: s for s in found}), st.lists(services, max_size=6))


@given(models, models)
def test_the_difference_makes_the_new_services_of_the_old(old: Model, new: Model) -> None:
    """diff(old, new) holds all that differs, and nothing that does not."""
    change = diff(old.services, new.services)
    assert old.after(change).services == new.services
    assert all(old.services.get(s.key) != s for s in change.put)


@given(models)
def test_equal_models_do_not_differ(model: Model) -> None:
    """Nothing is published where nothing changed, even where the same was built anew."""
    again = Model(services={key: replace(service) for key, service in model.services.items()})
    assert not diff(model.services, model.services)
    assert not diff(model.services, again.services)


def test_one_change_among_ten_thousand_services_touches_one() -> None:
    """B28: the difference names the changed service alone, and all others are shared by both models."""
    keys = [ServiceKey(IPv4Address(0x0A000000 + n), 80, Protocol.TCP) for n in range(1, 10_001)]
    old = Model(services={key: VirtualService(key) for key in keys})
    changed = old.services[keys[5000]].with_server(RealServer(IPv4Address("1.1.1.3"), 80))
    new = old.after(Change((changed,)))
    assert diff(old.services, new.services) == Change((changed,))
    assert all(new.services[key] is old.services[key] for key in keys if key != changed.key)


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("0.1.2.3", "0.0.0.0/8"),
        ("127.0.0.1", "loopback"),
        ("224.0.0.5", "multicast"),
        ("255.255.255.255", "broadcast"),
        ("240.0.0.1", "reserved"),
    ],
)
def test_addresses_of_no_host_are_named(address: str, why: str) -> None:
    """No host can have an address of 0/8, 127/8, 224/4 and 240/4 (RFC 6890)."""
    assert why in str(why_unusable(IPv4Address(address)))


@pytest.mark.parametrize("address", ["1.0.0.0", "126.255.255.255", "128.0.0.1", "223.255.255.255", "192.168.1.1"])
def test_addresses_of_hosts_pass(address: str) -> None:
    assert why_unusable(IPv4Address(address)) is None


@pytest.mark.parametrize(
    ("address", "role"), [("10.0.2.1", "a local address of jupiter0"), ("1.1.1.2", "the director's own on jupiter0")]
)
def test_an_address_of_the_director_has_a_role(address: str, role: str) -> None:
    assert START.role_of(IPv4Address(address)) == role
    assert START.role_of(IPv4Address("1.1.1.3")) is None


def weighted(scheduler: str, *weights: int) -> VirtualService:
    found = [RealServer(IPv4Address(f"1.1.1.{n}"), 80, weight) for n, weight in enumerate(weights, 1)]
    return VirtualService(VIP, scheduler, servers={s.key: s for s in found})


def test_weights_that_fit_no_schedule_are_refused() -> None:
    """B24: a wrr round is exact, so its slots are counted: sum of the weights by their greatest common divisor."""
    heavy = [65535] * 16 + [65534]
    assert sum(heavy) > MAX_WRR_SLOTS
    with pytest.raises(JupiterError, match="at most 1048576") as error:
        check_service(weighted("wrr", *heavy))
    assert error.value.code == "schedule-too-large"


def test_weights_with_a_common_divisor_fit() -> None:
    check_service(weighted("wrr", *[65535] * 17))
    check_service(weighted("rr", *[65535] * 16, 65534))
    check_service(weighted("wrr", 0, 0))


def test_a_server_that_is_down_disabled_or_drained_weighs_nothing() -> None:
    """B26, B27: none of them gets a new connection."""
    server = RealServer(IPv4Address("1.1.1.3"), 80, 7)
    assert server.effective_weight == 7
    assert replace(server, up=False).effective_weight == 0
    assert replace(server, enabled=False).effective_weight == 0
    assert replace(server, weight=0).effective_weight == 0


def test_what_is_not_there_is_named() -> None:
    with pytest.raises(JupiterError, match=r"Cannot find virt service 10\.0\.1\.1:80 tcp\."):
        Model().service(VIP)
    with pytest.raises(
        JupiterError, match=r"Cannot find real server 1\.1\.1\.3:80 of virt service 10\.0\.1\.1:80 tcp\."
    ):
        VirtualService(VIP).without_server((IPv4Address("1.1.1.3"), 80))
