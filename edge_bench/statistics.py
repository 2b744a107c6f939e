"""The few statistics that records, measurement and choice share. Plain numpy, no state."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Numbers = Sequence[float] | npt.NDArray[np.floating]

BOUND_CONFIDENCE = 0.99


def percentile(values: Numbers, percent: float) -> float:
    """Return the nearest-rank percentile: the smallest value that `percent` % do not exceed.

    Raises:
        ValueError: no values, or `percent` outside (0, 100].
    """
    if not len(values):
        raise ValueError("a percentile of no values")
    if not 0 < percent <= 100:
        raise ValueError(f"percent is {percent}; it must lie in (0, 100]")
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    # The tolerance keeps e.g. 0.95 * 20 from rounding up to rank 20.
    rank = math.ceil(percent / 100 * len(ordered) - 1e-9)
    return float(ordered[max(rank, 1) - 1])


def percentile_bound(values: Numbers, percent: float) -> float | None:
    """Return a value that the percentile stays below with 99 % confidence, or None if too few values.

    The rule is that of MLPerf LoadGen's early stopping, without tolerance: of n values t may lie above
    the percentile, where t is the most for which at most 1 % of all samples had no more than t there;
    the t-th largest value is the bound. Values that resemble their neighbours tell less than n.

    Raises:
        ValueError: `percent` outside (0, 100).
    """
    above = _most_above(len(values), percent)
    if above < 1:
        return None
    place = len(values) - above
    return float(np.partition(np.asarray(values, np.float64), place)[place])


@lru_cache(maxsize=64)
def runs_needed(percent: float, *, above: int = 1) -> int:
    """Return how many values are needed where `above` of them may lie above the percentile.

    For `above` 1, which `percentile_bound` needs, it is 64 of p90, 130 of p95, 662 of p99.
    """
    count = above + 1
    while _most_above(count, percent) < above:
        count += 1
    return count


@lru_cache(maxsize=4096)
def _most_above(count: int, percent: float) -> int:
    """Return the largest t with P(at most t of `count` values above the percentile) <= 1 %, or -1."""
    if not 0 < percent < 100:
        raise ValueError(f"percent is {percent}; it must lie in (0, 100)")
    if not count:
        return -1
    below = percent / 100
    numbers = np.arange(count)
    # Binomial probabilities by their ratios, as logarithms: below ** count underflows.
    steps = np.log((count - numbers) / (numbers + 1) * ((1 - below) / below))
    logarithms = count * math.log(below) + np.concatenate([[0.0], np.cumsum(steps)])
    return int(np.searchsorted(np.cumsum(np.exp(logarithms)), 1 - BOUND_CONFIDENCE, side="right")) - 1


def spearman(predicted: Numbers, actual: Numbers) -> float:
    """Return Spearman's rank correlation, ties sharing their mean rank; NaN if one side is flat."""
    first, second = _ranks(predicted), _ranks(actual)
    first, second = first - first.mean(), second - second.mean()
    scale = math.sqrt(float(first @ first) * float(second @ second))
    return float(first @ second) / scale if scale else math.nan


def kendall(predicted: Numbers, actual: Numbers) -> float:
    """Return Kendall's tau-b; NaN if one side is flat. O(n²), meant for some thousands of values."""
    first = np.sign(np.subtract.outer(np.asarray(predicted, float), np.asarray(predicted, float)))
    second = np.sign(np.subtract.outer(np.asarray(actual, float), np.asarray(actual, float)))
    scale = math.sqrt(float((first**2).sum()) * float((second**2).sum()))
    return float((first * second).sum()) / scale if scale else math.nan


def relative_errors(predicted: Numbers, actual: Numbers) -> npt.NDArray[np.float64]:
    """Return |predicted - actual| / actual, shape [n]."""
    given, true = np.asarray(predicted, np.float64), np.asarray(actual, np.float64)
    return np.abs(given - true) / true


def _ranks(values: Numbers) -> npt.NDArray[np.float64]:
    _, inverse, counts = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return ((last - counts + 1 + last) / 2)[inverse]
