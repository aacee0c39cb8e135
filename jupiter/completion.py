"""Completion in shells: what may stand where, by the table of commands and by what the running service has."""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import click
from click.shell_completion import (
    CompletionItem,
    ShellComplete,
    add_completion_class,
    get_completion_class,
    split_arg_string,
)

from jupiter import options
from jupiter.commands import CLIENT, MATCH, SERVER, SERVICE, TARGET, Command, Kind, Parameter
from jupiter.control.client import Client
from jupiter.errors import JupiterError
from jupiter.manual import Section

SHELLS: Final = ("bash", "zsh", "fish")
VARIABLE: Final = "_JUPITER_CTL_COMPLETE"
"""Of the environment: by it the shells' scripts ask."""
PATIENCE: Final = 0.15
"""Seconds. A shell that asks waits at most twice as long for the service, and for the start of Python."""

HELP: Final = """Print the script that completes commands in a shell.

It completes commands, options, fixed words and files, and asks the running service for its services and servers."""
EXAMPLES: Final = Section(
    "Examples",
    lines=(
        "jupiter-ctl completion bash > /etc/bash_completion.d/jupiter-ctl",
        'eval "$(jupiter-ctl completion bash)"     # this bash alone; zsh the same, behind compinit',
        "jupiter-ctl completion zsh > /usr/local/share/zsh/site-functions/_jupiter-ctl",
        "jupiter-ctl completion fish > ~/.config/fish/completions/jupiter-ctl.fish",
    ),
)

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem[str]]]
Suggestions = Iterator[tuple[str, str | None]]
"""Words, each with what it is."""


def words_of(command: Command) -> Complete:
    """What completes the words behind a command."""

    def complete(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
        before = _without_options(command, ctx.params.get("words") or ())
        if before is None:
            return []
        parameter, word = _parameter_at(command, len(before))
        if parameter is None and word > 0:
            return []
        if parameter is None or parameter.kind.is_file or parameter.kind is TARGET:
            return [CompletionItem(incomplete, type="file")] if parameter or command.to_file else []
        found = dict(_suggestions(ctx, parameter, word, before))
        return [CompletionItem(value, help=text) for value, text in found.items() if value.startswith(incomplete)]

    return complete


def _without_options(command: Command, words: Sequence[str]) -> list[str] | None:
    """The words that are no option's; None: the value of one comes next."""
    names = {f"--{p.name}" for p in command.options}
    rest = []
    left = iter(words)
    for word in left:
        if word not in names:
            rest += [] if word.partition("=")[0] in names else [word]
        elif next(left, None) is None:
            return None
    return rest


def _parameter_at(command: Command, position: int) -> tuple[Parameter | None, int]:
    """The parameter that a word belongs to and the word's number in it; or None, and its number behind them all."""
    for parameter in command.positional:
        if position < parameter.kind.words:
            return parameter, position
        position -= parameter.kind.words
    return None, position


def _suggestions(ctx: click.Context, parameter: Parameter, word: int, before: Sequence[str]) -> Suggestions:
    kind = parameter.kind
    if live := None if parameter.is_new else _LIVE.get((kind, word)):
        yield from live(ctx, before)
    else:
        yield from ((fixed, None) for fixed in kind.choices(word))
    if kind is MATCH:
        yield from ((f"drop={row['reason']}", row["description"]) for row in _rows(ctx, "drops"))


def _services(ctx: click.Context, _before: Sequence[str]) -> Suggestions:
    for row in _rows(ctx, "vs/list"):
        yield f"{row['ip']}:{row['port']}", f"{row['type']} {row['sched']}"


def _protocols(ctx: click.Context, before: Sequence[str]) -> Suggestions:
    """Those under which the service exists; both where that is not known."""
    there = [row["type"] for row in _rows(ctx, "vs/list") if f"{row['ip']}:{row['port']}" == before[-1]]
    yield from ((protocol, None) for protocol in there or SERVICE.choices(1))


def _servers(ctx: click.Context, before: Sequence[str]) -> Suggestions:
    for row in _rows(ctx, "rs/list", service=" ".join(before[:2])):
        yield f"{row['ip']}:{row['port']}", f"weight {row['weight']}, {row['status']}"


def _clients(ctx: click.Context, before: Sequence[str]) -> Suggestions:
    for row in _rows(ctx, "vs/cql/list", service=" ".join(before[:2])):
        yield row["ip"], f"{row['qps']} a second"


_LIVE: Mapping[tuple[Kind, int], Callable[[click.Context, Sequence[str]], Suggestions]] = {
    (SERVICE, 0): _services,
    (SERVICE, 1): _protocols,
    (SERVER, 0): _servers,
    (CLIENT, 0): _clients,
}
"""Words that the running service knows."""


def _rows(ctx: click.Context, method: str, **params: str) -> Iterator[dict[str, Any]]:
    """As many as come in time; none is better than an error between the operator's words."""
    deadline = time.monotonic() + PATIENCE
    try:
        with Client(options.socket_path(ctx), timeout=PATIENCE) as service:
            for row in service.rows(method, **params):
                yield row
                if time.monotonic() > deadline:
                    return
    except JupiterError:
        return


def script(command: click.Command, shell: str, name: str) -> str:
    """What a shell is to read, to complete the words of a program of that name."""
    shell_class = get_completion_class(shell)
    assert shell_class is not None
    return shell_class(command, {}, name, VARIABLE).source()


@add_completion_class
class BashComplete(ShellComplete):
    """click's own takes bash's words, and those end at each `:` and `=`; here the line is split anew.

    Bash then replaces only what stands behind the last of these (COMP_WORDBREAKS), so suggestions begin there.
    """

    name = "bash"
    source_template = """\
%(complete_func)s() {
    local line response
    mapfile -t response < <(
        %(complete_var)s_LINE="${COMP_LINE:0:COMP_POINT}" %(complete_var)s_BREAKS="$COMP_WORDBREAKS" \\
            %(complete_var)s=bash_complete "$1" 2>/dev/null
    )
    COMPREPLY=()
    for line in "${response[@]}"; do
        case ${line%%%%,*} in
            file) compopt -o default ;;
            dir) compopt -o dirnames ;;
            plain)
                COMPREPLY+=("${line#*,}")
                [[ $line != *= ]] || compopt -o nospace ;;
        esac
    done
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""

    def get_completion_args(self) -> tuple[list[str], str]:
        line = os.environ[f"{self.complete_var}_LINE"]
        words = split_arg_string(line)
        self._typed = "" if line[-1:].isspace() else words.pop()
        return words[1:], self._typed

    def format_completion(self, item: CompletionItem[str]) -> str:
        breaks = os.environ[f"{self.complete_var}_BREAKS"]
        behind = 1 + max((self._typed.rfind(c) for c in ":=" if c in breaks), default=-1)
        return f"{item.type},{item.value.removeprefix(self._typed[:behind])}"
