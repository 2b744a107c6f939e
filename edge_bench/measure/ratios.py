"""How one latency compares with another: a ratio with an interval, and no more than that interval says.

Two models are measured in turns, in rounds; rounds lie in launches, each of them two fresh processes.
Rounds of one launch resemble each other: the clock drifts, and where a process' memory happened to
lie makes a model one or two per cent faster or slower for as long as it lives. So a launch, not a
round, is one observation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

from edge_bench.measure.intervals import CONFIDENCE

Answer = Literal["faster", "slower", "no difference seen"]
# Fewer launches hold no 95 % interval: of five, all lie on one side by chance in 2/32 of all cases.
MIN_LAUNCHES = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """The latency of B over that of A. Without bounds (None) where launches were too few for any."""

    middle: float
    low: float | None
    high: float | None

    @property
    def half_width(self) -> float:
        """The larger side of the interval, as a share of the ratio; infinite without bounds."""
        if self.low is None or self.high is None:
            return math.inf
        return max(self.high / self.middle, self.middle / self.low) - 1

    def answer(self, margin: float) -> Answer:
        """Say whether B is faster or slower than A by more than `margin`, a share such as 0.01.

        The whole interval must lie beyond the margin; swapping A and B swaps the answer.
        """
        if self.high is not None and self.high * (1 + margin) < 1:
            return "faster"
        if self.low is not None and self.low > 1 + margin:
            return "slower"
        return "no difference seen"

    def within(self, margin: float) -> bool:
        """Whether the interval shows that any difference is smaller than `margin`."""
        if self.low is None or self.high is None:
            return False
        return self.low * (1 + margin) >= 1 and self.high <= 1 + margin


def ratio(launches: Sequence[Sequence[tuple[float, float]]]) -> Ratio:
    """Return the latency of B over that of A with a 95 % interval.

    Args:
        launches: of each launch its rounds, of each round the median latency of A and of B, in any
            unit, above 0. A and B of one round stand side by side in time, so that drift cancels.

    The interval is that of Wilcoxon's signed ranks over the launches' median log ratios (Hodges and
    Lehmann, 1963). Where A and B are alike, swapping them changes nothing but the sign of a log
    ratio: then it holds 1 in at least 95 %, whatever the distribution, and however alike rounds are.

    Raises:
        ValueError: no launch, or one without rounds.
    """
    if not launches or not all(launches):
        raise ValueError("a ratio of no rounds")
    logs = [float(np.median([math.log(b / a) for a, b in rounds])) for rounds in launches]
    sums = _walsh_averages(logs)
    middle = math.exp(float(np.median(sums)))
    rank = signed_rank(len(logs))
    if rank is None:
        return Ratio(middle=middle, low=None, high=None)
    return Ratio(middle=middle, low=math.exp(sums[rank]), high=math.exp(sums[len(sums) - 1 - rank]))


def ratio_apart(a_ms: tuple[float, float, float], b_ms: tuple[float, float, float]) -> Ratio:
    """Return the latency of B over that of A, which were measured at different times.

    Args:
        a_ms: median, lower and upper bound of A.
        b_ms: the same of B.

    The bounds are as far apart as both intervals allow.
    """
    (a, a_low, a_high), (b, b_low, b_high) = a_ms, b_ms
    return Ratio(middle=b / a, low=b_low / a_high, high=b_high / a_low)


@lru_cache(maxsize=1024)
def signed_rank(count: int) -> int | None:
    """Return the 0-based rank among the sorted Walsh averages of `count` values that bounds at 95 %.

    None where even the outermost ones bound with less confidence.
    """
    ways = np.ones(1)
    for rank in range(1, count + 1):
        # With this rank's sign negative or positive: the sum of positive ranks stays or grows by it.
        ways = (np.pad(ways, (0, rank)) + np.pad(ways, (rank, 0))) / 2
    missed = 2 * np.cumsum(ways)
    allowed = int(np.searchsorted(missed, 1 - CONFIDENCE + 1e-12, side="right"))
    return allowed - 1 if allowed else None


def rate_interval(hits: int, trials: int) -> tuple[float, float]:
    """Return bounds of a rate of which `hits` in `trials` were seen, with at least 95 % confidence.

    Exact (Clopper and Pearson, 1934). The bounds lie in 0…1.
    """
    if not 0 <= hits <= trials or not trials:
        raise ValueError(f"{hits} hits in {trials} trials")
    missed = (1 - CONFIDENCE) / 2
    low = _root(lambda rate: 1 - _at_most(hits - 1, trials, rate) - missed) if hits else 0.0
    high = _root(lambda rate: missed - _at_most(hits, trials, rate)) if hits < trials else 1.0
    return low, high


def _walsh_averages(values: Sequence[float]) -> npt.NDArray[np.float64]:
    """Return the means of all pairs, each value paired with itself too, sorted; shape [n (n + 1) / 2]."""
    given = np.asarray(values, np.float64)
    first, second = np.triu_indices(len(given))
    return np.sort((given[first] + given[second]) / 2)


def _at_most(hits: int, trials: int, rate: float) -> float:
    return sum(math.comb(trials, k) * rate**k * (1 - rate) ** (trials - k) for k in range(hits + 1))


def _root(rising: Callable[[float], float]) -> float:
    """Return where a function that rises through 0 between 0 and 1 does so."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if rising(middle) > 0 else (middle, high)
    return (low + high) / 2
