"""Large datagrams through a service; fragments.py is what runs on the hosts."""

import json
import sys
from pathlib import Path

from tests.system.services import VirtualService
from tools.lab import Laboratory

PROGRAM = (sys.executable, str(Path(__file__).with_name("fragments.py")))
PORT = 7300


def serve(lab: Laboratory) -> None:
    """Start fragments.py on all servers."""
    for server in lab.servers:
        process = server.start(*PROGRAM, "serve", str(server.address), str(PORT))
        assert process.stdout
        assert process.stdout.readline() == "ready\n"


def ask(service: VirtualService, client: str, there: str, back: str, size: int) -> str:
    """What came of one datagram from an address of the client: its answer was whole, wrong, or none."""
    arguments = ("ask", service.vip, str(service.port), client, there, back, str(size))
    return str(json.loads(service.lab.client.run(*PROGRAM, *arguments).stdout)["answer"])


def ask_together(service: VirtualService, first: str, clients: int, size: int) -> int:
    """How many of so many clients, whose datagrams have the same IP id, had their own answer."""
    arguments = ("together", service.vip, str(service.port), first, str(clients), str(size))
    return int(json.loads(service.lab.client.run(*PROGRAM, *arguments).stdout))
