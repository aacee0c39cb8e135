"""jupiter.cfg and services.d/*.cfg beside it -> Settings. Every wrong value is found before anything is reported."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Interface
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from configobj import flatten_errors, get_extra_values
from configobj.validate import Validator

from jupiter import eal, services
from jupiter.ini import ConfigError, IniFile, Problem, hint, load_text
from jupiter.model import Device, LocalAddress, Model, ServiceKey, VirtualService
from jupiter.values import CHECKS, MAX_LOCAL_ADDRESSES

DEFAULT_PATH = Path("/etc/jupiter/jupiter.cfg")
SERVICES_D = "services.d"
"""Directory beside the configuration file; every *.cfg in it holds virtual services."""

_SPEC = """
[DPDK]
argv = argv(default='')
hugepages = hugepages(default=auto)
idle = choice(adaptive, poll, default=adaptive)
[CONNECTIONS]
capacity = number(1024, 268435456, default=1048576)
tcp-established = number(1, 604800, default=7440)
tcp-transitory = number(1, 604800, default=240)
tcp-closed = number(1, 604800, default=10)
udp = number(1, 604800, default=300)
[CONTROL]
state = choice(keep, forget, default=keep)
group = group(default=None)
monitor = choice(yes, no, default=no)
[POLICY]
unserved = choice(refuse, silent, default=refuse)
unknown = choice(silent, reset, default=silent)
grace = number(0, 604800, default=300)
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
steering = choice(auto, ring, rss, flow, default=auto)
"""
_DEVICE_SECTION = re.compile(r"DEVICE\d+")
_SECTIONS = ["DPDK", "CONNECTIONS", "CONTROL", "POLICY", "DEVICE0"]


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """capacity: connections in all. The rest: seconds of silence after which one is freed (RFC 5382, RFC 4787)."""

    capacity: int
    tcp_established: int
    tcp_transitory: int
    tcp_closed: int
    udp: int


@dataclass(frozen=True, slots=True)
class ControlSettings:
    """keep_state: whether what was set by hand survives a restart. group: who beside root may use the socket.
    monitor: whether there is a second socket, which everybody may use and which only reads."""

    keep_state: bool
    group: str | None
    monitor: bool


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """What packets get that nobody serves. refuse: clients are told what is not served, else it is dropped in silence.
    reset_unknown: TCP packets of unknown connections get a RST, but not within `grace` seconds after the start."""

    refuse: bool
    reset_unknown: bool
    grace: int


@dataclass(frozen=True, slots=True)
class DeviceSettings:
    """A [DEVICE<n>] section; queue sizes are descriptors. steering: how packets are to come to their worker."""

    device: Device
    local_addresses: tuple[IPv4Address, ...]
    source: eal.PortSource
    rx_size: int
    tx_size: int
    steering: str

    @property
    def descriptors(self) -> int:
        """Of one worker's queues."""
        return len(self.source.members) * (self.rx_size + self.tx_size)


@dataclass(frozen=True, slots=True)
class Settings:
    """hugepages: megabytes to have free, or what to do about them. idle: whether workers without packets sleep."""

    argv: tuple[str, ...]
    hugepages: int | Literal["auto", "none"]
    idle: Literal["adaptive", "poll"]
    connections: ConnectionSettings
    control: ControlSettings
    policy: PolicySettings
    devices: tuple[DeviceSettings, ...]
    services: Mapping[ServiceKey, VirtualService] = field(default_factory=dict)

    def model(self) -> Model:
        """The model at start: no service yet."""
        return Model(
            tuple(d.device for d in self.devices),
            {a: LocalAddress(a, d.device.name) for d in self.devices for a in d.local_addresses},
        )


def load(path: Path) -> Settings:
    """Raises ConfigError."""
    others = sorted((path.parent / SERVICES_D).glob("*.cfg"))
    return parse(load_text(path), path, {other: load_text(other) for other in others})


def parse(text: str, path: Path, others: Mapping[Path, str] = {}) -> Settings:
    """others: further texts, which hold services alone. Raises ConfigError; paths only name the texts."""
    file = IniFile(text, path, _SPEC)
    sections = file.take_sections(services.SECTION)
    problems: list[str] = []
    settings = _settings(file, problems)
    role_of = settings.model().role_of if settings else _nobody
    found = services.read(file, sections, role_of, problems)
    for other in others:
        try:
            ours = services.parse(others[other], other, role_of)
        except ConfigError as error:
            problems.append(error.text)
            continue
        problems += [f"{other}: [{key}] virt service {key} stands in another file, too" for key in found if key in ours]
        found |= ours
    if problems or settings is None:
        raise ConfigError(problems)
    return replace(settings, services=found)


def _nobody(_: IPv4Address) -> str | None:
    return None


def _settings(file: IniFile, problems: list[str]) -> Settings | None:
    """Everything but services; None, and more problems, where something is wrong."""
    values = file.values
    found = [*_unknown_sections(values)]
    wrong = [*_wrong_values(values, values.validate(Validator(CHECKS), preserve_errors=True))]
    found += [*wrong, *_unknown_keys(values)]
    right = _right_values(values, wrong)
    found += chain.from_iterable(_check_device(section, right[section]) for section in right)
    found += _check_devices(right)
    if isinstance(argv := values.get("DPDK", {}).get("argv"), tuple) and (lcores := eal.lcores(argv)):
        found += _check_workers(right, len(lcores) - 1)
    problems += map(file.told, found)
    if found:
        return None
    connections = ConnectionSettings(**{k.replace("-", "_"): v for k, v in values["CONNECTIONS"].items()})
    dpdk, given, told = values["DPDK"], values["CONTROL"], values["POLICY"]
    control = ControlSettings(given["state"] == "keep", given["group"], given["monitor"] == "yes")
    policy = PolicySettings(told["unserved"] == "refuse", told["unknown"] == "reset", told["grace"])
    devices = tuple(map(_device, right.values()))
    return Settings(dpdk["argv"], dpdk["hugepages"], dpdk["idle"], connections, control, policy, devices)


def _is_device(section: str) -> bool:
    return _DEVICE_SECTION.fullmatch(section) is not None


def _unknown_sections(values: Any) -> Iterator[Problem]:
    """Takes them out, so that no key in them is reported as well."""
    for section in list(values.sections):
        if section not in _SECTIONS and not _is_device(section):
            known = "DPDK, CONNECTIONS, CONTROL, POLICY, DEVICE<n> or VIP:VPORT tcp|udp"
            expected = f"unknown section, expected {known}{hint(section.upper(), _SECTIONS)}"
            yield Problem(section, "", "", expected)
            del values[section]


def _unknown_keys(values: Any) -> Iterator[Problem]:
    for sections, key in get_extra_values(values):
        section = sections[0] if sections else ""
        known = [k for k in values.configspec.get(section, values.configspec["__many__"]) if section]
        yield Problem(section, "", "", f"{key}: unknown key{hint(key.lower(), known)}")


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


def _check_workers(devices: Mapping[str, Mapping[str, Any]], workers: int) -> Iterator[Problem]:
    """What sections say about the number of workers, where argv gives it."""
    for section, values in devices.items():
        few = len(values.get("local-ipv4", ())) < workers > 1
        if values.get("steering") == "flow" and "local-ipv4" in values and few:
            yield Problem(section, "steering", "flow", f"local-ipv4 with an address for each of {workers} workers")
        for vdev in values.get("vdev", ()):
            if (pairs := re.search(r"net_af_packet.*,qpairs=(\d{1,9})(,|$)", vdev)) and int(pairs[1]) > workers:
                yield Problem(section, "vdev", vdev, f"qpairs of at most {workers}, the number of workers")


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
        values["steering"],
    )
