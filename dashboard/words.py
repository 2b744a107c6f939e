"""What each chart shows, in a sentence or two: for those who hear a page, and for those who read a report.

Pure functions. Names stand in them as they are; whoever shows a sentence makes it safe.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from dashboard.axes import LATENCY, Axis
from dashboard.benchmark_figures import OPERATORS_SHOWN
from dashboard.benchmark_frames import Swept
from dashboard.device_frames import Calibration, thinned
from dashboard.family_frames import CHOICES, axis_means, lines_of, phase_ends
from dashboard.frames import front, milliseconds, named_quality
from edge_bench.measure.drift import drift
from edge_bench.measure.operator_list import FileOperator
from edge_bench.records import BenchmarkResult
from edge_bench.records.position import ALL, IMAGE, PositionFindings
from edge_bench.records.quality import metric_word, value_text

SOURCES = ("measured", "imported", "predicted")
MARKS = (50, 90, 99)
# What the words of `measure/verdict.py` mean for whoever reads the number.
VERDICTS = {
    "clean": "nothing disturbed it, and the median is known as precisely as was asked.",
    "noisy": "other work took time from it; undisturbed it may be faster.",
    "throttled": "the machine was slowed meanwhile; cool it may be faster.",
    "inconclusive": "this does not tell the median as precisely as was asked.",
}


def trade_offs(frame: pd.DataFrame, budget: float | None, *, axis: Axis = LATENCY, chosen: int = 0) -> str:
    """Tell the candidates of one metric, device by device: how many, their front, the best in the budget.

    `budget` is in the axis' unit; `chosen` says how many are selected.
    """
    rows = axis.known(frame)
    if rows.empty:
        return "No candidate."
    devices = rows["device"].unique()
    # One alone is named beside its chart.
    told = [_candidates(rows, budget, axis)]
    if len(devices) > 1:
        of_devices = ((device, rows[rows["device"] == device]) for device in devices)
        told = [f"{device}: {_candidates(mine, budget, axis)}" for device, mine in of_devices]
    return " ".join([*told, *([f"{chosen:,} are selected."] if chosen else [])])


def heat(cells: pd.DataFrame) -> str:
    """Tell a map of models by devices, as `device_frames.one_a_cell` gives it."""
    models, devices = cells["model"].nunique(), cells["device"].nunique()
    missing = models * devices - len(cells)
    told = f"{models:,} models on {devices} devices: {_by_source(cells)}, {missing:,} missing"
    drawn = thinned(cells)["model"].nunique()
    return told + (f"; {drawn} of the models are drawn, evenly from fast to slow" if drawn < models else "")


def calibration(found: Calibration) -> str:
    """Tell how predictions did on files that were measured."""
    return (
        f"{found.count} files, mean error {found.mape:.1%}, median residual {found.bias:+.1%}, "
        f"{found.held} within their 90 % interval"
    )


def distribution(result: BenchmarkResult) -> str:
    """Tell the latencies of a result that holds some: from the fastest to the slowest, and percentiles."""
    fastest, slowest = min(result.latencies_ms), max(result.latencies_ms)
    known = {50: result.p50_ms, 90: result.p90_ms, 99: result.p99_ms}
    marks = ", ".join(
        f"p{percent} {milliseconds(value)}" for percent in MARKS if (value := known[percent]) is not None
    )
    return f"from {milliseconds(fastest)} to {milliseconds(slowest)}: {marks}"


def course(result: BenchmarkResult) -> str:
    """Tell the blocks of a result, and how much slower it became where that was measured."""
    left_out = sum(not block.counted for block in result.blocks)
    told = f"{len(result.blocks)} blocks, {left_out} of them polluted and not counted"
    moved = drift(result)
    if moved is None:
        return told
    return (
        f"{told}; at the end {moved.ratio:.3f} × as long as at the start "
        f"(95 % interval {moved.low:.3f} to {moved.high:.3f})"
    )


def operators(frame: pd.DataFrame) -> str:
    """Tell what `benchmark_frames.operators` found of a result that was profiled."""
    first = frame.iloc[0]
    told = f"{len(frame)} in all, the longest {first['name']} with {first['share']:.0%} of the time"
    return told + (f"; the {OPERATORS_SHOWN} longest are drawn" if len(frame) > OPERATORS_SHOWN else "")


def sweep(swept: Sequence[BenchmarkResult], over: Swept) -> str:
    """Tell the medians of a sweep."""
    return ", ".join(f"{getattr(one, over)}: {milliseconds(one.p50_ms)}" for one in swept)


def curves(log: pd.DataFrame, learned: str | None) -> str:
    """Tell a training by its first and last epoch."""
    first, last = log.iloc[0], log.iloc[-1]
    phases = [name for name, _, _ in phase_ends(log)]
    told = f"{len(log):,} epochs, {int(last['step']):,} steps"
    told += f": loss from {first['loss']:.4g} to {last['loss']:.4g}"
    if learned and pd.notna(last["learned"]):
        start, end = (value_text(learned, float(one["learned"])) for one in (first, last))
        told += f", {metric_word(learned)} on training data from {start} to {end}"
    return told + (f"; phases {', '.join(phases)}" if len(phases) > 1 else "")


def choice(frame: pd.DataFrame, axis: str, metric: str) -> str:
    """Tell the mean quality at either end of one choice of a space."""
    means = axis_means(frame, axis)
    first, last = means.iloc[0], means.iloc[-1]
    ends = " to ".join(
        f"{value_text(metric, float(one['metric']))} at {float(one[axis]):.3g}" for one in (first, last)
    )
    return f"{len(frame):,} networks by {CHOICES[axis]}: mean {metric_word(metric)} from {ends}"


def depths(best: pd.DataFrame, metric: str) -> str:
    """Tell the best network of each depth."""
    told = ", ".join(
        f"{layers}: {value_text(metric, value)}"
        for layers, value in zip(best["layers"], best["metric"], strict=True)
    )
    return f"Best {metric_word(metric)} by layers kept: {told}"


def ladder(frame: pd.DataFrame, metric: str) -> str:
    """Tell both ends of each line of a sparsity ladder."""
    told = []
    for name in lines_of(frame):
        rows = frame[frame["line"] == name].sort_values("left", ascending=False)
        ends = dict.fromkeys((0, len(rows) - 1))
        told.append(
            f"{name.replace('_', ' ')} " + " to ".join(_rung(rows.iloc[end], metric) for end in ends)
        )
    return f"{metric_word(metric)} by weights left: {'; '.join(told)}"


def position(found: PositionFindings) -> str:
    """Tell how well each map is read out of all stages together, and out of the image alone."""
    told = []
    for target in found.targets:
        scores = {one.source: one.mean_spearman for one in found.scores if one.target == target}
        ends = [f"{scores[source]:.2f} from {words}" for source, words in _SOURCES if source in scores]
        told.append(f"{target} {', '.join(ends)}")
    return f"Rank correlation with the wanted map. {'; '.join(told)}"


def maps(found: PositionFindings) -> str:
    """Tell which maps are drawn."""
    told = ", ".join(found.targets)
    return f"{len(found.targets)} maps, {told}: those wanted above those that were read out"


def graph(operators: Sequence[FileOperator], kinds: str) -> str:
    """Tell the operators of a file."""
    return f"{len(operators):,} operators, from the input at the top to the output at the bottom: {kinds}"


_SOURCES = ((ALL, "all stages"), (IMAGE, "the image alone"))


def _candidates(rows: pd.DataFrame, budget: float | None, axis: Axis) -> str:
    best = front(rows, axis.column)
    first, last = best.iloc[0], best.iloc[-1]
    upwards = f" to {_candidate(last, axis)}" if len(best) > 1 else ""
    told = [
        f"{len(rows):,} candidates, {_by_source(rows, axis.source) if axis.source else 'counted'}.",
        f"{len(best)} on the front, from {_candidate(first, axis)}{upwards}.",
    ]
    if budget is not None:
        # The front of what fits is what fits of the front.
        fitting = best[best[axis.column] <= budget]
        limit = f"the budget of {budget:.4g} {axis.unit}"
        told.append(
            f"The best within {limit} is {_candidate(fitting.iloc[-1], axis)}."
            if len(fitting)
            else f"None fits {limit}."
        )
    return " ".join(told)


def _by_source(frame: pd.DataFrame, column: str = "source") -> str:
    return ", ".join(f"{int((frame[column] == source).sum()):,} {source}" for source in SOURCES)


def _candidate(row: Any, axis: Axis) -> str:
    quality = named_quality(row["metric_name"], row["metric"])
    return f"{row['name']} ({row['kind']}), {quality} at {axis.told(float(row[axis.column]))}"


def _rung(row: Any, metric: str) -> str:
    return f"{value_text(metric, float(row['metric']))} at {100 * row['left']:.3g} %"
