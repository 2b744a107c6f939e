"""Gaussian noise on each weight, in deviations of its layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from edge_bench.errors import ConfigError
from supernet.perturbations import Perturbation, Point


@dataclass(frozen=True, kw_only=True)
class Noise(Perturbation):
    """Its standard deviation is `deviations` times that of all the layer's weights: as they were drawn
    ("initial"), or at the step that is rewound to ("rewound"). A layer of equal weights gets none.
    """

    usual: ClassVar[tuple[Mapping[str, Any], ...]] = tuple({"deviations": n} for n in (0.5, 1.0, 2.0, 3.0))

    deviations: float = 1.0
    of_weights: Literal["initial", "rewound"] = "initial"

    def __post_init__(self) -> None:
        if not self.deviations > 0:
            raise ConfigError(f"noise deviations is {self.deviations:g}; it must be above 0")

    def changed(self, point: Point, stands: Tensor, generator: np.random.Generator) -> Tensor:
        layers = point.initial if self.of_weights == "initial" else point.rewound
        scales = [float(layers[name].double().std(correction=0)) for name in point.mask]
        counts = [int(one.sum()) for one in point.mask.values()]
        noise = generator.standard_normal(len(stands)) * np.repeat(scales, counts)
        return stands + self.deviations * torch.from_numpy(noise).to(stands)
