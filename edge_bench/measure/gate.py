"""A gate for continuous integration: limits, what was measured, and one of three answers to each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from edge_bench.errors import GATE_FAILED, OK, TOO_NOISY
from edge_bench.measure.comparison import Comparison
from edge_bench.measure.ratios import ratio_apart
from edge_bench.records import BenchmarkResult
from edge_bench.statistics import percentile, percentile_bound

Judgement = Literal["passed", "failed", "too noisy to say"]
STATUS: dict[Judgement, int] = {"passed": OK, "failed": GATE_FAILED, "too noisy to say": TOO_NOISY}


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One limit. `low` and `high` bound the true value; None where it may be any smaller or larger."""

    name: str
    unit: str
    limit: float
    measured: float
    low: float | None
    high: float | None
    judgement: Judgement
    reason: str = ""


def at_most(
    name: str, unit: str, limit: float, measured: float, *, low: float | None, high: float | None
) -> Check:
    """Return whether a value between `low` and `high` is at most `limit`, or that nobody can say."""
    judgement: Judgement = "too noisy to say"
    reason = ""
    if low is not None and low > limit:
        judgement = "failed"
    elif high is not None and high <= limit:
        judgement = "passed"
    elif high is None:
        reason = "too few runs for an upper bound: allow more seconds"
    else:
        reason = "the interval straddles the limit"
    return Check(
        name=name,
        unit=unit,
        limit=limit,
        measured=measured,
        low=low,
        high=high,
        judgement=judgement,
        reason=reason,
    )


def exactly(name: str, unit: str, limit: float, measured: float) -> Check:
    """Return whether a value that is known to the last digit is at most `limit`."""
    return at_most(name, unit, limit, measured, low=measured, high=measured)


def latency(result: BenchmarkResult, limit_ms: float) -> Check:
    """Hold p50 to a limit in ms; above it only a clean verdict fails, since noise makes a model slower."""
    middle, low, high = result.p50_bounds_ms
    return _if_clean(at_most("latency p50", "ms", limit_ms, middle, low=low, high=high), result)


def tail_latency(result: BenchmarkResult, limit_ms: float, *, percent: int = 99) -> Check:
    """Hold a percentile above the median to a limit in ms, by its one-sided bounds of 99 % confidence."""
    latencies = result.latencies_ms
    # What e.g. 99 % lie below is what 1 % of the negated values lie above.
    mirrored = percentile_bound([-value for value in latencies], 100 - percent)
    found = at_most(
        f"latency p{percent}",
        "ms",
        limit_ms,
        percentile(latencies, percent) if latencies else 0.0,
        low=None if mirrored is None else -mirrored,
        high=percentile_bound(latencies, percent),
    )
    return _if_clean(found, result)


def regression(found: Comparison, allowed: float) -> Check:
    """Hold the latency over that of a baseline measured in turns to 1 + `allowed`.

    The interval alone decides: what disturbed the machine met both models, and widened it.
    """
    ratio = found.ratio
    check = at_most(
        f"latency over {found.a.model.name}", "×", 1 + allowed, ratio.middle, low=ratio.low, high=ratio.high
    )
    if ratio.low is None:
        return replace(check, reason=f"too few launches: {found.stopped_by}")
    return check


def stored_regression(
    result: BenchmarkResult, name: str, baseline_ms: tuple[float, float, float], allowed: float
) -> Check:
    """Hold p50 over that of a stored result (its p50, lower and upper bound in ms) to 1 + `allowed`."""
    ratio = ratio_apart(baseline_ms, result.p50_bounds_ms)
    found = at_most(f"latency over {name}", "×", 1 + allowed, ratio.middle, low=ratio.low, high=ratio.high)
    return _if_clean(found, result)


def overall(checks: Iterable[Check]) -> Judgement:
    """Return the gate's answer: one failure fails it, and one doubt is enough for no other to pass it."""
    told: Sequence[Judgement] = [check.judgement for check in checks]
    if "failed" in told:
        return "failed"
    return "too noisy to say" if "too noisy to say" in told else "passed"


def _if_clean(check: Check, result: BenchmarkResult) -> Check:
    # Other work and heat only make a model slower: what is within its limit in spite of them passes.
    slowed = result.verdict in ("noisy", "throttled")
    if result.verdict == "clean" or (slowed and check.judgement == "passed"):
        return check
    return replace(check, judgement="too noisy to say", reason=f"{result.verdict}: {result.verdict_cause}")
