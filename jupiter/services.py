"""Virtual services as text: sections of jupiter.cfg, of services.d/*.cfg, and of the files of apply, diff and save.

    [10.0.1.1:8888 tcp]
    scheduler = wrr
    1.1.1.3:80 = 7
    1.1.1.4:80 = 7 disabled

The section's name is the service as vs/add has it; `scheduler` and `est_timeout` are options; each other key is a real
server, its value the weight, then `disabled` (by hand) and `down` (health at the start) where they hold.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from jupiter import terms
from jupiter.errors import JupiterError
from jupiter.ini import MAX_PROBLEMS, ConfigError, IniFile, Problem, hint
from jupiter.model import (
    MAX_TIMEOUT,
    MAX_WEIGHT,
    SCHEDULERS,
    RealServer,
    ServerKey,
    ServiceKey,
    Services,
    VirtualService,
    check_schedule,
)

SECTION = re.compile(r"[^:]*:.*", re.DOTALL)
"""What is meant to be a service: no other section's name has a colon."""
_MARKS = {"disabled", "down"}

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
    servers: dict[ServerKey, RealServer] = {}
    for word, value in section.items():
        if len(wrong) > MAX_PROBLEMS:
            break
        try:
            if word in OPTIONS:
                options[word] = read_option(word, value)
            else:
                server = read_server(word, value)
                _judge(server, servers, role_of)
                servers[server.key] = server
        except UnexpectedError as error:
            wrong.append(Problem(name, word, str(value), error.expected))
    service = VirtualService(key, servers=servers, **options)
    try:
        check_schedule(service)
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
        check_schedule(service)
    except JupiterError as error:
        return error.text
    return None


class UnexpectedError(Exception):
    """A key or a value that is not what was expected."""

    def __init__(self, expected: str) -> None:
        super().__init__(expected)
        self.expected = expected


OPTIONS: Mapping[str, tuple[str, Callable[[object], Any]]] = {
    "scheduler": ("one of " + ", ".join(SCHEDULERS), terms.scheduler),
    "est_timeout": (f"seconds from 0 to {MAX_TIMEOUT}", lambda v: terms.number(v, 0, MAX_TIMEOUT)),
}
"""Option -> what is expected, and what reads it. VirtualService has a field of each name."""


def read_option(word: str, value: object) -> Any:
    """Raises UnexpectedError."""
    expected, read_value = OPTIONS[word]
    try:
        return read_value(value)
    except ValueError:
        raise UnexpectedError(expected) from None


def read_server(word: str, value: object) -> RealServer:
    """Of `RIP:RPORT = WEIGHT [disabled] [down]`. Raises UnexpectedError."""
    try:
        address, port = terms.endpoint(word)
    except ValueError:
        known = f"{', '.join(OPTIONS)} or RIP:RPORT as the key{hint(word, list(OPTIONS))}"
        raise UnexpectedError(known) from None
    try:
        weight, *marks = terms.text(value).split()
        if sorted(set(marks) & _MARKS) != sorted(marks):
            raise ValueError
        number = terms.number(weight, 0, MAX_WEIGHT)
        return RealServer(address, port, number, enabled="disabled" not in marks, up="down" not in marks)
    except ValueError:
        raise UnexpectedError(f"a weight from 0 to {MAX_WEIGHT}, then disabled and down where they hold") from None


def server_line(server: RealServer, *, health: bool = False) -> str:
    """The line of a server; its health is no configuration, and written only where that is wanted."""
    marks = (" disabled" if not server.enabled else "") + (" down" if health and not server.up else "")
    return f"{terms.endpoint_text(server.key)} = {server.weight}{marks}"


def lines(services: Iterable[VirtualService]) -> Iterator[str]:
    """What parse() reads back to the same services, but for health. Sorted, so that two such files can be compared."""
    for service in sorted(services, key=lambda service: _place(service.key)):
        yield f"[{service.key}]"
        yield f"scheduler = {service.scheduler}"
        if service.est_timeout:
            yield f"est_timeout = {service.est_timeout}"
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
