"""The house stands: imports run one way, functions fit a screen."""

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SCREEN = 50
"""Lines."""

MAY_IMPORT: Mapping[str, set[str]] = {
    "": set(),
    "errors": set(),
    "ids": {"errors"},
    "model": {"errors"},
    "terms": {"model"},
    "ini": {"errors"},
    "attributes": {"model", "terms"},
    "services": {"attributes", "errors", "ini", "model", "terms"},
    "handmade": {"", "attributes", "ini", "model", "services", "terms"},
    "comparison": {"attributes", "model", "services", "terms"},
    "state": {"", "handmade", "ini", "model"},
    "counters": {"model", "terms"},
    "dissect": set(),
    "pcapng": set(),
    "watching": {"counters", "dissect", "errors", "pages"},
    "commands": {"", "attributes", "errors", "model", "terms"},
    "pages": {"", "commands", "errors"},
    "reports": {"", "commands", "counters", "model", "pages", "terms"},
    "handlers": {"attributes", "counters", "errors", "model", "pages", "reports", "terms"},
    "eal": set(),
    "values": {"", "eal", "model"},
    "config": {"", "eal", "ini", "model", "services", "values"},
    "session": {"errors"},
    "running": {
        "",
        "commands",
        "comparison",
        "counters",
        "errors",
        "handlers",
        "handmade",
        "ini",
        "log",
        "model",
        "pages",
        "services",
        "session",
        "state",
        "terms",
        "watching",
    },
    "arp": set(),
    "datapath": {"arp", "counters", "errors", "fastpath.engine", "gauges", "ids", "model"},
    "gauges": {"counters", "errors", "fastpath.engine", "terms"},
    "control": set(),
    "control.protocol": {"errors"},
    "control.client": {"control", "control.protocol", "errors"},
    "control.dispatch": {"control", "control.protocol", "errors", "session"},
    "control.listen": {"errors"},
    "control.clients": {"control.protocol", "session"},
    "control.server": {
        "control",
        "control.clients",
        "control.dispatch",
        "control.listen",
        "control.protocol",
        "errors",
        "session",
    },
    "host": {"errors", "host"},
    "log": set(),
    "exits": {"", "errors", "log", "output"},
    "notify": set(),
    "instance": {"errors"},
    "watchdog": {"", "exits", "log", "notify"},
    "daemon": {"", "errors", "exits"},
    "render": {"commands"},
    "files": {"errors"},
    "output": {"errors"},
    "options": {"errors", "instance"},
    "manual": {"commands", "exits"},
    "completion": {"commands", "control.client", "errors", "manual", "options"},
    "top": set(),
    "top.rates": set(),
    "top.watch": {"control.client", "errors", "top.rates"},
    "top.sections": {"top.rates", "top.watch"},
    "top.screen": {"top.rates", "top.sections", "top.watch"},
    "top.terminal": set(),
    "top.live": {"control.client", "errors", "output", "top", "top.screen", "top.terminal", "top.watch"},
    "own": {"completion", "manual", "options", "top", "top.live"},
    "cli": {
        *("", "commands", "completion", "control.client", "errors", "exits", "files", "manual", "options"),
        *("output", "own", "pcapng", "render"),
    },
    "assembly": {
        "",
        "config",
        "control.server",
        "daemon",
        "datapath",
        "eal",
        "errors",
        "host",
        "instance",
        "log",
        "model",
        "notify",
        "running",
        "session",
        "state",
        "watchdog",
    },
    "service": {"", "assembly", "config", "daemon", "exits", "instance", "log", "watchdog"},
}
"""Module of jupiter (host: the whole room) -> what of this repository it may import."""

LEVELS = ({"dpdk"}, {"layout"}, {"net"}, {"table"}, {"stage"}, {"idle"}, {"worker", "kernel_loop"}, {"engine"})
"""Rooms of fastpath, from the ground up: each may cimport those below it, and net, table and dpdk themselves."""
WITHIN = {"dpdk", "net", "table"}


def imports(source: str, modules: set[str]) -> Iterator[str]:
    """Full names of the modules that this Python source imports from this repository; `modules`: those there are."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            full = {f"{node.module}.{alias.name}" for alias in node.names}
            names = sorted({name if name in modules else str(node.module) for name in full})
        else:
            continue
        yield from (name for name in names if name.partition(".")[0] in ("jupiter", "fastpath"))


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def place(module: str) -> str:
    """Key of MAY_IMPORT."""
    name = module.removeprefix("jupiter").lstrip(".")
    return "host" if name.split(".")[0] == "host" else name


def wrong_imports(module: str, source: str, modules: set[str]) -> list[str]:
    allowed = MAY_IMPORT[place(module)]
    return [f"{module} imports {name}" for name in imports(source, modules) if place(name) not in allowed]


def wrong_cimports(path: Path, source: str) -> list[str]:
    """path: relative to fastpath/."""
    here = path.with_suffix("").parts[0]
    wrong = []
    for name in re.findall(r"^\s*(?:from\s+(\S+)\s+cimport|cimport\s+\S+)", source, re.M):
        parts = (name or "").split(".")
        if parts[0] == "jupiter" or (parts[0] == "fastpath" and not may_cimport(here, parts[1])):
            wrong.append(f"{path} cimports {name}")
    return wrong


def may_cimport(here: str, there: str) -> bool:
    return level(there) < level(here) or (here == there and here in WITHIN)


def level(room: str) -> int:
    return next(n for n, rooms in enumerate(LEVELS) if room in rooms)


def long_functions(source: str) -> list[str]:
    return [
        node.name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno + 1 > SCREEN
    ]


PYTHON = sorted((ROOT / "jupiter").rglob("*.py"))
CYTHON = [p for p in sorted((ROOT / "fastpath").rglob("*.p[xy][dx]")) if p.stem != "__init__"]
MODULES = {module_of(p) for p in PYTHON} | {"fastpath.engine"}


@pytest.mark.parametrize("path", PYTHON, ids=module_of)
def test_control_plane_imports_run_one_way(path: Path) -> None:
    """Each module of jupiter imports only what the plan of the house says; datapath alone imports fastpath."""
    assert wrong_imports(module_of(path), path.read_text(), MODULES) == []


@pytest.mark.parametrize("path", CYTHON, ids=lambda p: str(p.relative_to(ROOT)))
def test_data_plane_cimports_run_one_way(path: Path) -> None:
    """engine -> worker -> stage -> table -> net -> {layout, dpdk}; stages do not know each other, nor jupiter."""
    assert wrong_cimports(path.relative_to(ROOT / "fastpath"), path.read_text()) == []


@pytest.mark.parametrize("path", PYTHON, ids=module_of)
def test_functions_fit_a_screen(path: Path) -> None:
    """No function of jupiter is longer than a screen."""
    assert long_functions(path.read_text()) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("jupiter.model", "from jupiter.config import Settings"),
        ("jupiter.model", "import jupiter.config"),
        ("jupiter.handlers", "from fastpath import engine"),
        ("jupiter.handlers", "def f():\n    from jupiter import datapath"),
        ("jupiter.host.tap", "import fastpath.engine"),
        ("jupiter.cli", "from jupiter.control import server"),
        ("jupiter.errors", "from jupiter import VERSION"),
    ],
)
def test_a_wrong_import_is_found(module: str, source: str) -> None:
    """The checker itself: each of these breaks a rule."""
    assert len(wrong_imports(module, source, MODULES)) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("stage/lookup.pxd", "from fastpath.stage.rewrite cimport rewrite"),
        ("table/timer.pxd", "from fastpath.stage.expire cimport expire"),
        ("net/ipv4.pxd", "from fastpath.table.service cimport (\n    x,\n)"),
        ("layout.pxd", "from fastpath.net.hash cimport hash2"),
        ("engine.pyx", "from jupiter.model cimport Model"),
    ],
)
def test_a_wrong_cimport_is_found(path: str, source: str) -> None:
    """The checker itself: each of these breaks a rule."""
    assert len(wrong_cimports(Path(path), source)) == 1


def test_a_long_function_is_found() -> None:
    """The checker itself: 51 lines are too long, 50 are not."""
    body = "    pass\n" * SCREEN
    assert long_functions("def long():\n" + body) == ["long"]
    assert long_functions("async def short():\n" + body[: -len("    pass\n")]) == []
