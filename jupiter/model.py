"""What the operator wants: devices, local addresses, virtual services and their real servers. Pure values.

Every change of configuration is a Change: the services that are to be as they stand there, and those that are to go. A
command makes one of a line, diff() makes one of two sets of services. A Model is never altered: the mappings inside are
shared between successive models, and replaced by copies where they differ.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, IntEnum
from ipaddress import IPv4Address, IPv4Interface

from jupiter.errors import JupiterError

MAX_WEIGHT = 65535
MAX_CONNS = 2**31 - 1
"""Of a service or a server: no limit."""
MAX_RATE = 10**9
"""New connections a second."""
MAX_CLIENTS = 4096
"""Of a service, with rates of their own."""
MIN_MSS = 536
"""Bytes that every host accepts (RFC 9293, section 3.7.1)."""
MAX_MSS = 65495
"""Bytes that the largest IPv4 packet leaves (65,535 without two headers of 20)."""
SCOPES = ("service", "address")
"""How far a client's persistence goes: one service, or all of the address that have it."""
MAX_TIMEOUT = 604800
"""Seconds: a week."""
MAX_WRR_SLOTS = 1 << 20
"""Sum of a wrr service's weights, divided by their greatest common divisor, that the data plane's schedule holds."""
SCHEDULERS = ("ipport", "iponly", "rr", "wrr", "lc", "wlc")
BY_LOAD = frozenset(("lc", "wlc"))
"""Those of them for which the data plane must know what each server has to carry."""
DEFAULT_SCHEDULER = "ipport"

ServerKey = tuple[IPv4Address, int]


class Protocol(IntEnum):
    """Transport protocols that a service can have, by IP protocol number (RFC 5237)."""

    TCP = 6
    UDP = 17

    def __str__(self) -> str:
        return self.name.lower()


class Policy(Enum):
    """What becomes of the TCP connections of a server that is removed: they finish, or both ends get a RST (B26)."""

    KEEP = "keep"
    RESET = "reset"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class ServiceKey:
    """vaddr:vport and protocol. Its hash is kept, for every change looks up keys among thousands."""

    address: IPv4Address
    port: int
    protocol: Protocol
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hash", hash((int(self.address), self.port, int(self.protocol))))

    def __hash__(self) -> int:
        return self._hash

    def __str__(self) -> str:
        return f"{self.address}:{self.port} {self.protocol}"


@dataclass(frozen=True, slots=True)
class RealServer:
    """raddr:rport. Weight 0 drains: no new connection, the old ones finish; so does a server that is disabled by hand.

    up: health, as a health check or `rs/status` says; no part of the configuration. max_conns: connections at once,
    with which it gets no more. backup: it gets new connections only while no other server of the service is eligible.
    """

    address: IPv4Address
    port: int
    weight: int = 1
    enabled: bool = True
    up: bool = True
    max_conns: int = MAX_CONNS
    backup: bool = False

    @property
    def key(self) -> ServerKey:
        return self.address, self.port

    @property
    def effective_weight(self) -> int:
        """What the scheduler is told: a server that is down or disabled gets as little as a drained one."""
        return self.weight if self.up and self.enabled else 0

    def with_health(self, up: bool) -> "RealServer":
        return replace(self, up=up)

    @property
    def state(self) -> str:
        """What the operator's hand has set."""
        return "disabled" if not self.enabled else "draining" if self.weight == 0 else "enabled"


@dataclass(frozen=True, slots=True)
class VirtualService:
    """est_timeout: seconds, 0 for the protocol's default. mss: bytes that a SYN may offer, 0: as it is.

    Limits touch new connections only. max_conns: at once; max_rate: a second; cql: a second, of each client;
    cql_clients: clients with another rate than that. Rates: 0 for no limit, but a client's own 0 admits none.
    persistence: seconds after its last new connection in which a client comes back to its server, 0: none;
    persistence_scope: one of SCOPES.
    """

    key: ServiceKey
    scheduler: str = DEFAULT_SCHEDULER
    max_conns: int = MAX_CONNS
    synproxy: bool = False
    toa: bool = False
    est_timeout: int = 0
    max_rate: int = 0
    cql: int = 0
    cql_clients: Mapping[IPv4Address, int] = field(default_factory=dict)
    persistence: int = 0
    persistence_scope: str = SCOPES[0]
    mss: int = 0
    servers: Mapping[ServerKey, RealServer] = field(default_factory=dict)

    def server(self, key: ServerKey) -> RealServer:
        try:
            return self.servers[key]
        except KeyError:
            address, port = key
            raise JupiterError(
                "server-not-found", f"Cannot find real server {address}:{port} of virt service {self.key}."
            ) from None

    def with_servers(self, servers: Mapping[ServerKey, RealServer]) -> "VirtualService":
        return replace(self, servers=servers)

    def with_server(self, server: RealServer) -> "VirtualService":
        return self.with_servers({**self.servers, server.key: server})

    def without_server(self, key: ServerKey) -> "VirtualService":
        self.server(key)
        return self.with_servers({k: s for k, s in self.servers.items() if k != key})


@dataclass(frozen=True, slots=True)
class Device:
    """A DPDK port's kernel interface: its name, address, gateway and MTU (bytes)."""

    name: str
    address: IPv4Interface | None
    gateway: IPv4Address | None = None
    mtu: int = 1500


@dataclass(frozen=True, slots=True)
class LocalAddress:
    """laddr: a source address towards the real servers behind `device`."""

    address: IPv4Address
    device: str


@dataclass(frozen=True, slots=True)
class Model:
    devices: tuple[Device, ...] = ()
    local_addresses: Mapping[IPv4Address, LocalAddress] = field(default_factory=dict)
    services: Mapping[ServiceKey, VirtualService] = field(default_factory=dict)

    def service(self, key: ServiceKey) -> VirtualService:
        try:
            return self.services[key]
        except KeyError:
            raise JupiterError("service-not-found", f"Cannot find virt service {key}.") from None

    def after(self, change: "Change") -> "Model":
        services = {**self.services, **{service.key: service for service in change.put}}
        for key in change.removed:
            del services[key]
        return replace(self, services=services)

    def with_device_address(self, name: str, address: IPv4Interface | None) -> "Model":
        return replace(self, devices=tuple(replace(d, address=address) if d.name == name else d for d in self.devices))

    def role_of(self, address: IPv4Address) -> str | None:
        """What the director itself uses this address for, so that nothing else can have it; None: nothing."""
        if address in self.local_addresses:
            return f"a local address of {self.local_addresses[address].device}"
        for device in self.devices:
            if device.address and int(device.address) == int(address):  # .ip would be made anew each time
                return f"the director's own on {device.name}"
        return None


_NO_HOSTS = {0: "an address of this network (0.0.0.0/8)", 127: "a loopback address"}


def why_unusable(address: IPv4Address) -> str | None:
    """Why no host can have this address (RFC 6890), or None when one can. Asked of a million at a time."""
    first = int(address) >> 24
    if first < 224:
        return _NO_HOSTS.get(first)
    return "a multicast address" if first < 240 else "a broadcast or reserved address"


def check_service(service: VirtualService) -> None:
    """Refuse what is right by itself and not in this service."""
    if service.mss and service.key.protocol is not Protocol.TCP:
        raise JupiterError(
            "invalid-argument",
            f"Invalid mss {service.mss} of virt service {service.key}, expected 0: only TCP has segments.",
        )
    if len(service.cql_clients) > MAX_CLIENTS:
        raise JupiterError(
            "too-many",
            f"{len(service.cql_clients)} clients of virt service {service.key} have rates of their own, "
            f"expected at most {MAX_CLIENTS}.",
        )
    _check_schedule(service)


def _check_schedule(service: VirtualService) -> None:
    """Refuse weights of which the data plane could not hold one exact round."""
    weights = [s.weight for s in service.servers.values() if s.weight]
    if service.scheduler != "wrr" or not weights:
        return
    slots = sum(weights) // math.gcd(*weights)
    if slots > MAX_WRR_SLOTS:
        raise JupiterError(
            "schedule-too-large",
            f"The weights of virt service {service.key} need a round of {slots} slots (their sum divided by their "
            f"greatest common divisor), expected at most {MAX_WRR_SLOTS}: use smaller weights.",
        )


@dataclass(frozen=True, slots=True)
class Change:
    """What to do to a model: services that are to be as they are here, new or not, and services that are to go.

    policy: what becomes of the connections of the servers that leave, with their service or without it.
    """

    put: tuple[VirtualService, ...] = ()
    removed: tuple[ServiceKey, ...] = ()
    policy: Policy = Policy.KEEP

    def __bool__(self) -> bool:
        return bool(self.put or self.removed)


Services = Mapping[ServiceKey, VirtualService]


def diff(old: Services, new: Services) -> Change:
    """What makes `new` of `old`."""
    put = [service for key, service in new.items() if old.get(key) != service]
    return Change(tuple(put), tuple(key for key in old if key not in new))
