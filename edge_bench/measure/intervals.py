"""How sure a median is: distribution-free intervals from order statistics, of runs that drift too."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from edge_bench.statistics import percentile

CONFIDENCE = 0.95


def median_interval(values: Sequence[float] | npt.NDArray[np.generic]) -> tuple[float, float]:
    """Return bounds that hold the median of independent values with at least 95 % confidence.

    The bounds are two of the values themselves: nothing is assumed of their distribution. Five or
    fewer values cannot be that sure; then they are the smallest and the largest.
    """
    ordered = np.sort(np.asarray(values, np.float64))
    rank = lower_rank(len(ordered))
    return float(ordered[rank]), float(ordered[len(ordered) - 1 - rank])


def p50_interval(blocks: Sequence[Sequence[float]]) -> tuple[float, float]:
    """Return bounds of the median latency over blocks of back-to-back runs.

    Neighbouring runs resemble each other: n runs tell as much as n / `correlation_time` independent
    ones, and the ranks are those of so few. The medians of the blocks differ by what drifts more
    slowly; the interval over them is taken too, and the answer spans both, and so the nearest-rank
    median of all runs. On simulated drift (AR(1)) it holds the median in 93 % or more where the runs
    last for some ten correlation times; nothing can be told of a drift that is slower than that.
    """
    runs = np.concatenate([np.asarray(block, np.float64) for block in blocks])
    ordered = np.sort(runs)
    rank = _correlated_rank(len(runs), correlation_time(runs))
    low, high = float(ordered[rank]), float(ordered[len(runs) - 1 - rank])
    # One block says nothing of the differences between blocks.
    if len(blocks) > 1:
        by_block = median_interval([percentile(block, 50) for block in blocks])
        low, high = min(low, by_block[0]), max(high, by_block[1])
    return low, high


def correlation_time(runs: npt.NDArray[np.float64]) -> float:
    """Return how many runs tell as much as one independent run does of the median; 1 if all are.

    The integrated autocorrelation of "at most the median", summed as long as it is positive and
    made to fall (Geyer 1992, the initial monotone sequence).
    """
    count = len(runs)
    below = (runs <= np.median(runs)) - 0.5
    size = 1 << (2 * count - 1).bit_length()
    spectrum = np.fft.rfft(below, size)
    covariance = np.fft.irfft(np.abs(spectrum) ** 2, size)[: count - count % 2]
    pairs = (covariance[0::2] + covariance[1::2]) / (count / 4)
    negative = np.flatnonzero(pairs <= 0)
    kept = pairs[: negative[0]] if len(negative) else pairs
    return max(1.0, 2 * float(np.minimum.accumulate(kept).sum()) - 1)


def _correlated_rank(count: int, time: float) -> int:
    """Return the rank that bounds the median of `count` runs with a correlation time of `time` runs.

    Seen around their own median, runs seem less correlated than they are, by time / count; and a time
    that is estimated from few is uncertain, as a variance is (Student's t, by its expansion).
    """
    if time == 1:
        return lower_rank(count)
    time = time / (1 - min(0.5, time / count))
    freedom = max(count / time - 1, 1.0)
    wide = 1.96 * (1 + (1.96**2 + 1) / (4 * freedom))
    rank = math.floor(count / 2 - wide * math.sqrt(count * time) / 2) - 1
    return max(0, min(rank, lower_rank(count)))


@lru_cache(maxsize=4096)
def lower_rank(count: int) -> int:
    """Return the largest 0-based r for which value r and value count-1-r bound the median at 95 %.

    The median lies below value r with the probability that at most r of `count` fair coins show
    heads; both ends together may miss in 5 %.
    """
    if count < 1:
        raise ValueError("an interval of no values")
    if count > 1000:
        # The normal approximation is exact to a rank from here on, and a rank wider is safe.
        return max(0, math.floor(count / 2 - 1.96 * math.sqrt(count) / 2) - 1)
    missed, rank = 0.0, 0
    for below in range(count // 2):
        missed += math.comb(count, below) / 2**count
        if 2 * missed > 1 - CONFIDENCE:
            break
        rank = below
    return rank
