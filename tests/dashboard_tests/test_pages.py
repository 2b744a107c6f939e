"""Both pages, run without a browser: what they say for what the store holds."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from pages import opened
from streamlit.testing.v1 import AppTest

import dashboard
from dashboard.stored import JOINER, escaped, state_of
from edge_bench.files import Home
from edge_bench.records import Artifact, BenchmarkResult, Metric, Subnet
from edge_bench.store import Record, ResultStore

APP = Path(dashboard.__file__).with_name("app.py")
Put = Callable[[Iterable[Record]], Home]
NASTY = "![x](http://evil.example/a.png) <b>b</b> $1$ :material/home: [l](http://evil.example) `c` **d**"


def trade_offs(**link: str) -> AppTest:
    return opened(AppTest.from_file(str(APP), default_timeout=60), link)


def pick(**link: str) -> AppTest:
    return opened(AppTest.from_function(_pick_page, default_timeout=60), link)


@pytest.mark.parametrize("page", [trade_offs, pick])
def test_an_empty_store_says_how_to_fill_it(page: Callable[[], AppTest], home: Home) -> None:
    shown = page()
    assert [one.value for one in shown.code] == ["make quickstart", "edge-bench quickstart"]
    assert not home.root.exists(), "looking makes no file"


@pytest.mark.parametrize("page", [trade_offs, pick])
def test_a_store_without_measurements_says_how_to_get_some(
    page: Callable[[], AppTest], records: list[Record], put: Put
) -> None:
    put(one for one in records if isinstance(one, Subnet))
    assert "make quickstart" in [one.value for one in page().code]


def test_a_record_from_a_later_version_is_told_in_its_place(filled: Home) -> None:
    engine = sa.create_engine(filled.store_url)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE records SET version = 99 WHERE kind = 'result'"))
    engine.dispose()
    shown = trade_offs()
    assert "later edge" in shown.error[0].value


def test_trade_offs_counts_what_is_measured_and_names_the_best(filled: Home) -> None:
    shown = trade_offs()
    told = _plain(shown.markdown[0].value)
    assert told.startswith("44 candidates, 28 measured. Best: ")
    assert len(shown.dataframe[0].value) == 44


def test_filters_narrow_chart_and_table_and_none_means_all(filled: Home) -> None:
    shown = trade_offs()
    shown.button_group(key="precision").set_value(["int8"]).run()
    table = shown.dataframe[0].value
    assert set(table["kind"]) == {"ONNX int8", "TFLite int8"}
    assert _drawn(shown) == len(table)
    shown.button_group(key="runtime").set_value(["litert"]).run()
    assert set(shown.dataframe[0].value["kind"]) == {"TFLite int8"}
    shown.button_group(key="precision").set_value([]).run()
    shown.button_group(key="runtime").set_value([]).run()
    assert len(shown.dataframe[0].value) == 44


def test_a_filter_that_leaves_nothing_says_so(records: list[Record], put: Put) -> None:
    put(one for one in records if not (isinstance(one, Artifact) and _is_tflite_int8(one)))
    shown = trade_offs(precision="int8", runtime="litert")
    assert "Take one back" in shown.info[0].value


def test_the_budget_says_what_fits(filled: Home) -> None:
    shown = trade_offs(budget="0.1")
    assert shown.select_slider[0].value == "0.1"
    table = shown.dataframe[0].value
    fitting = int((table["latency_ms"] <= 0.1).sum())
    assert f"{fitting} within 0.1 ms" in _plain(shown.markdown[0].value)
    assert int(table["fits"].sum()) == fitting
    assert any("budget 0.1 ms" in one["text"] for one in _figure(shown)["layout"]["annotations"])


def test_a_budget_that_nothing_fits_is_told_with_the_fastest(filled: Home) -> None:
    told = _plain(trade_offs(budget="0.05").markdown[0].value)
    assert "None fits the budget" in told and "0.0521 ms" in told


def test_a_link_names_the_selected(filled: Home) -> None:
    ids = [mark for trace in _figure(trade_offs())["data"] for mark in trace.get("customdata", ())][:2]
    shown = trade_offs(selected=",".join(ids))
    assert "2 selected" in "".join(one.value for one in shown.markdown)
    assert len(shown.dataframe[0].value) == 2


def test_lower_is_better_turns_the_axis(records: list[Record], put: Put) -> None:
    put(map(_as_perplexity, records))
    shown = trade_offs()
    bottom, top = _figure(shown)["layout"]["yaxis"]["range"]
    assert bottom > top
    best = pick()
    table = shown.dataframe[0].value
    best_file = table.loc[table["metric"].idxmin(), "name"]
    assert _plain(best.subheader[0].value) == best_file


def test_metrics_of_two_data_sets_are_never_on_one_chart(records: list[Record], put: Put) -> None:
    other = {one.id for one in records if isinstance(one, Subnet)}
    moved = sorted(other)[:3]
    put(
        replace(one, data={"kind": "folder", "path": "/data/flowers/"})
        if isinstance(one, Subnet) and one.id in moved
        else one
        for one in records
    )
    shown = trade_offs()
    assert shown.selectbox(key="task").options == ["digits, accuracy", "folder flowers, accuracy"]
    shown.selectbox(key="task").set_value("folder flowers, accuracy").run()
    assert {name[: len(moved[0])] for name in shown.dataframe[0].value["name"]} == set(moved)


@pytest.mark.parametrize("page", [trade_offs, pick])
def test_names_with_markup_are_harmless(
    page: Callable[[], AppTest], records: list[Record], put: Put
) -> None:
    put(replace(one, name=NASTY) if isinstance(one, Artifact) else one for one in records)
    shown = page()
    told = "".join(one.value for one in [*shown.markdown, *shown.subheader, *shown.caption])
    assert escaped(NASTY) in told
    assert NASTY not in told
    assert "<b>b" not in json.dumps(_figure(shown)["data"])


@pytest.mark.parametrize("page", ["trade_offs", "pick", "devices", "benchmarks", "families", "model"])
def test_a_file_whose_name_is_no_text_breaks_no_page(page: str, records: list[Record], put: Put) -> None:
    # As Python reads a name in Latin-1 where the system's is UTF-8.
    name = b"gr\xf6\xdfe.onnx".decode("utf-8", "surrogateescape")
    given = (replace(one, name=name) if isinstance(one, Artifact) else one for one in records)
    put(replace(one, model=name) if isinstance(one, BenchmarkResult) else one for one in given)
    shown = opened(AppTest.from_function(_any_page, kwargs={"page": page}, default_timeout=60), {})
    assert not shown.error
    if page == "trade_offs":
        assert "gr\ufffd\ufffde.onnx" in set(shown.dataframe[0].value["name"])


def test_escaped_text_comes_back_whole_and_bare_of_markup() -> None:
    safe = escaped(NASTY + "\n# heading\n- item")
    assert "\n" not in safe
    assert _plain(safe) == NASTY + " # heading - item"
    assert not re.search(r"(?<!\\)[\[\]`*_<$:]", safe)


@pytest.mark.parametrize("address", ["http://evil.example", "WWW.evil.example", "me@evil.example"])
def test_an_address_in_a_name_is_parted(address: str) -> None:
    assert address not in escaped(address).replace("\\", "")
    assert _plain(escaped(address)) == address


def test_pick_recommends_the_best_within_the_budget_and_says_why(filled: Home) -> None:
    shown = pick(budget="0.1")
    table = trade_offs(budget="0.1").dataframe[0].value
    fitting = table[table["fits"]]
    assert _plain(shown.subheader[0].value) == fitting.loc[fitting["metric"].idxmax(), "name"]
    why = _plain(next(one.value for one in shown.markdown if one.value.startswith("**Why**")))
    assert f"Of {len(fitting)} candidates within the budget of at most 0.1 ms" in why
    assert 1 <= len(shown.dataframe[0].value) <= 5
    assert (shown.dataframe[0].value["latency_ms"] <= 0.1).all()


def test_presets_take_the_best_the_fastest_and_one_between(filled: Home) -> None:
    shown = pick()
    latencies = []
    for preset in ("accuracy", "balanced", "speed"):
        shown.button_group(key="preset").set_value(preset).run()
        latencies.append(float(shown.metric[1].value.split()[0]))
    assert latencies == sorted(latencies, reverse=True) and len(set(latencies)) == 3


def test_the_choice_is_marked_on_the_chart(filled: Home) -> None:
    shown = pick()
    name = _plain(shown.subheader[0].value)
    assert [one["text"] for one in _figure(shown)["layout"]["annotations"]] == [name]


def test_an_infeasible_budget_is_told_with_the_nearest_miss(filled: Home) -> None:
    shown = pick(budget="0.05")
    assert "nearest miss is digits-" in _plain(shown.warning[0].value)
    assert not shown.subheader and not shown.error
    assert _drawn(shown) == 44, "the chart stays, to show by how much"


def test_limits_count_and_what_is_not_measured_is_told_openly(records: list[Record], put: Put) -> None:
    put(records)
    shown = pick(size="0.1")
    assert shown.number_input(key="size").value == 0.1
    assert not shown.warning
    why = next(one.value for one in shown.markdown if "Why" in one.value)
    assert "Of 4 candidates within the budget" in why, "sizes of networks without a file are predicted"
    shown = pick(memory="1")
    assert "peak memory is not known" in shown.warning[0].value


def test_a_limit_that_every_file_breaks_is_told(records: list[Record], put: Put) -> None:
    exported = {one.subnet for one in records if isinstance(one, Artifact)}
    put(one for one in records if not isinstance(one, Subnet) or one.id in exported)
    assert "size" in _plain(pick(size="0.001").warning[0].value)


def test_files_that_are_there_can_be_taken_away(filled: Home) -> None:
    shown = pick()
    labels = [_plain(one.label) for one in shown.download_button]
    assert labels[0] == "Everything as one zip (.onnx and .tflite, card, script, gate)"
    kinds = [label.partition(",")[0] for label in labels[1:]]
    assert kinds == ["ONNX fp32", "TFLite fp32", "Model card", "Script that runs it"]
    [gate] = shown.code
    assert gate.value.startswith("edge-bench check model.onnx --max-latency-ms ")


def test_a_file_that_is_not_there_is_told_with_the_exact_command(records: list[Record], put: Put) -> None:
    home = put(one for one in records if not isinstance(one, (Artifact, BenchmarkResult)))
    shown = pick(budget="0.1", preset="balanced")
    assert not shown.download_button
    words = shlex.split(next(one.value for one in shown.code if one.value.startswith("edge-bench pick")))
    assert words[:2] == ["edge-bench", "pick"]
    options = dict(zip(words[2::2], words[3::2], strict=True))
    assert options == {
        "--device": "this-machine",
        "--run": "digits-0a1b2c3d",
        "--max-latency-ms": "0.1",
        "--preset": "balanced",
        "--home": str(home.root),
    }


def test_a_model_that_generates_is_taken_away_with_its_steps(
    records: list[Record],
    put: Put,
    text_subnet: Callable[..., Subnet],
    text_files: Callable[..., list[Artifact]],
) -> None:
    subnet = text_subnet("language_modelling")
    files = [file for form in ("tflite", "onnx") for file in text_files(subnet, format=form)]
    one = next(record for record in records if isinstance(record, BenchmarkResult))
    measured = [
        replace(one, id=file.id, artifact=file.id, model=file.name, runtime="onnxruntime", format="onnx")
        for file in files
        if file.format == "onnx"
    ]
    home = put([subnet, *files, *measured])
    tokenizer = home.absolute(files[0].text.tokenizer if files[0].text else "")
    tokenizer.parent.mkdir(parents=True, exist_ok=True)
    tokenizer.write_text("{}", encoding="utf-8")
    labels = [_plain(shown.label).partition(",")[0] for shown in pick().download_button]
    kinds = ["ONNX fp32", "ONNX fp32 of steps", "TFLite fp32", "TFLite fp32 of steps"]
    papers = ["Model card", "Script that runs it", "Tokenizer"]
    assert labels == ["Everything as one zip (.onnx and .tflite", *kinds, *papers]


def test_a_file_that_was_deleted_is_not_offered(filled: Home) -> None:
    for path in filled.artifacts.rglob("*.onnx"):
        path.unlink()
    shown = pick()
    assert [_plain(one.label).partition(",")[0] for one in shown.download_button] == ["TFLite fp32"]
    assert shown.code


def test_a_file_outside_the_home_folder_is_not_offered(
    records: list[Record], put: Put, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.onnx"
    put(
        replace(one, file="../secret.onnx") if isinstance(one, Artifact) and one.format == "onnx" else one
        for one in records
    )
    assert secret.is_file()
    labels = [_plain(one.label) for one in pick().download_button]
    assert not [label for label in labels if label.startswith("ONNX")]


def test_what_another_process_adds_is_seen_on_the_nextopened(records: list[Record], put: Put) -> None:
    subnets = [one for one in records if not isinstance(one, BenchmarkResult)]
    home = put(subnets)
    shown = trade_offs()
    assert "0 measured" in shown.markdown[0].value
    with ResultStore(home.store_url) as store:
        store.add(*(one for one in records if isinstance(one, BenchmarkResult)))
    assert "28 measured" in trade_offs().markdown[0].value
    assert "28 measured" in shown.run().markdown[0].value


def test_a_new_record_and_a_new_run_change_what_a_page_follows(records: list[Record], home: Home) -> None:
    before = state_of(home)
    assert not home.root.exists(), "looking makes no file"
    with ResultStore(home.store_url) as store:
        store.add(records[0])
        grown = state_of(home)
        store.add(records[1])
    again = state_of(home)
    (home.runs / "new-00000000").mkdir(parents=True)
    assert len({before, grown, again, state_of(home)}) == 4


def _any_page(page: str) -> None:
    from dashboard.views import View
    from edge_bench import variants
    from edge_bench.files import default_home

    variants.load(View, "dashboard.views", page)().show(default_home())


def _pick_page() -> None:
    from dashboard.views.pick import Pick
    from edge_bench.files import default_home

    Pick().show(default_home())


def _figure(page: AppTest) -> dict[str, Any]:
    figure: dict[str, Any] = json.loads(page.get("plotly_chart")[0].proto.spec)
    return figure


def _drawn(page: AppTest) -> int:
    return sum(len(trace.get("customdata", ())) for trace in _figure(page)["data"])


def _plain(markdown: str) -> str:
    """Return what Markdown shows of a text, in which only bold is not escaped."""
    return re.sub(r"\\(.)", r"\1", markdown.replace("**", "")).replace(JOINER, "")


def _is_tflite_int8(one: Artifact) -> bool:
    return one.format == "tflite" and one.precision == "int8"


def _as_perplexity(record: Record) -> Record:
    if not isinstance(record, (Subnet, Artifact)):
        return record

    def turned(metric: Metric) -> Metric:
        return replace(metric, name="perplexity", value=100 * (1.1 - metric.value), higher_is_better=False)

    return replace(record, metrics=tuple(map(turned, record.metrics)))
