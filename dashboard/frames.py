"""The store as tables: records in, DataFrames out. Pure functions, no widget and no cache.

A frame of candidates has one row a candidate. Its units stand in its column names; `metric` is on
the selection split, on which choices are made, and `test` is what is told.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from edge_bench.choose.card import FORMATS
from edge_bench.documents import digest
from edge_bench.records import BenchmarkResult, Candidate, FittedPredictor, Metric
from edge_bench.records.quality import is_share, metric_word, value_text

COLUMNS = (
    "id name kind family format precision runtime threads device metric test latency_ms low_ms high_ms"
    " size_mb compressed_mb sparsity peak_memory_mb mmacs source origin verdict warning artifact subnet"
    " task metric_name higher_is_better layers length generated latency_is"
).split()
_TEXT = (
    "id name kind family format precision runtime device source origin verdict warning task metric_name"
    " layers latency_is"
).split()
IMPORTED = "imported"
_NUMBERS = (
    "metric test latency_ms low_ms high_ms size_mb compressed_mb sparsity peak_memory_mb mmacs length"
    " generated"
).split()
# Where on a decade a budget may be set: ten stops, near enough to evenly spaced on a log axis.
_STOPS = (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)


def devices(results: Iterable[BenchmarkResult], predictors: Iterable[FittedPredictor]) -> list[str]:
    """Return the devices of which something is known, those measured on most first."""
    counts: dict[str, int] = {}
    for result in results:
        counts[result.device] = counts.get(result.device, 0) + 1
    for predictor in predictors:
        counts.setdefault(predictor.device, 0)
    return sorted(counts, key=lambda name: (-counts[name], name))


def candidate_frame(candidates: Iterable[Candidate]) -> pd.DataFrame:
    """Return one row a candidate, fastest first, in `COLUMNS`.

    `family` says how the network was trained, or that it was made elsewhere. `task` says what the metric
    was measured on: only candidates of one task can be compared. Of text models `layers` are those that are
    kept, `length` the tokens of the longest text, and `generated` those of the text that the latency is of,
    where it is generated.
    """
    frame = pd.DataFrame([_row(candidate) for candidate in candidates], columns=COLUMNS)
    frame = frame.astype(dict.fromkeys(_TEXT, "object") | dict.fromkeys(_NUMBERS, "float64"))
    frame["higher_is_better"] = frame["higher_is_better"].astype(bool)
    return frame.sort_values(["latency_ms", "id"], ignore_index=True)


def identity(candidate: Candidate) -> str:
    """Return ten hexadecimal digits that stay with a candidate from one run to the next."""
    what = candidate.artifact or candidate.subnet or candidate.name
    named = (
        what,
        candidate.format,
        candidate.precision,
        candidate.device,
        candidate.runtime,
        candidate.threads,
        candidate.source,
    )
    return digest(list(named), length=10)


def kind_of(format: str, precision: str) -> str:
    """Return what a colour stands for, e.g. "TFLite int8"."""
    return f"{FORMATS.get(format, format)} {precision}"


def family_of(technique: str) -> str:
    """Return how people call networks that were trained so, e.g. "once for all + dpf"."""
    return technique.replace("_", " ").replace("+", " + ") or IMPORTED


def matching(frame: pd.DataFrame, **wanted: Sequence[str]) -> pd.DataFrame:
    """Return the rows whose columns hold one of the values wanted; no value wanted means any."""
    kept = np.ones(len(frame), bool)
    for column, values in wanted.items():
        if values:
            kept &= frame[column].isin(list(values)).to_numpy()
    return frame[kept]


def front(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that none other dominates, fastest first: `Frontier.of`, on columns.

    Fast at 10⁵ rows. All rows must share one metric.
    """
    if frame.empty:
        return frame
    quality = frame["metric"].where(frame["higher_is_better"], -frame["metric"])
    ordered = frame.assign(_quality=quality).sort_values(
        ["latency_ms", "_quality"], ascending=[True, False], kind="stable"
    )
    best_before = ordered["_quality"].cummax().shift(fill_value=-math.inf)
    return ordered[ordered["_quality"] > best_before].drop(columns="_quality")


def in_boxes(
    frame: pd.DataFrame, boxes: Iterable[tuple[tuple[float, float], tuple[float, float]]]
) -> pd.DataFrame:
    """Return the rows inside any of the boxes, each ((ms, ms), (metric, metric)) in any order."""
    kept = np.zeros(len(frame), bool)
    for latencies, metrics in boxes:
        kept |= (
            frame["latency_ms"].between(min(latencies), max(latencies))
            & frame["metric"].between(min(metrics), max(metrics))
        ).to_numpy()
    return frame[kept]


def budget_stops(low_ms: float, high_ms: float) -> list[float]:
    """Return round latencies from at most `low_ms` to at least `high_ms`, ten to a decade."""
    # A decade more at either end: the logarithm of a number just below 10ⁿ may round to n.
    first, last = math.floor(math.log10(low_ms)) - 1, math.ceil(math.log10(high_ms)) + 1
    stops = [rounded(stop * 10.0**power) for power in range(first, last + 1) for stop in _STOPS]
    start = max(index for index, stop in enumerate(stops) if stop <= low_ms)
    end = min(index for index, stop in enumerate(stops) if stop >= high_ms)
    return stops[start : end + 1]


def rounded(value: float) -> float:
    """Return `value` with four significant digits."""
    return float(f"{value:.4g}")


def milliseconds(value: float) -> str:
    """Return a latency as people read it: three significant digits and the unit."""
    if not math.isfinite(value) or value <= 0:
        return f"{value:g} ms"
    decimals = max(0, 2 - math.floor(math.log10(value)))
    return f"{value:.{decimals}f} ms"


def named_quality(metric_name: str, value: float) -> str:
    """Return a metric's name and value as people read them: "accuracy 83.10 %", "BLEU 33.4"."""
    return f"{metric_word(metric_name)} {value_text(metric_name, value)}"


def quality_interval(metric: Metric) -> tuple[float, float] | None:
    """Return Wilson's 95 % interval of a share over its examples; None for other metrics."""
    if not is_share(metric.name) or metric.examples < 1:
        return None
    z, n, p = 1.959964, metric.examples, metric.value
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def table(rows: pd.DataFrame, best: pd.DataFrame, budget_ms: float | None) -> pd.DataFrame:
    """Return the columns that people read, with whether each row is on the front and in the budget.

    Shares are in per cent, as in `picks_table`.
    """
    shown = rows.assign(front=rows["id"].isin(best["id"]))
    names = (
        "name kind family layers metric test latency_ms low_ms high_ms source origin front size_mb"
        " compressed_mb sparsity peak_memory_mb mmacs length generated runtime threads verdict warning"
    ).split()
    if budget_ms is not None:
        shown["fits"] = shown["latency_ms"] <= budget_ms
        names.insert(names.index("size_mb"), "fits")
    return _readable(shown, names)


def picks_table(picks: pd.DataFrame, chosen: pd.Series[Any]) -> pd.DataFrame:
    """Return the columns that people read of picks, with what each gives and costs against `chosen`.

    `gain` is in points for shares, else in the metric's own unit; more is better whatever the metric. Where
    `picks` tells it too, `chance` is how likely each meets the budget, and `exchange` what it gives and
    costs against the next faster one.
    """
    scale = 100 if is_share(chosen["metric_name"]) else 1
    sign = 1 if chosen["higher_is_better"] else -1
    shown = picks.assign(
        pick=(picks["id"] == chosen["id"]).map({True: "★", False: ""}),
        gain=scale * sign * (picks["metric"] - chosen["metric"]),
        extra_ms=picks["latency_ms"] - chosen["latency_ms"],
    )
    names = (
        "pick name kind layers chance metric gain test latency_ms extra_ms source exchange size_mb"
        " compressed_mb peak_memory_mb warning"
    ).split()
    return _readable(shown, [name for name in names if name in shown])


def to_csv(frame: pd.DataFrame) -> bytes:
    """Return the frame as CSV in UTF-8, whole numbers as stored, shares as fractions."""
    return frame.to_csv(index=False).encode()


def _readable(shown: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    if not shown.empty and is_share(shown["metric_name"].iloc[0]):
        shown = shown.assign(metric=100 * shown["metric"], test=100 * shown["test"])
    # A column that says nothing about any row takes room from those that do.
    return shown[[name for name in names if not _empty(shown[name])]]


def _empty(column: pd.Series[Any]) -> bool:
    return bool((column.isna() | (column == "")).all())


def _row(candidate: Candidate) -> dict[str, object]:
    size, macs, test = candidate.size_bytes, candidate.macs, candidate.test_metric
    packed = candidate.compressed_bytes
    # A row says once whether it is predicted: a peak that is, stands in no row that is not.
    peak = candidate.peak_memory_mb if candidate.memory_source == candidate.source else None
    return {
        "id": identity(candidate),
        "name": candidate.name,
        "kind": kind_of(candidate.format, candidate.precision),
        "family": family_of(candidate.technique),
        "format": candidate.format,
        "precision": candidate.precision,
        "runtime": candidate.runtime,
        "threads": candidate.threads,
        "device": candidate.device,
        "metric": candidate.metric.value,
        "test": test.value if test else math.nan,
        "latency_ms": candidate.latency_ms,
        "low_ms": candidate.latency_low_ms,
        "high_ms": candidate.latency_high_ms,
        "size_mb": math.nan if size is None else size / 1e6,
        "compressed_mb": math.nan if packed is None else packed / 1e6,
        "sparsity": math.nan if candidate.sparsity is None else candidate.sparsity,
        "peak_memory_mb": math.nan if peak is None else peak,
        "mmacs": math.nan if macs is None else macs / 1e6,
        "source": candidate.source,
        "origin": candidate.origin,
        "verdict": candidate.verdict,
        "warning": candidate.warning,
        "artifact": candidate.artifact,
        "subnet": candidate.subnet,
        "task": candidate.judged_by,
        "metric_name": candidate.metric.name,
        "higher_is_better": candidate.metric.higher_is_better,
        "layers": candidate.layers,
        "length": math.nan if candidate.length is None else candidate.length,
        "generated": math.nan if candidate.generation is None else candidate.generation.tokens,
        "latency_is": candidate.latency_is,
    }
