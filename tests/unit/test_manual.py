"""What the manual says of the commands, in --help and in the lists."""

import re
import shlex

import pytest
from click.testing import CliRunner

from jupiter import cli, exits, own
from jupiter.commands import COMMANDS, GROUPS, Command

EXAMPLES = [(command, words) for command in COMMANDS.values() for words in command.examples]


def help_of(*words: str) -> str:
    done = CliRunner().invoke(cli.cli, [*words, "--help"], prog_name=own.NAME)
    assert done.exit_code == 0
    return done.output


@pytest.mark.parametrize(("command", "words"), EXAMPLES, ids=[words for _, words in EXAMPLES])
def test_each_example_can_be_pasted(command: Command, words: str) -> None:
    """Its words are those of a command that is there, and its parameters are valid."""
    name, *rest = shlex.split(words)
    named = COMMANDS[name]
    arguments = [word for word in rest if word != "--json"]
    if named.to_file:
        arguments = arguments[: sum(p.kind.words for p in named.parameters)]
    named.validate(named.bind(arguments))


@pytest.mark.parametrize("command", COMMANDS.values(), ids=lambda c: c.name)
def test_help_says_all_about_a_command(command: Command) -> None:
    """What it does, each parameter with what is expected, an example of its own, aliases, exit codes."""
    text = re.sub(r"\s+", " ", help_of(command.name))
    assert f"Usage: jupiter-ctl {command.name} [OPTIONS] {command.arguments}".rstrip() in text
    assert command.help in text
    for parameter in command.parameters:
        assert parameter.kind.expected.removeprefix(f"{parameter.kind.metavar}, ")[1:] in text
    assert any(words.split()[0] == command.name for words in command.examples)
    assert all(f"jupiter-ctl {words}" in text for words in command.examples)
    assert all(alias in text for alias in command.aliases)
    assert f"Exit codes: 0 Done. 1 {exits.MEANINGS[exits.FAILED]}" in text


def test_help_of_the_whole_says_where_and_how_it_ends() -> None:
    text = help_of()
    for word in (*COMMANDS, *own.OWN, *GROUPS, "JUPITER_SOCK", "JUPITER_INSTANCE", "--instance", "--unixsock"):
        assert word in text
    for code in exits.MEANINGS:
        assert re.search(rf"^  {code}\b", text, re.M)


def test_no_command_lists_all_of_them_with_their_usage_by_group() -> None:
    """Without the service."""
    done = CliRunner().invoke(cli.cli, [], prog_name=own.NAME)
    assert done.exit_code == 0
    lines = done.output.splitlines()
    for title, group in GROUPS.items():
        start = lines.index(f"{title}:")
        for n, command in enumerate(group):
            assert lines[start + 1 + 2 * n : start + 3 + 2 * n] == [f"  {command.usage}", f"      {command.help}"]
    assert "  completion {bash|zsh|fish}" in lines
