"""`make behaviours`: what it goes by is true of the sources, and its parts do what they say."""

from pathlib import Path

import pytest

from tools.behaviours import mutate, report
from tools.behaviours.data import ROOT, BehavioursError, Line, Mutation, read
from tools.behaviours.judge import Fate, Verdict
from tools.behaviours.tests import collect, named_in

LINES = read()
MUTATIONS = [mutation for line in LINES.values() for mutation in line.off]


@pytest.mark.parametrize("file", sorted({mutation.file for mutation in MUTATIONS}))
def test_every_rule_can_be_switched_off(file: str) -> None:
    """Each text that is to be replaced stands in its source exactly once, and no two overlap."""
    mutate.edited(file, (ROOT / file).read_text("utf-8"), [each for each in MUTATIONS if each.file == file])


def test_the_copy_knows_who_is_switched_off() -> None:
    """Every file that is changed, or that includes one, can say mutant(); no MUTANT is left."""
    for file, text in mutate.mutated(MUTATIONS).items():
        assert "MUTANT" not in text.replace(mutate.VARIABLE, "")
        assert file.endswith(".pxi") or "import mutant" in text or file.endswith(("mutants.pxd", "mutants.py"))


def test_each_line_with_a_rule_has_a_test_and_each_named_line_a_sentence() -> None:
    named = {name for test in collect() for name in test.lines}
    assert [name for name, line in LINES.items() if line.off and name not in named] == []
    assert sorted(named - set(LINES)) == []


def test_the_readme_says_what_the_data_say() -> None:
    """Wherever the table stands, in lines and sentences; figures are those of its revision."""
    shown = [path for path in (ROOT / "README.md", ROOT / "tools/behaviours/README.md") if path.is_file()]
    tables = [text for text in (path.read_text("utf-8") for path in shown) if report.BEGIN in text]
    assert tables
    for text in tables:
        assert report.differences(text, LINES) == []


def test_the_table_is_written_between_its_markers(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text(f"before\n{report.BEGIN}\nformer\n{report.END}\nafter\n")
    verdicts = [
        Verdict(line, [], 1, [], [Fate(each, "tests/x.py::test", 1.0) for each in line.off]) for line in LINES.values()
    ]
    report.put_into(page, report.as_markdown(report.as_json(verdicts)))
    text = page.read_text("utf-8")
    assert text.startswith(f"before\n{report.BEGIN}\n| Line |")
    assert text.endswith(f"{report.END}\nafter\n")
    assert "former" not in text
    assert report.differences(text, LINES) == []
    assert report.differences(text.replace("| B4 |", "| B99 |").replace("Padding of", "Stuffing of"), LINES) == [
        "B4 is not in the table",
        "B99 is not in the data",
        f"B6: {LINES['B6'].sentence.replace('Padding of', 'Stuffing of')!r}, not {LINES['B6'].sentence!r}",
    ]


def test_a_page_without_markers_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text("nothing")
    with pytest.raises(BehavioursError, match="expected the lines <!-- behaviours"):
        report.put_into(page, "table")
    assert page.read_text() == "nothing"


def mutation(old: str, new: str = "MUTANT", number: int = 1) -> Mutation:
    return Mutation("B1", number, "it is off", "some.pxd", ((old, new),))


def test_edits_are_made_together_and_guarded() -> None:
    text = mutate.edited(
        "some.pxd", "a = 1\nb = 2\n", [mutation("1", "2 if MUTANT else 1", 7), mutation("b =", "c = MUTANT +", 8)]
    )
    assert text == "a = 2 if mutant(7) else 1\nc = mutant(8) + 2\n"


@pytest.mark.parametrize(("old", "n"), [("x", 0), ("a", 2)])
def test_a_text_that_is_not_there_once_is_named(old: str, n: int) -> None:
    with pytest.raises(
        BehavioursError, match=f"B1, 'it is off': some.pxd has this text {n} times, expected once: '{old}'"
    ):
        mutate.edited("some.pxd", "a = a", [mutation(old)])


def test_edits_of_the_same_text_are_refused() -> None:
    with pytest.raises(BehavioursError, match=r"some.pxd: B1, .* and B1, .* change the same text"):
        mutate.edited("some.pxd", "abc", [mutation("ab"), mutation("bc")])


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ('what = "x"\nfile = "y"', "expected what, file, and edits"),
        ('what = "x"\nfile = "y"\nedits = [["a", "b"]]', "with MUTANT in it"),
        ('what = "x"\nfile = "y"\nedits = [["a", "MUTANT", "c"]]', "expected pairs"),
        ('what = "x"\nfiles = "y"\nedits = [["a", "MUTANT"]]', "unknown keys files"),
    ],
)
def test_wrong_data_are_refused(tmp_path: Path, entry: str, why: str) -> None:
    page = tmp_path / "behaviours.toml"
    page.write_text(f'[B1]\nsentence = "s"\n[[B1.off]]\n{entry}\n')
    with pytest.raises(BehavioursError, match=why):
        read(page)


@pytest.mark.parametrize(
    ("docstring", "lines"),
    [("B4: x", ("B4",)), ("B11, B16: x", ("B11", "B16")), ("B1, for UDP.", ("B1",)), ("It is B4.", ()), ("B4 x", ())],
)
def test_how_a_test_names_lines(docstring: str, lines: tuple[str, ...]) -> None:
    assert named_in(docstring) == lines


@pytest.mark.parametrize(
    ("cases", "bad", "by", "text"),
    [
        (3, [], "tests/x.py::test", "proved"),
        (3, [], None, "1 SURVIVED"),
        (0, [], "tests/x.py::test", "no test"),
        (3, ["tests/x.py: test"], None, "fails: tests/x.py: test"),
    ],
)
def test_verdicts(cases: int, bad: list[str], by: str | None, text: str) -> None:
    line = LINES["B7"]
    assert Verdict(line, [], cases, bad, [Fate(line.off[0], by, 1.0)]).text == text


def test_a_line_without_a_rule_is_not_yet_proved() -> None:
    assert Verdict(Line("B1", "A sentence.", ()), [], 3).text == "not yet"
