"""The chart of trade-offs: what a mark means, where the axes run, and that names stay names."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from dashboard import frames
from dashboard.axes import AXES
from dashboard.figures import FAMILY_FORMS, device_paints
from dashboard.trade_off_chart import BESIDE, DRAWN, panel_device
from dashboard.trade_off_figures import trade_off_figure
from dashboard.words import trade_offs
from edge_bench.records import Candidate

Make = Callable[..., Candidate]
ONCE = "once_for_all"


@pytest.fixture
def some(candidate: Make) -> pd.DataFrame:
    return frames.candidate_frame(
        [
            candidate(name="slow", artifact="1", latency_ms=5.0, value=0.95, technique=ONCE),
            candidate(name="fast", artifact="2", latency_ms=1.0, value=0.91, technique=ONCE),
            candidate(
                name="guess", artifact=None, latency_ms=2.0, value=0.93, source="predicted", technique=ONCE
            ),
            candidate(
                name="small", artifact="3", latency_ms=0.7, value=0.90, precision="int8", technique=ONCE
            ),
        ]
    )


@pytest.fixture
def two_devices(candidate: Make) -> pd.DataFrame:
    """Four networks of two families on a board and, twice as fast, on a phone."""
    made = [
        candidate(
            name=f"{device} {number}",
            artifact=f"{device}{number}",
            device=device,
            latency_ms=number * slower,
            value=0.9 + number / 100,
            size_bytes=number * 100_000,
            precision="int8" if number == 1 else "fp32",
            technique="lottery_ticket" if number % 2 else ONCE,
        )
        for device, slower in (("board", 2.0), ("phone", 1.0))
        for number in (1, 2, 3, 4)
    ]
    return frames.candidate_frame(made)


def test_hollow_is_predicted_and_filled_is_measured(some: pd.DataFrame) -> None:
    forms = {name: mark["symbol"] for name, mark in _by_name(trade_off_figure(some), some).items()}
    assert forms == {"slow": "circle", "fast": "circle", "guess": "circle-open", "small": "circle"}


@pytest.mark.parametrize("count", [3, DRAWN + 1])
def test_a_chart_that_is_told_again_is_to_plotly_the_same_chart(count: int, candidate: Make) -> None:
    """Else each is drawn twice: streamlit tells a copy of it when it has been drawn."""
    made = [candidate(name=f"one-{number}", artifact=f"{number}") for number in range(count)]
    drawn = json.loads(trade_off_figure(frames.candidate_frame(made), budget=3.0).to_json())
    assert "template" not in drawn["layout"] and "datarevision" in drawn["layout"]
    assert "bdata" not in json.dumps(drawn), "an array of another type than a list"
    assert any(trace["type"] == "heatmap" for trace in drawn["data"]) == (count > DRAWN)


def test_int8_is_smaller_and_has_a_colour_of_its_own_beside_fp32(some: pd.DataFrame) -> None:
    marks = _by_name(trade_off_figure(some), some)
    assert marks["small"]["size"] < marks["fast"]["size"] == marks["guess"]["size"]
    assert marks["small"]["color"] != marks["fast"]["color"] == marks["guess"]["color"]


def test_the_form_says_how_a_network_was_trained(candidate: Make) -> None:
    techniques = ["once_for_all", "layer_drop", "dpf", "lottery_ticket", "plain", ""]
    frame = frames.candidate_frame([candidate(name=one, artifact=one, technique=one) for one in techniques])
    figure = trade_off_figure(frame)
    forms = {name: mark["symbol"] for name, mark in _by_name(figure, frame).items()}
    assert len(set(forms.values())) == len(techniques)
    assert forms["layer_drop"] == FAMILY_FORMS["LayerDrop"] and forms[""] == FAMILY_FORMS["imported"]
    named = {trace.name: trace.marker.symbol for trace in figure.data}
    assert {"once-for-all", "LayerDrop", "DPF", "ticket", "single network", "imported"} <= set(named)
    assert named["ticket"] == forms["lottery_ticket"]
    # A family keeps its form where others are filtered out.
    few = frame[frame["name"] == "dpf"]
    alone = trade_off_figure(few, families=list(frame["family"].unique()))
    assert _by_name(alone, few)["dpf"]["symbol"] == forms["dpf"]


def test_devices_on_one_ground_differ_in_colour_and_dash_and_have_fronts_of_their_own(
    two_devices: pd.DataFrame,
) -> None:
    figure = trade_off_figure(two_devices, among=["board", "phone", "watch"])
    fronts = {trace.name: trace for trace in figure.data if trace.mode == "lines"}
    assert list(fronts["board"].x[1:-1]) == [2.0, 4.0, 6.0, 8.0]
    assert list(fronts["phone"].x[1:-1]) == [1.0, 2.0, 3.0, 4.0]
    paints = device_paints(["board", "phone"], ["board", "phone", "watch"])
    assert {name: trace.line.color for name, trace in fronts.items()} == paints
    assert len({trace.line.dash for trace in fronts.values()}) == 2
    for name, mark in _by_name(figure, two_devices).items():
        assert mark["color"] == paints[name.split()[0]]
    hovers = [text for trace in _marks(figure) for text in trace.hovertext]
    assert sum("1 thread · board" in text for text in hovers) == 4


def test_devices_side_by_side_stand_on_one_axis_of_quality_and_equal_axes_of_cost(
    two_devices: pd.DataFrame,
) -> None:
    figure = trade_off_figure(two_devices, layout=BESIDE, devices=["phone", "board"], budget=3.0)
    grounds = {
        trace.xaxis: {one.split()[0] for one in _names(trace, two_devices)} for trace in _marks(figure)
    }
    assert grounds == {"x": {"phone"}, "x2": {"board"}}
    assert figure.layout.xaxis.range == figure.layout.xaxis2.range
    assert figure.layout.xaxis2.matches == "x" and "yaxis2" not in figure.layout.to_plotly_json()
    assert figure.layout.xaxis.domain[1] < figure.layout.xaxis2.domain[0]
    lines = [one.xref for one in figure.layout.shapes if one.type == "line"]
    assert lines == ["x", "x2"], "the budget stands on both"
    assert (panel_device("x", ["phone", "board"]), panel_device("x2", ["phone", "board"])) == (
        "phone",
        "board",
    )
    assert panel_device("x3", ["phone", "board"]) is None


def test_another_cost_is_drawn_with_its_unit_and_what_lacks_it_is_left_out(
    two_devices: pd.DataFrame, candidate: Make
) -> None:
    size = AXES["file size"]
    unknown = frames.candidate_frame([candidate(name="no size", artifact="0")])
    frame = frames.joined([two_devices, unknown])
    figure = trade_off_figure(frame, axis=size, budget=0.25)
    assert figure.layout.xaxis.title.text == "file size (MB, log scale)"
    assert "budget 0.25 MB" in [one.text for one in figure.layout.annotations]
    drawn = sorted(value for trace in _marks(figure) for value in trace.x)
    assert drawn == [0.1, 0.1, 0.2, 0.2, 0.3, 0.3, 0.4, 0.4]
    assert all(trace.error_x.array is None for trace in _marks(figure)), "a size has no interval"


def test_an_axis_of_costs_that_hardly_differ_has_ticks_all_the_same(candidate: Make) -> None:
    frame = frames.candidate_frame(
        [
            candidate(artifact=str(peak), peak_memory_mb=peak, memory_source="measured")
            for peak in (40.5, 45.5)
        ]
    )
    ticks = trade_off_figure(frame, axis=AXES["memory"]).layout.xaxis.tickvals
    assert len(ticks) >= 4 and all(36 < tick < 51 for tick in ticks)


def test_a_predicted_size_is_hollow_where_its_latency_was_measured(candidate: Make) -> None:
    made = [
        candidate(name="file", artifact="1", size_bytes=100_000, technique=ONCE),
        candidate(name="none", artifact=None, size_bytes=90_000, size_source="predicted", technique=ONCE),
    ]
    frame = frames.candidate_frame(made)
    marks = _by_name(trade_off_figure(frame, axis=AXES["file size"]), frame)
    assert (marks["file"]["symbol"], marks["none"]["symbol"]) == ("circle", "circle-open")
    by_latency = _by_name(trade_off_figure(frame), frame)
    assert by_latency["none"]["symbol"] == "circle"


def test_multiply_accumulates_are_counted_and_have_no_interval(candidate: Make) -> None:
    frame = frames.candidate_frame([candidate(macs=2_000_000, source="predicted", technique=ONCE)])
    figure = trade_off_figure(frame, axis=AXES["MACs"])
    assert _by_name(figure, frame)["any"]["symbol"] == "circle"
    names = [trace.name for trace in figure.data]
    assert "counted" in names and "predicted" not in names


def test_a_chart_is_told_in_words_device_by_device(two_devices: pd.DataFrame) -> None:
    told = trade_offs(two_devices, 2.0, chosen=3)
    assert "board: 4 candidates, 4 measured, 0 imported, 0 predicted. 4 on the front" in told
    assert "The best within the budget of 2 ms is board 1 (ONNX int8), accuracy 91.00 % at 2.00 ms." in told
    assert "phone: 4 candidates" in told and told.endswith("3 are selected.")
    by_size = trade_offs(two_devices, 0.05, axis=AXES["file size"])
    assert "at 0.400 MB" in by_size and "None fits the budget of 0.05 MB." in by_size
    assert trade_offs(two_devices[:0], None) == "No candidate."


def test_an_imported_latency_is_marked_apart_and_says_who_measured_it(
    candidate: Callable[..., Candidate],
) -> None:
    theirs = candidate(source="imported", origin="loadgen", artifact="theirs")
    frame = frames.candidate_frame([candidate(), theirs])
    drawn = trade_off_figure(frame)
    star = FAMILY_FORMS["imported"]
    assert {form for mark in _marks(drawn) for form in mark.marker.symbol} == {star, f"{star}-open-dot"}
    hovers = [text for mark in _marks(drawn) for text in mark.hovertext]
    assert sum("imported: measured by loadgen, not here" in text for text in hovers) == 1
    assert "measured by others" in [trace.name for trace in drawn.data]
    assert frame.loc[frame["artifact"] == "theirs", "origin"].item() == "loadgen"


def test_colour_says_format_and_precision_on_every_chart(some: pd.DataFrame) -> None:
    whole = {trace.legendgroup: trace.marker.color for trace in _marks(trade_off_figure(some))}
    part = _marks(trade_off_figure(some[some["precision"] == "int8"]))
    assert {trace.legendgroup: trace.marker.color for trace in part}.items() <= whole.items()


def test_the_staircase_steps_over_the_front(some: pd.DataFrame) -> None:
    stairs = next(trace for trace in trade_off_figure(some).data if trace.name == "Pareto front")
    assert stairs.line.shape == "hv"
    assert list(stairs.x[1:-1]) == [0.7, 1.0, 2.0, 5.0]
    assert list(stairs.y[1:-1]) == [0.90, 0.91, 0.93, 0.95]


def test_the_axis_turns_where_lower_is_better(some: pd.DataFrame) -> None:
    bottom, top = trade_off_figure(some).layout.yaxis.range
    assert bottom < top
    worse = some.assign(metric_name="perplexity", higher_is_better=False, generated=12.0, layers="0,2")
    figure = trade_off_figure(worse)
    assert figure.layout.xaxis.title.text == "latency of a text (ms, log scale)"
    assert all(
        "layers 0,2<br>of a text of 12 tokens" in one for trace in _marks(figure) for one in trace.hovertext
    )
    bottom, top = figure.layout.yaxis.range
    assert bottom > top
    assert "lower is better" in figure.layout.yaxis.title.text
    assert sorted(value for trace in _marks(figure) for value in trace.y) == sorted(some["metric"])


def test_the_budget_stands_at_its_place_on_the_log_axis(some: pd.DataFrame) -> None:
    figure = trade_off_figure(some, budget=2.0)
    label = next(one for one in figure.layout.annotations if one.text == "budget 2 ms")
    assert label.x == pytest.approx(math.log10(2.0))
    line = next(one for one in figure.layout.shapes if one.type == "line")
    assert line.x0 == line.x1 == 2.0
    low, high = figure.layout.xaxis.range
    assert low < label.x < high


def test_a_budget_beyond_all_candidates_is_still_on_the_chart(some: pd.DataFrame) -> None:
    low, high = trade_off_figure(some, budget=100.0).layout.xaxis.range
    assert high > 2 and low < math.log10(0.7)


def test_only_what_is_chosen_is_named(some: pd.DataFrame) -> None:
    assert not trade_off_figure(some).layout.annotations
    chosen = some.loc[some["name"] == "guess", "id"]
    figure = trade_off_figure(some, chosen=list(chosen))
    assert [one.text for one in figure.layout.annotations] == ["guess"]
    # Marks beyond those of the data would be counted as selected too: they carry no id.
    assert sum(len(trace.customdata) for trace in _marks(figure)) == len(some)


def test_names_are_no_markup(candidate: Make) -> None:
    frame = frames.candidate_frame([candidate(name="<img src=//evil.example/x>", warning="<b>a</b>")])
    figure = trade_off_figure(frame, chosen=list(frame["id"]))
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
    figure = trade_off_figure(many)
    drawn = [mark for trace in _marks(figure) for mark in trace.customdata]
    assert len(drawn) <= DRAWN
    assert set(frames.front(many)["id"]) <= set(drawn)
    assert any(trace.type == "heatmap" for trace in figure.data)
    assert len(figure.to_json()) < 1e6
    halves = frames.joined([many[::2], many[1::2].assign(device="board").astype({"device": "category"})])
    beside = trade_off_figure(halves, layout=BESIDE)
    assert sum(len(trace.customdata) for trace in _marks(beside)) <= DRAWN
    assert [trace.xaxis for trace in beside.data if trace.type == "heatmap"] == ["x", "x2"]


def test_nothing_to_draw_is_an_empty_chart(candidate: Make) -> None:
    assert not trade_off_figure(frames.candidate_frame([])).data


def _marks(figure: go.Figure) -> list[go.Scatter]:
    return [trace for trace in figure.data if getattr(trace, "customdata", None) is not None]


def _by_name(figure: go.Figure, frame: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return how each candidate is marked, by its name."""
    return {
        name: {
            "symbol": trace.marker.symbol[place],
            "size": trace.marker.size[place],
            "color": trace.marker.color,
        }
        for trace in _marks(figure)
        for place, name in enumerate(_names(trace, frame))
    }


def _names(trace: go.Scatter, frame: pd.DataFrame) -> list[str]:
    names = dict(zip(frame["id"], frame["name"], strict=True))
    return [names[one] for one in trace.customdata]
