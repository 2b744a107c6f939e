"""Tables: the front, what a budget may be, and what is written for people and for programs."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard import frames
from edge_bench.choose.candidates import candidates
from edge_bench.files import Home
from edge_bench.records import (
    BenchmarkResult,
    Candidate,
    FittedPredictor,
    Frontier,
    Generation,
    Metric,
    Subnet,
)
from edge_bench.store import Record, ResultStore

Make = Callable[..., Candidate]

# Coarse steps, so that ties happen.
POINTS = st.lists(st.tuples(st.integers(1, 12), st.integers(0, 10)), min_size=1, max_size=40)


@given(POINTS, st.booleans())
def test_the_front_of_a_frame_is_the_front_of_its_candidates(
    candidate: Make, points: list[tuple[int, int]], higher: bool
) -> None:
    given = [
        candidate(
            name=str(number),
            artifact=str(number),
            latency_ms=float(latency),
            metric=Metric(
                name="perplexity", value=float(value), higher_is_better=higher, split="test", examples=1
            ),
        )
        for number, (latency, value) in enumerate(points)
    ]
    drawn = frames.front(frames.candidate_frame(given))
    expected = [(one.latency_ms, one.metric.value) for one in Frontier.of(given).members]
    assert list(zip(drawn["latency_ms"], drawn["metric"], strict=True)) == expected


def test_a_frame_holds_every_candidate_of_a_store(records: list[Record], filled: Home) -> None:
    with ResultStore(filled.store_url) as store:
        found = candidates(
            store.subnets(), store.artifacts(), store.results(), store.predictors(), device="this-machine"
        )
        frame = frames.candidate_frame(found)
    assert len(frame) == len(found) == frame["id"].nunique()
    assert set(frame["source"]) == {"measured", "predicted"}
    assert frame["latency_ms"].is_monotonic_increasing
    assert set(frame["task"]) == {"digits, accuracy"}
    macs = {one.id: one.macs for one in records if isinstance(one, Subnet)}
    for row in frame.itertuples():
        assert row.mmacs == macs[row.subnet] / 1e6


def test_an_identity_tells_precisions_apart_and_stays(candidate: Make) -> None:
    one = candidate(subnet="s", artifact=None)
    assert frames.identity(one) == frames.identity(replace(one, latency_ms=9.0))
    assert frames.identity(one) != frames.identity(replace(one, precision="int8"))


@given(st.floats(1e-3, 1e4), st.floats(1, 1e3))
def test_budget_stops_are_round_and_enclose_the_latencies(low: float, ratio: float) -> None:
    high = low * ratio
    stops = frames.budget_stops(low, high)
    assert stops[0] <= low and stops[-1] >= high
    assert stops == sorted(set(stops))
    for stop in stops:
        assert float(f"{stop:.4g}") == stop
    steps = {float(f"{later - sooner:.3g}") for sooner, later in zip(stops, stops[1:], strict=False)}
    decades = {f"{stop:e}".partition("e")[0].rstrip("0").rstrip(".") for stop in stops}
    assert decades <= {"1", "1.2", "1.5", "2", "2.5", "3", "4", "5", "6", "8"} or len(steps) == 1
    assert len({f"{stop:g}" for stop in stops}) == len(stops) >= (8 if ratio > 1.01 else 1)


def test_the_csv_holds_whole_numbers_and_every_row(candidate: Make) -> None:
    given = [
        candidate(name='a,"b', artifact="1", value=1 / 3, latency_ms=math.pi),
        candidate(artifact="2"),
    ]
    frame = frames.candidate_frame(given)
    back = pd.read_csv(io.BytesIO(frames.to_csv(frame)))
    assert list(back["name"]) == list(frame["name"])
    assert back["metric"].tolist() == frame["metric"].tolist()
    assert back["latency_ms"].max() == math.pi


@pytest.mark.parametrize("name", ["=1+1.onnx", "+1", "-1", "@SUM(A1)", "\tx", "\rx"])
def test_a_csv_holds_no_text_that_a_spreadsheet_runs(name: str, candidate: Make) -> None:
    frame = frames.candidate_frame([candidate(name=name), candidate(name="plain")])
    back = pd.read_csv(io.BytesIO(frames.to_csv(frame)), keep_default_na=False)
    assert sorted(back["name"]) == sorted([f"'{name}", "plain"])
    assert set(frame["name"]) == {name, "plain"}, "the page's own frame stays"


def test_the_table_shows_shares_in_per_cent_and_no_empty_column(candidate: Make) -> None:
    frame = frames.candidate_frame([candidate(value=0.5, latency_ms=1.0)])
    shown = frames.table(frame, frames.front(frame), budget=0.5)
    assert shown["metric"].tolist() == [50.0]
    assert shown["front"].tolist() == [True] and shown["fits"].tolist() == [False]
    assert not {"test", "warning", "size_mb"} & set(shown.columns)


def test_picks_gain_where_they_are_better_whatever_the_metric(candidate: Make) -> None:
    def perplexity(value: float) -> Metric:
        return Metric(name="perplexity", value=value, higher_is_better=False, split="selection", examples=9)

    given = [
        candidate(artifact="1", metric=perplexity(30.0), latency_ms=2.0),
        candidate(artifact="2", metric=perplexity(25.0), latency_ms=3.0),
    ]
    frame = frames.candidate_frame(given)
    shown = frames.picks_table(frame, frame.iloc[0])
    assert shown["gain"].tolist() == [0.0, 5.0] and shown["extra_ms"].tolist() == [0.0, 1.0]
    assert shown["pick"].tolist() == ["★", ""]


def test_accuracy_bleu_and_perplexity_of_other_tokens_are_tasks_of_their_own(candidate: Make) -> None:
    def judged(name: str, **more: Any) -> Candidate:
        metric = Metric(name=name, value=1.0, higher_is_better=True, split="selection", examples=9)
        return candidate(artifact=name, metric=metric, data="texts", **more)

    given = [
        judged("accuracy", vocabulary=50),
        judged("bleu", vocabulary=50),
        judged("perplexity", vocabulary=50),
        judged("perplexity", vocabulary=30),
    ]
    frame = frames.candidate_frame(given)
    assert sorted(frame["task"]) == [
        "texts, BLEU",
        "texts, accuracy",
        "texts, perplexity of 30 tokens",
        "texts, perplexity of 50 tokens",
    ]


def test_a_table_of_text_models_tells_layers_and_tokens_and_one_of_images_does_not(candidate: Make) -> None:
    generation = Generation(tokens=12.5, network_ms=1.0, token_ms=0.1)
    text = candidate(layers="0,2/0", length=64, generation=generation)
    for one, there in ((text, True), (candidate(), False)):
        frame = frames.candidate_frame([one])
        shown = frames.table(frame, frames.front(frame), budget=None)
        assert ({"layers", "length", "generated"} <= set(shown.columns)) is there
    frame = frames.candidate_frame([text])
    [row] = frames.table(frame, frame, None).itertuples()
    assert (row.layers, row.length, row.generated) == ("0,2/0", 64, 12.5)


def test_only_what_matches_is_kept_and_no_wish_keeps_all(candidate: Make) -> None:
    frame = frames.candidate_frame(
        [candidate(artifact="1", precision="int8"), candidate(artifact="2", runtime="litert")]
    )
    assert len(frames.matching(frame, precision=[], runtime=[])) == 2
    assert frames.matching(frame, precision=["int8"])["artifact"].tolist() == ["1"]
    assert frames.matching(frame, precision=["int8"], runtime=["litert"]).empty


def test_networks_are_told_apart_by_how_they_were_trained(candidate: Make) -> None:
    made = [candidate(artifact="1", technique="once_for_all+dpf"), candidate(artifact="2")]
    frame = frames.candidate_frame(made).sort_values("artifact")
    assert frame["family"].tolist() == ["once-for-all + DPF", "imported"]
    assert frames.matching(frame, family=["imported"])["artifact"].tolist() == ["2"]


def test_a_box_holds_what_lies_in_it_whichever_corner_was_first(candidate: Make) -> None:
    frame = frames.candidate_frame(
        [candidate(artifact=str(ms), latency_ms=float(ms), value=ms / 10) for ms in (1, 2, 3)]
    )
    assert frame[frames.in_box(frame, (2.5, 1.5), (0.3, 0.1))]["artifact"].tolist() == ["2"]


def test_devices_measured_on_most_stand_first(records: list[Record]) -> None:
    results = [one for one in records if isinstance(one, BenchmarkResult)]
    moved = [replace(results[0], device="board"), *results[1:]]
    fitted = [replace(one, device="phone") for one in records if isinstance(one, FittedPredictor)]
    assert frames.devices(moved, fitted) == ["this-machine", "board", "phone"]


@pytest.mark.parametrize(
    ("value", "told"),
    [(0.05206, "0.0521 ms"), (0.1, "0.100 ms"), (12.345, "12.3 ms"), (1234.5, "1234 ms")],
)
def test_a_latency_is_told_with_three_digits(value: float, told: str) -> None:
    assert frames.milliseconds(value) == told


def test_the_interval_of_an_accuracy_is_wilsons() -> None:
    metric = Metric(name="accuracy", value=0.9, higher_is_better=True, split="test", examples=100)
    # Newcombe (1998), Wilson's score interval without continuity correction.
    assert frames.quality_interval(metric) == pytest.approx((0.8256, 0.9448), abs=1e-4)
    assert frames.quality_interval(replace(metric, name="perplexity")) is None
    low, high = frames.quality_interval(replace(metric, value=1.0)) or (0, 0)
    assert 0.9 < low < 1 and high == 1
