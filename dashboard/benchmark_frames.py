"""Benchmark results as tables: latencies, blocks, operators, sweeps and what two results differ in.

Pure functions, no widget and no cache; units stand in the names of columns.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd

from dashboard.frames import kind_of
from edge_bench.choose.candidates import weight
from edge_bench.measure.environment import changes
from edge_bench.measure.ratios import Ratio, ratio_apart
from edge_bench.measure.timing import POLLUTED
from edge_bench.records import BenchmarkResult
from edge_bench.statistics import percentile

# What became of a block.
COUNTED = "counted"
LEFT_OUT = "polluted, not counted"
KEPT = "polluted, counted for want of others"
STEPS_SHOWN = 500
BLOCKS_SHOWN = 2_000
Swept = Literal["threads", "runtime"]
# How inferences were issued: what differs in one of these is another measurement.
_SETTINGS = "mode scenario samples_per_query interval_ms batch length".split()
_SIDES = "device model format precision runtime threads".split()


def distribution(result: BenchmarkResult) -> pd.DataFrame:
    """Return `share`, the part of the runs that took at most `latency_ms`; some hundred rows at most.

    The slowest twenty are all there: of a tail each run matters.
    """
    ordered = np.sort(np.asarray(result.latencies_ms, np.float64))
    count = len(ordered)
    places = np.arange(count)
    if count > STEPS_SHOWN:
        even = np.linspace(0, count - 1, STEPS_SHOWN - 20).astype(int)
        places = np.unique(np.concatenate([even, places[-20:]]))
    return pd.DataFrame({"latency_ms": ordered[places], "share": (places + 1) / count})


def blocks(result: BenchmarkResult) -> pd.DataFrame:
    """Return one row a block: when it began, its median and tenths in ms, and what became of it.

    `at_s` is NaN where the result does not tell. Of very many blocks an even share is returned, and of
    those that do not count as many again.
    """
    rows = []
    for number, block in enumerate(result.blocks, start=1):
        # A block that was cut short may hold no run.
        if not block.latencies_ns:
            continue
        low, middle, high = (percentile(block.latencies_ns, percent) / 1e6 for percent in (10, 50, 90))
        polluted = block.off_cpu is not None and block.off_cpu > POLLUTED
        rows.append(
            {
                "block": number,
                "at_s": math.nan if block.at_s is None else block.at_s,
                "p50_ms": middle,
                "p10_ms": low,
                "p90_ms": high,
                "runs": len(block.latencies_ns),
                "state": LEFT_OUT if not block.counted else KEPT if polluted else COUNTED,
                "reason": block.reason,
                "off_cpu": math.nan if block.off_cpu is None else block.off_cpu,
                "temperature_c": math.nan if block.temperature_c is None else block.temperature_c,
                "frequency_mhz": math.nan if block.frequency_mhz is None else block.frequency_mhz,
            }
        )
    columns = (
        "block at_s p50_ms p10_ms p90_ms runs state reason off_cpu temperature_c frequency_mhz".split()
    )
    frame = pd.DataFrame(rows, columns=columns)
    left_out = frame["state"] == LEFT_OUT
    kept = [_evenly(frame[~left_out]), _evenly(frame[left_out])]
    return pd.concat(kept).sort_values("block", ignore_index=True)


def operators(result: BenchmarkResult, *, by_kind: bool = False) -> pd.DataFrame:
    """Return what each operator of a profiled model takes, or each kind of them, the longest first."""
    columns = ["name", "kind", "mean_ms", "share", "calls", "where"]
    rows = [{name: getattr(one, name) for name in columns} for one in result.operators]
    frame = pd.DataFrame(rows, columns=columns)
    if by_kind and not frame.empty:
        frame = frame.groupby(["kind", "where"], as_index=False).agg(
            {"mean_ms": "sum", "share": "sum", "calls": "sum"}
        )
        frame["name"] = frame["kind"]
    return frame[columns].sort_values("mean_ms", ascending=False, kind="stable", ignore_index=True)


def newest(results: Iterable[BenchmarkResult], *by: str) -> list[BenchmarkResult]:
    """Return of all results that agree in the fields `by` the newest, of those that count most."""
    found: dict[tuple[Hashable, ...], BenchmarkResult] = {}
    for result in results:
        key = tuple(getattr(result, name) for name in by)
        known = found.get(key)
        if known is None or weight(result) >= weight(known):
            found[key] = result
    return list(found.values())


def sweep(
    results: Iterable[BenchmarkResult], chosen: BenchmarkResult, over: Swept
) -> list[BenchmarkResult]:
    """Return how the same file did on the same device with other thread counts, or in other runtimes.

    Nothing else that was asked for differs. Of several alike the newest is told, of those like
    `chosen` it itself.
    """
    fixed: Swept = "runtime" if over == "threads" else "threads"
    alike = ["digest", "device", "origin", fixed, *_SETTINGS]
    wanted = _values(chosen, alike)
    others = [
        one
        for one in results
        if _values(one, alike) == wanted
        and getattr(one, over) not in (None, getattr(chosen, over))
        and math.isfinite(one.p50_ms)
    ]
    return sorted([chosen, *newest(others, over)], key=lambda one: getattr(one, over) or 0)


def sweep_frame(results: Sequence[BenchmarkResult], over: Swept) -> pd.DataFrame:
    """Return one row a result: what was swept, p50 with its bounds in ms, p90, verdict and day."""
    rows = []
    for one in results:
        middle, low, high = one.p50_bounds_ms
        rows.append(
            {
                over: getattr(one, over),
                "p50_ms": middle,
                "low_ms": low,
                "high_ms": high,
                "p90_ms": one.p90_ms,
                "peak_memory_mb": one.peak_memory_mb,
                "verdict": one.verdict,
                "measured": one.created[:10],
            }
        )
    columns = [over, *"p50_ms low_ms high_ms p90_ms peak_memory_mb verdict measured".split()]
    return pd.DataFrame(rows, columns=columns)


def results_frame(results: Iterable[BenchmarkResult]) -> pd.DataFrame:
    """Return one row a result as people read it; columns that tell nothing of any are left out."""
    rows = [
        {
            "model": one.model,
            "kind": kind_of(one.format, one.precision or "unknown precision"),
            "device": one.device,
            "runtime": one.runtime,
            "threads": one.threads,
            "p50_ms": one.p50_ms,
            "low_ms": one.p50_low_ms,
            "high_ms": one.p50_high_ms,
            "p90_ms": one.p90_ms,
            "peak_memory_mb": one.peak_memory_mb,
            "mode": one.mode,
            "verdict": one.verdict,
            "measured by": one.origin,
            "created": minute_of(one.created),
        }
        for one in results
    ]
    return pd.DataFrame(rows).dropna(axis="columns", how="all")


def minute_of(created: str) -> str:
    """Return a time of a record to the minute, in its own zone: UTC."""
    return created[:16].replace("T", " ")


def ratio_of(a: BenchmarkResult, b: BenchmarkResult) -> Ratio:
    """Return the latency of B over that of A, by their stored medians.

    It has no bounds where one of the results has none.
    """
    found = ratio_apart(a.p50_bounds_ms, b.p50_bounds_ms)
    if None in (a.p50_low_ms, a.p50_high_ms, b.p50_low_ms, b.p50_high_ms):
        return Ratio(middle=found.middle, low=None, high=None)
    return found


def unlike(a: BenchmarkResult, b: BenchmarkResult) -> list[str]:
    """Return in words why the latencies of two results are not of the same thing; often nothing."""
    settings = changes(_told(a, [*_SETTINGS, "p50_is"]), _told(b, [*_SETTINGS, "p50_is"]))
    return [
        f"{_words(name)}: A {value_text(one)}, B {value_text(other)}"
        for name, (one, other) in settings.items()
    ]


def differences(a: BenchmarkResult, b: BenchmarkResult) -> pd.DataFrame:
    """Return what differs between two results and the machines they were measured on: a row each."""
    before = {**a.environment, **_told(a, [*_SIDES, *_SETTINGS])}
    after = {**b.environment, **_told(b, [*_SIDES, *_SETTINGS])}
    rows = [
        {"what": _words(name), "A": value_text(one), "B": value_text(other)}
        for name, (one, other) in changes(before, after).items()
    ]
    return pd.DataFrame(rows, columns=["what", "A", "B"])


def value_text(value: Any) -> str:
    """Return a value of an environment as people read it."""
    if value is None:
        return "not told"
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {value_text(one)}" for key, one in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(value_text, value)) or "none"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def setting_text(result: BenchmarkResult) -> str:
    """Return how a result was measured, when, and its verdict: what tells it from others of its file."""
    count = result.threads
    threads = "unknown threads" if not count else f"{count} thread{'s' if count > 1 else ''}"
    parts = [result.runtime, threads]
    parts += [] if result.mode == "burst" else [result.mode]
    parts += [] if result.scenario == "single_stream" else [_words(result.scenario)]
    parts += [] if result.batch in (None, 1) else [f"batch {result.batch}"]
    parts += [] if result.length is None else [f"{result.length} tokens"]
    parts += [] if result.measured_here else [f"by {result.origin}"]
    return ", ".join([*parts, minute_of(result.created), result.verdict])


def _evenly(rows: pd.DataFrame) -> pd.DataFrame:
    if len(rows) <= BLOCKS_SHOWN:
        return rows
    return rows.iloc[np.linspace(0, len(rows) - 1, BLOCKS_SHOWN).astype(int)]


def _values(result: BenchmarkResult, names: Sequence[str]) -> tuple[Any, ...]:
    return tuple(getattr(result, name) for name in names)


def _told(result: BenchmarkResult, names: Sequence[str]) -> dict[str, Any]:
    return dict(zip(names, _values(result, names), strict=True))


def _words(name: str) -> str:
    return name.replace("_", " ")
