"""Pages in a real browser: what only a browser can show.

`EDGE_BENCH_SCREENSHOTS=docs` writes the picture of the README into that folder, of the store in
`EDGE_BENCH_HOME` where it is named.
"""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from browsing import LOOKS, PATIENCE_MS, served, settle
from playwright.sync_api import Locator, Page, expect

from dashboard.stored import JOINER
from edge_bench.files import HOME_VARIABLE, Home
from edge_bench.records import Artifact, BenchmarkResult
from edge_bench.store import Record

pytestmark = pytest.mark.browser

PICTURES = "EDGE_BENCH_SCREENSHOTS"
# Every test gets a home of its own; this one is the user's.
GIVEN_HOME = os.environ.get(HOME_VARIABLE)
NASTY = (
    "![x](http://evil.example/a.png) <img src=http://evil.example/b.png> [l](http://evil.example)"
    " www.evil.example me@evil.example"
)

PutIn = Callable[[Home, Iterable[Record]], Home]


@pytest.fixture(scope="module")
def address(
    tmp_path_factory: pytest.TempPathFactory, made: tuple[Record, ...], put_in: PutIn
) -> Iterator[str]:
    """The address of a dashboard on a store in which one file has a hostile name."""
    best = max((one for one in made if isinstance(one, Artifact)), key=lambda one: one.metrics[0].value)
    records = [replace(one, name=NASTY) if one.id == best.id else one for one in made]
    home = put_in(Home(tmp_path_factory.mktemp("browser")), records)
    with served(home) as place:
        yield place


def test_moving_the_budget_changes_chart_summary_and_link(
    address: str, open_page: Callable[..., Page]
) -> None:
    page = open_page(address)
    expect(page.get_by_text("44 candidates, 28 measured")).to_be_visible()
    slider = page.get_by_role("slider")
    for _ in range(5):
        slider.press("ArrowLeft")
    settle(page)
    budget = _link(page)["budget"]
    expect(page.get_by_text(re.compile(rf"within {re.escape(budget)} ms"))).to_be_visible()
    expect(page.locator(".annotation-text", has_text=f"budget {budget} ms")).to_be_visible()

    again = open_page(page.url)
    expect(again.get_by_text(re.compile(rf"within {re.escape(budget)} ms"))).to_be_visible()


def test_selecting_on_the_chart_filters_the_table_and_the_link_restores_it(
    address: str, open_page: Callable[..., Page]
) -> None:
    page = open_page(address)
    everything = _rows(page)
    chart = page.locator(".nsewdrag").bounding_box()
    assert chart is not None
    # The faster half of the chart.
    page.mouse.move(chart["x"] + 5, chart["y"] + 5)
    page.mouse.down()
    page.mouse.move(chart["x"] + chart["width"] / 2, chart["y"] + chart["height"] - 5, steps=8)
    page.mouse.up()
    told = page.get_by_text(re.compile(r"^\d+ selected on the chart$"))
    expect(told).to_be_visible()
    settle(page)
    selected = int(told.inner_text().split()[0])
    assert 0 < selected < everything
    _expect_rows(page, selected)
    assert _link(page)["box"].startswith("latency_ms:")

    # What is moved afterwards leaves the selection as it is.
    page.get_by_role("slider").press("ArrowLeft")
    settle(page)
    expect(told).to_have_text(f"{selected} selected on the chart")

    again = open_page(page.url)
    expect(again.get_by_text(f"{selected} selected on the chart")).to_be_visible()
    _expect_rows(again, selected)

    page.get_by_role("button", name="Clear selection").click()
    expect(page.get_by_text("select on the chart to filter")).to_be_visible()
    settle(page)
    _expect_rows(page, everything)
    assert not {"box", "selected"} & set(_link(page))


def test_a_pick_can_be_linked_and_its_file_taken_away(address: str, open_page: Callable[..., Page]) -> None:
    page = open_page(address)
    page.get_by_role("link", name="Pick").click()
    page.get_by_text("Why", exact=True).wait_for()
    page.get_by_text("speed", exact=True).click()
    expect(page.get_by_text("it is the fastest")).to_be_visible()
    settle(page)
    assert _link(page)["preset"] == "speed"
    picked = page.locator("h3").inner_text()

    again = open_page(page.url)
    expect(again.locator("h3")).to_have_text(picked)
    with again.expect_download() as waiting:
        again.get_by_role("button", name="Everything as one zip").click()
    with zipfile.ZipFile(waiting.value.path()) as archive:
        names = {"model.onnx", "model.tflite", "model_card.md", "run_model.py", "check.sh", "pick.json"}
        assert set(archive.namelist()) == names
        assert archive.read("model.onnx").decode() == picked
    again.get_by_text("The files one by one").click()
    with again.expect_download() as waiting:
        again.get_by_role("button", name="ONNX int8").click()
    download = waiting.value
    assert download.suggested_filename.endswith("-int8.onnx")
    assert Path(download.path()).read_bytes().decode() == picked
    for button, content in (("Model card", f"# {picked}\n"), ("Script that", "model.onnx")):
        with again.expect_download() as waiting:
            again.get_by_role("button", name=button).click()
        assert content in Path(waiting.value.path()).read_text(encoding="utf-8")


def test_an_infeasible_budget_is_told_where_it_was_set(
    address: str, open_page: Callable[..., Page]
) -> None:
    page = open_page(f"{address}/pick?budget=0.05&preset=balanced")
    expect(page.get_by_test_id("stAlert")).to_contain_text("nearest miss is digits-")
    assert page.get_by_test_id("stException").count() == 0


def test_a_store_that_grows_shows_up_by_itself(
    made: tuple[Record, ...], put_in: PutIn, tmp_path: Path, open_page: Callable[..., Page]
) -> None:
    results = [one for one in made if isinstance(one, BenchmarkResult)]
    home = put_in(Home(tmp_path / "growing"), (one for one in made if one not in results))
    with served(home) as place:
        page = open_page(place)
        expect(page.get_by_text("0 measured")).to_be_visible()
        put_in(home, results)
        expect(page.get_by_text("28 measured")).to_be_visible(timeout=PATIENCE_MS)


@pytest.mark.parametrize("path", ["", "/pick"])
def test_hostile_names_stay_names(path: str, address: str, open_page: Callable[..., Page]) -> None:
    page = open_page(address + path)
    shown = page.get_by_test_id("stMarkdownContainer").filter(has_text="evil.example/a.png").first
    assert NASTY in shown.inner_text().replace(JOINER, "")
    assert page.locator("[src*=evil], [href*=evil]").count() == 0


@pytest.mark.parametrize("path", ["", "/pick"])
@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_nothing_overlaps_or_is_cut_off(
    scheme: str, width: int, path: str, address: str, open_page: Callable[..., Page]
) -> None:
    page = open_page(f"{address}{path}?budget=0.15", width=width, scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    title = page.locator(".xtitle").bounding_box()
    legend = page.locator(".legend").bounding_box()
    chart = page.locator(".js-plotly-plot").bounding_box()
    assert title and legend and chart
    assert title["y"] + title["height"] <= legend["y"] + 1
    assert legend["y"] + legend["height"] <= chart["y"] + chart["height"] + 1
    ink = page.locator(".xtitle").evaluate("node => getComputedStyle(node).fill")
    brightness = sum(map(int, re.findall(r"\d+", ink)[:3])) / 3
    assert (brightness > 128) == (scheme == "dark")


@pytest.mark.parametrize("path", ["/devices", "/benchmarks"])
def test_a_page_of_many_charts_fits_a_phone(
    path: str, address: str, open_page: Callable[..., Page]
) -> None:
    page = open_page(address + path, width=400, scheme="dark")
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    for chart in page.get_by_test_id("stPlotlyChart").all():
        assert chart.get_attribute("aria-label"), "each chart is told in words"


def test_the_picture_of_the_readme(
    made: tuple[Record, ...], put_in: PutIn, tmp_path: Path, open_page: Callable[..., Page]
) -> None:
    folder = os.environ.get(PICTURES)
    if not folder:
        pytest.skip(f"the README's picture is taken where {PICTURES} names a folder")
    home = Home(Path(GIVEN_HOME)) if GIVEN_HOME else put_in(Home(tmp_path / "pictured"), made)
    with served(home) as place:
        page = open_page(place)
        slider = page.get_by_role("slider")
        for _ in range(int(slider.get_attribute("max") or 0) // 2):
            slider.press("ArrowLeft")
        settle(page)
        path = Path(folder) / "dashboard.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=path, animations="disabled")
    assert path.stat().st_size < 300_000


def _link(page: Page) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(page.url).query).items()}


def _rows(page: Page) -> int:
    """Return how many rows the table has, its header apart; the grid tells assistive software."""
    return int(_grid(page).get_attribute("aria-rowcount") or 0) - 1


def _expect_rows(page: Page, count: int) -> None:
    """Check how many rows the table has; the grid is drawn a moment after the page has settled."""
    expect(_grid(page)).to_have_attribute("aria-rowcount", str(count + 1))


def _grid(page: Page) -> Locator:
    return page.get_by_test_id("stDataFrame").locator("[role=grid]")
