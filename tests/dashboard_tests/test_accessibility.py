"""Each page by keyboard alone, by ear, on a phone, and with nothing to show yet."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from browsing import served, settle
from pages import opened
from playwright.sync_api import Page
from stores import VIEWS, put_model, runs, whole
from streamlit.testing.v1 import AppTest

from edge_bench import variants
from edge_bench.files import Home
from edge_bench.records import BenchmarkResult, Subnet, TransformerSpace
from edge_bench.store import Record

PutIn = Callable[[Home, Iterable[Record]], Home]
PAGES = variants.names("dashboard.views")
# Numbers what can be operated, in the order of the page. What is one stop of the keyboard, and whose parts
# arrows reach, has one number.
CONTROLS = """() => {
  const all = "button, a[href], input, textarea, [role=slider], [role=radio], [tabindex='0']";
  const groups = "[role=radiogroup], [role=toolbar], [role=group]";
  const numbers = new Map();
  return [...document.querySelectorAll(all)].filter(
    (one) => one.checkVisibility() && one.getBoundingClientRect().width > 1 && !one.disabled
      && !one.closest("[inert], [aria-hidden=true], [data-testid=stDataFrame]")
  ).map((one) => {
    const group = one.closest(groups) ?? one;
    if (!numbers.has(group)) numbers.set(group, String(numbers.size));
    one.dataset.stop = numbers.get(group);
    return [one.dataset.stop, one.outerHTML.slice(0, 200)];
  });
}"""
STOP = "document.activeElement?.closest('[data-stop]')?.dataset.stop ?? document.activeElement?.tagName"
# Words of charts that lie on each other or stick out. Slanted ones are left aside: their boxes overlap
# though they do not.
OVERLAPS = """() => [...document.querySelectorAll(".js-plotly-plot")].flatMap((chart) => {
  const frame = chart.getBoundingClientRect();
  const words = [...chart.querySelectorAll("svg text")]
    .filter((one) => one.textContent.trim() && one.getBoundingClientRect().width > 0)
    .filter((one) => { const turn = one.getScreenCTM(); return Math.abs(turn.a * turn.b) < 1e-3; })
    .map((one) => [one.textContent, one.getBoundingClientRect()]);
  const out = words.filter(([, box]) => box.left < frame.left - 1 || box.right > frame.right + 1
    || box.top < frame.top - 1 || box.bottom > frame.bottom + 1).map(([text]) => `cut off: ${text}`);
  const over = words.flatMap(([text, one], place) => words.slice(place + 1).filter(([, other]) =>
    Math.min(one.right, other.right) - Math.max(one.left, other.left) > 2
    && Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top) > 3
  ).map(([other]) => `${text} | ${other}`));
  return [...out, ...over];
})"""


@pytest.fixture(scope="module")
def address(
    tmp_path_factory: pytest.TempPathFactory,
    made: tuple[Record, ...],
    put_in: PutIn,
    text_space: Callable[..., TransformerSpace],
    tiny_onnx: Path,
) -> Iterator[str]:
    """The address of a dashboard that has each of its charts to show."""
    home = put_in(Home(tmp_path_factory.mktemp("whole")), whole(made))
    runs(home, made, text_space())
    put_model(home, made, tiny_onnx)
    with served(home) as place:
        yield place


def test_no_page_places_a_chart_without_words() -> None:
    for page in PAGES:
        source = Path(str(find_spec(f"dashboard.views.{page}").origin)).read_text(encoding="utf-8")  # type: ignore[union-attr]
        assert not re.search(r"\.(plotly_chart|\w+_chart|pyplot|graphviz_chart)\(", source), page


# Streamlit's tables and scrolled boxes are stops too, and tell their contents.
NAMED = ("button", "link", "combobox", "radio", "slider", "spinbutton", "textbox", "checkbox", "searchbox")


@pytest.mark.browser
@pytest.mark.parametrize("view", VIEWS)
def test_a_view_is_told_in_words_gone_through_by_keyboard_and_fits_a_phone(
    view: str, address: str, open_page: Callable[..., Page]
) -> None:
    page = open_page(address + view)
    _each_chart_is_told_in_words(page)
    _the_keyboard_reaches_every_control_and_each_has_a_name(page)
    _nothing_overlaps_sticks_out_or_scrolls_sideways(page)


@pytest.mark.browser
def test_groups_are_gone_through_by_arrows_and_the_link_follows(
    address: str, open_page: Callable[..., Page]
) -> None:
    page = open_page(f"{address}/pick")
    page.get_by_role("radio", name="accuracy").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    settle(page)
    assert "preset=balanced" in page.url


@pytest.mark.parametrize("page", PAGES)
def test_a_page_with_nothing_to_show_names_the_command_that_fills_it(page: str, home: Home) -> None:
    assert _commands(_shown(page, {}))
    assert not home.root.exists(), "looking makes no file"


@pytest.mark.parametrize("page", ["trade_offs", "pick", "devices"])
def test_a_device_with_no_candidate_names_the_commands_that_bring_one(
    page: str, records: list[Record], put_in: PutIn, home: Home
) -> None:
    result = next(one for one in records if isinstance(one, BenchmarkResult))
    put_in(home, [result])
    commands = _commands(_shown(page, {"device": result.device}))
    assert any("edge-bench bench --all" in one for one in commands)


@pytest.mark.parametrize("page", PAGES)
def test_a_store_of_networks_alone_names_the_next_command(
    page: str, records: list[Record], put_in: PutIn, home: Home
) -> None:
    put_in(home, (one for one in records if isinstance(one, Subnet)))
    assert _commands(_shown(page, {}))


def _shown(page: str, link: Mapping[str, str]) -> AppTest:
    return opened(AppTest.from_function(_page, kwargs={"page": page}, default_timeout=60), link)


def _commands(page: AppTest) -> list[str]:
    return [one.value for one in page.code if re.match(r"(edge-bench|make) ", one.value)]


def _page(page: str) -> None:
    from dashboard.views import View
    from edge_bench import variants
    from edge_bench.files import default_home

    variants.load(View, "dashboard.views", page)().show(default_home())


def _accessible(page: Page) -> list[dict[str, Any]]:
    """Return what assistive software is told of a page."""
    session = page.context.new_cdp_session(page)
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    return [one for one in nodes if not one.get("ignored") and "name" in one]


def _is(node: Mapping[str, Any], state: str) -> bool:
    return any(one["name"] == state and one["value"]["value"] for one in node.get("properties", ()))


def _each_chart_is_told_in_words(page: Page) -> None:
    charts = page.get_by_test_id("stPlotlyChart").all()
    assert charts
    for chart in charts:
        assert chart.get_attribute("role") == "figure"
        words = chart.get_attribute("aria-label") or ""
        assert len(words) > 20 and re.search(r"\d", words), "what is drawn, in figures"


def _the_keyboard_reaches_every_control_and_each_has_a_name(page: Page) -> None:
    controls = dict(page.evaluate(CONTROLS))
    reached: set[str] = set()
    for _ in range(400):
        page.keyboard.press("Tab")
        reached.add(page.evaluate(STOP))
        if reached >= set(controls):
            break
    assert not {controls[stop] for stop in set(controls) - reached}
    nameless = [one for one in _accessible(page) if _is(one, "focusable") and not one["name"].get("value")]
    assert not [one for one in nameless if one["role"]["value"] in NAMED]


def _nothing_overlaps_sticks_out_or_scrolls_sideways(page: Page) -> None:
    for width in (1280, 400):
        page.set_viewport_size({"width": width, "height": 900})
        settle(page)
        # Charts are drawn anew a moment after their place has changed.
        page.wait_for_timeout(700)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator("[data-testid=stMain]").evaluate("node => node.scrollWidth") <= width
        assert page.evaluate(OVERLAPS) == []
