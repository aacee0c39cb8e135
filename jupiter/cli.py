"""jupiter-ctl: one click command for each entry of the table of commands, and those that only look."""

import json
import os
import sys
from base64 import b64decode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any

import click
from click.shell_completion import CompletionItem, shell_complete

from jupiter import VERSION, commands, completion, exits, files, manual, options, output, pcapng, render
from jupiter.commands import FOLLOWING, MAX_SNAPLEN, Answer, Command
from jupiter.control.client import Client
from jupiter.errors import JupiterError
from jupiter.own import NAME, OWN, OWN_TITLE, Documented, usage_of


class TableCommand(Documented):
    """Words are bound by the table itself: shell and wire say the same about a wrong one."""

    def __init__(self, command: Command) -> None:
        words = click.Argument(
            ["words"], nargs=-1, metavar=command.arguments, shell_complete=completion.words_of(command)
        )
        super().__init__(
            command.name,
            manual.sections(command),
            callback=click.pass_context(lambda ctx, words, **_: _run(ctx, command, words)),
            params=[words, options.JSON, *options.WHERE],
            help=manual.text(command),
            short_help=command.help,
            # -1 is a wrong weight, not an unknown option
            context_settings={"ignore_unknown_options": True},
        )
        self._names = [f"--{p.name}" for p in command.options]

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        """The table's own options beside click's."""
        own = [name for name in self._names if incomplete.startswith("-") and name.startswith(incomplete)]
        return [*super().shell_complete(ctx, incomplete), *map(CompletionItem, own)]


class CommandLine(click.Group):
    """Resolves a word through the table of commands, aliases included; `top` and `completion` are jupiter-ctl's own."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*commands.COMMANDS, *OWN]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in OWN:
            return OWN[cmd_name]
        try:
            return TableCommand(commands.find(cmd_name))
        except JupiterError:
            if ctx.resilient_parsing:  # for completion: behind an unknown word stands nothing that we know
                return click.Command(cmd_name, add_help_option=False)
            raise

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        helps = {c.name: c.help for c in commands.COMMANDS.values()} | {n: c.short_help or "" for n, c in OWN.items()}
        return [CompletionItem(name, help=text) for name, text in helps.items() if name.startswith(incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, group in commands.GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(c.name, c.help) for c in group])
        with formatter.section(OWN_TITLE):
            formatter.write_dl([(name, c.short_help or "") for name, c in OWN.items()])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_paragraph()
        formatter.write_text(" ".join(manual.ERRORS.split()))
        for title, terms in (("Environment", options.ENVIRONMENT.items()), ("Exit codes", manual.EXIT_CODES.terms)):
            with formatter.section(title):
                formatter.write_dl(list(terms))


def _run(ctx: click.Context, command: Command, words: Sequence[str]) -> None:
    as_json = options.given(ctx, "as_json")
    words, target = _split_target(command, words)
    params = command.bind(words)
    command.validate(params)
    drafts = _read_files(command, params)
    with Client(options.socket_path(ctx)) as service:
        for draft in drafts:
            service.draft(draft)
        if command.answer is Answer.PACKETS:
            _capture(service, command, params, as_json)
            return
        lines = _answer(service, command, params, as_json)
        if target == "-":
            output.write(lines, at_once=command.answer in FOLLOWING)
        else:
            files.write(target, lines)


def _capture(service: Client, command: Command, params: dict[str, str], as_json: bool) -> None:
    """Into a file that exists from the first answer on: an error leaves one that was there as it was."""
    pages = service.pages(command.name, **params)
    first = next(pages)
    packets = lost = 0
    target = params["file"]
    capture = pcapng.Capture(f"{NAME} {VERSION}", int(params.get("snaplen", MAX_SNAPLEN)))
    with files.growing(target) as write:
        if not as_json:
            write(capture.begin())
        with suppress(KeyboardInterrupt):  # how an operator ends it
            for rows in chain([first], pages):
                seen = [row for row in rows if "lost" not in row]
                write(b"".join(_line(row) if as_json else _block(capture, row) for row in seen))
                packets += len(seen)
                lost += sum(row.get("lost", 0) for row in rows)
    missing = f", {lost} more are missing: they came faster than they could be read" if lost else ""
    click.echo(f"{packets} packets in {'standard output' if target == '-' else target}{missing}.", err=True)


def _line(row: Mapping[str, Any]) -> bytes:
    return f"{json.dumps(row)}\n".encode()


def _block(capture: pcapng.Capture, row: Mapping[str, Any]) -> bytes:
    return capture.packet(
        row["dev"],
        row["time"],
        b64decode(row["frame"]),
        row["length"],
        arrives=row["direction"] == "in",
        comments=row["comments"],
    )


def _split_target(command: Command, words: Sequence[str]) -> tuple[Sequence[str], str]:
    """What the parameters are given as, and where the answer goes: `-` is standard output."""
    own = sum(p.kind.words for p in command.parameters)
    if not command.to_file or len(words) != own + 1:
        return words, "-"
    return words[:own], words[own]


def _read_files(command: Command, params: dict[str, str]) -> list[str]:
    """Texts of the parameters that are files; the names become those that errors call them by."""
    texts = []
    for name in [p.name for p in command.parameters if p.kind.is_file and p.name in params]:
        params[name], text = files.read(params[name])
        texts.append(text)
    return texts


def _answer(service: Client, command: Command, params: dict[str, str], as_json: bool) -> Iterator[str]:
    """Lines."""
    if command.answer.paged:
        rows = service.rows(command.name, **params)
        return _json_array(rows) if as_json else render.text(command, rows)
    answer = service.call(command.name, **params)
    if answer is None:  # nothing was asked: something was set
        return iter(())
    return iter([json.dumps(answer, indent=2)]) if as_json else render.text(command, answer)


def _json_array(rows: Iterable[Any]) -> Iterator[str]:
    """A JSON array, a row a line, begun before the last row has come."""
    separator = "["
    for row in rows:
        yield separator + json.dumps(row)
        separator = ","
    yield "]" if separator == "," else "[]"


@click.group(
    cls=CommandLine,
    params=[options.JSON, *options.WHERE],
    help=manual.ABOUT,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(VERSION, prog_name=NAME)
@click.pass_context
def cli(ctx: click.Context, /, **_: Any) -> None:
    if ctx.invoked_subcommand is None:
        output.write(_usages())


def _usages() -> Iterator[str]:
    """All commands by group, without the service."""
    own = [(usage_of(name, command), command.short_help or "") for name, command in OWN.items()]
    groups = {title: [(c.usage, c.help) for c in group] for title, group in commands.GROUPS.items()}
    for title, entries in (groups | {OWN_TITLE: own}).items():
        yield from (f"{title}:", *chain.from_iterable((f"  {usage}", f"      {text}") for usage, text in entries), "")
    yield "jupiter-ctl COMMAND --help says more, with examples; list-command prints this list as a table."


def main() -> None:
    """Ends the process; exit codes are those of jupiter.exits, and an error is text on stderr, never a traceback."""
    instruction = os.environ.get(completion.VARIABLE)
    sys.exit(_complete(instruction) if instruction else run(sys.argv[1:]))


def run(words: Sequence[str]) -> int:
    """Carry out a command line; the exit code."""

    def tell(found: exits.Verdict) -> None:
        """The words alone tell how, for it may be one of them that is wrong."""
        error = {"error": {"code": found.name, "message": found.text}}
        if found.name != "interrupted":
            click.echo(json.dumps(error) if "--json" in words else found.text, err=True)

    return exits.run(lambda: exits.invoke(cli, NAME, words), tell, debug="--debug" in words)


def _complete(instruction: str) -> int:
    """Never an error: it would stand between the operator's words."""
    with suppress(Exception):
        shell_complete(cli, {}, NAME, completion.VARIABLE, instruction)
    return exits.DONE
