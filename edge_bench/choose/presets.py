"""What is wanted of a choice: the best, the fastest, or the fastest of those nearly as good as the best."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from edge_bench.records import Candidate, quality

Preset = Literal["accuracy", "balanced", "speed"]
PRESETS: tuple[Preset, ...] = get_args(Preset)


def chosen_by(preset: Preset, fitting: Sequence[Candidate]) -> Candidate:
    """Return the one of `fitting`, at least one, that a preset chooses.

    "accuracy" takes the best by its metric, of equals the fastest; "speed" the fastest, of equals the best;
    "balanced" the fastest within one point of the best (`records.quality.margin`). What is chosen is never
    dominated; of candidates that are alike in both it is the first given.
    """
    best = min(fitting, key=lambda one: (-one.quality, one.latency_ms))
    if preset == "accuracy":
        return best
    enough = best.quality - quality.margin(best.metric) if preset == "balanced" else float("-inf")
    return min(
        (one for one in fitting if one.quality >= enough), key=lambda one: (one.latency_ms, -one.quality)
    )
