"""How likely a candidate meets a budget, read off the intervals that measurements and predictors state."""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import NormalDist

from edge_bench.records import Budget, Candidate
from edge_bench.records.frontier import Source

# What share of true values the interval of a source is stated to hold.
COVERAGE: Mapping[Source, float] = {"measured": 0.95, "imported": 0.95, "predicted": 0.90}
# An interval learnt from some tens of networks says nothing of what happens to one in a hundred.
SUREST = 0.99
_NORMAL = NormalDist()


def chance(candidate: Candidate, budget: Budget) -> float | None:
    """Return the probability, 0 to 1, that a candidate keeps to every limit of a budget.

    None where there is no limit, or where the latency is limited and whoever measured it told no interval.
    A limit on what is not known of the candidate counts for nothing, as in `Budget.admits`. Several limits
    are taken to be independent of each other.
    """
    parts: list[float] = []
    if budget.max_latency_ms is not None:
        latency = latency_chance(candidate, budget.max_latency_ms)
        if latency is None:
            return None
        parts.append(latency)
    if budget.max_size_mb is not None and candidate.size_bytes is not None:
        parts.append(float(candidate.size_bytes / 1e6 <= budget.max_size_mb))
    if budget.max_peak_memory_mb is not None and candidate.peak_memory_mb is not None:
        parts.append(_memory_chance(candidate, candidate.peak_memory_mb, budget.max_peak_memory_mb))
    return math.prod(parts) if parts else None


def latency_chance(candidate: Candidate, limit_ms: float) -> float | None:
    """Return the probability that a candidate's latency is at most `limit_ms`, or None without an interval.

    A measured interval holds the true median (or p90) of this machine as it was while measuring, not that
    of another day; a predicted one holds a network like this. Of a prediction nobody is told to be surer
    than 99 %.
    """
    middle, low, high = candidate.latency_ms, candidate.latency_low_ms, candidate.latency_high_ms
    if candidate.source == "imported" and low == middle == high:
        return None
    coverage = COVERAGE[candidate.source]
    if min(low, limit_ms) <= 0:
        found = below(limit_ms, middle, low, high, coverage=coverage)
    else:
        # A latency's error is a share of it.
        found = below(*(math.log(value) for value in (limit_ms, middle, low, high)), coverage=coverage)
    return _never_sure(found) if candidate.source == "predicted" else found


def below(limit: float, middle: float, low: float, high: float, *, coverage: float) -> float:
    """Return the probability that a value, known by an estimate and an interval, is at most `limit`.

    The interval is read as quantiles of a confidence distribution (Schweder and Hjort, 2002): half of it
    lies below `middle`, and as much above `high` as below `low`, (1 − `coverage`) / 2. Between them, and
    beyond, each side is half of a normal distribution, since the ends need not lie equally far away. So it
    grows with the limit, and at the interval's upper end it is (1 + `coverage`) / 2.
    """
    if limit == middle:
        return 0.5
    reach = high - middle if limit > middle else middle - low
    if reach <= 0:
        return float(limit > middle)
    return _NORMAL.cdf(_NORMAL.inv_cdf((1 + coverage) / 2) * (limit - middle) / reach)


def told_chance(probability: float) -> str:
    """Return a probability for people: "97 %"; never 0 or 100, which no interval tells."""
    if probability < 0.01:
        return "< 1 %"
    if probability > 0.99:
        return "> 99 %"
    return f"{100 * probability:.0f} %"


def _memory_chance(candidate: Candidate, peak_mb: float, limit_mb: float) -> float:
    low, high = candidate.peak_memory_low_mb, candidate.peak_memory_high_mb
    if candidate.memory_source != "predicted" or low is None or high is None:
        return float(peak_mb <= limit_mb)
    return _never_sure(below(limit_mb, peak_mb, low, high, coverage=COVERAGE["predicted"]))


def _never_sure(probability: float) -> float:
    return min(max(probability, 1 - SUREST), SUREST)
