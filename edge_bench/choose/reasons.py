"""Why a candidate was chosen, and what would change that, in sentences."""

from __future__ import annotations

import math
from collections.abc import Iterator

from edge_bench.choose.chances import chance, told_chance
from edge_bench.choose.landscape import Landscape
from edge_bench.choose.percentiles import P90
from edge_bench.choose.presets import Preset
from edge_bench.choose.trade_offs import (
    Exchange,
    Switch,
    dominance,
    exchanges,
    flips,
    looser,
    other_presets,
    tighter,
)
from edge_bench.records import Budget, Candidate, quality

# Of measurements that could change the answer only so many are told.
FLIPS_TOLD = 3


def told_threads(threads: int) -> str:
    """Return a number of threads for people; 0 is one that no source tells."""
    if not threads:
        return "a number of threads that its source does not tell"
    return f"{threads} thread{'s' if threads > 1 else ''}"


def told_quality(candidate: Candidate) -> str:
    """Return the metric on the selection split for people: "83.10 %", "33.4 BLEU", "perplexity 6.87"."""
    return quality.told(candidate.metric)


def told_exchange(step: Exchange) -> str:
    """Return what a step along the front gives and costs: "+0.40 points costs 1.1 ms"."""
    gap = quality.gap_text(step.better.metric, step.faster.metric)
    sign = "+" if step.better.metric.higher_is_better else "−"
    return f"{sign}{gap} costs {step.extra_ms:.3g} ms"


def reasons(chosen: Candidate, land: Landscape, budget: Budget, preset: Preset) -> Iterator[str]:
    """Yield why `chosen` was chosen among the candidates of `land`, and what is to be known of it."""
    name, near = quality.metric_word(chosen.metric.name), quality.margin_text(chosen.metric.name)
    aims = {
        "accuracy": f"it has the best {name} on the selection split",
        "balanced": f"it is the fastest within {near} of the best {name} on the selection split",
        "speed": "it is the fastest",
    }
    percentile = f" {P90}" if chosen.latency_is == P90 else ""
    limit = f" of at most {budget.max_latency_ms:.4g} ms" if budget.max_latency_ms is not None else ""
    yield (
        f"Of {land.fitting} candidates within the{percentile} budget{limit} {aims[preset]}: "
        f"{told_quality(chosen)}."
    )
    if chosen.test_metric:
        yield (
            "On the test split, which played no part in the choice, it has "
            f"{quality.told(chosen.test_metric)}."
        )
    yield from _latency(chosen)
    yield from _room(chosen, budget)
    yield from _kept_to(chosen, budget)
    yield from _dominated(chosen, land)
    yield from _neighbours(chosen, land)


def changes(chosen: Candidate, land: Landscape, preset: Preset) -> Iterator[str]:
    """Yield what would change the answer: other budgets, other presets, measurements."""
    down = tighter(land, preset)
    if down.then is None:
        yield f"Below {down.limit_ms:.4g} ms nothing fits."
    else:
        yield f"Below {down.limit_ms:.4g} ms it is {_against(down, chosen)}."
    if land.limit_ms < math.inf:
        up = looser(land, preset)
        if up is None:
            yield "No larger latency budget changes it."
        else:
            yield f"From {up.limit_ms:.4g} ms on it is {_against(up, chosen)}."
    others = other_presets(land, preset)
    if others:
        told = (f"{name} chooses {one.name} ({told_quality(one)})" for name, one in others.items())
        yield f"Of the other presets {', and '.join(told)}."
    else:
        yield "Every other preset chooses the same."
    yield from _measurements(chosen, land, preset)


def _against(switch: Switch, chosen: Candidate) -> str:
    then = switch.then
    assert then is not None
    gap = then.quality - chosen.quality
    if not gap:
        return f"{then.name}, as good"
    return f"{then.name}, {quality.gap_text(then.metric, chosen.metric)} {'better' if gap > 0 else 'worse'}"


def _measurements(chosen: Candidate, land: Landscape, preset: Preset) -> Iterator[str]:
    for flip in flips(land, preset)[:FLIPS_TOLD]:
        one, then = flip.candidate, flip.then
        again = "" if one.source == "predicted" else " again"
        span = f"{one.latency_low_ms:.4g} to {one.latency_high_ms:.4g} ms"
        answer = "nothing would fit" if then is None else f"{then.name} would be chosen"
        yield (
            f"Measuring {'it' if one is chosen else one.name}{again} may change the answer: its interval "
            f"is {span}, and at {flip.at_ms:.4g} ms {answer}."
        )


def _latency(chosen: Candidate) -> Iterator[str]:
    """Say of what the latency is, and where it comes from."""
    of = chosen.generation
    if of is not None:
        tokens = f"{of.tokens:.4g} tokens at {of.token_ms:.4g} ms each, the mean of the selection split"
        if of.network_ms:
            yield (
                f"Its latency is that of a whole text: {of.network_ms:.4g} ms for the source and {tokens}. "
                "The bounds of both files are added up."
            )
        else:
            yield f"Its latency is that of a whole text: {tokens}."
    span = f"{chosen.latency_low_ms:.4g} to {chosen.latency_high_ms:.4g} ms"
    if chosen.source == "measured":
        which = "" if of is not None else f"{chosen.latency_is} "
        yield (
            f"Its {which}latency of {chosen.latency_ms:.4g} ms ({span}) "
            f"was measured here with {chosen.runtime}; the measurement was {chosen.verdict}."
        )
    elif chosen.source == "imported":
        yield (
            f"Its latency of {chosen.latency_ms:.4g} ms ({chosen.latency_is}) was not measured here: "
            f"{chosen.origin} reported it, and nothing is known of how quiet that machine was."
        )
    else:
        yield (
            f"Its latency of {chosen.latency_ms:.4g} ms ({span}) is predicted, not measured"
            + (f"; it lies {chosen.warning}." if chosen.warning else ".")
        )
        if chosen.origin:
            yield (
                f"The predictor was fitted on what others measured, with {told_threads(chosen.threads)}: "
                f"{chosen.origin}."
            )


def _room(chosen: Candidate, budget: Budget) -> Iterator[str]:
    """Say what of a limit on size or memory is not measured: predicted, or not known at all."""
    if budget.max_size_mb is not None and chosen.size_bytes and chosen.size_source == "predicted":
        yield f"Its size of {chosen.size_bytes / 1e6:.4g} MB is predicted: there is no file yet."
    if budget.max_peak_memory_mb is None:
        return
    if chosen.peak_memory_mb is None:
        yield f"Its peak memory on {chosen.device} is not known, so that limit is not held against it."
    elif chosen.memory_source == "predicted":
        low, high = chosen.peak_memory_low_mb or 0.0, chosen.peak_memory_high_mb or 0.0
        doubt = ", which is more than allowed" if high > budget.max_peak_memory_mb else ""
        yield (
            f"Its peak memory of {chosen.peak_memory_mb:.4g} MB is predicted, not measured: "
            f"{low:.4g} to {high:.4g} MB{doubt}"
            + (f"; {chosen.memory_warning}." if chosen.memory_warning else ".")
        )
    elif chosen.generation is not None and chosen.generation.network_ms:
        yield (
            f"Its peak memory of {chosen.peak_memory_mb:.4g} MB is that of two processes, one a file: "
            "one that runs both takes less."
        )


def _kept_to(chosen: Candidate, budget: Budget) -> Iterator[str]:
    probability = chance(chosen, budget)
    if probability is not None:
        yield f"It meets the budget with a probability of {told_chance(probability)}."


def _dominated(chosen: Candidate, land: Landscape) -> Iterator[str]:
    found = dominance(chosen, land)
    other = found.nearest
    if other is None:
        return
    slower, gap = other.latency_ms - chosen.latency_ms, chosen.quality - other.quality
    told = [
        *([f"slower by {slower:.3g} ms"] if slower else ["as fast"]),
        *([f"worse by {quality.gap_text(chosen.metric, other.metric)}"] if gap else ["as good"]),
    ]
    yield (
        f"It dominates {found.count} of {found.others} others; the nearest is {other.name}, "
        f"{' and '.join(told)}."
    )


def _neighbours(chosen: Candidate, land: Landscape) -> Iterator[str]:
    """Say what the next faster and the next better one on the front would cost and give."""
    steps = exchanges(land)
    for step in steps:
        if step.better is chosen:
            yield (
                f"Going down to {step.faster.name} saves {step.extra_ms:.3g} ms and costs "
                f"{quality.gap_text(chosen.metric, step.faster.metric)}."
            )
    for step in steps:
        if step.faster is chosen:
            yield (
                f"Going up to {step.better.name} costs {step.extra_ms:.3g} ms and gives "
                f"{quality.gap_text(step.better.metric, chosen.metric)}."
            )
