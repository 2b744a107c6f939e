"""Qualities as people read them, and what is nearly as good: accuracy, BLEU, perplexity and returns."""

from __future__ import annotations

from edge_bench.records.subnet import Metric

BLEU, PERPLEXITY, RETURN = "bleu", "perplexity", "return"
# Their scales have no ends, and their names stand before their values.
UNBOUNDED = (PERPLEXITY, RETURN)


def is_share(name: str) -> bool:
    """Say whether a metric is a fraction that people read as per cent."""
    return "accuracy" in name


def higher_is_better(name: str) -> bool:
    """Say whether more of a metric is better; of perplexity less is."""
    return name != PERPLEXITY


def value_text(name: str, value: float) -> str:
    """Return a value as it stands beside the metric's name: "83.10 %", "33.4", "6.87"."""
    if is_share(name):
        return f"{100 * value:.2f} %"
    if name in (BLEU, RETURN):
        return f"{value:.1f}"
    return f"{value:.2f}" if name == PERPLEXITY else f"{value:.4g}"


def told(metric: Metric) -> str:
    """Return a quality as it stands alone: "83.10 %", "33.4 BLEU", "perplexity 6.87"."""
    text = value_text(metric.name, metric.value)
    if is_share(metric.name):
        return text
    return f"{metric.name} {text}" if metric.name in UNBOUNDED else f"{text} {metric_word(metric.name)}"


def metric_word(name: str) -> str:
    """Return a metric's name as people write it."""
    return "BLEU" if name == BLEU else name


def gap_text(one: Metric, other: Metric) -> str:
    """Return how far two values of one metric lie apart: "1.23 points", "0.8 BLEU", "0.3 of perplexity"."""
    gap = abs(one.value - other.value)
    if is_share(one.name):
        return f"{100 * gap:.2f} points"
    if one.name in UNBOUNDED:
        return f"{gap:.3g} of {one.name}"
    return f"{value_text(one.name, gap)} {metric_word(one.name)}"


def margin(best: Metric) -> float:
    """Return by how much a value may be worse than `best` and still count as nearly as good.

    One point: 0.01 of a share, one BLEU; of what has no end to its scale a hundredth of the best.
    """
    if best.name in UNBOUNDED:
        return 0.01 * abs(best.value)
    return 1.0 if best.name == BLEU else 0.01


def margin_text(name: str) -> str:
    """Return `margin` in words, as in "within a point of the best"."""
    if name in UNBOUNDED:
        return "1 %"
    return "one BLEU" if name == BLEU else "a point"
