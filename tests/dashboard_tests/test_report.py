"""The report: the figures of the pages, as one file that needs nothing else and in which names are text."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from browsing import LOOKS
from hypothesis import given
from hypothesis import strategies as st
from pages import opened
from playwright.sync_api import Browser
from stores import DENSE, HOSTILE, RUN, hostile_store, runs, whole
from streamlit.testing.v1 import AppTest

from dashboard.report.page import differences
from edge_bench import cli, errors
from edge_bench.files import Home
from edge_bench.records import Artifact, BenchmarkResult, Subnet, TransformerSpace
from edge_bench.records.result import OperatorTime
from edge_bench.store import Record, ResultStore

Put = Callable[[Iterable[Record]], Home]
PutIn = Callable[[Home, Iterable[Record]], Home]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(st.text(max_size=3), inside, max_size=4),
)


@pytest.fixture
def whole_home(
    records: list[Record], put: Put, home: Home, text_space: Callable[..., TransformerSpace]
) -> Home:
    """A home in which there is something for each part of a report."""
    put(whole(records))
    runs(home, records, text_space())
    return home


def write(file: Path, *options: str) -> str:
    assert cli.main(["report", "--html", str(file), *options]) == errors.OK
    return file.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("view", "link", "count"),
    [
        ("pick", {"budget": "0.15"}, 1),
        ("devices", {"device": "this-machine"}, 3),
        ("benchmarks", {"result": "fastest"}, 2),
        ("families", {"run": RUN}, 1),
        ("families", {"run": RUN, "show": "choices"}, 4),
        ("families", {"run": DENSE, "show": "sparsity"}, 1),
    ],
)
def test_the_figures_are_those_of_the_pages(
    view: str, link: Mapping[str, str], count: int, whole_home: Home, tmp_path: Path
) -> None:
    told = [_core(one) for one in _figures(write(tmp_path / "r.html", "--max-latency-ms", "0.15"))]
    if "result" in link:
        link = {"result": _fastest(whole_home)}
    page = opened(AppTest.from_function(_page, kwargs={"view": view}, default_timeout=60), link)
    shown = [_core(json.loads(chart.proto.spec)) for chart in page.get("plotly_chart")[:count]]
    assert len(shown) == count
    for figure in shown:
        assert figure in told


def test_what_is_told_is_what_pick_answers(
    whole_home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    html = write(tmp_path / "r.html", "--max-latency-ms", "0.1", "--preset", "balanced", "--run", RUN)
    capsys.readouterr()
    assert cli.main(["pick", "--max-latency-ms", "0.1", "--preset", "balanced", "--json"]) == errors.OK
    picked = json.loads(capsys.readouterr().out)
    cells = [row for row in _rows(html) if row[0] == "★"]
    assert cells[0][1] == picked["candidate"]["name"]
    for reason in (*picked["candidate"]["reasons"], *picked["changes"]):
        assert reason in _text(html)


def test_tables_hold_every_candidate_and_result(whole_home: Home, tmp_path: Path) -> None:
    html = write(tmp_path / "r.html", "--device", "this-machine")
    with ResultStore(whole_home.store_url) as store:
        names = [one.model for one in store.results() if one.device == "this-machine"]
    assert "44 candidates, 28 measured" in html
    rows = [row[0] for row in _rows(html)]
    assert all(rows.count(name) >= 1 + names.count(name) for name in names), "as candidate, and each result"
    assert "How well it is predicted" in html and "Facts" in html


def test_operators_of_what_was_profiled_are_drawn(records: list[Record], put: Put, tmp_path: Path) -> None:
    operators = (OperatorTime(name="layer_1", kind="Conv", mean_ms=0.1, share=1.0),)
    put(replace(one, operators=operators) if isinstance(one, BenchmarkResult) else one for one in records)
    assert "1 in all, the longest layer_1 with 100% of the time" in write(tmp_path / "r.html")


def test_only_what_is_asked_for_is_reported(whole_home: Home, tmp_path: Path) -> None:
    html = write(tmp_path / "r.html", "--device", "board", "--device", "phone")
    assert re.findall(r"<h2[^>]*>([^<]*)<", html)[:3] == ["Models × devices", "board", "phone"]
    alone = write(tmp_path / "a.html", "--run", RUN, "--percentile", "p90")
    assert "latency, p90" in "".join(json.dumps(one) for one in _figures(alone))
    assert "Sparsity" not in alone


def test_a_device_that_comes_with_edge_bench_is_reported_where_it_is_named(
    whole_home: Home, tmp_path: Path
) -> None:
    assert "20 networks" in (html := write(tmp_path / "r.html", "--device", "raspberry-pi-4"))
    assert "predicted" in html and "raspberry-pi-4" in html


def test_only_a_report_is_replaced(
    whole_home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.html"
    file.write_text("<html>mine</html>")
    assert cli.main(["report", "--html", str(file)]) == errors.USAGE
    assert "is no report" in capsys.readouterr().err
    assert file.read_text() == "<html>mine</html>"
    assert cli.main(["report", "--html", str(tmp_path)]) == errors.USAGE
    report = tmp_path / "report.html"
    assert write(report) and write(report, "--device", "board").count("<h2") < 5
    assert sorted(one.name for one in tmp_path.glob("*.html")) == ["mine.html", "report.html"]


@pytest.mark.parametrize(
    ("options", "told", "status"),
    [
        (["--device", "bord"], "Did you mean 'board'?", errors.USAGE),
        (["--run", "digts"], "Did you mean", errors.USAGE),
        (["--max-latency-ms", "-1"], "a number above 0", errors.USAGE),
        (["--preset", "best"], "invalid choice", errors.USAGE),
    ],
)
def test_what_cannot_be_reported_is_told(
    options: list[str],
    told: str,
    status: int,
    whole_home: Home,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert _status(["report", "--html", str(tmp_path / "r.html"), *options]) == status
    assert told in capsys.readouterr().err
    assert not (tmp_path / "r.html").exists()


def test_an_empty_store_says_what_fills_it(
    home: Home, records: list[Record], put: Put, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        assert cli.main(["report", "--html", str(tmp_path / "r.html")]) == errors.GATE_FAILED
        assert "edge-bench" in capsys.readouterr().err
        put(one for one in records if isinstance(one, Subnet))


def test_a_budget_that_nothing_meets_is_told_and_the_rest_reported(
    whole_home: Home, tmp_path: Path
) -> None:
    html = write(tmp_path / "r.html", "--max-latency-ms", "0.01")
    assert "Nothing fits the budget; the nearest miss is" in html
    assert "None fits the budget of 0.01 ms." in html and "Benchmarks" in html


def test_names_are_text_and_end_no_script(
    records: list[Record], put: Put, text_space: Callable[..., TransformerSpace], tmp_path: Path
) -> None:
    home = put(hostile_store(records))
    runs(home, records, text_space(), called=HOSTILE)
    html = write(tmp_path / "r.html")
    seen = _Tags()
    seen.feed(html)
    assert not {"img", "b", "i", "iframe"} & set(seen.tags)
    scripts = [given for tag, given in seen.started if tag == "script"]
    assert [given for given in scripts if given.get("type") != "application/json"] == [{}, {}]
    assert len([given for given in scripts if "id" in given]) == len(_figures(html))
    assert not [given for _, given in seen.started if set(given) & {"onerror", "onload", "onclick", "src"}]
    assert not [one for _, given in seen.started if (one := given.get("href")) and not one.startswith("#")]
    assert HOSTILE[:20] in _text(html)


def test_nothing_of_this_machine_but_what_is_stored_is_told(whole_home: Home, tmp_path: Path) -> None:
    assert str(whole_home.root) not in write(tmp_path / "r.html")


def test_a_file_whose_name_is_no_text_is_reported(records: list[Record], put: Put, tmp_path: Path) -> None:
    name = b"gr\xf6\xdfe".decode("utf-8", "surrogateescape")
    given = (replace(one, name=name) if isinstance(one, Artifact) else one for one in records)
    put(replace(one, model=name) if isinstance(one, BenchmarkResult) else one for one in given)
    assert "gr\ufffd\ufffde" in write(tmp_path / "r.html")


@given(JSON, JSON)
def test_differences_make_the_one_into_the_other(one: Any, other: Any) -> None:
    changed = {"root": copy.deepcopy(one)}
    for path, value in differences({"root": one}, {"root": other}):
        place: Any = changed
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value
    assert changed == {"root": other}


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_it_opens_offline_and_asks_nobody_for_anything(
    width: int, scheme: Any, whole_home: Home, tmp_path: Path, browser: Browser
) -> None:
    file = tmp_path / "r.html"
    write(file, "--max-latency-ms", "0.15")
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True
    )
    page = context.new_page()
    told: list[str] = []
    page.on("request", lambda request: told.append(request.url))
    page.on("console", lambda message: told.append(message.text))
    page.on("pageerror", lambda error: told.append(str(error)))
    page.goto(file.as_uri())
    charts = page.locator(".chart")
    for chart in charts.all():
        chart.scroll_into_view_if_needed()
        chart.locator(".main-svg").first.wait_for()
        assert chart.get_attribute("role") == "img" and chart.get_attribute("aria-label")
    assert told == [file.as_uri()]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    ink = page.locator(".xtitle").first.evaluate("node => getComputedStyle(node).fill")
    assert (sum(map(int, re.findall(r"\d+", ink)[:3])) / 3 > 128) == (scheme == "dark")
    # What would be sent out by a script that got in: none may run, and no picture is fetched.
    page.evaluate("document.body.append(Object.assign(new Image(), {src: 'http://127.0.0.1:9/x.png'}))")
    page.evaluate(
        "document.head.append(Object.assign(document.createElement('script'), {text: 'hit = 1'}))"
    )
    assert page.evaluate("typeof hit") == "undefined"
    assert any("Content Security Policy" in one for one in told)
    context.close()


@pytest.mark.browser
def test_it_is_printed_light_with_all_its_charts(
    whole_home: Home, tmp_path: Path, browser: Browser
) -> None:
    file = tmp_path / "r.html"
    write(file)
    page = browser.new_page(color_scheme="dark")
    page.goto(file.as_uri())
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator(".js-plotly-plot").count() == page.locator(".chart").count()
    ink = page.locator(".xtitle").first.evaluate("node => getComputedStyle(node).fill")
    assert sum(map(int, re.findall(r"\d+", ink)[:3])) / 3 < 128
    page.emulate_media(media="print")
    assert not page.locator("nav").is_visible()
    page.close()


def _page(view: str) -> None:
    from dashboard.views import View
    from edge_bench import variants
    from edge_bench.files import default_home

    variants.load(View, "dashboard.views", view)().show(default_home())


def _fastest(home: Home) -> str:
    """Return the id of a result that the report draws: of the fastest file, which a preset picks."""
    with ResultStore(home.store_url) as store:
        results = [one for one in store.results() if one.device == "this-machine" and one.plain]
    return min(results, key=lambda one: one.p50_ms).id


def _figures(html: str) -> list[dict[str, Any]]:
    found = re.findall(r'<script type="application/json" id="figure-\d+">(.*?)</script>', html, re.DOTALL)
    return [json.loads(one) for one in found]


def _core(figure: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a figure draws, without what differs between a page and a report: look and height."""
    layout = {
        name: {key: one.get(key) for key in ("range", "type", "tickvals", "ticktext", "title")}
        for name, one in figure["layout"].items()
        if re.fullmatch(r"[xy]axis\d*", name)
    }
    return {"data": figure["data"], "axes": layout, "shapes": figure["layout"].get("shapes")}


def _rows(html: str) -> list[list[str]]:
    rows = re.findall(r"<tr>(<td.*?)</tr>", html)
    return [[_text(cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", row)] for row in rows]


def _text(html: str) -> str:
    reader = _Tags()
    reader.feed(html)
    return "".join(reader.text)


def _status(words: list[str]) -> int:
    try:
        return cli.main(words)
    except SystemExit as ended:
        return int(ended.code or 0)


class _Tags(HTMLParser):
    """What a browser makes of a page: its elements, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.started: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    @property
    def tags(self) -> list[str]:
        return [tag for tag, _ in self.started]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.started.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)
