"""The three pages."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from pathlib import Path

import click

from jupiter import VERSION, cli, manual, options, own, service
from jupiter.commands import GROUPS, Command
from tools.man import roff, settings

CONFIGURATION = Path(__file__).parents[2] / "etc" / "jupiter.cfg"


def _page(lines: Iterator[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _opening(name: str, section: int, day: date, manual_name: str, what: str) -> Iterator[str]:
    yield from roff.title(name, section, day, f"jupiter {VERSION}", manual_name)
    yield from roff.heading("Name")
    yield f"{roff.escape(name)} \\- {roff.escape(what)}"


def _see_also(*pages: str) -> Iterator[str]:
    yield from roff.heading("See also")
    names = [page.partition("(") for page in pages]
    yield ",\n".join(f"{roff.bold(name)}({rest}" for name, _, rest in names)


def _options(command: click.Command, name: str) -> Iterator[str]:
    with click.Context(command, info_name=name, help_option_names=["-h", "--help"]) as ctx:
        for parameter in command.get_params(ctx):
            if record := parameter.get_help_record(ctx):
                yield from roff.item([roff.bold(record[0])], record[1])


def _terms(section: manual.Section) -> Iterator[str]:
    for term, text in section.terms:
        yield from roff.item([roff.bold(term)], text)
    if section.lines:
        yield from roff.literal(section.lines)


def control(day: date) -> str:
    return _page(_control(day))


def _control(day: date) -> Iterator[str]:
    yield from _opening(own.NAME, 1, day, "jupiter", "configure and watch jupiter-service")
    yield from roff.heading("Synopsis")
    yield f"{roff.bold(own.NAME)} [\\fIOPTION\\fR...] \\fICOMMAND\\fR [\\fIARGUMENT\\fR...]"
    yield from roff.heading("Description")
    yield from roff.paragraphs(manual.ABOUT)
    yield from roff.heading("Options")
    yield from roff.paragraphs("They may stand before the command and behind it.")
    yield from _options(cli.cli, own.NAME)
    yield from roff.heading("Commands")
    yield from roff.paragraphs("Each prints what it does, with examples, with --help.")
    for title, group in GROUPS.items():
        yield from roff.subheading(title)
        for command in group:
            yield from _command(command)
    yield from roff.subheading(own.OWN_TITLE)
    for name, command in own.OWN.items():
        yield from _own(name, command)
    yield from roff.heading("Errors")
    yield from roff.paragraphs(manual.ERRORS)
    yield from roff.heading("Exit status")
    yield from _terms(manual.EXIT_CODES)
    yield from roff.heading("Environment")
    yield from _terms(manual.Section("", terms=tuple(options.ENVIRONMENT.items())))
    yield from _see_also("jupiter-service(8)", "jupiter.cfg(5)")


def _command(command: Command) -> Iterator[str]:
    usage = f"{roff.bold(command.name)} {roff.escape(command.usage.removeprefix(command.name).strip())}".strip()
    yield from roff.item([usage], manual.text(command))
    yield ".RS"
    for section in manual.sections(command):
        if section.title == "Examples":
            yield from roff.literal(section.lines)
        elif section.terms:
            yield from _terms(section)
        else:
            yield from roff.paragraphs(f"{section.title}: {' '.join(section.lines)}.", first=".PP")
    yield ".RE"


def _own(name: str, command: own.Documented) -> Iterator[str]:
    yield from roff.item([roff.bold(own.usage_of(name, command))], command.help or "")
    yield ".RS"
    yield from _options(command, name)
    for section in command.sections:
        if section is not manual.EXIT_CODES:
            yield from roff.paragraphs(f"{section.title}:", first=".PP")
            yield from _terms(section)
    yield ".RE"


def daemon(day: date) -> str:
    return _page(_daemon(day))


def _daemon(day: date) -> Iterator[str]:
    name = "jupiter-service"
    yield from _opening(name, 8, day, "jupiter", "FullNAT layer-4 load balancer on DPDK")
    yield from roff.heading("Synopsis")
    yield f"{roff.bold(name)} [\\fIOPTION\\fR...]"
    yield from roff.heading("Description")
    text = inspect.cleandoc(service.command.help or "").replace("\b\n", "")  # by which click keeps lines apart
    yield from roff.paragraphs(text)
    yield from roff.paragraphs(
        "Packets of virtual services go through DPDK and never see the kernel; all others reach Linux through the "
        "kernel interface of their device. What the service needs is said in its configuration; services are "
        "configured there or with jupiter-ctl.",
        first=".PP",
    )
    yield from roff.heading("Options")
    yield from _options(service.command, name)
    if ends := inspect.getdoc(service.main):
        yield from roff.heading("Exit status")
        yield from roff.paragraphs(ends)
    yield from _see_also("jupiter-ctl(1)", "jupiter.cfg(5)")


def configuration(day: date) -> str:
    return _page(_configuration(day, CONFIGURATION.read_text(encoding="utf-8")))


def _configuration(day: date, text: str) -> Iterator[str]:
    yield from _opening("jupiter.cfg", 5, day, "jupiter", "configuration of jupiter-service")
    yield from roff.heading("Description")
    empty = True
    for part in settings.parts(text):
        if part.section:
            yield from roff.heading(part.section)
            yield from roff.paragraphs(part.prose)
            empty = not part.prose
        elif part.lines:
            yield from roff.item([roff.bold(line) for line in part.lines], part.prose)
            empty = False
        else:
            yield from roff.paragraphs(part.prose, first="" if empty else ".PP")
            empty = False
    yield from _see_also("jupiter-ctl(1)", "jupiter-service(8)")


PAGES: Mapping[str, Callable[[date], str]] = {
    "jupiter-ctl.1": control,
    "jupiter-service.8": daemon,
    "jupiter.cfg.5": configuration,
}
"""File -> what writes it. The day is that of the build."""
