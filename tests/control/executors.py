"""What carries out commands in the channel's tests."""

import asyncio
from collections.abc import Mapping
from typing import Any

from jupiter import VERSION
from jupiter.errors import JupiterError
from jupiter.session import Session

ROWS = 2500
"""Of the paged answer."""


class Scripted:
    """A few commands that do what a test needs. carried_out: their names, in order of their end.

    `wait` goes on when the test sets the gate; `started` counts the commands that wait at it.
    """

    def __init__(self) -> None:
        self.carried_out: list[str] = []
        self.sessions: list[Session] = []
        self.started = 0
        self.gate = asyncio.Event()

    async def execute(self, method: str, params: Mapping[str, object], session: Session) -> Any:
        self.sessions.append(session)
        command = getattr(self, f"_{method}", None)
        if command is None:
            raise JupiterError("unknown-command", f"Unknown command {method:.64}, list-command lists them.")
        answer = command(session, **params)
        if asyncio.iscoroutine(answer):
            answer = await answer
        self.carried_out.append(method)
        return answer

    def _version(self, _: Session) -> Any:
        return {"version": VERSION}

    def _echo(self, _: Session, **params: object) -> Any:
        return params

    def _note(self, _: Session, name: str) -> None:
        self.carried_out.append(name)

    def _fail(self, _: Session) -> Any:
        return 1 // 0

    def _nonsense(self, _: Session) -> Any:
        return {"not": b"JSON", "nor": object()}

    def _large(self, _: Session, size: int) -> Any:
        return "x" * size

    def _refused(self, _: Session) -> Any:
        raise JupiterError("service-not-found", "Cannot find virt service 10.0.1.1:8888 tcp.")

    def _whoami(self, session: Session) -> Any:
        return {"peer": str(session), "uid": session.uid, "pid": session.pid, "read_only": session.read_only}

    def _take(self, session: Session, **_: object) -> Any:
        return {"text": session.take_draft()[:100]}

    def _rows(self, _: Session, cursor: str = "") -> Any:
        end = int(cursor or 0) + 1000
        rows = [{"n": n} for n in range(int(cursor or 0), min(end, ROWS))]
        return {"rows": rows, "cursor": str(end) if end < ROWS else None}

    async def _wait(self, _: Session) -> Any:
        self.started += 1
        await self.gate.wait()
        return "waited"
