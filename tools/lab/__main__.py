"""python -m tools.lab up|down: the laboratory that stays open for trying things by hand."""

import os
import signal
import sys
from pathlib import Path

import click

from tools.lab.host import LabError
from tools.lab.laboratory import Laboratory, wait_until

STATE = Path("/run/jupiter-lab")
HINT = """\
The laboratory "{name}" is open:
    client 1.1.1.1    director 1.1.1.2 (jupiter0)    server1 1.1.1.3    server2 1.1.1.4    (nginx on :80, DNS on :53)
Type commands on its hosts with tools/lab/enter HOST COMMAND, or open a shell with tools/lab/enter HOST:
    sudo tools/lab/enter director jupiter-service --daemon
    sudo tools/lab/enter director jupiter-ctl vs/add 10.0.1.1:8888 tcp wrr
    sudo tools/lab/enter director jupiter-ctl rs/add 10.0.1.1:8888 tcp 1.1.1.3:80 7
    sudo tools/lab/enter director jupiter-ctl rs/add 10.0.1.1:8888 tcp 1.1.1.4:80 7
    sudo tools/lab/enter client ab -n 1000 http://10.0.1.1:8888/
    sudo tools/lab/enter director jupiter-ctl rs/list 10.0.1.1:8888 tcp
Close it with: sudo make lab-down"""

named = click.option(
    "--name", envvar="LAB", default="lab", show_default=True, help="Which laboratory; any number can be open."
)


@click.group()
def main() -> None:
    """Open and close a laboratory that outlives this command."""


@main.command()
@named
def up(name: str) -> None:
    """Open it and say how to use it."""
    if running(name):
        sys.exit(f"The laboratory {name!r} is open already; close it with: sudo make lab-down")
    try:
        laboratory = Laboratory(keeper=("sleep", "infinity"))
    except LabError as error:
        sys.exit(str(error))
    STATE.mkdir(exist_ok=True)
    (STATE / name).write_text(str(laboratory.pid))
    click.echo(HINT.format(name=name))


@main.command()
@named
def down(name: str) -> None:
    """Close it, daemons in order."""
    pid = running(name)
    if pid:
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not running(name), f"the laboratory {name!r} to close", seconds=15)
    (STATE / name).unlink(missing_ok=True)
    click.echo(f"The laboratory {name!r} is closed." if pid else f"No laboratory {name!r} is open.")


def running(name: str) -> int | None:
    """Pid of the laboratory's PID 1; None when there is none, or when the noted pid has become another process."""
    try:
        pid = int((STATE / name).read_text())
        return pid if b"tools/lab/init" in Path(f"/proc/{pid}/cmdline").read_bytes() else None
    except FileNotFoundError:
        return None


if __name__ == "__main__":
    main()
