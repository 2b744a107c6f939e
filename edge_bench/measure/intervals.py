"""How sure a median is: distribution-free intervals from order statistics."""

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

    Neighbouring runs resemble each other, so an interval over all runs is too narrow when the
    machine drifts. The medians of the blocks are nearly independent: the interval over them is taken
    too, and the answer spans both, and so the nearest-rank median of all runs.
    """
    runs = np.concatenate([np.asarray(block, np.float64) for block in blocks])
    low, high = median_interval(runs)
    # One block says nothing of the differences between blocks.
    if len(blocks) > 1:
        by_block = median_interval([percentile(block, 50) for block in blocks])
        low, high = min(low, by_block[0]), max(high, by_block[1])
    return low, high


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
