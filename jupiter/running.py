"""What runs: the one road that every change takes, the commands about services as a whole, and what survives a restart.

Owner: the asyncio loop. Changes wait for each other, whoever asks for them; questions wait for nobody.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from functools import partial
from ipaddress import IPv4Network
from itertools import islice
from typing import Final

from jupiter import commands, comparison, handmade, services, watching
from jupiter.commands import Command
from jupiter.counters import Published
from jupiter.errors import JupiterError, shorten
from jupiter.handlers import HANDLERS
from jupiter.ini import ConfigError
from jupiter.log import each, fields
from jupiter.model import Change, Model, Policy, ServiceKey, Services, VirtualService, diff
from jupiter.pages import PAGE, Json
from jupiter.session import Session
from jupiter.state import Notes, StateFile
from jupiter.terms import Condition, Search, Wanted
from jupiter.watching import Watching

log = logging.getLogger(__name__)

SAVE_SECONDS: Final = 0.2
"""From a change by hand to its place in the state file, at most; changes in between share one write."""
RETRY_SECONDS: Final = 10.0
"""After a write that failed."""
TRACED_BYTES: Final = 128
"""Of a packet, for its line in a trace: all headers."""


class Listing:
    """A long answer that is as it was when its first page was asked for. position: rows that were taken."""

    def __init__(self, rows: Iterable[Json]) -> None:
        self._rows = iter(rows)
        self._position = 0

    def page(self, cursor: str) -> Json:
        if cursor != (str(self._position) if self._position else ""):
            raise JupiterError("invalid-argument", f"Invalid cursor {shorten(cursor)}, expected the last answer's.")
        taken = list(islice(self._rows, PAGE))
        self._position += len(taken)
        return {"rows": taken, "cursor": str(self._position) if len(taken) == PAGE else None}


class Running:
    """The published services and the configuration behind them.

    configured: reads the services of the configuration files, in a thread; raises JupiterError. stop: ends the service.
    """

    def __init__(
        self, datapath: Published, configured: Callable[[], Services], state: StateFile | None, stop: Callable[[], None]
    ) -> None:
        self._datapath = datapath
        self._configured = configured
        self._state = state
        self._stop = stop
        self._base: Services = {}
        """The configuration as it was last applied."""
        self._touched: dict[ServiceKey, None] = {}
        """Services that the hand has changed since the last write."""
        self._notes = Notes()
        self._one_at_a_time = asyncio.Lock()
        self._parsing = {read_only: asyncio.Lock() for read_only in (False, True)}
        """Reading a text takes thirty times its size: one after the other, and those who may only read apart."""
        self._watcher = ""
        """Who was the last to watch packets."""
        self._unsaved = asyncio.Event()
        self._ending = asyncio.Event()
        self._saver: asyncio.Task[None] | None = None
        self._own: Mapping[str, Callable[..., Awaitable[Json]]] = {
            "apply": self._apply,
            "diff": self._diff,
            "check": self._check,
            "save": self._save,
            "reload": self._reload,
            "stop": self._end,
            "vs/conn-report": self._conn_report,
            "trace": self._trace,
            "capture": self._capture,
        }

    async def begin(self, configured: Services) -> None:
        """Publish the configuration, and upon it what the hand had done before the last end. Raises JupiterError."""
        deeds = await asyncio.to_thread(self._state.load) if self._state else []
        wanted = handmade.together(configured, deeds)
        for deed in deeds:
            self._settle(deed, configured, wanted)
        await self._datapath.publish(diff({}, wanted))
        self._base, self._touched = configured, dict.fromkeys(deed.key for deed in deeds)
        self._unsaved.set()  # what was dropped is written down as well
        if deeds:
            log.info("set by hand before", extra=fields(**Counter(deed.deed.value for deed in deeds)))
        if self._state:
            self._saver = asyncio.create_task(self._keep_saved(self._state))

    def _settle(self, deed: handmade.Handmade, configured: Services, wanted: dict[ServiceKey, VirtualService]) -> None:
        """What was right when it was done by hand may not be so any more: the configuration then holds."""
        if deed.key not in wanted:
            if deed.deed is handmade.Deed.CHANGED:
                log.warning("not configured any more, what was set by hand is dropped", extra=each(service=deed.key))
        elif why := services.why_wrong(wanted[deed.key], self._datapath.model.role_of):
            log.warning("what was set by hand is dropped: %s", why, extra=each())
            del wanted[deed.key]
            wanted |= {deed.key: configured[deed.key]} if deed.key in configured else {}

    async def end(self) -> None:
        """Write down what is not written yet."""
        self._ending.set()
        self._unsaved.set()
        if self._saver:
            await self._saver

    async def execute(self, method: str, params: Mapping[str, object], session: Session) -> Json:
        """Validate and carry out one command; raises JupiterError naming what was wrong."""
        command = commands.find(method)
        arguments = command.validate(params)
        changes = command.changes_with(arguments)
        if changes and session.read_only:
            raise JupiterError("read-only", f"Command {command.name} changes something, and this socket only reads.")
        if command.private and session.read_only:
            raise JupiterError(
                "read-only", f"Command {command.name} shows what is in packets, and this socket is not for that."
            )
        if command.name in self._own:
            return await self._own[command.name](session, **arguments)
        if changes:
            async with self._one_at_a_time:
                return await self._change(command, arguments, params, session)
        outcome = HANDLERS[command.name](self._datapath, **arguments)
        return await outcome if isinstance(outcome, Awaitable) else outcome

    async def _change(
        self, command: Command, arguments: Mapping[str, object], params: Mapping[str, object], session: Session
    ) -> Json:
        outcome = HANDLERS[command.name](self._datapath, **arguments)
        if isinstance(outcome, Change):
            await self._publish(outcome)
            outcome = None
        words = [str(params[p.name]) for p in command.parameters if p.name in params]
        log.info("change", extra=each(command=" ".join([command.name, *words]), by=session))
        return outcome

    async def _publish(self, change: Change) -> None:
        await self._datapath.publish(change)
        self._touched |= dict.fromkeys([*(service.key for service in change.put), *change.removed])
        self._unsaved.set()

    # Services as a whole

    async def _parsed(self, session: Session, file: str) -> Services:
        async with self._parsing[session.read_only]:
            return await asyncio.to_thread(services.parse, session.take_draft(), file, self._datapath.model.role_of)

    async def _difference(self, wanted: Services, policy: Policy = Policy.KEEP) -> tuple[Change, dict[str, int]]:
        return await asyncio.to_thread(_difference, self._datapath.model, wanted, policy)

    async def _apply(self, session: Session, file: str, policy: Policy) -> Json:
        wanted = await self._parsed(session, file)
        async with self._one_at_a_time:
            change, figures = await self._difference(wanted, policy)
            await self._publish(change)
        return self._applied(f"apply {file}", figures, str(session))

    async def _reload(self, session: Session) -> Json:
        return await self.reload(str(session))

    async def reload(self, who: str) -> Json:
        """Apply the configuration files; raises JupiterError, and nothing changes."""
        configured = await asyncio.to_thread(self._configured)
        async with self._one_at_a_time:
            change, figures = await self._difference(configured)
            await self._publish(change)
            self._base, self._touched, self._notes = configured, {}, Notes()
        return self._applied("reload", figures, who)

    def _applied(self, what: str, figures: dict[str, int], who: str) -> Json:
        log.info("change", extra=each(command=what, **{name: n for name, n in figures.items() if n}, by=who))
        return figures

    async def _diff(self, session: Session, file: str, cursor: str) -> Json:
        if not cursor:
            before = self._datapath.model.services
            change, _ = await self._difference(await self._parsed(session, file))
            session.kept = Listing(comparison.rows(before, change))
        return _listing(session).page(cursor)

    async def _check(self, session: Session, file: str) -> Json:
        found = await self._parsed(session, file)
        return {"services": len(found), "servers": sum(len(service.servers) for service in found.values())}

    async def _save(self, session: Session, cursor: str) -> Json:
        if not cursor:
            session.kept = Listing(services.lines(self._datapath.model.services.values()))
        return _listing(session).page(cursor)

    async def _conn_report(self, session: Session, service: ServiceKey, seconds: int, cursor: str) -> Json:
        if not cursor:
            self._datapath.model.service(service)
            session.kept = Listing(await self._clients(service, seconds))
        return _listing(session).page(cursor)

    async def _clients(self, service: ServiceKey, seconds: int) -> Iterator[Json]:
        """Clients of a service by their number of connections, most first."""
        virtual = Condition(("vip",), IPv4Network(service.address), service.port)
        search = Search(service.protocol, (virtual,), float(seconds))
        count = Counter[str]()
        cursor: str | None = ""
        while cursor is not None:
            found, cursor = await self._datapath.connections(search, cursor)
            count.update(connection.client[0] for connection in found)
        return ({"ip": ip, "count": n} for ip, n in count.most_common())

    async def _trace(self, session: Session, match: Wanted, count: int, seconds: int, cursor: str) -> Json:
        begin = partial(self._watch, session, "trace", match, TRACED_BYTES, False, watching.trace_row, count, seconds)
        return await self._watching(session, cursor, begin)

    async def _capture(
        self, session: Session, file: str, match: Wanted, count: int, seconds: int, snaplen: int, cursor: str
    ) -> Json:
        begin = partial(self._watch, session, "capture", match, snaplen, True, watching.capture_row, count, seconds)
        return await self._watching(session, cursor, begin)

    def _watch(
        self,
        session: Session,
        command: str,
        wanted: Wanted,
        snaplen: int,
        leaving: bool,
        row: watching.Row,
        count: int,
        seconds: int,
    ) -> Watching:
        try:
            seen = self._datapath.watch(wanted, snaplen, leaving)
        except JupiterError as error:
            if error.code == "watch-busy" and self._watcher:
                by = f"Packets are being watched already, by {self._watcher}: one watch at a time."
                raise JupiterError(error.code, by) from None
            raise
        self._watcher = str(session)
        watch = Watching(seen, row, count, seconds)
        session.at_end(watch.close)
        log.info("packets are watched", extra=each(command=command, seconds=seconds, by=session))
        return watch

    async def _watching(self, session: Session, cursor: str, begin: Callable[[], Watching]) -> Json:
        """The next page of the connection's watch, or of a new one."""
        if not cursor:
            if isinstance(session.kept, Watching):
                session.kept.close()
            session.kept = begin()
        if not isinstance(session.kept, Watching):
            raise _NO_LISTING
        return await session.kept.page(cursor)

    async def _end(self, session: Session) -> None:
        log.info("change", extra=each(command="stop", by=session))
        self._stop()

    # What survives a restart

    async def _keep_saved(self, state: StateFile) -> None:
        while True:
            await self._unsaved.wait()
            last = self._ending.is_set()
            pause = SAVE_SECONDS if await self._write(state) else RETRY_SECONDS
            if last:
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), pause)

    async def _write(self, state: StateFile) -> bool:
        """False where the file could not be written; it is tried again."""
        self._unsaved.clear()
        touched, self._touched = self._touched, {}
        notes, base, running = self._notes, self._base, self._datapath.model.services
        try:
            await asyncio.to_thread(lambda: state.save(notes.follow(base, running, touched)))
        except OSError as error:
            log.error("what was set by hand cannot be written down: %s", error)
            self._touched = touched | self._touched
            self._unsaved.set()
            return False
        return True


def _difference(model: Model, wanted: Services, policy: Policy) -> tuple[Change, dict[str, int]]:
    """What makes the wanted services of those that run, and how much that is. Raises ConfigError."""
    change = diff(model.services, services.with_health_of(model.services, wanted))
    # the configuration may have been judged beside devices that are not there yet
    wrong = [why for service in change.put if (why := services.why_wrong(service, model.role_of))]
    if wrong:
        raise ConfigError(wrong)
    return Change(change.put, change.removed, policy), comparison.figures(model.services, change)


_NO_LISTING: Final = JupiterError(
    "invalid-argument", "Invalid cursor, expected that of the last answer on this connection."
)


def _listing(session: Session) -> Listing:
    if not isinstance(session.kept, Listing):
        raise _NO_LISTING
    return session.kept
