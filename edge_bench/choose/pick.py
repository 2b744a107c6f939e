"""The choice among candidates within a budget, with its reasons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from edge_bench.errors import ConfigError, NoCandidate
from edge_bench.records import Budget, Candidate, Frontier, quality
from edge_bench.records.frontier import Source

Preset = Literal["accuracy", "balanced", "speed"]
ALTERNATIVES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """One recommendation, what else was near, and why, in sentences."""

    recommended: Candidate
    alternatives: tuple[Candidate, ...]
    reasons: tuple[str, ...]


def pick(candidates: Sequence[Candidate], budget: Budget, *, preset: Preset = "accuracy") -> Pick:
    """Choose within a budget, on the selection split.

    "accuracy" takes the best by its metric, of equals the fastest; "speed" the fastest; "balanced" the
    fastest within one point of the best (`records.quality.margin`).

    Raises:
        NoCandidate: nothing fits; the message names the nearest miss.
        ConfigError: the candidates are of different data or metrics, which no order compares.
    """
    if not candidates:
        raise NoCandidate("there is no candidate", hint="edge-bench quickstart fills the store")
    kinds = sorted({one.judged_by for one in candidates})
    if len(kinds) > 1:
        raise ConfigError(
            f"the candidates cannot be compared: they are judged by {' and '.join(kinds)}",
            hint="name the run or the data to choose among: --run, --data",
        )
    fitting = [one for one in candidates if budget.admits(one)]
    if not fitting:
        raise NoCandidate(*_nearest_miss(candidates, budget))
    ordered = sorted(fitting, key=lambda one: (-one.quality, one.latency_ms))
    chosen = _by_preset(ordered, preset)
    front = Frontier.of(fitting)
    others = [one for one in front.members if one is not chosen]
    others.sort(key=lambda one: abs(one.latency_ms - chosen.latency_ms))
    return Pick(
        recommended=chosen,
        alternatives=tuple(sorted(others[:ALTERNATIVES], key=lambda one: one.latency_ms)),
        reasons=tuple(_reasons(chosen, fitting, list(candidates), budget, preset)),
    )


def told_threads(threads: int) -> str:
    """Return a number of threads for people; 0 is one that no source tells."""
    if not threads:
        return "a number of threads that its source does not tell"
    return f"{threads} thread{'s' if threads > 1 else ''}"


def told_quality(candidate: Candidate) -> str:
    """Return the metric on the selection split for people: "83.10 %", "33.4 BLEU", "perplexity 6.87"."""
    return quality.told(candidate.metric)


def _by_preset(ordered: Sequence[Candidate], preset: Preset) -> Candidate:
    if preset == "accuracy":
        return ordered[0]
    fastest = sorted(ordered, key=lambda one: (one.latency_ms, -one.quality))
    if preset == "speed":
        return fastest[0]
    enough = ordered[0].quality - quality.margin(ordered[0].metric)
    return next(one for one in fastest if one.quality >= enough)


def _nearest_miss(candidates: Sequence[Candidate], budget: Budget) -> tuple[str]:
    def excess(one: Candidate) -> float:
        shares = (cost / limit if limit > 0 else float("inf") for _, _, cost, limit in _spent(one, budget))
        return max(shares, default=0.0)

    nearest = min(candidates, key=lambda one: (excess(one), one.latency_ms))
    told = [
        f"{word} {cost:.4g} {unit} against at most {limit:.4g}"
        for word, unit, cost, limit in _spent(nearest, budget)
        if cost > limit
    ]
    return (f"nothing fits the budget; the nearest miss is {nearest.name} with {' and '.join(told)}",)


def _spent(one: Candidate, budget: Budget) -> list[tuple[str, str, float, float]]:
    """Return (what, unit, cost, limit) for each limit of the budget whose cost is known."""
    size_mb = None if one.size_bytes is None else one.size_bytes / 1e6
    rows = (
        ("latency", "ms", one.latency_ms, budget.max_latency_ms),
        (_marked("size", one.size_source), "MB", size_mb, budget.max_size_mb),
        (_marked("peak memory", one.memory_source), "MB", one.peak_memory_mb, budget.max_peak_memory_mb),
    )
    return [
        (what, unit, cost, limit)
        for what, unit, cost, limit in rows
        if cost is not None and limit is not None
    ]


def _marked(what: str, source: Source | None) -> str:
    return f"predicted {what}" if source == "predicted" else what


def _reasons(
    chosen: Candidate,
    fitting: Sequence[Candidate],
    everything: Sequence[Candidate],
    budget: Budget,
    preset: Preset,
) -> list[str]:
    name, near = quality.metric_word(chosen.metric.name), quality.margin_text(chosen.metric.name)
    aims = {
        "accuracy": f"it has the best {name} on the selection split",
        "balanced": f"it is the fastest within {near} of the best {name} on the selection split",
        "speed": "it is the fastest",
    }
    limit = f" of at most {budget.max_latency_ms:.4g} ms" if budget.max_latency_ms is not None else ""
    reasons = [
        f"Of {len(fitting)} candidates within the budget{limit} {aims[preset]}: {told_quality(chosen)}."
    ]
    if chosen.test_metric:
        reasons.append(
            "On the test split, which played no part in the choice, it has "
            f"{quality.told(chosen.test_metric)}."
        )
    reasons += _generated(chosen)
    span = f"{chosen.latency_low_ms:.4g} to {chosen.latency_high_ms:.4g} ms"
    if chosen.source == "measured":
        reasons.append(
            f"Its {'median ' * (chosen.generation is None)}latency of {chosen.latency_ms:.4g} ms ({span}) "
            f"was measured here with {chosen.runtime}; the measurement was {chosen.verdict}."
        )
    elif chosen.source == "imported":
        reasons.append(
            f"Its latency of {chosen.latency_ms:.4g} ms ({chosen.latency_is}) was not measured here: "
            f"{chosen.origin} reported it, and nothing is known of how quiet that machine was."
        )
    else:
        reasons.append(
            f"Its latency of {chosen.latency_ms:.4g} ms ({span}) is predicted, not measured"
            + (f"; it lies {chosen.warning}." if chosen.warning else ".")
        )
        if chosen.origin:
            reasons.append(
                f"The predictor was fitted on what others measured, with {told_threads(chosen.threads)}: "
                f"{chosen.origin}."
            )
    reasons += _room(chosen, budget)
    beaten = sum(chosen.dominates(one) for one in everything)
    if beaten:
        reasons.append(
            f"It dominates {beaten} of {len(everything) - 1} others: as good, as fast, and better in one."
        )
    reasons += _exchange(chosen, everything)
    return reasons


def _generated(chosen: Candidate) -> list[str]:
    """Say of what the latency is where a text is generated token by token."""
    of = chosen.generation
    if of is None:
        return []
    tokens = f"{of.tokens:.4g} tokens at {of.token_ms:.4g} ms each, the mean of the selection split"
    if not of.network_ms:
        return [f"Its latency is that of a whole text: {tokens}."]
    return [
        f"Its latency is that of a whole text: {of.network_ms:.4g} ms for the source and {tokens}. "
        "The bounds of both files are added up."
    ]


def _room(chosen: Candidate, budget: Budget) -> list[str]:
    """Say what of a limit on size or memory is not measured: predicted, or not known at all."""
    told = []
    if budget.max_size_mb is not None and chosen.size_bytes and chosen.size_source == "predicted":
        told.append(f"Its size of {chosen.size_bytes / 1e6:.4g} MB is predicted: there is no file yet.")
    if budget.max_peak_memory_mb is None:
        return told
    if chosen.peak_memory_mb is None:
        told.append(
            f"Its peak memory on {chosen.device} is not known, so that limit is not held against it."
        )
    elif chosen.memory_source == "predicted":
        low, high = chosen.peak_memory_low_mb or 0.0, chosen.peak_memory_high_mb or 0.0
        doubt = ", which is more than allowed" if high > budget.max_peak_memory_mb else ""
        told.append(
            f"Its peak memory of {chosen.peak_memory_mb:.4g} MB is predicted, not measured: "
            f"{low:.4g} to {high:.4g} MB{doubt}"
            + (f"; {chosen.memory_warning}." if chosen.memory_warning else ".")
        )
    elif chosen.generation is not None and chosen.generation.network_ms:
        told.append(
            f"Its peak memory of {chosen.peak_memory_mb:.4g} MB is that of two processes, one a file: "
            "one that runs both takes less."
        )
    return told


def _exchange(chosen: Candidate, everything: Sequence[Candidate]) -> list[str]:
    """Say what the next faster and the next better candidate on the front would cost and give."""
    members = Frontier.of(everything).members
    told = []
    faster = [one for one in members if one.latency_ms < chosen.latency_ms]
    if faster:
        other = faster[-1]
        told.append(
            f"Going down to {other.name} saves {chosen.latency_ms - other.latency_ms:.3g} ms and costs "
            f"{quality.gap_text(chosen.metric, other.metric)}."
        )
    better = [one for one in members if one.quality > chosen.quality and one.latency_ms > chosen.latency_ms]
    if better:
        other = better[0]
        told.append(
            f"Going up to {other.name} costs {other.latency_ms - chosen.latency_ms:.3g} ms and gives "
            f"{quality.gap_text(other.metric, chosen.metric)}."
        )
    return told
