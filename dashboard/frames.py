"""The store as tables: records in, DataFrames out. Pure functions, no widget and no cache.

A frame of candidates has one row a candidate. Its units stand in its column names; `metric` is on
the selection split, on which choices are made, and `test` is what is told.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from dashboard.axes import LATENCY
from edge_bench.choose.card import FORMATS
from edge_bench.documents import digest
from edge_bench.records import BenchmarkResult, Candidate, FittedPredictor, Metric
from edge_bench.records.quality import is_share, metric_word, value_text
from edge_bench.spreadsheets import safe_cell

COLUMNS = (
    "id name kind family format precision runtime threads device metric test latency_ms low_ms high_ms"
    " size_mb size_source encoding compressed_mb sparsity peak_memory_mb peak_low_mb peak_high_mb mmacs"
    " source origin verdict warning artifact subnet task metric_name higher_is_better layers length"
    " generated latency_is"
).split()
# Few different texts stand in these, so that a column of them is compared and grouped as numbers are.
_FEW = (
    "kind family format precision runtime device size_source encoding source task metric_name latency_is"
).split()
_TEXT = "id name origin verdict warning layers".split()
IMPORTED = "imported"
# What people call a part of a technique, where it is not its name.
_FAMILIES = {
    "once_for_all": "once-for-all",
    "layer_drop": "LayerDrop",
    "lottery_ticket": "ticket",
    "dpf": "DPF",
    "mabn": "MABN",
    "plain": "single network",
}
_NUMBERS = (
    "metric test latency_ms low_ms high_ms size_mb compressed_mb sparsity peak_memory_mb peak_low_mb"
    " peak_high_mb mmacs length generated"
).split()
# Where on a decade a budget may be set: ten stops, near enough to evenly spaced on a log axis.
_STOPS = (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)
_FEWEST_STOPS = 8


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
    frame = frame.astype(dict.fromkeys(_FEW, "category"))
    frame["higher_is_better"] = frame["higher_is_better"].astype(bool)
    return frame.sort_values(["latency_ms", "id"], ignore_index=True)


def joined(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return the rows of several frames of candidates, at least one, fastest first."""
    some = [frame for frame in frames if len(frame)] or list(frames[:1])
    if len(some) == 1:
        return some[0]
    for name in _FEW:
        known = sorted({text for frame in some for text in frame[name].cat.categories})
        some = [frame.assign(**{name: frame[name].cat.set_categories(known)}) for frame in some]
    return pd.concat(some).sort_values(["latency_ms", "id"], ignore_index=True)


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
    """Return how people call networks that were trained so, e.g. "once-for-all + DPF"."""
    parts = [_FAMILIES.get(part, part.replace("_", " ")) for part in technique.split("+") if part]
    return " + ".join(parts) or IMPORTED


def matching(frame: pd.DataFrame, **wanted: Sequence[str]) -> pd.DataFrame:
    """Return the rows whose columns hold one of the values wanted; no value wanted means any."""
    kept = np.ones(len(frame), bool)
    for column, values in wanted.items():
        if values:
            kept &= frame[column].isin(list(values)).to_numpy()
    return frame if kept.all() else frame[kept]


def front(frame: pd.DataFrame, cost: str = "latency_ms") -> pd.DataFrame:
    """Return the rows that none other dominates, cheapest first: `Frontier.of`, on columns.

    Fast at 10⁵ rows. All rows must share one metric, and have the `cost`.
    """
    if frame.empty:
        return frame
    costs, quality = frame[cost].to_numpy(), frame["metric"].to_numpy()
    quality = np.where(frame["higher_is_better"].to_numpy(), quality, -quality)
    # Next to nothing where the rows stand in this order already.
    order = np.argsort(costs, kind="stable")
    best_before = np.maximum.accumulate(np.concatenate([[-math.inf], quality[order][:-1]]))
    better = order[quality[order] > best_before]
    # Of those that cost the same, the last is the best.
    last = np.append(costs[better][1:] > costs[better][:-1], True)
    found: pd.DataFrame = frame.iloc[better[last]]
    return found


def fronts(frame: pd.DataFrame, cost: str = "latency_ms") -> pd.DataFrame:
    """Return the fronts of each device, one after another."""
    devices = frame["device"].unique()
    if len(devices) < 2:
        return front(frame, cost)
    found: pd.DataFrame = pd.concat([front(frame[frame["device"] == device], cost) for device in devices])
    return found


def in_box(
    frame: pd.DataFrame, costs: tuple[float, float], metrics: tuple[float, float], cost: str = "latency_ms"
) -> pd.Series[bool]:
    """Say which rows lie inside a box, whichever of its corners was first."""
    return frame[cost].between(min(costs), max(costs)) & frame["metric"].between(min(metrics), max(metrics))


def budget_stops(low: float, high: float) -> list[float]:
    """Return round numbers from at most `low` to at least `high`, ten to a decade.

    Where those would be few, they are evenly spaced instead.
    """
    # A decade more at either end: the logarithm of a number just below 10ⁿ may round to n.
    first, last = math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1
    stops = [rounded(stop * 10.0**power) for power in range(first, last + 1) for stop in _STOPS]
    start = max(index for index, stop in enumerate(stops) if stop <= low)
    end = min(index for index, stop in enumerate(stops) if stop >= high)
    if end - start + 1 < _FEWEST_STOPS and high > low:
        return even_stops(low, high)
    return stops[start : end + 1]


def even_stops(low: float, high: float) -> list[float]:
    """Return some eight round numbers, evenly spaced, from at most `low` to at least a higher `high`."""
    exact = (high - low) / _FEWEST_STOPS
    power = 10.0 ** math.floor(math.log10(exact))
    step = power * next(one for one in (5, 2, 1) if one * power <= exact * (1 + 1e-9))
    # Finer ones could not be told apart in four digits.
    step = max(step, 10.0 ** (math.floor(math.log10(high)) - 3))
    first, last = math.floor(low / step), math.ceil(high / step)
    places = range(max(first - 1, 1), last + 2)
    stops = sorted({rounded(step * place) for place in places})
    start = max((index for index, stop in enumerate(stops) if stop <= low), default=0)
    end = min(index for index, stop in enumerate(stops) if stop >= high)
    return stops[start : end + 1]


def rounded(value: float) -> float:
    """Return `value` with four significant digits."""
    return float(f"{value:.4g}")


def milliseconds(value: float) -> str:
    """Return a latency as people read it: three significant digits and the unit."""
    return LATENCY.told(value)


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


def table(
    rows: pd.DataFrame, best: pd.DataFrame, budget: float | None, *, cost: str = "latency_ms"
) -> pd.DataFrame:
    """Return the columns that people read, with whether each row is on the front and in the budget.

    Shares are in per cent, as in `picks_table`. Devices and encodings are told where there are several.
    """
    shown = rows.assign(front=rows["id"].isin(best["id"]))
    names = (
        "device name kind family encoding layers metric test latency_ms low_ms high_ms source origin front"
        " size_mb compressed_mb sparsity peak_memory_mb mmacs length generated runtime threads verdict"
        " warning"
    ).split()
    if budget is not None:
        shown["fits"] = shown[cost] <= budget
        names.insert(names.index("size_mb"), "fits")
    if best["device"].nunique() < 2:
        names.remove("device")
    if (shown["encoding"] == "dense").all():
        names.remove("encoding")
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
    """Return the frame as CSV in UTF-8, numbers whole as stored, shares as fractions, no text a formula."""
    texts = frame.select_dtypes(["object", "str"]).map(safe_cell)
    safe = frame.assign(**texts.to_dict("series"))  # type: ignore[arg-type]
    # All texts in quotes: of a lone carriage return some readers make a new row.
    return safe.to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC).encode()


def _readable(shown: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    if not shown.empty and is_share(shown["metric_name"].iloc[0]):
        shown = shown.assign(metric=100 * shown["metric"], test=100 * shown["test"])
    # A column that says nothing about any row takes room from those that do.
    told = shown[[name for name in names if not _empty(shown[name])]]
    return told.astype({name: "object" for name in _FEW if name in told})


def _empty(column: pd.Series[Any]) -> bool:
    return bool((column.isna() | (column == "")).all())


def _row(candidate: Candidate) -> dict[str, object]:
    size, macs, test = candidate.size_bytes, candidate.macs, candidate.test_metric
    packed = candidate.compressed_bytes
    # A row says once whether it is predicted: a peak that is, stands in no row that is not.
    alike = candidate.memory_source == candidate.source
    peak, low, high = (
        math.nan if value is None or not alike else value
        for value in (
            candidate.peak_memory_mb,
            candidate.peak_memory_low_mb,
            candidate.peak_memory_high_mb,
        )
    )
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
        "size_source": candidate.size_source,
        "encoding": candidate.encoding,
        "compressed_mb": math.nan if packed is None else packed / 1e6,
        "sparsity": math.nan if candidate.sparsity is None else candidate.sparsity,
        "peak_memory_mb": peak,
        "peak_low_mb": low,
        "peak_high_mb": high,
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
