"""What the manual says of each command: the same for --help and for the man pages, from the table of commands."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from jupiter import exits
from jupiter.commands import REQUIRED, Command, Parameter


class Section(NamedTuple):
    """terms: (term, text) pairs. lines: as they stand."""

    title: str
    terms: tuple[tuple[str, str], ...] = ()
    lines: tuple[str, ...] = ()


EXIT_CODES: Final = Section("Exit codes", terms=tuple((str(code), text) for code, text in exits.MEANINGS.items()))

ABOUT: Final = """Configure and watch jupiter-service.

VIP:VPORT names a virtual service together with tcp or udp, RIP:RPORT one of its real servers. Protocols, schedulers and
other fixed words may be written in any case."""

ERRORS: Final = """An error is one line on stderr (a file has a line for each error in it) that names the object, its
value and what was expected. With --json it is {"error": {"code": ..., "message": ...}}; the code is stable."""


TOP: Final = """Watch services, servers, workers, drops and devices, live.

Figures a second are the differences of two looks; k, M and G are powers of 1000. The first look takes all services,
each further one at most two pages (2,048): of more than that it takes the next ones, and the screen says how many
looks it takes to see all. Where stdout is no terminal, or with --once, one screen is printed: its size is 160 x 50,
or what COLUMNS and LINES say."""

TOP_KEYS: Final = Section(
    "Keys",
    terms=(
        ("q", "End."),
        ("up, down", "Choose a service, whose servers are then shown; Esc shows those of the first one again."),
        ("t, p, a, n, d", "Order services by traffic, packets, active connections, new connections, drops."),
    ),
)


def text(command: Command) -> str:
    return "\n\n".join(filter(None, [command.help, command.details]))


def sections(command: Command) -> Iterator[Section]:
    if terms := [_parameter(p) for p in command.parameters]:
        if command.to_file:
            terms.append(_FILE)
        yield Section("Parameters", terms=tuple(terms))
    elif command.to_file:
        yield Section("Parameters", terms=(_FILE,))
    if command.columns:
        yield Section("Keys of --json", lines=(", ".join(c.key for c in command.columns),))
    yield Section("Examples", lines=tuple(f"jupiter-ctl {words}" for words in command.examples))
    if command.aliases:
        yield Section("Aliases", lines=(", ".join(command.aliases),))


_FILE = ("FILE", "Where to write it; - is standard output, and so is none.")


def _parameter(parameter: Parameter) -> tuple[str, str]:
    kind = parameter.kind
    term = f"--{parameter.name} {kind.metavar}" if parameter.is_option else kind.metavar
    expected = kind.expected.removeprefix(f"{kind.metavar}, ")
    sentence = f"{expected[0].upper()}{expected[1:]}."
    if parameter.kind.is_file:
        sentence = f"{sentence[:-1]}; - is standard input."
    if parameter.default is None:
        sentence += " Without it the present one is shown."
    elif parameter.default is not REQUIRED and parameter.default != {}:
        sentence += f" Default: {parameter.default}."
    return term, sentence
