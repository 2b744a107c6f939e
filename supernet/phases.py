"""Phases of a run: what is open to choice while each lasts, who teaches, and how fast it learns.

Progressive shrinking (once-for-all, Cai et al., 2020) and the sandwich rule (Yu & Huang, 2019) are
both lists of phases; `schedules/` holds a file for each, and a run file may list its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from edge_bench.records import SearchSpace

Dimension = Literal["resolution", "kernel", "depth", "expand"]
DIMENSIONS: tuple[Dimension, ...] = ("resolution", "kernel", "depth", "expand")


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A stretch of training.

    `open` are the elastic dimensions; a closed one stays at its maximum. `choices` says how many of
    the largest choices an open one has, e.g. `{depth = 2}`; without an entry it has all.

    With the teacher "in_place" each step trains the largest network on the labels, and the smallest
    and `random_subnets` random ones on its answers. With "frozen" it trains `random_subnets` random
    networks alone, on the answers of a copy of the largest one as it stood when the first such
    phase began. `random_subnets` is `training.random_subnets` where it is not given.

    What a taught network learns is `distillation` × the teacher's answer + `label_weight` × the
    labels: without a `distillation` that of `training`, without a `label_weight` the rest to 1. The
    step's gradient is the mean over its networks.

    `learning_rate` is the peak of a curve that begins here, its rise as long as `warmup` says (else
    `training.warmup`), with a fresh optimizer. A phase without one goes on along the curve of the
    phase before; the first has `training.learning_rate`. `sort_channels` orders the expanded
    channels of each block by importance before the phase begins.
    """

    name: str
    epochs: int
    learning_rate: float | None = None
    warmup: float | None = None
    open: tuple[Dimension, ...] = DIMENSIONS
    choices: Mapping[Dimension, int] = field(default_factory=dict)
    teacher: Literal["in_place", "frozen"] = "in_place"
    random_subnets: int | None = None
    distillation: float | None = None
    label_weight: float | None = None
    sort_channels: bool = False


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a step of the run stands: in its phase, and on its learning-rate curve, which may run
    through several phases and begins at the phase `curve`.
    """

    phase: Phase
    number: int
    step: int
    steps: int
    curve: Phase
    curve_step: int
    curve_steps: int


def place_of(phases: tuple[Phase, ...], step: int, *, steps_per_epoch: int) -> Place:
    """Return where `step` (from 0, counted over the whole run) stands."""
    lengths = [phase.epochs * steps_per_epoch for phase in phases]
    begins = [n for n, phase in enumerate(phases) if n == 0 or phase.learning_rate is not None]
    before = 0
    for number, length in enumerate(lengths):
        if step < before + length:
            first = max(begin for begin in begins if begin <= number)
            end = min((begin for begin in begins if begin > number), default=len(phases))
            return Place(
                phase=phases[number],
                number=number,
                step=step - before,
                steps=length,
                curve=phases[first],
                curve_step=step - sum(lengths[:first]),
                curve_steps=sum(lengths[first:end]),
            )
        before += length
    raise IndexError("the step lies behind the last phase")


def narrowed(space: SearchSpace, phase: Phase) -> SearchSpace:
    """Return `space` with every dimension that `phase` keeps closed held at its maximum.

    Blocks keep their sources, so its architectures are architectures of `space`.
    """

    def left(dimension: Dimension, choices: tuple[int, ...]) -> tuple[int, ...]:
        count = phase.choices.get(dimension, len(choices)) if dimension in phase.open else 1
        return choices[-min(count, len(choices)) :]

    stages = tuple(
        replace(
            stage,
            kernels=left("kernel", stage.kernels),
            depths=left("depth", stage.depths),
            expands=left("expand", stage.expands),
        )
        for stage in space.stages
    )
    return replace(space, stages=stages, resolutions=left("resolution", space.resolutions))


def rate_at(
    step: int, steps: int, *, peak: float, warmup: float, decay: Literal["cosine", "none"] = "cosine"
) -> float:
    """Return the learning rate of a curve's `step`: a linear rise over `warmup` of `steps`, then a
    cosine down to zero, or without decay the peak to the end. A `warmup` near 0.3 gives the one-cycle
    schedule (Smith & Topin, 2019).
    """
    rising = warmup * steps
    if step + 1 < rising:
        return peak * (step + 1) / rising
    if decay == "none":
        return peak
    progress = (step + 1 - rising) / max(steps - rising, 1)
    return peak * (1 + math.cos(math.pi * min(progress, 1))) / 2
