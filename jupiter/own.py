"""Commands of jupiter-ctl that are not the service's: `top` and `completion`; and how a command documents itself."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

import click

from jupiter import completion, manual, options

NAME: Final = "jupiter-ctl"
OWN_TITLE: Final = "In the shell"


class Documented(click.Command):
    """A command whose --help ends with sections of the manual."""

    def __init__(self, name: str, sections: Iterable[manual.Section] = (), **settings: Any) -> None:
        super().__init__(name, **settings)
        self.sections = (*sections, manual.EXIT_CODES)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for section in self.sections:
            with formatter.section(section.title):
                if section.terms:
                    formatter.write_dl(section.terms)
                for line in section.lines:
                    formatter.write(f"{'':{formatter.current_indent}}{line}\n")


def usage_of(name: str, command: click.Command) -> str:
    with click.Context(command) as ctx:
        return " ".join([name, *command.collect_usage_pieces(ctx)[1:]])


def _print_completion(ctx: click.Context, /, shell: str) -> None:
    click.echo(completion.script(ctx.find_root().command, shell, NAME), nl=False)


def _refuse_nan(_ctx: click.Context, _option: click.Parameter, value: float) -> float:
    """It is in no range, but FloatRange does not see that."""
    if math.isnan(value):
        raise click.BadParameter("nan is no number of seconds.")
    return value


def _top(ctx: click.Context, /, interval: float, once: bool, **_: Any) -> None:
    from jupiter.top import live  # rich takes its time, and nobody else needs it

    live.run(options.socket_path(ctx), interval, once)


OWN: Final[Mapping[str, Documented]] = {
    "top": Documented(
        "top",
        [manual.TOP_KEYS],
        callback=click.pass_context(_top),
        params=[
            click.Option(
                ["--interval"],
                type=click.FloatRange(0.1, 3600),
                callback=_refuse_nan,
                default=2.0,
                show_default=True,
                metavar="SEC",
                help="Seconds between two looks.",
            ),
            click.Option(
                ["--once"], is_flag=True, help="Print one screen of what happens within SEC seconds, and end."
            ),
            *options.WHERE,
        ],
        help=manual.TOP,
        short_help="Watch services, servers, workers, drops and devices, live.",
    ),
    "completion": Documented(
        "completion",
        [completion.EXAMPLES],
        callback=click.pass_context(_print_completion),
        params=[click.Argument(["shell"], type=click.Choice(completion.SHELLS))],
        help=completion.HELP,
        short_help="Print the script that completes commands in a shell.",
    ),
}
