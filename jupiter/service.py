"""jupiter-service: the command line of the service; assembly.py is what it runs."""

import faulthandler
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from jupiter import VERSION, config, daemon, exits
from jupiter import log as logs
from jupiter.assembly import run, takes_anothers_place
from jupiter.instance import instance
from jupiter.watchdog import LIMIT

_path = click.Path(dir_okay=False, path_type=Path, resolve_path=True)


def _of_instance(option: str, field: str, help: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """An option for a path that otherwise comes from --instance."""
    defaults = getattr(instance(), field), getattr(instance("NAME"), field)
    return click.option(
        option, field, type=_path, help=f"{help} [default: {defaults[0]}; of an instance {defaults[1]}]"
    )


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True, "max_content_width": 100})
@click.option(
    "--instance",
    "name",
    metavar="NAME",
    default="",
    show_default=False,
    help="Which of several services of this machine.",
)
@_of_instance("--conf", "config", "Configuration file.")
@click.option("--check", is_flag=True, help="Say what is wrong with the configuration file, and exit.")
@click.option("--daemon", "background", is_flag=True, help="Go to the background when the service answers.")
@_of_instance("--unixsock", "socket", "Socket for jupiter-ctl.")
@_of_instance("--pidfile", "pidfile", "Pid file, locked while the service runs.")
@_of_instance("--log", "log", "Log of a --daemon; otherwise it goes to stderr.")
@click.option("--log-level", type=click.Choice(logs.LEVELS), default="info", help="What is logged: this and worse.")
@click.option("--log-format", type=click.Choice(["text", "json"]), default="text", help="For people or for programs.")
@click.option(
    "--watchdog",
    type=click.IntRange(0, 3600),
    default=int(LIMIT),
    metavar="SECONDS",
    help="End the process when a worker takes no turn for so long, or the main loop for six times as long; 0: never.",
)
@click.option("--debug", is_flag=True, help="Show tracebacks of unexpected errors.")
@click.version_option(VERSION, prog_name="jupiter-service")
def command(
    name: str,
    check: bool,
    background: bool,
    log_level: str,
    log_format: logs.Format,
    watchdog: int,
    debug: bool,
    **paths: Path | None,
) -> None:
    """FullNAT layer-4 load balancer on DPDK.

    \b
    Examples:
      jupiter-service --check --conf=FILE   say all that is wrong with a configuration
      jupiter-service --daemon              serve by /etc/jupiter/jupiter.cfg, in the background
      jupiter-service --instance=blue       a second service beside it, by /etc/jupiter/blue.cfg
      jupiter-ctl stop                      end it

    \b
    Exit codes:
      0         it has ended in order (SIGTERM, SIGINT, `jupiter-ctl stop`); with --daemon: it answers
      1         it cannot start, or go on; the reason is on stderr, and in the log
      70        a fault of ours: so, too, and --debug shows where
      2         wrong configuration or command line; every error is on stderr
      3         its watchdog has ended it: a worker or the main loop hangs; the log says which
      130, 143  SIGINT or SIGTERM has ended it while it started
    """
    given: dict[str, Any] = {field: path for field, path in paths.items() if path is not None}
    place = instance(name).at(**given)
    if logs.to_journal():  # the operator's own terminal gets what is wrong as it is
        logs.setup(log_level, log_format, debug)
    settings = config.load(place.config)
    if check:
        click.echo(f"{place.config} is valid.")
        return
    report = daemon.detach(place.log) if background else daemon.no_report
    if background:
        daemon.move_on_while(lambda: takes_anothers_place(settings))
    logs.setup(log_level, log_format, debug)
    faulthandler.enable()
    daemon.end_with_any_thread()
    try:
        run(settings, place, watchdog, lambda: report(None, exits.DONE))
    except BaseException as error:
        told = exits.verdict(error)
        report(told.text, told.code)
        raise


def main() -> None:
    words = sys.argv[1:]
    daemon.terminate_on_signals()
    sys.exit(exits.run(lambda: exits.invoke(command, "jupiter-service", words), exits.say, debug="--debug" in words))
