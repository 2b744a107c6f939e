"""The page of trade-offs with several devices, axes and ways of training; without a browser, and in one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from browsing import served, settle
from pages import opened
from playwright.sync_api import FloatRect, Page, expect
from streamlit.testing.v1 import AppTest

import dashboard
from dashboard.figures import PAINTS
from dashboard.trade_off_chart import BESIDE
from edge_bench.files import Home
from edge_bench.records import Artifact, BenchmarkResult, Subnet
from edge_bench.store import Record

APP = Path(dashboard.__file__).with_name("app.py")
BOARD, PHONE = "board", "phone"
SLOWER = {BOARD: 3.0, PHONE: 1.5}
Put = Callable[[Iterable[Record]], Home]
PutIn = Callable[[Home, Iterable[Record]], Home]
TECHNIQUES = ("once_for_all", "layer_drop", "once_for_all+dpf", "lottery_ticket", "plain")


@pytest.fixture(scope="module")
def several(made: tuple[Record, ...]) -> list[Record]:
    """Networks of five families, their files measured on three devices, on one by somebody else."""
    records: list[Record] = []
    subnets = [one.id for one in made if isinstance(one, Subnet)]
    for record in made:
        if isinstance(record, Subnet):
            technique = TECHNIQUES[subnets.index(record.id) % len(TECHNIQUES)]
            records.append(replace(record, technique=technique))
        elif isinstance(record, Artifact) and subnets.index(record.subnet or "") % 5 == 2:
            records.append(replace(record, encoding="compact"))
        elif isinstance(record, BenchmarkResult):
            records += [record, *(_on(record, device) for device in SLOWER)]
        else:
            records.append(record)
    return records


def trade_offs(**link: Any) -> AppTest:
    return opened(AppTest.from_file(str(APP), default_timeout=60), link)


def test_devices_are_compared_each_with_its_own_front_and_summary(several: list[Record], put: Put) -> None:
    put(several)
    shown = trade_offs(device=["this-machine", BOARD])
    told = shown.markdown[0].value
    assert re.search(r"- board: 28 candidates.*\n- this\\-machine: 48 candidates", told)
    table = shown.dataframe[0].value
    assert set(table["device"]) == {"this-machine", BOARD} and len(table) == 48 + 28
    fronts = [trace for trace in _figure(shown)["data"] if trace.get("mode") == "lines"]
    assert [trace["name"] for trace in fronts] == [BOARD, "this-machine"]
    assert len({trace["line"]["color"] for trace in fronts}) == 2
    assert len({trace["line"]["dash"] for trace in fronts}) == 2


def test_devices_side_by_side_share_the_axis_of_quality(several: list[Record], put: Put) -> None:
    put(several)
    shown = trade_offs(device=[BOARD, "this-machine"], layout=BESIDE)
    figure = _figure(shown)
    assert {trace.get("xaxis") for trace in figure["data"] if "customdata" in trace} == {"x", "x2"}
    assert {trace.get("yaxis") for trace in figure["data"]} == {None}, "one for all"
    titles = [one["text"] for one in figure["layout"]["annotations"]]
    assert titles == [f"<b>{BOARD}</b>", "<b>this-machine</b>"]
    assert figure["layout"]["xaxis"]["range"] == figure["layout"]["xaxis2"]["range"]


def test_only_what_is_known_of_some_candidate_may_be_an_axis(several: list[Record], put: Put) -> None:
    unweighed = [
        replace(one, peak_memory_mb=None) if isinstance(one, BenchmarkResult) else one for one in several
    ]
    put(unweighed)
    assert trade_offs().button_group(key="x").options == ["latency", "file size", "MACs"]
    put(several)
    assert trade_offs().button_group(key="x").options == ["latency", "file size", "memory", "MACs"]


@pytest.mark.parametrize(
    ("name", "title", "column"),
    [
        ("file size", "file size (MB, log scale)", "size_mb"),
        ("memory", "peak memory (MB, log scale)", "peak_memory_mb"),
        ("MACs", "multiply-accumulates (million MACs, log scale)", "mmacs"),
    ],
)
def test_a_link_opens_another_axis_with_its_own_budget(
    name: str, title: str, column: str, several: list[Record], put: Put
) -> None:
    put(several)
    shown = trade_offs(x=name)
    assert _figure(shown)["layout"]["xaxis"]["title"]["text"] == title
    costs = shown.dataframe[0].value[column]
    slider = shown.select_slider[0]
    middle = min(slider.options[:-1], key=lambda stop: abs(float(stop) - costs.median()))
    slider.set_value(middle).run()
    table = shown.dataframe[0].value
    assert table["fits"].tolist() == (table[column] <= float(middle)).tolist()
    assert table[column].is_monotonic_increasing
    assert 0 < table["fits"].sum() < len(table)


def test_what_lacks_the_cost_is_left_out_and_counted(several: list[Record], put: Put) -> None:
    put(several)
    shown = trade_offs(x="memory", device="this-machine")
    assert len(shown.dataframe[0].value) == 28
    assert "20 are left out: their peak memory is not known." in [one.value for one in shown.caption]


def test_families_and_encodings_are_told_in_table_hover_and_filter(several: list[Record], put: Put) -> None:
    put(several)
    shown = trade_offs()
    table = shown.dataframe[0].value
    assert set(table["family"]) == {
        "once-for-all",
        "LayerDrop",
        "once-for-all + DPF",
        "ticket",
        "single network",
    }
    assert set(table["encoding"]) == {"dense", "compact"}
    hovers = [text for trace in _figure(shown)["data"] for text in trace.get("hovertext", ())]
    assert any("once-for-all + DPF, compact encoding" in text for text in hovers)
    shown.button_group(key="encoding").set_value(["compact"]).run()
    assert set(shown.dataframe[0].value["encoding"]) == {"compact"}
    shown.button_group(key="encoding").set_value([]).run()
    shown.button_group(key="family").set_value(["ticket"]).run()
    assert set(shown.dataframe[0].value["family"]) == {"ticket"}


def test_no_device_asks_for_one_and_more_than_there_are_colours_are_refused(
    several: list[Record], put: Put
) -> None:
    put(several)
    shown = trade_offs()
    assert shown.multiselect(key="device").max_selections == len(PAINTS)
    shown.multiselect(key="device").set_value([]).run()
    assert "Choose a device" in shown.info[0].value
    assert not shown.exception


def test_a_link_of_a_device_that_is_gone_opens_the_page_all_the_same(filled: Home) -> None:
    shown = trade_offs(device="long-gone", x="nothing", layout="upside down", box="no:box")
    assert len(shown.dataframe[0].value) == 44


def test_the_chart_is_told_in_words(several: list[Record], put: Put) -> None:
    put(several)
    shown = trade_offs(device=["this-machine", BOARD], budget="0.1")
    words = shown.get("plotly_chart")[0].proto.alt
    assert "this-machine: 48 candidates, 28 measured, 0 imported, 20 predicted." in words
    assert "within the budget of 0.1 ms" in words


def test_a_box_of_the_link_selects_on_its_axis_and_of_its_device(several: list[Record], put: Put) -> None:
    put(several)
    link = {"device": ["this-machine", BOARD], "box": "latency_ms:0.1:0.3:0:1:board"}
    table = trade_offs(**link).dataframe[0].value
    assert set(table["device"]) == {BOARD} and table["latency_ms"].between(0.1, 0.3).all()
    assert len(trade_offs(**link, x="file size").dataframe[0].value) == 48 + 28, "a box of another axis"


def test_a_chart_that_is_drawn_anew_takes_no_selection_back() -> None:
    """Its event, that nothing is selected, comes behind that of the box which it is drawn anew for."""

    def script() -> None:
        import streamlit as st

        from dashboard.axes import LATENCY
        from dashboard.selection import heed, selection

        box = {"x": [0.3, 0.1], "y": [0.5, 1.0], "xref": "x"}
        for told in (
            {"selection": {"box": [box], "points": []}},
            {"selection": {"box": [], "points": []}},
            {},
        ):
            heed(told, LATENCY, [])
        st.text(" ".join(one.link() for one in selection().boxes))

    assert AppTest.from_function(script).run().text[0].value == "latency_ms:0.1:0.3:0.5:1:"


@pytest.fixture(scope="module")
def address(
    tmp_path_factory: pytest.TempPathFactory, several: list[Record], put_in: PutIn
) -> Iterator[str]:
    """The address of a dashboard on these devices."""
    with served(put_in(Home(tmp_path_factory.mktemp("devices")), several)) as place:
        yield place


@pytest.mark.browser
def test_a_box_on_one_of_two_devices_filters_and_the_link_restores_the_whole_view(
    address: str, open_page: Callable[..., Page]
) -> None:
    link = urlencode(
        [("device", "this-machine"), ("device", BOARD), ("layout", BESIDE), ("precision", "fp32")]
    )
    page = open_page(f"{address}/?{link}")
    for _ in range(3):
        page.get_by_role("slider").press("ArrowLeft")
    settle(page)
    expect(page.locator(".nsewdrag")).to_have_count(2)
    _drag(page, page.locator(".nsewdrag").nth(1).bounding_box())
    told = page.get_by_text(re.compile(r"^\d+ selected on the chart$"))
    expect(told).to_be_visible()
    settle(page)
    selected = told.inner_text()
    link_now = parse_qs(urlsplit(page.url).query)
    assert set(link_now["device"]) == {"this-machine", BOARD} and link_now["layout"] == [BESIDE]
    assert link_now["box"][0].endswith(":this-machine")
    assert 0 < int(selected.split()[0]) <= 48
    rows = page.get_by_test_id("stDataFrame").locator("[role=grid]")
    expect(rows).to_have_attribute("aria-rowcount", str(int(selected.split()[0]) + 1))

    again = open_page(page.url)
    expect(again.get_by_text(selected)).to_be_visible()
    expect(again.locator(".nsewdrag")).to_have_count(2)
    assert parse_qs(urlsplit(again.url).query) == link_now
    budget = link_now["budget"][0]
    expect(again.locator(".annotation-text", has_text=f"budget {budget} ms").first).to_be_visible()


@pytest.mark.browser
def test_a_point_that_is_clicked_is_named_and_in_the_link(
    address: str, open_page: Callable[..., Page]
) -> None:
    page = open_page(f"{address}/?x=file+size&device={BOARD}")
    page.get_by_test_id("stPlotlyChart").hover()
    page.get_by_role("button", name="Pan", exact=True).click()
    page.locator(".scatterlayer .point").first.click(force=True)
    expect(page.get_by_text("1 selected on the chart")).to_be_visible()
    settle(page)
    [chosen] = parse_qs(urlsplit(page.url).query)["selected"]
    assert re.fullmatch("[0-9a-f]{10}", chosen)
    name = page.locator(".annotation-text").text_content() or ""
    assert name.startswith("digits-")
    expect(open_page(page.url).locator(".annotation-text")).to_have_text(name)


@pytest.mark.browser
@pytest.mark.parametrize("layout", ["overlaid", BESIDE])
@pytest.mark.parametrize("width", [400, 1280])
def test_several_devices_fit_the_page(
    width: int, layout: str, address: str, open_page: Callable[..., Page]
) -> None:
    link = urlencode([*(("device", one) for one in ("this-machine", BOARD, PHONE)), ("layout", layout)])
    page = open_page(f"{address}/?{link}&budget=0.3", width=width, scheme="dark")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    chart = page.locator(".js-plotly-plot").bounding_box()
    legend = page.locator(".legend").bounding_box()
    title = page.locator(".xtitle").first.bounding_box()
    assert chart and legend and title
    assert title["y"] + title["height"] <= legend["y"] + 1
    assert legend["y"] + legend["height"] <= chart["y"] + chart["height"] + 1
    assert page.get_by_test_id("stPlotlyChart").get_attribute("aria-label")


def _drag(page: Page, over: FloatRect | None) -> None:
    """Draw a box over the left half of a chart."""
    assert over is not None
    page.mouse.move(over["x"] + 5, over["y"] + 5)
    page.mouse.down()
    page.mouse.move(over["x"] + 0.6 * over["width"], over["y"] + over["height"] - 5, steps=8)
    page.mouse.up()


def _on(result: BenchmarkResult, device: str) -> BenchmarkResult:
    """Return a result as another device would have it; on the phone others measured."""
    slower = SLOWER[device]
    blocks = tuple(
        replace(block, latencies_ns=tuple(int(slower * ns) for ns in block.latencies_ns))
        for block in result.blocks
    )
    return replace(
        result,
        id=f"{result.id}-{device}",
        device=device,
        blocks=blocks,
        p50_low_ms=slower * (result.p50_low_ms or 0),
        p50_high_ms=slower * (result.p50_high_ms or 0),
        origin="loadgen" if device == PHONE else result.origin,
    )


def _figure(page: AppTest) -> dict[str, Any]:
    figure: dict[str, Any] = json.loads(page.get("plotly_chart")[0].proto.spec)
    return figure
