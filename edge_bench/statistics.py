"""The few statistics that records, measurement and choice share. Plain numpy, no state."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Numbers = Sequence[float] | npt.NDArray[np.floating]


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
