"""Charts: what a mark means, where the axes run, and that names stay names."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from dashboard import figures, frames
from edge_bench.records import Candidate

Make = Callable[..., Candidate]


@pytest.fixture
def some(candidate: Make) -> pd.DataFrame:
    return frames.candidate_frame(
        [
            candidate(name="slow", artifact="1", latency_ms=5.0, value=0.95),
            candidate(name="fast", artifact="2", latency_ms=1.0, value=0.91),
            candidate(name="guess", artifact=None, latency_ms=2.0, value=0.93, source="predicted"),
            candidate(name="small", artifact="3", latency_ms=0.7, value=0.90, precision="int8"),
        ]
    )


def test_hollow_is_predicted_and_filled_is_measured(some: pd.DataFrame) -> None:
    marks = _marks(figures.trade_off_figure(some))
    by_name = dict(zip(some["id"], some["name"], strict=True))
    shapes = {by_name[mark]: trace.marker.symbol for trace in marks for mark in trace.customdata}
    assert shapes == {"slow": "circle", "fast": "circle", "guess": "circle-open", "small": "diamond"}


def test_an_imported_latency_is_marked_apart_and_says_who_measured_it(
    candidate: Callable[..., Candidate],
) -> None:
    theirs = candidate(source="imported", origin="loadgen", artifact="theirs")
    frame = frames.candidate_frame([candidate(), theirs])
    drawn = figures.trade_off_figure(frame)
    assert {mark.marker.symbol for mark in _marks(drawn)} == {"circle", "circle-open-dot"}
    hovers = [text for mark in _marks(drawn) for text in mark.hovertext]
    assert sum("imported: measured by loadgen, not here" in text for text in hovers) == 1
    assert "imported" in [trace.name for trace in drawn.data]
    assert frame.loc[frame["artifact"] == "theirs", "origin"].item() == "loadgen"


def test_colour_says_format_and_precision_on_every_chart(some: pd.DataFrame) -> None:
    whole = {trace.legendgroup: trace.marker.color for trace in _marks(figures.trade_off_figure(some))}
    part = _marks(figures.trade_off_figure(some[some["precision"] == "int8"]))
    assert {trace.legendgroup: trace.marker.color for trace in part}.items() <= whole.items()


def test_the_staircase_steps_over_the_front(some: pd.DataFrame) -> None:
    stairs = next(trace for trace in figures.trade_off_figure(some).data if trace.name == "Pareto front")
    assert stairs.line.shape == "hv"
    assert list(stairs.x[1:-1]) == [0.7, 1.0, 2.0, 5.0]
    assert list(stairs.y[1:-1]) == [0.90, 0.91, 0.93, 0.95]


def test_the_axis_turns_where_lower_is_better(some: pd.DataFrame) -> None:
    bottom, top = figures.trade_off_figure(some).layout.yaxis.range
    assert bottom < top
    worse = some.assign(metric_name="perplexity", higher_is_better=False, generated=12.0, layers="0,2")
    figure = figures.trade_off_figure(worse)
    assert figure.layout.xaxis.title.text == "latency of a text (ms, log scale)"
    assert all(
        "layers 0,2<br>of a text of 12 tokens" in one for trace in _marks(figure) for one in trace.hovertext
    )
    bottom, top = figure.layout.yaxis.range
    assert bottom > top
    assert "lower is better" in figure.layout.yaxis.title.text
    assert sorted(value for trace in _marks(figure) for value in trace.y) == sorted(some["metric"])


def test_the_budget_stands_at_its_place_on_the_log_axis(some: pd.DataFrame) -> None:
    figure = figures.trade_off_figure(some, budget_ms=2.0)
    label = next(one for one in figure.layout.annotations if one.text == "budget 2 ms")
    assert label.x == pytest.approx(math.log10(2.0))
    line = next(one for one in figure.layout.shapes if one.type == "line")
    assert line.x0 == line.x1 == 2.0
    low, high = figure.layout.xaxis.range
    assert low < label.x < high


def test_a_budget_beyond_all_candidates_is_still_on_the_chart(some: pd.DataFrame) -> None:
    low, high = figures.trade_off_figure(some, budget_ms=100.0).layout.xaxis.range
    assert high > 2 and low < math.log10(0.7)


def test_ticks_are_1_2_5() -> None:
    assert figures.ticks_1_2_5(0.04, 3.0) == [0.05, 0.1, 0.2, 0.5, 1.0, 2.0]
    assert figures.ticks_1_2_5(1e-3, 1e4) == [10.0**power for power in range(-3, 5)]
    assert figures.ticks_1_2_5(1.3, 3.4) == [1.5, 2.0, 3.0]


def test_only_what_is_chosen_is_named(some: pd.DataFrame) -> None:
    assert not figures.trade_off_figure(some).layout.annotations
    chosen = some.loc[some["name"] == "guess", "id"]
    figure = figures.trade_off_figure(some, chosen=list(chosen))
    assert [one.text for one in figure.layout.annotations] == ["guess"]
    # Marks beyond those of the data would be counted as selected too: they carry no id.
    assert sum(len(trace.customdata) for trace in _marks(figure)) == len(some)


def test_names_are_no_markup(candidate: Make) -> None:
    frame = frames.candidate_frame([candidate(name="<img src=//evil.example/x>", warning="<b>a</b>")])
    figure = figures.trade_off_figure(frame, chosen=list(frame["id"]))
    sent = json.loads(figure.to_json())
    assert "<img" not in json.dumps(sent)
    assert "&lt;img" in sent["layout"]["annotations"][0]["text"]


def test_a_hundred_thousand_candidates_are_not_all_sent(candidate: Make) -> None:
    one = frames.candidate_frame([candidate()])
    count = 100_000
    generator = np.random.default_rng(0)
    many = one.loc[one.index.repeat(count)].reset_index(drop=True)
    many["id"] = [f"{number:010x}" for number in range(count)]
    many["latency_ms"] = generator.lognormal(0, 1, count)
    many["metric"] = generator.random(count)
    figure = figures.trade_off_figure(many)
    drawn = [mark for trace in _marks(figure) for mark in trace.customdata]
    assert len(drawn) <= figures.DRAWN
    assert set(frames.front(many)["id"]) <= set(drawn)
    assert any(trace.type == "heatmap" for trace in figure.data)
    assert len(figure.to_json()) < 3e6


def test_nothing_to_draw_is_an_empty_chart(candidate: Make) -> None:
    assert not figures.trade_off_figure(frames.candidate_frame([])).data


@pytest.mark.parametrize("ground", ["#ffffff", "#191919"])
@pytest.mark.parametrize("kind", figures.COLOURS)
def test_every_colour_is_seen_on_light_and_dark(kind: str, ground: str) -> None:
    lighter, darker = sorted((_luminance(figures.colour(kind)), _luminance(ground)), reverse=True)
    assert (lighter + 0.05) / (darker + 0.05) >= 3


def _luminance(colour: str) -> float:
    """Relative luminance as WCAG 2 defines it."""
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _marks(figure: go.Figure) -> list[go.Scatter]:
    return [trace for trace in figure.data if getattr(trace, "customdata", None) is not None]
