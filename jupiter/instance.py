"""Several services side by side on one machine: each path of an instance, from its name. Pure."""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jupiter.errors import JupiterError

RUN = Path("/var/run")
PAGES_LOCK = RUN / "jupiter-hugepages.lock"
"""One for all instances: the pool of huge pages is the machine's."""
EAL_RUNTIME = RUN / "dpdk"
"""Where EAL keeps a directory for each file prefix."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,31}")
_TAKEN = "jupiter"
"""Its configuration and state would be those of the instance without a name."""


@dataclass(frozen=True, slots=True)
class Instance:
    """Where an instance has what it shares with nobody. name: "" for the one without.

    file_prefix: of EAL's run-time files. pages: the note of the huge pages that it added, named after the pid file,
    whose lock guards it. state: what was set by hand.
    """

    name: str
    config: Path
    pidfile: Path
    socket: Path
    readonly_socket: Path
    log: Path
    state: Path
    file_prefix: str

    def at(self, **paths: Any) -> "Instance":
        """With these paths in place of its own. What nobody names goes with what was named: the state with the
        configuration, the socket that only reads with the control socket."""
        moved = replace(self, **paths)
        if "config" in paths:
            moved = replace(moved, state=self.state.with_name(f"{moved.config.stem}.state"))
        if "socket" in paths:
            moved = replace(moved, readonly_socket=moved.socket.with_suffix(".ro.sock"))
        return moved

    @property
    def pages(self) -> Path:
        return self.pidfile.with_name(f"{self.pidfile.name}.hugepages")


def instance(name: str = "") -> Instance:
    """JupiterError invalid-instance: no name for an instance."""
    if name and (not _NAME.fullmatch(name) or name == _TAKEN):
        raise JupiterError(
            "invalid-instance",
            f"Invalid instance {name}: expected 1 to 32 letters, digits, '_' or '-', the first one not '-', "
            f"and not {_TAKEN}.",
        )
    full = f"jupiter-{name}" if name else "jupiter"
    return Instance(
        name=name,
        config=Path(f"/etc/jupiter/{name or 'jupiter'}.cfg"),
        pidfile=RUN / f"{full}.pid",
        socket=RUN / f"{full}.sock",
        readonly_socket=RUN / f"{full}.ro.sock",
        log=Path(f"/var/log/{full}.log"),
        state=Path(f"/var/lib/jupiter/{name or 'jupiter'}.state"),
        file_prefix=full,
    )
