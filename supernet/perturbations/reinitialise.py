"""Weights drawn anew, as another seed begins with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from supernet.perturbations import Perturbation, Point, with_signs_of


@dataclass(frozen=True, kw_only=True)
class Reinitialise(Perturbation):
    """With `keep_signs` each new weight takes the sign of the old one: are signs all that matters, as they
    seem to be in small networks (Zhou et al., 2019)?
    """

    usual: ClassVar[tuple[Mapping[str, Any], ...]] = ({}, {"keep_signs": True})

    keep_signs: bool = False

    def changed(self, point: Point, stands: Tensor, generator: np.random.Generator) -> Tensor:
        drawn = torch.cat([point.drawn_anew[name].to(one.device)[one] for name, one in point.mask.items()])
        return with_signs_of(drawn, stands) if self.keep_signs else drawn
