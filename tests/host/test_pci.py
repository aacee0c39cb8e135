"""PCI binding on a fake sysfs (fake_sysfs.py); whether an interface is in use is asked of the real kernel."""

from pathlib import Path

import pytest

from jupiter.errors import JupiterError
from jupiter.host.pci import available_driver, bind, normalise, unbind

from .fake_sysfs import DISK_CLASS, FakeSysfs
from .namespace import Namespace

CARD = "0000:01:00.2"


@pytest.fixture
def sysfs(tmp_path: Path) -> FakeSysfs:
    fake = FakeSysfs(tmp_path / "sys")
    fake.add_driver("ixgbe", CARD)
    fake.add_driver("vfio-pci")
    fake.add_driver("uio_pci_generic")
    fake.add_card(CARD, "ixgbe", "eth7")
    return fake


@pytest.mark.parametrize("address", ["01:00.2", "0000:01:00.2", " 0000:01:00.2\n"])
def test_short_and_long_addresses(address: str) -> None:
    """01:00.2 and 0000:01:00.2 are the same card."""
    assert normalise(address) == CARD


def test_upper_case_and_other_domains() -> None:
    """Hexadecimal digits in any case, domains beyond 16 bits (VMD) as the kernel writes them."""
    assert normalise("0001:AF:1F.7") == "0001:af:1f.7"
    assert normalise("10000:e1:00.0") == "10000:e1:00.0"


@pytest.mark.parametrize(
    "address", ["", "eth0", "01:00", "1:0.2", "01:00.8", "01:20.0", "0000:01:00.2/..", "01:00.2,01:00.3"]
)
def test_what_is_no_address(address: str) -> None:
    """Anything else is an error that shows what was given and what an address looks like."""
    with pytest.raises(JupiterError, match="expected one like 0000:01:00") as error:
        normalise(address)
    assert address in error.value.text
    assert error.value.code == "invalid-argument"


def test_first_loaded_driver(sysfs: FakeSysfs) -> None:
    """igb_uio before vfio-pci before uio_pci_generic, of those that are loaded."""
    assert available_driver(sysfs) == "vfio-pci"
    sysfs.add_driver("igb_uio")
    assert available_driver(sysfs) == "igb_uio"


def test_no_driver_loaded(tmp_path: Path) -> None:
    """Without any of them: an error that names all three."""
    with pytest.raises(JupiterError, match="igb_uio, vfio-pci, uio_pci_generic") as error:
        available_driver(FakeSysfs(tmp_path / "sys"))
    assert error.value.code == "pci-driver-missing"


def test_bind_and_restore(director: Namespace, sysfs: FakeSysfs) -> None:
    """A card goes to DPDK's driver and back to its own, also when restored twice; no override is left behind."""
    binding = bind("01:00.2", "vfio-pci", sysfs)
    assert sysfs.driver_of(CARD) == "vfio-pci"
    binding.restore()
    assert sysfs.driver_of(CARD) == "ixgbe"
    binding.restore()
    assert sysfs.driver_of(CARD) == "ixgbe"
    assert (sysfs.devices / CARD / "driver_override").read_text() == "\n"


def test_card_without_a_driver(director: Namespace, sysfs: FakeSysfs) -> None:
    """A card that had no driver has none again afterwards."""
    sysfs.add_card("0000:02:00.0", None)
    binding = bind("02:00.0", "uio_pci_generic", sysfs)
    assert sysfs.driver_of("0000:02:00.0") == "uio_pci_generic"
    binding.restore()
    assert sysfs.driver_of("0000:02:00.0") is None


def test_card_that_is_there_already(sysfs: FakeSysfs) -> None:
    """A card that an operator gave to the driver beforehand is not touched, neither at the start nor at the end."""
    sysfs.add_card("0000:03:00.0", "vfio-pci")
    bind("03:00.0", "vfio-pci", sysfs).restore()
    assert sysfs.driver_of("0000:03:00.0") == "vfio-pci"
    assert sysfs.writes == []


def test_driver_that_rejects_the_card(director: Namespace, sysfs: FakeSysfs) -> None:
    """When the driver does not take the card it goes back to its own, and the error names both."""
    sysfs.rejecting.add("vfio-pci")
    with pytest.raises(JupiterError, match=r"0000:01:00\.2 to vfio-pci: Invalid argument") as error:
        bind(CARD, "vfio-pci", sysfs)
    assert error.value.code == "pci-bind-failed"
    assert sysfs.driver_of(CARD) == "ixgbe"


def test_driver_that_silently_does_not_take_it(director: Namespace, sysfs: FakeSysfs) -> None:
    """The kernel reports some failures of probe() in its log alone: the driver link decides."""
    (sysfs.drivers / "igb_uio").mkdir()  # loaded, yet knows no way to take a card
    with pytest.raises(JupiterError, match=r"igb_uio.*dmesg"):
        bind(CARD, "igb_uio", sysfs)
    assert sysfs.driver_of(CARD) == "ixgbe"


@pytest.mark.parametrize(
    ("address", "driver", "code"),
    [("09:00.0", "vfio-pci", "pci-device-not-found"), (CARD, "igb_uio", "pci-driver-missing")],
)
def test_missing_card_or_driver(sysfs: FakeSysfs, address: str, driver: str, code: str) -> None:
    """A card or a driver that is not there is named."""
    with pytest.raises(JupiterError, match=f"{normalise(address)}") as error:
        bind(address, driver, sysfs)
    assert error.value.code == code
    assert sysfs.writes == []


@pytest.mark.parametrize(
    ("commands", "reason"),
    [
        (
            ["ip addr add 10.9.9.2/24 dev eth7", "ip route add default via 10.9.9.1"],
            "eth7 has the host's default route",
        ),
        (["ip addr add 10.9.9.2/24 dev eth7"], "eth7 is up with 10.9.9.2/24"),
        (["ip addr add 2001:db8::2/64 dev eth7 nodad"], "eth7 is up with 2001:db8::2/64"),
    ],
)
def test_interface_in_use_is_refused(
    director: Namespace, network: Namespace, sysfs: FakeSysfs, commands: list[str], reason: str
) -> None:
    """The card by which the host itself is reached is not taken away from it."""
    director.connect("eth7", network, "far7")
    director.run(*commands)
    with pytest.raises(JupiterError, match=f"Cannot take {CARD}: its interface {reason}") as error:
        bind(CARD, "vfio-pci", sysfs)
    assert error.value.code == "pci-device-busy"
    assert sysfs.writes == []


def test_member_of_a_bridge_is_refused(director: Namespace, network: Namespace, sysfs: FakeSysfs) -> None:
    """The addresses of a bridged or bonded card are its master's: it counts as in use."""
    director.connect("eth7", network, "far7")
    director.run("ip link add name br0 type bridge", "ip link set dev eth7 master br0")
    with pytest.raises(JupiterError, match="eth7 is up as a member of br0") as error:
        bind(CARD, "vfio-pci", sysfs)
    assert error.value.code == "pci-device-busy"
    assert sysfs.writes == []


@pytest.mark.parametrize("commands", [[], ["ip addr add 10.9.9.2/24 dev eth7", "ip link set dev eth7 down"]])
def test_idle_interface_is_taken(
    director: Namespace, network: Namespace, sysfs: FakeSysfs, commands: list[str]
) -> None:
    """Up without addresses, or down: nobody is cut off."""
    director.connect("eth7", network, "far7")
    director.run(*commands)
    assert bind(CARD, "vfio-pci", sysfs).before == "ixgbe"


def test_unbind_gives_the_card_to_whoever_knows_it(director: Namespace, sysfs: FakeSysfs) -> None:
    """A card that DPDK had goes to the kernel driver that knows it; one that nobody knows stays without."""
    sysfs.add_card("0000:02:00.0", "vfio-pci")
    bind(CARD, "vfio-pci", sysfs)
    assert unbind("01:00.2", sysfs) == "ixgbe"
    assert unbind("02:00.0", sysfs) is None


def test_unbind_refuses_a_card_in_use(director: Namespace, network: Namespace, sysfs: FakeSysfs) -> None:
    """Unbinding cuts the operator off as surely as binding does."""
    director.connect("eth7", network, "far7")
    director.run("ip addr add 10.9.9.2/24 dev eth7")
    with pytest.raises(JupiterError, match="eth7 is up with") as error:
        unbind(CARD, sysfs)
    assert error.value.code == "pci-device-busy"
    assert sysfs.writes == []


def test_virtio_card_in_use_is_refused(director: Namespace, network: Namespace, sysfs: FakeSysfs) -> None:
    """A virtio card's interface is found where the kernel has it: below the virtio device, not the card."""
    sysfs.add_card("0000:00:03.0", "ixgbe")
    (sysfs.devices / "0000:00:03.0/virtio1/net/eth7").mkdir(parents=True)
    director.connect("eth7", network, "far7")
    director.run("ip addr add 10.9.9.2/24 dev eth7")
    with pytest.raises(JupiterError, match="eth7 is up with"):
        bind("00:03.0", "vfio-pci", sysfs)


def test_network_cards_only(sysfs: FakeSysfs) -> None:
    """The list of cards leaves out what is no network controller."""
    sysfs.add_card("0000:00:17.0", None, kind=DISK_CLASS)
    sysfs.add_card("0000:00:19.0", None)
    assert sysfs.network_cards() == ["0000:00:19.0", CARD]
    assert sysfs.netdevs_of(CARD) == ["eth7"]
