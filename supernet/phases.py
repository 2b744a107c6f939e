"""Phases of a run: what is open to choice while it lasts, and how fast it learns.

Progressive shrinking (once-for-all, Cai et al., 2020) is a list of phases that open one dimension
after another; the default is one phase with all open, after the sandwich rule (Yu & Huang, 2019).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from edge_bench.records import SearchSpace

Dimension = Literal["resolution", "kernel", "depth", "expand"]


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A stretch of training. `open` are the elastic dimensions; a closed one stays at its maximum.

    `learning_rate` is the peak; without one it is `training.learning_rate`.
    """

    name: str
    epochs: int
    learning_rate: float | None = None
    open: tuple[Dimension, ...] = ("resolution", "kernel", "depth", "expand")


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a step of the run stands: its phase, and its place in that phase's steps."""

    phase: Phase
    number: int
    step: int
    steps: int


def place_of(phases: tuple[Phase, ...], step: int, *, steps_per_epoch: int) -> Place:
    """Return where `step` (from 0, counted over the whole run) stands."""
    for number, phase in enumerate(phases):
        steps = phase.epochs * steps_per_epoch
        if step < steps:
            return Place(phase=phase, number=number, step=step, steps=steps)
        step -= steps
    raise IndexError("the step lies behind the last phase")


def narrowed(space: SearchSpace, phase: Phase) -> SearchSpace:
    """Return `space` with every dimension that `phase` keeps closed held at its maximum.

    Blocks keep their sources, so its architectures are architectures of `space`.
    """
    opened = phase.open
    stages = tuple(
        replace(
            stage,
            kernels=stage.kernels if "kernel" in opened else stage.kernels[-1:],
            depths=stage.depths if "depth" in opened else stage.depths[-1:],
            expands=stage.expands if "expand" in opened else stage.expands[-1:],
        )
        for stage in space.stages
    )
    resolutions = space.resolutions if "resolution" in opened else space.resolutions[-1:]
    return replace(space, stages=stages, resolutions=resolutions)


def rate_at(step: int, steps: int, *, peak: float, warmup: float) -> float:
    """Return the learning rate of a phase's `step`: a linear rise over `warmup` of `steps`, then a
    cosine down to zero. A `warmup` near 0.3 gives the one-cycle schedule (Smith & Topin, 2019).
    """
    rising = warmup * steps
    if step + 1 < rising:
        return peak * (step + 1) / rising
    progress = (step + 1 - rising) / max(steps - rising, 1)
    return peak * (1 + math.cos(math.pi * min(progress, 1))) / 2
