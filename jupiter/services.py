"""Virtual services as text: sections of jupiter.cfg, of services.d/*.cfg, and of the files of apply, diff and save.

    [10.0.1.1:8888 tcp]
    scheduler = wrr
    cql = 100
    cql 1.1.1.9 = 0
    1.1.1.3:80 = 7 max_conns=1000
    1.1.1.4:80 = 7 disabled

The section's name is the service as vs/add has it; attributes.OF_A_SERVICE are its options, `cql IP` is the rate of one
client. Each other key is a real server, its value the weight, then `max_conns=N`, `backup`, `disabled` (by hand) and
`down` (health at the start) where they hold.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from jupiter import terms
from jupiter.attributes import OF_A_SERVICE, RATE_EXPECTED, SCHEDULER, WEIGHT
from jupiter.errors import JupiterError
from jupiter.ini import MAX_PROBLEMS, ConfigError, IniFile, Problem, hint
from jupiter.model import MAX_CONNS, RealServer, ServerKey, ServiceKey, Services, VirtualService, check_service

SECTION = re.compile(r"[^:]*:.*", re.DOTALL)
"""What is meant to be a service: no other section's name has a colon."""
_CLIENT = "cql "
"""Begins the keys of clients with rates of their own."""

RoleOf = Callable[[IPv4Address], str | None]
"""What the director itself uses an address for, or None: Model.role_of."""


def parse(text: str, path: Path | str, role_of: RoleOf) -> dict[ServiceKey, VirtualService]:
    """The services of a file that has nothing else. Raises ConfigError."""
    file = IniFile(text, path)
    problems: list[str] = []
    found = read(file, file.take_sections(SECTION), role_of, problems)
    strangers = [
        Problem("", "", "", f"{key}: unknown key, expected a section before it") for key in file.values.scalars
    ]
    strangers += [Problem(s, "", "", "unknown section, expected VIP:VPORT tcp|udp") for s in file.values.sections]
    problems += map(file.told, strangers)
    if problems:
        raise ConfigError(problems)
    return found


def read(
    file: IniFile, sections: Mapping[str, Mapping[str, Any]], role_of: RoleOf, problems: list[str]
) -> dict[ServiceKey, VirtualService]:
    """The services that these sections of a file hold; what is wrong with them is added to `problems`."""
    found: dict[ServiceKey, VirtualService] = {}
    for name, section in sections.items():
        if len(problems) > MAX_PROBLEMS:
            break
        wrong: list[Problem] = []
        service = _service(name, section, role_of, wrong)
        if service and service.key in found:
            wrong.append(Problem(name, "", "", f"virt service {service.key} stands in this file twice"))
        elif service:
            found[service.key] = service
        problems += map(file.told, wrong)
    return found


def _service(name: str, section: Mapping[str, Any], role_of: RoleOf, wrong: list[Problem]) -> VirtualService | None:
    """None where the section's name is no service."""
    try:
        key = terms.service(name)
    except ValueError:
        wrong.append(Problem(name, "", "", "expected a section VIP:VPORT tcp|udp, a unicast IPv4 address and a port"))
        return None
    if role := role_of(key.address):
        wrong.append(Problem(name, "", "", f"{key.address} is {role}, expected another address"))
    options: dict[str, Any] = {}
    clients: dict[IPv4Address, int] = {}
    servers: dict[ServerKey, RealServer] = {}
    for word, value in section.items():
        if len(wrong) > MAX_PROBLEMS:
            break
        try:
            if word in OF_A_SERVICE:
                options[word] = read_option(word, value)
            elif is_client(word):
                client, rate = read_client(word, value)
                if client in clients:
                    raise UnexpectedError("each client once in its service")
                clients[client] = rate
            else:
                server = read_server(word, value)
                _judge(server, servers, role_of)
                servers[server.key] = server
        except UnexpectedError as error:
            wrong.append(Problem(name, word, str(value), error.expected))
    service = VirtualService(key, cql_clients=clients, servers=servers, **options)
    try:
        check_service(service)
    except JupiterError as error:
        wrong.append(Problem(name, "", "", error.text))
    return service


def _judge(server: RealServer, others: Mapping[ServerKey, RealServer], role_of: RoleOf) -> None:
    if server.key in others:
        raise UnexpectedError("each real server once in its service")
    if role := role_of(server.address):
        raise UnexpectedError(f"another address, {server.address} is {role}")


def why_wrong(service: VirtualService, role_of: RoleOf) -> str | None:
    """Why a service that was right when and where it was written cannot be served here and now; None: it can."""
    for address in (service.key.address, *(server.address for server in service.servers.values())):
        if role := role_of(address):
            return f"Invalid virt service {service.key}: {address} is {role}, expected another address."
    try:
        check_service(service)
    except JupiterError as error:
        return error.text
    return None


class UnexpectedError(Exception):
    """A key or a value that is not what was expected."""

    def __init__(self, expected: str) -> None:
        super().__init__(expected)
        self.expected = expected


def read_option(word: str, value: object) -> Any:
    """Raises UnexpectedError."""
    option = OF_A_SERVICE[word]
    try:
        return option.read(value)
    except ValueError:
        raise UnexpectedError(option.expected) from None


def is_client(word: str) -> bool:
    return word.startswith(_CLIENT)


def read_client(word: str, value: object) -> tuple[IPv4Address, int]:
    """Of `cql IP = QPS`. Raises UnexpectedError."""
    try:
        address = terms.client(word.removeprefix(_CLIENT).strip())
    except ValueError:
        raise UnexpectedError("cql IP as the key, the address of a client") from None
    try:
        return address, terms.rate(value)
    except ValueError:
        raise UnexpectedError(f"{RATE_EXPECTED} (0: none is admitted)") from None


def client_key(client: IPv4Address) -> str:
    return f"{_CLIENT}{client}"


def read_server(word: str, value: object) -> RealServer:
    """Of `RIP:RPORT = WEIGHT [max_conns=N] [backup] [disabled] [down]`. Raises UnexpectedError."""
    try:
        address, port = terms.endpoint(word)
    except ValueError:
        known = f"{', '.join(OF_A_SERVICE)}, cql IP or RIP:RPORT as the key{hint(word, list(OF_A_SERVICE))}"
        raise UnexpectedError(known) from None
    try:
        weight, *marks = terms.text(value).split()
        return RealServer(address, port, WEIGHT.read(weight), **terms.marks(marks))
    except ValueError:
        where = f"max_conns=N (1 to {MAX_CONNS}), backup, disabled and down where they hold"
        raise UnexpectedError(f"{WEIGHT.expected}, then {where}") from None


def server_line(server: RealServer, *, health: bool = False) -> str:
    """The line of a server; its health is no configuration, and written only where that is wanted."""
    marks = f" max_conns={server.max_conns}" if server.max_conns != MAX_CONNS else ""
    marks += (" backup" if server.backup else "") + (" disabled" if not server.enabled else "")
    marks += " down" if health and not server.up else ""
    return f"{terms.endpoint_text(server.key)} = {server.weight}{marks}"


def lines(services: Iterable[VirtualService]) -> Iterator[str]:
    """What parse() reads back to the same services, but for health. Sorted, so that two such files can be compared."""
    for service in sorted(services, key=lambda service: _place(service.key)):
        yield f"[{service.key}]"
        default = VirtualService(service.key)
        for name, option in OF_A_SERVICE.items():
            value = getattr(service, name)
            if option is SCHEDULER or value != getattr(default, name):
                yield f"{name} = {option.write(value)}"
        yield from (f"{client_key(client)} = {rate}" for client, rate in sorted(service.cql_clients.items()))
        yield from map(server_line, sorted(service.servers.values(), key=lambda server: server.key))
        yield ""


def _place(key: ServiceKey) -> tuple[IPv4Address, int, int]:
    return key.address, key.port, key.protocol


def with_health_of(running: Services, wanted: Services) -> dict[ServiceKey, VirtualService]:
    """`wanted`, but servers that run keep their health: what a file says of it holds for new ones only."""
    return {key: _with_health(running.get(key), service) for key, service in wanted.items()}


def _with_health(running: VirtualService | None, wanted: VirtualService) -> VirtualService:
    if running is None:
        return wanted
    known = running.servers
    return wanted.with_servers(
        {
            key: server if key not in known or known[key].up == server.up else server.with_health(known[key].up)
            for key, server in wanted.servers.items()
        }
    )
