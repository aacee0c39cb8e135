"""jupiter.cfg -> Settings. Every wrong value is found before anything is reported; the configspec is below.

The file is INI as the ancestor had it: `#` comments anywhere, `;` comments on lines of their own, UTF-8.
"""

import difflib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface
from itertools import chain
from pathlib import Path
from typing import Any, Literal, NamedTuple

from configobj import ConfigObj, ConfigObjError, flatten_errors, get_extra_values
from configobj.validate import Validator

from jupiter import eal
from jupiter.errors import JupiterError
from jupiter.model import Device, LocalAddress, Model
from jupiter.values import CHECKS, MAX_LOCAL_ADDRESSES

DEFAULT_PATH = Path("/etc/jupiter/jupiter.cfg")

_SPEC = """
[DPDK]
argv = argv(default='')
hugepages = hugepages(default=auto)
[CONNECTIONS]
capacity = number(1024, 268435456, default=1048576)
tcp-established = number(1, 604800, default=7440)
tcp-transitory = number(1, 604800, default=240)
tcp-closed = number(1, 604800, default=10)
udp = number(1, 604800, default=300)
[__many__]
name = interface_name
ipv4 = address
netmask = netmask
gw = address(default=None)
rxqsize = number(64, 4096, default=256)
txqsize = number(64, 4096, default=512)
mtu = number(68, 9600, default=1500)
rxoffload = offload(default=0)
txoffload = offload(default=0)
local-ipv4 = local_addresses(default='')
pci = pci_addresses(default='')
vdev = vdevs(default='')
mode = bond_mode(default=0)
"""
_DEVICE_SECTION = re.compile(r"DEVICE\d+")


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """capacity: connections in all. The rest: seconds of silence after which one is freed (RFC 5382, RFC 4787)."""

    capacity: int
    tcp_established: int
    tcp_transitory: int
    tcp_closed: int
    udp: int


@dataclass(frozen=True, slots=True)
class DeviceSettings:
    """A [DEVICE<n>] section; queue sizes are descriptors."""

    device: Device
    local_addresses: tuple[IPv4Address, ...]
    source: eal.PortSource
    rx_size: int
    tx_size: int


@dataclass(frozen=True, slots=True)
class Settings:
    """hugepages: megabytes to have free, or what to do about them."""

    argv: tuple[str, ...]
    hugepages: int | Literal["auto", "none"]
    connections: ConnectionSettings
    devices: tuple[DeviceSettings, ...]

    def model(self) -> Model:
        """The model at start: no service yet."""
        return Model(
            tuple(d.device for d in self.devices),
            {a: LocalAddress(a, d.device.name) for d in self.devices for a in d.local_addresses},
        )


class Problem(NamedTuple):
    """One wrong value; an empty key means the section itself."""

    section: str
    key: str
    value: str
    expected: str

    def __str__(self) -> str:
        what = f"{self.key} = {self.value}: expected {self.expected}" if self.key else self.expected
        return f"[{self.section}] {what}" if self.section else what


class ConfigError(JupiterError):
    """All that is wrong with a file; text has a line for each problem."""

    def __init__(self, path: Path, problems: Sequence[object]) -> None:
        super().__init__("invalid-config", "\n".join(f"{path}: {problem}" for problem in problems))


def load(path: Path) -> Settings:
    """Raises ConfigError."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(path, [f"cannot read it: {error.strerror}"]) from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError(path, [f"line {line}: expected UTF-8"]) from None
    return parse(text, path)


def parse(text: str, path: Path) -> Settings:
    """Raises ConfigError; path only names the text."""
    values = _read(text, path)
    problems = [*_unknown_sections(values)]
    wrong = [*_wrong_values(values, values.validate(Validator(CHECKS), preserve_errors=True))]
    problems += [*wrong, *_unknown_keys(values)]
    right = _right_values(values, wrong)
    problems += chain.from_iterable(_check_device(section, right[section]) for section in right)
    problems += _check_devices(right)
    if problems:
        raise ConfigError(path, problems)
    connections = ConnectionSettings(**{k.replace("-", "_"): v for k, v in values["CONNECTIONS"].items()})
    dpdk = values["DPDK"]
    return Settings(dpdk["argv"], dpdk["hugepages"], connections, tuple(map(_device, right.values())))


def _read(text: str, path: Path) -> Any:
    lines = ["" if line.lstrip().startswith(";") else line for line in text.splitlines()]
    options = {"list_values": False, "interpolation": False}
    try:
        return ConfigObj(lines, configspec=ConfigObj(_SPEC.splitlines(), _inspec=True, **options), **options)
    except ConfigObjError as error:
        raise ConfigError(path, getattr(error, "errors", None) or [error]) from None


def _is_device(section: str) -> bool:
    return _DEVICE_SECTION.fullmatch(section) is not None


def _unknown_sections(values: Any) -> Iterator[Problem]:
    """Takes them out, so that no key in them is reported as well."""
    known = ["DPDK", "CONNECTIONS", "DEVICE0"]
    for section in list(values.sections):
        if section not in known and not _is_device(section):
            expected = f"unknown section, expected DPDK, CONNECTIONS or DEVICE<n>{_hint(section.upper(), known)}"
            yield Problem(section, "", "", expected)
            del values[section]


def _unknown_keys(values: Any) -> Iterator[Problem]:
    for sections, key in get_extra_values(values):
        section = sections[0] if sections else ""
        known = [k for k in values.configspec.get(section, values.configspec["__many__"]) if section]
        yield Problem(section, "", "", f"{key}: unknown key{_hint(key.lower(), known)}")


def _hint(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, 1)
    return f"; did you mean {close[0]}?" if close else ""


def _wrong_values(values: Any, outcome: Any) -> Iterator[Problem]:
    for sections, key, error in flatten_errors(values, outcome):
        if error is False:
            yield Problem(sections[0], key, "(missing)", "a value")
        else:
            yield Problem(sections[0], key, values[sections[0]][key], str(error))


def _right_values(values: Any, wrong: Sequence[Problem]) -> dict[str, dict[str, Any]]:
    """DEVICE section -> its values by key, without the wrong ones."""
    faulty = {(problem.section, problem.key) for problem in wrong}
    return {
        section: {key: values[section][key] for key in values[section].scalars if (section, key) not in faulty}
        for section in values.sections
        if _is_device(section)
    }


def _check_device(section: str, values: Mapping[str, Any]) -> Iterator[Problem]:
    """What keys of one section say about each other, as far as they are there."""
    if {"ipv4", "netmask", "gw"} <= values.keys():
        own, gateway = values["ipv4"], values["gw"]
        network = IPv4Interface(f"{own}/{values['netmask']}").network
        if network.prefixlen < 31 and own in (network.network_address, network.broadcast_address):
            yield Problem(section, "ipv4", str(own), f"a host's address in {network}")
        if gateway is not None and (gateway not in network or gateway == own):
            yield Problem(section, "gw", str(gateway), f"another host's address in {network}")
    if {"pci", "vdev"} <= values.keys() and bool(values["pci"]) == bool(values["vdev"]):
        found = "(both)" if values["pci"] else "(missing)"
        yield Problem(section, "pci, vdev", found, "one of the two, the ports of this device")


def _check_devices(devices: Mapping[str, Mapping[str, Any]]) -> Iterator[Problem]:
    """What sections say about each other."""
    for key in ("name", "ipv4"):
        yield from _repeated(key, {s: [v[key]] for s, v in devices.items() if key in v})
    for key in ("pci", "local-ipv4"):
        yield from _repeated(key, {s: v.get(key, ()) for s, v in devices.items()})
    yield from _repeated("vdev", {s: eal.vdev_names(v.get("vdev", ())) for s, v in devices.items()})
    own = {values["ipv4"]: section for section, values in devices.items() if "ipv4" in values}
    for section, values in devices.items():
        for address in sorted(own.keys() & set(values.get("local-ipv4", ()))):
            yield Problem(section, "local-ipv4", str(address), f"another address than {own[address]}'s own")
    count = sum(len(values.get("local-ipv4", ())) for values in devices.values())
    if not devices:
        yield Problem("DEVICE0", "", "", "missing section, expected at least one DEVICE<n>")
    elif not count and all("local-ipv4" in values for values in devices.values()):
        yield Problem("DEVICE<n>", "local-ipv4", "(missing)", "addresses on the device towards the servers")
    elif count > MAX_LOCAL_ADDRESSES:
        yield Problem("DEVICE<n>", "local-ipv4", f"{count} addresses", f"at most {MAX_LOCAL_ADDRESSES} in all")


def _repeated(key: str, values: Mapping[str, Sequence[object]]) -> Iterator[Problem]:
    count = Counter(chain.from_iterable(values.values()))
    for section, found in values.items():
        for value in sorted({str(v) for v in found if count[v] > 1}):
            yield Problem(section, key, value, "a value that occurs only once in the file")


def _device(values: Mapping[str, Any]) -> DeviceSettings:
    address = IPv4Interface(f"{values['ipv4']}/{values['netmask']}")
    return DeviceSettings(
        Device(values["name"], address, values["gw"], values["mtu"]),
        values["local-ipv4"],
        eal.PortSource(values["pci"], values["vdev"], values["mode"]),
        values["rxqsize"],
        values["txqsize"],
    )
