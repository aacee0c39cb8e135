"""jupiter-ctl: one click command for each entry of the table of commands."""

import json
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import click

from jupiter import VERSION, commands, render
from jupiter.commands import Answer, Command
from jupiter.control import DEFAULT_SOCKET
from jupiter.control.client import Client
from jupiter.errors import JupiterError

_SOCKET = click.Option(["--unixsock"], metavar="PATH", help=f"Socket of the service (default {DEFAULT_SOCKET}).")
_JSON = click.Option(["--json", "as_json"], is_flag=True, help="Print JSON, for programs.")


class CommandLine(click.Group):
    """Resolves a word through the table of commands, aliases included."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(commands.COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        return _click_command(commands.find(cmd_name))


def _click_command(command: Command) -> click.Command:
    """Words are bound by the table itself: shell and wire say the same about a wrong one."""
    words = click.Argument(["words"], nargs=-1, metavar=" ".join(p.usage for p in command.parameters))

    def run(words: tuple[str, ...], as_json: bool = False, unixsock: str | None = None) -> None:
        group = click.get_current_context().find_root().params
        _run(command, words, as_json or group["as_json"], unixsock or group["unixsock"] or DEFAULT_SOCKET)

    options = [_SOCKET] if command.answer is Answer.NOTHING else [_SOCKET, _JSON]
    return click.Command(
        command.name,
        callback=run,
        params=[words, *options],
        help=command.help,
        # -1 is a wrong weight, not an unknown option
        context_settings={"ignore_unknown_options": True},
    )


def _run(command: Command, words: tuple[str, ...], as_json: bool, unixsock: str) -> None:
    params = command.bind(words)
    command.validate(params)
    with Client(unixsock) as service:
        if command.answer.paged:
            rows = service.rows(command.name, **params)
            lines = _json_array(rows) if as_json else render.text(command, rows)
        else:
            answer = service.call(command.name, **params)
            if answer is None:
                return
            lines = iter([json.dumps(answer, indent=2)]) if as_json else render.text(command, answer)
        for line in lines:
            click.echo(line)


def _json_array(rows: Iterable[Any]) -> Iterator[str]:
    """A JSON array, a row a line, begun before the last row has come."""
    separator = "["
    for row in rows:
        yield separator + json.dumps(row)
        separator = ","
    yield "]" if separator == "," else "[]"


@click.group(
    cls=CommandLine,
    params=[_SOCKET, _JSON],
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(VERSION, prog_name="jupiter-ctl")
@click.pass_context
def cli(ctx: click.Context, unixsock: str | None, as_json: bool) -> None:
    """Configure and watch jupiter-service."""
    if ctx.invoked_subcommand is None:
        usages = [{"usage": c.usage, "help": c.help} for c in commands.COMMANDS.values()]
        for line in render.text(commands.COMMANDS["list-command"], usages):
            click.echo(line)


def main() -> None:
    """Exit code 0 and the answer on stdout, or non-zero and the error on stderr."""
    try:
        cli()
    except JupiterError as error:
        click.echo(error.text, err=True)
        sys.exit(1)
