"""Gradual magnitude pruning (Zhu and Gupta, 2017): pruned weights stay pruned, on the ramp of `dpf`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from supernet.techniques._sparse import RampedTechnique


@dataclass(frozen=True, kw_only=True)
class GradualPruning(RampedTechnique):
    """A pruned weight has no gradient and never stands again: what `dpf` is compared with."""

    regrows: ClassVar[bool] = False
