"""Names that would be markup, a script or an address are shown as text, on every page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import onnx
import pytest
from browsing import served
from onnx import TensorProto, helper
from playwright.sync_api import Locator, Page, expect
from stores import HOSTILE, VIEWS, hostile_store, put_model, runs

from edge_bench.files import Home
from edge_bench.records import TransformerSpace
from edge_bench.store import Record

pytestmark = pytest.mark.browser

PutIn = Callable[[Home, Iterable[Record]], Home]
BEGINNING = HOSTILE[:30]


@pytest.fixture(scope="module")
def address(
    tmp_path_factory: pytest.TempPathFactory,
    made: tuple[Record, ...],
    put_in: PutIn,
    text_space: Callable[..., TransformerSpace],
) -> Iterator[str]:
    """The address of a dashboard in whose store everything that has a name has a hostile one."""
    records = hostile_store(made)
    home = put_in(Home(tmp_path_factory.mktemp("hostile")), records)
    runs(home, made, text_space(), called=HOSTILE)
    put_model(home, records, _model(tmp_path_factory.mktemp("model")))
    with served(home) as place:
        yield place


@pytest.mark.parametrize("view", VIEWS)
def test_hostile_names_stay_names(view: str, address: str, open_page: Callable[..., Page]) -> None:
    page = open_page(address + view)
    main = page.get_by_test_id("stMain")
    assert BEGINNING in main.inner_text() + " ".join(main.locator("svg text").all_text_contents())
    if view == "/benchmarks":
        page.get_by_role("combobox", name="File").click()
        expect(page.get_by_role("option").first).to_contain_text(BEGINNING)
        page.keyboard.press("Escape")
    for chart in main.locator(".js-plotly-plot").all():
        told = _hovered(page, chart)
        assert "&quot;" not in told and "&lt;s" not in told, "plotly shows an entity that it does not know"
    made_of_names = "script, img, b, i, a[href*=evil], [src*=evil], .katex, .stMarkdownColoredText"
    assert main.locator(made_of_names).count() == 0
    assert page.get_by_test_id("stIconMaterial").filter(has_text="home").count() == 0
    assert page.evaluate("window.hit") is None, "a name has run as a script"
    page.set_viewport_size({"width": 400, "height": 900})
    page.wait_for_timeout(500)
    assert page.evaluate("document.documentElement.scrollWidth") <= 400


def _hovered(page: Page, chart: Locator) -> str:
    """Return what a chart tells where the mouse points at its marks."""
    chart.scroll_into_view_if_needed()
    told = ""
    for mark in chart.locator(".scatterlayer .point, .barlayer .point path").all()[:3]:
        box = mark.bounding_box()
        if box:
            page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
            page.wait_for_timeout(100)
            told += " ".join(page.locator(".hoverlayer text").all_text_contents())
    return told + " ".join(chart.locator("svg text").all_text_contents())


def _model(folder: Path) -> Path:
    """Return the file of a network whose operator is called after a script."""
    shape = [1, 4]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("input", "output")]
    graph = helper.make_graph([helper.make_node(HOSTILE, ["input"], ["output"])], "g", ends[:1], ends[1:])
    onnx.save(helper.make_model(graph), folder / "model.onnx")
    return folder / "model.onnx"
