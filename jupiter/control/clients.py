"""Who is connected, and who goes when room is needed. No I/O but through the connections it holds."""

import asyncio
import socket
from collections.abc import Iterator
from enum import Enum, auto

from jupiter.control.protocol import Lines
from jupiter.session import Session


class Stage(Enum):
    RECEIVING = auto()
    EXECUTING = auto()
    SENDING = auto()


class Client:
    """One connection. deadline: by the loop's clock; who is still in this stage then is too slow."""

    def __init__(self, connection: socket.socket, session: Session) -> None:
        self.connection = connection
        self.session = session
        self.lines = Lines()
        self.stage = Stage.RECEIVING
        self.deadline = float("inf")
        self.takes_long = False
        """Its last request did: the next one waits for its turn."""
        self.task: asyncio.Task[None] | None = None

    def enter(self, stage: Stage, deadline: float = float("inf")) -> None:
        self.stage = stage
        self.deadline = deadline


class Roll:
    """The clients, by process: in both, those silent for longest come first."""

    def __init__(self) -> None:
        self._processes: dict[int, dict[Client, None]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Client]:
        """Of a copy."""
        return iter([client for members in self._processes.values() for client in members])

    def connections_of(self, pid: int) -> int:
        return len(self._processes.get(pid, ()))

    def add(self, client: Client) -> None:
        """It is taken for one like the last of its process."""
        members = self._processes.setdefault(client.session.pid, {})
        client.takes_long = next(reversed(members), client).takes_long
        members[client] = None
        self._count += 1

    def remove(self, client: Client) -> None:
        """If it is there."""
        members = self._processes.get(client.session.pid, {})
        if client in members:
            self._count -= 1
            del members[client]
            if not members:
                del self._processes[client.session.pid]

    def note_life(self, client: Client) -> None:
        """It has asked something just now."""
        members = self._processes.pop(client.session.pid)
        self._processes[client.session.pid] = members
        members[client] = members.pop(client)

    def dispensable_of_larger(self, newcomer: int) -> Client | None:
        """Of the process with most connections, more than the newcomer's, the client that was silent for longest and
        waits for no command: a process with many makes room for those with few, never the other way round."""
        least = self.connections_of(newcomer)
        for pid in sorted(self._processes, key=self.connections_of, reverse=True):
            if self.connections_of(pid) > least and (client := self.dispensable_of(pid)):
                return client
        return None

    def dispensable_of(self, pid: int) -> Client | None:
        """Of this process the client that was silent for longest and waits for no command."""
        members = self._processes.get(pid, {})
        return next((client for client in members if client.stage is not Stage.EXECUTING), None)
