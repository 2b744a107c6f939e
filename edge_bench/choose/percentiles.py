"""Candidates by another percentile of their latency than the median."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from edge_bench.records import BenchmarkResult, Candidate
from edge_bench.statistics import percentile

MEDIAN, P90 = "p50", "p90"
_Blocks = Sequence[Sequence[float]]


def at_p90(candidates: Iterable[Candidate], measured: Mapping[str, BenchmarkResult]) -> list[Candidate]:
    """Return those candidates whose p90 is known, with it in place of the median, and its interval.

    It is known of files alone whose single inferences somebody measured: predictors tell medians, and what
    a text takes is put together from medians. Where others told only a number, its interval is that number.

    Args:
        candidates: of one device.
        measured: by the artifact, as `candidates.newest_results` gives them for that device.
    """
    found = []
    for one in candidates:
        result = measured.get(one.artifact or "")
        if one.source == "predicted" or one.generation is not None or result is None:
            continue
        told = result.p90_ms
        if told is None:
            continue
        blocks = [block.latencies_ns for block in result.blocks if block.counted]
        low, high = (ns / 1e6 for ns in percentile_interval(blocks, 90)) if blocks else (told, told)
        found.append(
            replace(one, latency_ms=told, latency_low_ms=low, latency_high_ms=high, latency_is=P90)
        )
    return found


def percentile_interval(blocks: _Blocks, percent: float) -> tuple[float, float]:
    """Return bounds that hold the percentile of all runs with about 95 % confidence.

    Runs of a block resemble each other, so the share of runs below the percentile varies by what blocks
    differ: its standard error is that of a ratio over clusters, and at least that of independent runs. The
    bounds are the percentiles of the shares at either end (Woodruff, 1952). As nobody can tell of runs that
    were not made, the upper one is at most the slowest.
    """
    runs = np.concatenate([np.asarray(block, np.float64) for block in blocks])
    middle, wanted = percentile(runs, percent), percent / 100
    count, share = len(runs), float((runs <= middle).mean())
    sizes = np.array([len(block) for block in blocks], np.float64)
    shares = np.array([float((np.asarray(block, np.float64) <= middle).mean()) for block in blocks])
    error = math.sqrt(wanted * (1 - wanted) / count)
    freedom = max(len(blocks) - 1, 1)
    if len(blocks) > 1:
        spread = float(((sizes / count * (shares - share)) ** 2).sum()) * len(blocks) / freedom
        error = max(error, math.sqrt(spread))
    # Student's t, by its expansion.
    wide = 1.96 * (1 + (1.96**2 + 1) / (4 * freedom)) * error if len(blocks) > 1 else 1.96 * error
    least = 100 / count
    low, high = (min(max(100 * (wanted + side * wide), least), 100.0) for side in (-1, 1))
    return percentile(runs, low), percentile(runs, high)
