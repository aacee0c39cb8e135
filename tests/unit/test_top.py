"""What `top` makes of what it sees: rates, sections, and how much of them fits."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from jupiter.errors import JupiterError
from jupiter.top.rates import Sampler, Turns
from jupiter.top.screen import View, draw
from jupiter.top.sections import GAP, SORTS, Column, Section, figure, fitted
from jupiter.top.watch import PAGES, Watch
from tests.control.scripted import PAGE
from tests.control.traffic import Traffic, worker_row


class Clock:
    """Seconds, as a test sets them."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class FakeClient:
    """Answers from a script; while `away` says why, not at all."""

    away: JupiterError | None = None

    def __init__(self, traffic: Traffic) -> None:
        self.script = traffic.script()
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def call(self, method: str, **params: Any) -> Any:
        if self.away:
            raise self.away
        self.asked.append((method, dict(params)))
        start = int(params.pop("cursor", None) or 0)
        answer = self.script[method]
        if callable(answer):
            answer = answer(**params)
        if isinstance(answer, list) and method != "netdev/stats":
            more = start + PAGE < len(answer)
            return {"rows": answer[start : start + PAGE], "cursor": str(start + PAGE) if more else None}
        return answer

    def close(self) -> None:
        pass


class Scene:
    """A watch over made-up traffic at made-up times."""

    def __init__(self, services: int = 3) -> None:
        self.clock = Clock()
        self.traffic = Traffic(services, self.clock)
        self.client = FakeClient(self.traffic)
        self.watch = Watch(self._connect, clock=self.clock)  # type: ignore[arg-type]
        self.view = View()

    def _connect(self) -> FakeClient:
        if self.client.away:
            raise self.client.away
        return self.client

    def look(self, after: float = 2.0) -> None:
        self.clock.now += after
        self.watch.look(lambda: self.view.first(self.watch))

    def press(self, *keys: str) -> None:
        for key in keys:
            self.view.press(key, self.watch)

    def screen(self, width: int = 120, height: int = 40) -> list[str]:
        console = Console(width=width, height=height, highlight=False, color_system=None)
        with console.capture() as captured:
            console.print(draw(self.watch, self.view, "here", width, height))
        return [line.rstrip() for line in captured.get().splitlines()]

    def service(self, n: int) -> dict[str, float | None]:
        return dict(self.watch.services.sampler.samples[(f"10.0.{n >> 8}.{n & 255}", 8888, "tcp")].rates)


@pytest.fixture
def scene() -> Iterator[Scene]:
    seen = Scene()
    yield seen
    seen.watch.close()


def test_rates_are_differences_over_the_time_between_two_looks(scene: Scene) -> None:
    """Not known at the first look."""
    scene.look()
    assert scene.service(2)["in_packets"] is None
    scene.look(after=4.0)
    assert scene.service(2)["in_packets"] == pytest.approx(2000)
    assert scene.service(2)["in_bytes"] == pytest.approx(2_000_000)
    assert scene.service(0)["in_packets"] == 0


def test_workers_are_told_apart_on_a_terminal_of_80_columns(scene: Scene) -> None:
    """A line each, with what tells most of its load."""
    scene.client.script["worker/stats"] = [worker_row(n, busy=99.95, packets=1000 * n) for n in range(1, 5)]
    scene.look()
    screen = scene.screen(80, 50)
    start = screen.index("Workers") + 1
    columns = ["Worker", "Busy", "Asleep", "Pkt/s", "Conns", "Half-open", "Room", "Ports", "left", "Parked"]
    assert screen[start].split() == columns
    rows = [line.split()[:6] for line in screen[start + 1 : start + 5]]
    assert rows == [[str(n), "100.0", "%", "45.7", "%", f"{n}.00k"] for n in range(1, 5)]


def test_a_counter_that_goes_back_has_no_rate_once(scene: Scene) -> None:
    """After netdev/reset, say; from the next look on it has one."""
    scene.look()
    scene.look()
    scene.traffic.begin()
    scene.look(after=1.0)
    assert scene.service(2)["in_packets"] is None
    scene.look()
    assert scene.service(2)["in_packets"] == pytest.approx(2000)


def test_a_service_that_is_gone_is_forgotten(scene: Scene) -> None:
    scene.look()
    scene.traffic.services = 1
    scene.look()
    assert len(scene.watch.services.sampler.samples) == 1


def test_ten_thousand_services_are_seen_two_pages_at_a_look() -> None:
    """The first look sees all, each further one the next ones; the screen says so."""
    scene = Scene(services=10_000)
    scene.look()
    assert len(scene.watch.services.sampler.samples) == 10_000
    for _ in range(5):
        scene.client.asked.clear()
        scene.look()
        assert [method for method, _ in scene.client.asked].count("vs/traffic") <= PAGES
    assert scene.service(0)["in_packets"] == 0
    assert scene.service(9_999)["in_packets"] == pytest.approx(9_999_000)
    scene.look()
    assert "Services: 10000, by traffic; a look takes 2048, all within 5 looks" in scene.screen()[2]


def test_a_round_forgets_only_what_it_has_not_seen() -> None:
    """In the middle of a round everything of the last one is still there."""
    turns = Turns(Sampler(("k",), ()))
    assert turns.add({"rows": [{"k": 1}, {"k": 2}], "cursor": "2"}, 0)
    assert not turns.add({"rows": [{"k": 3}], "cursor": None}, 0)
    assert turns.add({"rows": [{"k": 2}], "cursor": "1"}, 1)
    assert set(turns.sampler.samples) == {(1,), (2,), (3,)}
    assert not turns.add({"rows": [], "cursor": None}, 1)
    assert set(turns.sampler.samples) == {(2,)}


def test_the_busiest_is_first_and_its_servers_are_shown(scene: Scene) -> None:
    """From the second look on, for then it is known which one that is."""
    scene.look()
    scene.look()
    scene.look()
    screen = scene.screen()
    assert [line.split()[0] for line in screen[4:7]] == ["10.0.0.2:8888", "10.0.0.1:8888", "10.0.0.0:8888"]
    assert "Servers of 10.0.0.2:8888 tcp" in screen
    assert screen[4].split()[5:] == ["200", "2.00k", "2.00k", "16.0M", "16.0M", "0"]


def test_a_service_is_chosen_with_the_arrows_and_stays_so_whatever_the_order(scene: Scene) -> None:
    scene.look()
    scene.look()
    scene.press("down")
    assert scene.view.chosen == ("10.0.0.2", 8888, "tcp")
    scene.press("down", "down", "down", "up")
    scene.look()
    assert "Servers of 10.0.0.1:8888 tcp" in scene.screen()
    scene.press("a")
    scene.look()
    assert "Servers of 10.0.0.1:8888 tcp" in scene.screen()
    assert "Services: 3, by active connections" in scene.screen()
    scene.press("escape")
    scene.look()
    assert "Servers of 10.0.0.2:8888 tcp" in scene.screen()


def test_a_chosen_service_that_is_removed_gives_way_to_the_first(scene: Scene) -> None:
    scene.look()
    scene.look()
    scene.press("down")
    scene.traffic.services = 2
    scene.look()
    assert "Servers of 10.0.0.1:8888 tcp" in scene.screen()


def test_a_service_removed_between_two_questions_has_no_servers(scene: Scene) -> None:
    scene.look()

    def gone(service: str) -> None:
        raise JupiterError("service-not-found", service)

    scene.client.script["rs/traffic"] = gone  # type: ignore[index]
    scene.look()
    assert not scene.watch.servers.samples
    assert scene.watch.away is None


def test_what_was_seen_stays_while_the_service_is_away_and_then_begins_anew(scene: Scene) -> None:
    """A restarted service counts from 0: no rate is made of the two."""
    scene.look()
    scene.look()
    scene.client.away = JupiterError("not-running", "jupiter-service does not answer.")
    scene.look()
    screen = scene.screen()
    assert screen[1].startswith("Away since ")
    assert screen[1].endswith(": jupiter-service does not answer.")
    assert screen[5].startswith("10.0.0.2:8888 tcp")
    scene.client.away = None
    scene.look()
    assert scene.watch.away is None
    assert scene.service(2)["in_packets"] is None


def test_another_error_is_not_taken_for_absence(scene: Scene) -> None:
    scene.client.away = JupiterError("unknown-command", "Unknown command vs/traffic.")
    with pytest.raises(JupiterError, match="Unknown command"):
        scene.look()


def test_drops_that_happen_come_first_and_others_not_at_all(scene: Scene) -> None:
    scene.look()
    screen = scene.screen()
    start = screen.index("Drops")
    assert screen[start + 2].split()[:3] == ["ttl_expired", "1.50k", "2.00M"]
    assert screen[start + 3].split()[:3] == ["no_service", "0", "10"]
    assert screen[start + 4] == "Devices"


def test_nothing_at_all_is_said_so(scene: Scene) -> None:
    scene.traffic.services = 0
    scene.client.script["drops"] = []  # type: ignore[index]
    scene.look()
    screen = scene.screen()
    assert "Services: 0, by traffic" in screen
    assert "Servers" in screen
    assert "Drops: none" in screen


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (None, "-"),
        (0, "0"),
        (0.0, "0"),
        (0.04, "0.0"),
        (0.4, "0.4"),
        (9.94, "9.9"),
        (9.96, "10"),
        (7, "7"),
        (999, "999"),
        (999.6, "1.00k"),
        (1000, "1.00k"),
        (9994, "9.99k"),
        (9996, "10.0k"),
        (99_960, "100k"),
        (999_499, "999k"),
        (999_500, "1.00M"),
        (12_345_678_901, "12.3G"),
        (1.5e19, "15.0E"),
    ],
)
def test_figures_are_readable(number: float | None, text: str) -> None:
    assert figure(number) == text


@given(st.integers(0, 2**63) | st.floats(0, 2**63))
def test_a_figure_is_short_and_exact_to_a_per_cent(number: float) -> None:
    text = figure(number)
    assert len(text) <= 5
    value = float(text.rstrip("kMGTPE")) * 1000 ** ("kMGTPE".find(text[-1]) + 1)
    assert abs(value - number) <= max(0.005 * number, 0.5)


cells = st.text("abc", min_size=1, max_size=12)


@given(st.integers(1, 60), st.integers(0, 40), st.lists(st.integers(0, 30), min_size=1, max_size=5))
def test_what_fits_is_shown_and_no_line_more(width: int, height: int, counts: list[int]) -> None:
    """Lines: a title for each section, headers where there are rows; no room is left while there is more to show."""
    sections = [Section("x", (Column("h"),), [("c",)] * n) for n in counts]
    shown = fitted(sections, width, height)
    used = sum(1 + bool(s.rows) + len(s.rows) for s in shown)
    assert used <= height
    if len(shown) == len(sections) and used < height:
        assert [len(s.rows) for s in shown] == counts
    assert all(s.rows or not n for s, n in zip(shown, counts, strict=False) if len(shown) == len(sections))


@given(st.integers(1, 80), st.lists(cells, min_size=4, max_size=4))
def test_narrow_terminals_lose_the_columns_that_matter_least(width: int, row: list[str]) -> None:
    columns = tuple(Column(f"h{rank}", rank) for rank in (0, 3, 1, 2))
    narrowed = Section("x", columns, [tuple(row)]).narrowed(width)
    ranks = sorted(c.rank for c in narrowed.columns)
    assert ranks == list(range(len(ranks)))
    needed = sum(max(len(c.header), len(cell)) for c, cell in zip(narrowed.columns, narrowed.rows[0], strict=True))
    assert needed + GAP * (len(ranks) - 1) <= width or ranks == [0]


@pytest.mark.parametrize("chosen", [0, 7, 49])
def test_the_chosen_row_is_always_to_be_seen(chosen: int) -> None:
    section = Section("x", (Column("h"),), [(str(n),) for n in range(50)], chosen).cut(10)
    assert len(section.rows) == 10
    assert section.chosen is not None
    assert section.rows[section.chosen] == (str(chosen),)


@pytest.mark.parametrize(("width", "height"), [(20, 2), (30, 8), (60, 20), (80, 24), (200, 60), (40, 5)])
@pytest.mark.parametrize("key", SORTS)
def test_a_screen_is_never_larger_than_the_terminal(scene: Scene, width: int, height: int, key: str) -> None:
    scene.look()
    scene.look()
    scene.press(key, "down")
    screen = scene.screen(width, height)
    assert len(screen) <= height
    assert max(map(len, screen)) <= width
