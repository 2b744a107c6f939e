"""The page of benchmarks, run without a browser, and the tables and charts behind it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from pages import opened
from streamlit.testing.v1 import AppTest

from dashboard import benchmark_frames as told
from dashboard.benchmark_figures import distribution_figure
from dashboard.stored import JOINER
from edge_bench.files import Home
from edge_bench.measure.ratios import ratio_apart
from edge_bench.records import BenchmarkResult, FittedPredictor, OperatorTime, Placement, TimingBlock
from edge_bench.statistics import percentile
from edge_bench.store import Record

Put = Callable[[Iterable[Record]], Home]
NASTY = "<script>alert(1)</script>"


@pytest.fixture
def measured(records: list[Record]) -> list[BenchmarkResult]:
    return [one for one in records if isinstance(one, BenchmarkResult)]


@pytest.fixture
def result(measured: list[BenchmarkResult]) -> BenchmarkResult:
    """A result of four blocks, one of them polluted."""
    return replace(
        measured[0],
        blocks=(
            *(_block(100 + step, at_s=0.1 * step) for step in range(3)),
            _block(300, at_s=0.3, off=0.4),
        ),
        environment={"cpu": "A53", "cores": 4},
    )


def benchmarks(**link: str) -> AppTest:
    return opened(AppTest.from_function(_page, default_timeout=60), link)


def test_an_empty_store_says_how_to_fill_it(home: Home) -> None:
    assert "make quickstart" in [one.value for one in benchmarks().code]
    assert not home.root.exists(), "looking makes no file"


def test_a_store_without_results_says_what_measures(records: list[Record], put: Put) -> None:
    home = put(one for one in records if isinstance(one, FittedPredictor))
    assert [one.value for one in benchmarks().code] == [f"edge-bench bench --all --home {home.root}"]


def test_a_polluted_block_is_marked_and_its_reason_told(result: BenchmarkResult, put: Put) -> None:
    put([result])
    shown = benchmarks()
    traces = {trace.get("name"): trace for trace in _figure(shown, 1)["data"]}
    assert set(traces) == {told.COUNTED, told.LEFT_OUT}
    assert traces[told.LEFT_OUT]["marker"]["symbol"] == "x"
    assert "off the CPU for 40%" in traces[told.LEFT_OUT]["hovertext"][0]
    captions = _plain("".join(one.value for one in shown.caption))
    assert "4 blocks, 1 of them polluted and not counted; off the CPU for 40% of the block" in captions


def test_a_block_that_counts_although_it_was_polluted_says_so(result: BenchmarkResult) -> None:
    settled = replace(result, blocks=(replace(result.blocks[-1], counted=True, reason=""),))
    assert list(told.blocks(settled)["state"]) == [told.KEPT]


@pytest.mark.parametrize("verdict", ["noisy", "throttled", "inconclusive"])
def test_the_verdict_is_told_with_its_cause(verdict: Any, result: BenchmarkResult, put: Put) -> None:
    put([replace(result, verdict=verdict, verdict_cause="the host took 9% of the CPU time")])
    warned = _plain(benchmarks().warning[0].value)
    assert warned.startswith(f"{verdict}: ") and warned.endswith("the host took 9% of the CPU time")


def test_the_sweep_shows_each_thread_count_and_each_runtime_once(
    result: BenchmarkResult, measured: list[BenchmarkResult], put: Put
) -> None:
    others = [
        replace(result, id="old", threads=2, p50_low_ms=9.0),
        replace(result, id="two", threads=2),
        replace(result, id="four", threads=4),
        replace(result, id="vino", runtime="openvino"),
        replace(result, id="batch", threads=8, batch=8),
        replace(result, id="elsewhere", threads=16, device="pi"),
    ]
    put([*others, *measured[1:], result])
    swept = told.sweep([*others, result], result, "threads")
    assert [one.id for one in swept] == [result.id, "two", "four"]
    shown = benchmarks(result=result.id)
    threads, runtimes = (_figure(shown, place)["data"][-1] for place in (2, 3))
    assert threads["x"] == ["1", "2", "4"]
    assert runtimes["x"] == ["onnxruntime", "openvino"]


def test_what_was_not_swept_or_profiled_is_told_with_the_command(result: BenchmarkResult, put: Put) -> None:
    home = put([replace(result, device="pi")])
    plain = f"edge-bench bench {result.artifact} --device pi --runtime onnxruntime"
    assert [one.value for one in benchmarks().code] == [
        f"{plain} --threads 1 --profile --home {home.root}",
        f"{plain} --threads 1,2,4 --home {home.root}",
    ]


def test_operators_are_drawn_longest_first_and_a_fallback_is_told(
    result: BenchmarkResult, put: Put
) -> None:
    operators = (
        OperatorTime(name="a", kind="Conv", mean_ms=0.1, share=0.2, where="CPU"),
        OperatorTime(name="b", kind="MatMul", mean_ms=0.3, share=0.6, where="CPU"),
        OperatorTime(name="c", kind="Conv", mean_ms=0.1, share=0.2, where="CPU"),
    )
    fallback = Placement(where="CPU", operators={"Conv": 2}, wanted=False)
    put([replace(result, operators=operators, placements=(fallback,))])
    shown = benchmarks()
    assert _figure(shown, 2)["layout"]["yaxis"]["ticktext"] == ["b", "a", "c"]
    assert "CPU ran 2 Conv: these fell back" in _plain(shown.warning[0].value)
    shown.button_group(key="operators").set_value("by kind").run()
    assert _figure(shown, 2)["layout"]["yaxis"]["ticktext"] == ["MatMul", "Conv"]


def test_a_against_b_tells_the_interval_of_the_statistics_and_what_changed(
    result: BenchmarkResult, put: Put
) -> None:
    other = replace(result, id="other", environment={"cpu": "A72", "cores": 4}, verdict="noisy")
    other = replace(
        other, p50_low_ms=2 * (result.p50_low_ms or 0), p50_high_ms=2 * (result.p50_high_ms or 0)
    )
    put([result, other])
    shown = benchmarks(result=result.id, against=other.id)
    expected = ratio_apart(result.p50_bounds_ms, other.p50_bounds_ms)
    assert told.ratio_of(result, other) == expected
    words = _plain("".join(one.value for one in shown.markdown))
    assert f"Interval {expected.low:.3f} to {expected.high:.3f}" in words
    assert shown.metric[-1].value == f"{expected.middle:.3f} ×"
    table = shown.dataframe[-1].value
    assert table.to_numpy().tolist() == [["cpu", "A53", "A72"]]
    assert any("B is noisy" in one.value for one in shown.warning)
    assert f"edge-bench compare {result.artifact} {other.artifact}" in shown.code[-1].value


def test_without_an_interval_there_is_no_answer(result: BenchmarkResult) -> None:
    theirs = replace(result, origin="loadgen", p50_low_ms=None, p50_high_ms=None)
    assert told.ratio_of(result, theirs).low is None


def test_measurements_of_other_things_are_not_compared_in_silence(
    result: BenchmarkResult, put: Put
) -> None:
    put([result, replace(result, id="eight", batch=8)])
    shown = benchmarks(result=result.id, against="eight")
    assert any("batch: A 1, B 8" in _plain(one.value) for one in shown.warning)


def test_choosing_keeps_the_link_in_step(measured: list[BenchmarkResult], put: Put) -> None:
    put(measured)
    shown = benchmarks(result=measured[3].id)
    assert shown.selectbox[1].value == (measured[3].digest, measured[3].model)
    shown.selectbox[1].set_value((measured[5].digest, measured[5].model)).run()
    assert shown.query_params["result"] == measured[5].id
    assert not shown.exception


def test_what_others_measured_is_shown_by_their_figures(result: BenchmarkResult, put: Put) -> None:
    put(
        [
            replace(
                result,
                origin="hub",
                blocks=(),
                reported={"mean_ms": 3.5},
                p50_low_ms=None,
                p50_high_ms=None,
                verdict="inconclusive",
            )
        ]
    )
    shown = benchmarks()
    assert "no latency of a single run" in shown.info[0].value
    assert shown.metric[0].value == "3.50 ms"


def test_markup_in_names_is_shown_as_text(result: BenchmarkResult, put: Put) -> None:
    operators = (OperatorTime(name=NASTY, kind=NASTY, mean_ms=0.1, share=1.0),)
    put([replace(result, model=NASTY, verdict_cause=NASTY, operators=operators, notes=(NASTY,))])
    shown = benchmarks(against=result.id)
    markdown = [*shown.markdown, *shown.caption, *shown.success, *shown.warning, *shown.subheader]
    assert all(NASTY not in one.value for one in markdown)
    assert any(NASTY in _plain(one.value) for one in markdown)
    for chart in shown.get("plotly_chart"):
        assert "<script>" not in chart.proto.spec


@given(some.lists(some.integers(1, 10**9), min_size=1, max_size=2_000))
def test_a_drawn_share_of_the_runs_took_at_most_so_long(latencies: list[int]) -> None:
    frame = told.distribution(_result(latencies))
    assert len(frame) <= told.STEPS_SHOWN
    assert frame["share"].iloc[-1] == 1
    values = np.array(latencies) / 1e6
    assert frame["latency_ms"].iloc[-1] == values.max()
    for row in frame.sample(min(5, len(frame)), random_state=0).itertuples():
        # Of equal latencies the rank tells the earlier ones less.
        assert row.share <= (values <= row.latency_ms).mean() + 1e-12
        assert percentile(values, 100 * row.share) == row.latency_ms


@given(some.lists(some.booleans(), min_size=1, max_size=40))
def test_no_block_is_lost(counted: list[bool]) -> None:
    blocks = tuple(replace(_block(100), counted=one) for one in counted)
    frame = told.blocks(replace(_result([100]), blocks=blocks))
    assert list(frame["state"] != told.LEFT_OUT) == counted


def test_a_long_measurement_sends_few_blocks(result: BenchmarkResult) -> None:
    long = replace(result, blocks=(_block(100),) * 5_000 + (_block(900, off=0.5),))
    frame = told.blocks(long)
    assert len(frame) == told.BLOCKS_SHOWN + 1
    assert (frame["state"] == told.LEFT_OUT).sum() == 1


def test_the_marks_of_the_distribution_are_the_results_percentiles(result: BenchmarkResult) -> None:
    figure = distribution_figure({"a": result}, dark=False, height=300)
    assert list(figure.data[1].x) == [result.p50_ms, result.p90_ms, result.p99_ms]


def _page() -> None:
    from dashboard.views.benchmarks import Benchmarks
    from edge_bench.files import default_home

    Benchmarks().show(default_home())


def _block(micros: int, *, at_s: float | None = None, off: float = 0.0) -> TimingBlock:
    latencies = tuple(1_000 * micros + 10 * step for step in range(20))
    reason = f"off the CPU for {off:.0%} of the block" if off else ""
    return TimingBlock(latencies_ns=latencies, counted=not off, off_cpu=off, reason=reason, at_s=at_s)


def _result(latencies_ns: list[int]) -> BenchmarkResult:
    return BenchmarkResult(
        id="r",
        artifact=None,
        model="m",
        digest="d",
        format="onnx",
        precision="fp32",
        device="this-machine",
        runtime="onnxruntime",
        runtime_version="1",
        threads=1,
        batch=1,
        load_ms=None,
        first_ms=None,
        blocks=(TimingBlock(latencies_ns=tuple(latencies_ns), counted=True, off_cpu=0.0),),
        p50_low_ms=None,
        p50_high_ms=None,
        peak_memory_mb=None,
        verdict="clean",
        verdict_cause="",
        stopped_by="",
        environment={},
        created="2026-01-01T00:00:00+00:00",
    )


def _figure(page: AppTest, place: int) -> dict[str, Any]:
    figure: dict[str, Any] = json.loads(page.get("plotly_chart")[place].proto.spec)
    return figure


def _plain(markdown: str) -> str:
    return re.sub(r"\\(.)", r"\1", markdown.replace("**", "")).replace(JOINER, "")
