"""The man pages: complete, and without a warning of either formatter."""

import os
import re
import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from jupiter import exits, options, own
from jupiter.commands import COMMANDS
from tools.man import roff, settings
from tools.man.pages import CONFIGURATION, PAGES, _configuration

ROOT = Path(__file__).parents[2]
DAY = date(2026, 1, 2)


@pytest.fixture(params=PAGES)
def page(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / request.param
    path.write_text(PAGES[request.param](DAY))
    return path


def formatted(path: Path) -> str:
    """As a reader sees it, on one line."""
    done = subprocess.run(["mandoc", "-Tascii", str(path)], capture_output=True, text=True, timeout=30, check=True)
    return re.sub(r"\s+", " ", re.sub(r".\x08", "", done.stdout))


def text_of(name: str, tmp_path: Path) -> str:
    (tmp_path / name).write_text(PAGES[name](DAY))
    return formatted(tmp_path / name)


@pytest.mark.skipif(not shutil.which("mandoc"), reason="mandoc is not installed")
def test_mandoc_has_nothing_to_say(page: Path) -> None:
    done = subprocess.run(["mandoc", "-T", "lint", str(page)], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.skipif(not shutil.which("man") or not shutil.which("groff"), reason="man-db is not installed")
def test_groff_has_nothing_to_say(page: Path) -> None:
    """As `man --warnings` shows it."""
    done = subprocess.run(
        ["man", "--warnings", "-Tutf8", "-l", str(page)],
        capture_output=True,
        text=True,
        timeout=30,
        env={**os.environ, "MANPAGER": "cat", "MANWIDTH": "80"},
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_jupiter_ctl_1_has_every_command_option_and_exit_code(tmp_path: Path) -> None:
    text = text_of("jupiter-ctl.1", tmp_path)
    for command in COMMANDS.values():
        assert command.usage in text
        assert command.help in text
        assert all(f"jupiter-ctl {words}" in text for words in command.examples)
        assert all(alias in text for alias in command.aliases)
    for name in own.OWN:
        assert f" {name} " in text
    for option in (options.JSON, *options.WHERE):
        assert option.opts[0] in text
    for code, meaning in exits.MEANINGS.items():
        assert re.search(rf" {code} {re.escape(meaning)}", text)
    assert all(variable in text for variable in options.ENVIRONMENT)


def test_jupiter_service_8_has_every_option(tmp_path: Path) -> None:
    text = text_of("jupiter-service.8", tmp_path)
    for option in ("--conf", "--daemon", "--check", "--unixsock", "--pidfile", "--log", "--version", "--help"):
        assert option in text


def test_jupiter_cfg_5_has_every_line_of_the_file(tmp_path: Path) -> None:
    """Every setting, and every word that explains one."""
    text = text_of("jupiter.cfg.5", tmp_path)
    for line in CONFIGURATION.read_text().splitlines():
        assert all(word in text for word in line.lstrip("# ").split())


FILE = """\
# About the file.

# More, and an example:
#
#     [VS 10.0.1.1:80 tcp]
#     scheduler = rr

[DPDK]
# Two settings, one
# explanation.
# rx = 1
tx = 2

# [VS 10.0.1.1:80 tcp]
# 1.1.1.3:80 = weight 7

# About a section.
[DEVICE0]
bare = 1
"""


def test_the_comments_of_a_file_explain_what_follows_them() -> None:
    assert list(settings.parts(FILE)) == [
        settings.Part("About the file."),
        settings.Part("More, and an example:\n\n    [VS 10.0.1.1:80 tcp]\n    scheduler = rr"),
        settings.Part("", "[DPDK]"),
        settings.Part("Two settings, one\nexplanation.", lines=("# rx = 1", "tx = 2")),
        settings.Part("", lines=("# [VS 10.0.1.1:80 tcp]", "# 1.1.1.3:80 = weight 7")),
        settings.Part("About a section.", "[DEVICE0]"),
        settings.Part("", lines=("bare = 1",)),
    ]


def test_a_page_of_such_a_file_is_one_of_man_too(tmp_path: Path) -> None:
    path = tmp_path / "x.cfg.5"
    path.write_text("".join(f"{line}\n" for line in _configuration(DAY, FILE)))
    done = subprocess.run(["mandoc", "-T", "lint", str(path)], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout) == (0, "")
    assert "[VS 10.0.1.1:80 tcp] scheduler = rr" in formatted(path)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (".start 'quote' a\\b --x", ["\\&.start \\(aqquote\\(aq a\\eb \\-\\-x"]),
        ("'tis", ["\\(aqtis"]),
        ("caf\u00e9", ["caf\\[u00E9]"]),
    ],
)
def test_what_is_special_to_roff_stands_as_it_is(text: str, lines: list[str]) -> None:
    assert list(roff.filled(text)) == lines


def test_a_build_can_be_repeated(tmp_path: Path) -> None:
    """With SOURCE_DATE_EPOCH, byte for byte."""
    subprocess.run(
        [sys.executable, "-m", "tools.man", str(tmp_path)],
        env={**os.environ, "SOURCE_DATE_EPOCH": "1767312000"},
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=60,
    )
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {name: write(DAY) for name, write in PAGES.items()}
