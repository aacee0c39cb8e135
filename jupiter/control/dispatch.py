"""A message of a client -> what it is answered. Knows the protocol and drafts; commands are the executor's."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any
from typing import Protocol as Interface

from jupiter.control import protocol
from jupiter.errors import JupiterError
from jupiter.session import Session

log = logging.getLogger(__name__)

Json = Any


class Executor(Interface):
    """Carries out commands. Requests of one session come one after the other, those of several sessions meanwhile."""

    async def execute(self, method: str, params: Mapping[str, object], session: Session) -> Json:
        """Raises JupiterError. Whatever holds up the loop for more than milliseconds belongs in a thread."""


async def answer(executor: Executor, session: Session, line: bytes) -> bytes:
    """One line -> the line to answer it with; b"" where nothing is to be answered."""
    try:
        message = protocol.decode_message(line)
    except protocol.RequestError as error:
        return _refuse(session, error)
    if isinstance(message, protocol.Request):
        return await _carry_out(executor, session, message)
    return await _answer_batch(executor, session, message)


async def _answer_batch(executor: Executor, session: Session, members: Sequence[protocol.Member]) -> bytes:
    batch = protocol.BatchAnswer(members)
    for member in members:
        if isinstance(member, protocol.RequestError):
            line = _refuse(session, member)
        else:
            line = await _carry_out(executor, session, member)
        if line:
            batch.add(line)
        await asyncio.sleep(0)  # other clients have their turns meanwhile
    return batch.encode()


def _refuse(session: Session, error: protocol.RequestError) -> bytes:
    """It may have been a piece of a draft."""
    session.spoil_draft(error)
    return protocol.encode_error(error.id, error) if error.wants_answer else b""


async def _carry_out(executor: Executor, session: Session, request: protocol.Request) -> bytes:
    try:
        answer = protocol.encode_result(request.id, await _execute(executor, session, request))
    except JupiterError as error:
        answer = protocol.encode_error(request.id, error)
    except Exception:
        log.exception("command %.64r of %s failed", request.method, session)
        internal = JupiterError("internal", f"Command {request.method:.64} failed inside the service: see its log.")
        answer = protocol.encode_error(request.id, internal)
    return answer if request.wants_answer else b""


async def _execute(executor: Executor, session: Session, request: protocol.Request) -> Json:
    if request.method == "draft":
        return _draft(session, request.params)
    try:
        return await executor.execute(request.method, request.params, session)
    finally:
        session.drop_draft()


def _draft(session: Session, params: Mapping[str, object]) -> Json:
    text = params.get("text")
    if len(params) != 1 or not isinstance(text, str):
        raise session.spoil_draft(JupiterError("invalid-argument", 'Invalid draft, expected {"text": a string}.'))
    return {"bytes": session.add_draft(text)}
