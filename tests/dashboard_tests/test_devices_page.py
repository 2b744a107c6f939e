"""The page of devices, run without a browser, and the tables and charts behind it."""

from __future__ import annotations

import json
import math
import re
import shlex
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from browsing import PATIENCE_MS, served
from hypothesis import given
from hypothesis import strategies as some
from pages import opened
from playwright.sync_api import Page, expect
from streamlit.testing.v1 import AppTest

import device_profiles
from dashboard import device_frames as told
from dashboard.device_figures import MISSING, heat_figure
from dashboard.frames import candidate_frame
from dashboard.stored import JOINER
from edge_bench.choose.fitting import predict
from edge_bench.devices.job import Failure, Job, Options, Report
from edge_bench.devices.queue import JobQueue
from edge_bench.devices.registry import Device, Registry
from edge_bench.files import Home
from edge_bench.measure.ratios import rate_interval
from edge_bench.records import (
    Artifact,
    BenchmarkResult,
    Candidate,
    FittedPredictor,
    Metric,
    SearchSpace,
    Subnet,
)
from edge_bench.store import Record, ResultStore

Put = Callable[[Iterable[Record]], Home]
NASTY = "<script>alert(1)</script>"


def devices(**link: str) -> AppTest:
    return opened(AppTest.from_function(_page, default_timeout=60), link)


def test_an_empty_store_says_how_to_fill_it(home: Home) -> None:
    assert "make quickstart" in [one.value for one in devices().code]
    assert not home.root.exists(), "looking makes no file"


def test_the_map_tells_measured_predicted_and_missing_apart(records: list[Record], put: Put) -> None:
    elsewhere = [
        replace(one, id=f"pi-{one.id}", device="pi")
        for one in records
        if isinstance(one, BenchmarkResult) and one.format == "onnx" and one.precision == "fp32"
    ]
    put([*records, *elsewhere[:3]])
    shown = devices()
    figure = _figure(shown, 0)
    texts = [text for trace in figure["data"] for text in trace.get("text", ())]
    predicted = [text for text in texts if text.startswith("<i>≈")]
    assert len(predicted) == len(figure["layout"]["shapes"]), "each has a frame"
    assert len(texts) == 2 * told.MODELS_SHOWN, "each cell says something"
    assert MISSING in texts
    told_words = _plain("".join(one.value for one in shown.caption))
    assert "44 models on 2 devices: 31 measured, 0 imported, 16 predicted, 41 missing" in told_words


def test_filters_narrow_the_map(filled: Home) -> None:
    shown = devices(precision="int8")
    assert "4 measured, 0 imported, 0 predicted" in _plain("".join(one.value for one in shown.caption))


def test_what_was_measured_comes_before_a_prediction(
    records: list[Record], candidate: Callable[..., Candidate]
) -> None:
    result = next(one for one in records if isinstance(one, BenchmarkResult))
    foretold = candidate(artifact=result.artifact, runtime=result.runtime, source="predicted")
    other = replace(foretold, runtime="openvino", latency_ms=0.001)
    frame = told.latencies([], [result], {result.device: [foretold, other]})
    assert sorted(frame["source"]) == ["measured", "predicted"], "of one runtime the prediction is left out"
    assert list(told.one_a_cell(frame)["latency_ms"]) == [result.p50_ms]


def test_the_newest_measurement_is_told_but_no_inconclusive_one_for_a_clean_one(
    records: list[Record],
) -> None:
    result = next(one for one in records if isinstance(one, BenchmarkResult))
    newer = replace(result, id="newer", p50_low_ms=0.0)
    doubtful = replace(result, id="doubtful", verdict="inconclusive", p50_low_ms=5.0)
    frame = told.latencies([], [result, newer, doubtful], {})
    assert list(frame["low_ms"]) == [0.0]


def test_a_large_map_draws_an_even_share(candidate: Callable[..., Candidate]) -> None:
    many = [
        candidate(artifact=str(n), name=str(n), latency_ms=1.0 + n, source="predicted") for n in range(200)
    ]
    cells = told.one_a_cell(told.latencies([], [], {"a": many}))
    drawn = told.thinned(cells)
    assert drawn["model"].nunique() == told.MODELS_SHOWN
    assert {"0", "199"} <= set(drawn["model"])
    assert len(heat_figure(drawn, dark=False).data[0].z) == told.MODELS_SHOWN


def test_own_devices_stand_with_what_they_do(records: list[Record], put: Put) -> None:
    home = put(records)
    assert "Your devices" not in [one.value for one in devices().subheader]
    with ResultStore(home.store_url) as store:
        for name, by in (("pi", "agent"), ("quiet", "agent"), ("new", "agent"), ("board", "ssh")):
            Registry(store).add(Device(name=name, transport=by))
        Registry(store).seen("pi")
        Registry(store, clock=lambda: time.time() - 7200).seen("quiet")
        queue = JobQueue(store)
        for number in range(3):
            queue.add("pi", job(number))
        grant = queue.lease("pi", "agent")
        assert grant is not None
        failure = Failure(kind="InvalidModel", message="no model")
        queue.report("pi", Report(id="r", job=grant.job.id, lease=grant.lease, failure=failure))
        queue.lease("pi", "agent")
    shown = devices()
    assert shown.subheader[0].value == "Your devices"
    table = shown.dataframe[0].value.set_index("device")
    assert re.fullmatch(r"measures 1\.onnx, begun \d s ago", table.loc["pi", "does"])
    assert table.loc["pi", "waiting"] == 1
    assert re.fullmatch(r"0\.onnx failed \d s ago: no model", table.loc["pi", "last_job"])
    assert table["does"].drop("pi").to_dict() == {
        "board": "is asked when there is work",
        "new": "has not asked for work yet",
        "quiet": "is silent",
    }
    assert table["last_seen"].drop("pi").to_dict() == {"board": "never", "new": "never", "quiet": "2 h ago"}


@pytest.mark.browser
def test_what_a_device_does_shows_up_by_itself(
    records: list[Record], put: Put, open_page: Callable[..., Page]
) -> None:
    home = put(records)
    with ResultStore(home.store_url) as store, served(home) as address:
        Registry(store).add(Device(name="pi", transport="agent"))
        page = open_page(f"{address}/devices")
        # What stands on a canvas is told to those who hear it by cells that nobody sees.
        cells = page.get_by_test_id("stDataFrame").first.locator("[role=gridcell]")
        expect(cells.filter(has_text="has not asked for work yet")).to_have_count(1)
        queue = JobQueue(store)
        queue.add("pi", job(1))
        queue.lease("pi", "agent")
        expect(cells.filter(has_text="measures 1.onnx")).to_have_count(1, timeout=PATIENCE_MS)


def job(number: int) -> Job:
    return Job(
        id=f"{number}", model=f"{number}.onnx", digest=f"{number:064x}", size_bytes=1, options=Options()
    )


def test_facts_name_their_sources(records: list[Record], put: Put) -> None:
    result = next(one for one in records if isinstance(one, BenchmarkResult))
    put([replace(result, device="raspberry-pi-4", environment={"cpu": "A72", "governor": "unavailable"})])
    table = devices().dataframe[1].value
    profile = device_profiles.load("raspberry-pi-4")
    assert profile.soc is not None
    rows = table.set_index("fact")
    assert rows.loc["soc"].tolist() == [profile.soc.value, profile.soc.source]
    assert ["A72", "read there on 2026-01-01"] in table[["value", "source"]].to_numpy().tolist()
    assert "governor" not in rows.index


def test_calibration_holds_predictions_against_what_was_measured(
    filled: Home, records: list[Record]
) -> None:
    fitted, frame = _calibrated(records)
    subnets = {one.id: one for one in records if isinstance(one, Subnet)}
    files = {one.id: one for one in records if isinstance(one, Artifact)}
    assert len(frame) == 12, "fp32 files of one runtime"
    for row in frame.itertuples():
        subnet = subnets[files[str(row.name)].subnet or ""]
        assert isinstance(subnet.space, SearchSpace)
        assert row.predicted_ms == predict(fitted, subnet.space, subnet.arch).latency_ms
    found = told.calibration(frame)
    assert (found.held_low, found.held_high) == rate_interval(found.held, 12)
    assert found.mape == pytest.approx(np.abs(frame["residual"]).mean())
    shown = devices()
    assert f"{found.held} of 12" in [one.value for one in shown.metric]
    words = _plain("".join(one.value for one in shown.caption))
    assert f"On {fitted.held_out.networks} networks held out from the fit" in words
    assert f"mean error {fitted.held_out.mape:.1%}" in words


def test_the_calibration_chart_has_the_line_of_equals_and_intervals(filled: Home) -> None:
    data = _figure(devices(), 1)["data"]
    assert data[0]["x"] == data[0]["y"]
    assert all("array" in trace["error_y"] and "array" in trace["error_x"] for trace in data[1:])


def test_another_precision_or_thread_count_is_no_calibration(records: list[Record]) -> None:
    fitted = next(one for one in records if isinstance(one, FittedPredictor))
    assert _calibrated(records, replace(fitted, threads=2))[1].empty
    assert _calibrated(records, replace(fitted, precision="int8"))[1]["kind"].str.endswith("int8").all()
    assert _calibrated(records, replace(fitted, space="other-0a1b2c3d"))[1].empty


def test_a_device_without_a_predictor_says_what_fits_one(records: list[Record], put: Put) -> None:
    home = put(one for one in records if not isinstance(one, FittedPredictor))
    assert f"edge-bench fit --home {home.root}" in [one.value for one in devices().code]


def test_measure_next_begins_with_what_decides_the_front(candidate: Callable[..., Candidate]) -> None:
    def foretold(name: str, value: float, low: float, high: float) -> Candidate:
        middle = math.sqrt(low * high)
        ends = {"latency_low_ms": low, "latency_high_ms": high}
        return candidate(
            artifact=name, name=name, value=value, latency_ms=middle, source="predicted", **ends
        )

    frame = candidate_frame(
        [
            candidate(artifact="m", name="measured", value=0.9, latency_ms=2.0),
            foretold("open", 0.85, 1.0, 4.0),
            foretold("sure", 0.95, 5.0, 6.0),
            foretold("worse", 0.5, 3.0, 30.0),
        ]
    )
    found = told.measure_next(frame)
    assert list(zip(found["name"], found["why"], strict=True)) == [
        ("open", told.OPEN),
        ("sure", told.ON_FRONT),
        ("worse", told.WIDE),
    ]


@given(
    some.lists(
        some.tuples(some.floats(0.1, 1), some.floats(0.1, 10), some.floats(1.01, 3)),
        min_size=1,
        max_size=12,
    )
)
def test_the_reason_is_that_of_trying_both_ends(drawn: list[tuple[float, float, float]]) -> None:
    frame = pd.DataFrame(
        {
            "id": [str(n) for n in range(len(drawn))],
            "metric": [one for one, _, _ in drawn],
            "latency_ms": [ms for _, ms, _ in drawn],
            "low_ms": [ms / width for _, ms, width in drawn],
            "high_ms": [ms * width for _, ms, width in drawn],
            "higher_is_better": True,
            "source": "predicted",
        }
    )
    for row in told.measure_next(frame, len(frame)).itertuples():
        others = frame[frame["metric"] > row.metric]
        fast, slow = (bool((others["latency_ms"] <= ms).any()) for ms in (row.low_ms, row.high_ms))
        assert row.why == (told.WIDE if fast else told.OPEN if slow else told.ON_FRONT)


def test_measure_next_gives_commands_that_name_what_they_measure(records: list[Record], put: Put) -> None:
    results = [one for one in records if isinstance(one, BenchmarkResult)]
    home = put(one for one in records if one not in results)
    shown = devices()
    names = set(shown.dataframe[-1].value["name"])
    words = [shlex.split(line) for one in shown.code for line in one.value.splitlines()]
    bench = next(line for line in words if line[1] == "bench" and line[2] != "--all")
    assert set(bench[2 : bench.index("--home")]) <= names
    assert str(home.root) in bench
    for line in words:
        if line[1] == "export":
            known = {one.id for one in records if isinstance(one, Subnet)}
            assert set(line[2 : line.index("--format")]) <= known


def test_where_lower_is_better_the_front_is_turned(candidate: Callable[..., Candidate]) -> None:
    def perplexed(name: str, value: float, latency_ms: float) -> Candidate:
        metric = Metric(
            name="perplexity", value=value, higher_is_better=False, split="selection", examples=9
        )
        plain = candidate(artifact=name, name=name, source="predicted", latency_ms=latency_ms)
        return replace(plain, metric=metric)

    frame = candidate_frame([perplexed("good", 5.0, 2.0), perplexed("bad", 9.0, 4.0)])
    found = told.measure_next(frame)
    assert list(zip(found["name"], found["why"], strict=True)) == [
        ("good", told.ON_FRONT),
        ("bad", told.WIDE),
    ]


def test_markup_in_names_is_shown_as_text(records: list[Record], put: Put) -> None:
    put(replace(one, name=NASTY) if isinstance(one, Artifact) else one for one in records)
    shown = devices()
    markdown = [*shown.markdown, *shown.caption, *shown.subheader]
    assert all(NASTY not in one.value for one in markdown)
    for chart in shown.get("plotly_chart"):
        assert "<script>" not in chart.proto.spec


def _calibrated(
    records: list[Record], fitted: FittedPredictor | None = None
) -> tuple[FittedPredictor, pd.DataFrame]:
    # The newest is the one that the page shows first.
    fitted = fitted or [one for one in records if isinstance(one, FittedPredictor)][-1]
    return fitted, told.calibration_frame(
        fitted,
        [one for one in records if isinstance(one, Subnet)],
        [one for one in records if isinstance(one, Artifact)],
        [one for one in records if isinstance(one, BenchmarkResult)],
    )


def _page() -> None:
    from dashboard.views.devices import Devices
    from edge_bench.files import default_home

    Devices().show(default_home())


def _figure(page: AppTest, place: int) -> dict[str, Any]:
    figure: dict[str, Any] = json.loads(page.get("plotly_chart")[place].proto.spec)
    return figure


def _plain(markdown: str) -> str:
    return re.sub(r"\\(.)", r"\1", markdown.replace("**", "")).replace(JOINER, "")
