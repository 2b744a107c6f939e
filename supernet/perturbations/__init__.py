"""Perturbations, one file each: what is done to a ticket's weights at the step that is rewound to.

What a ticket of such weights loses tells which of their properties training has made by then and needs
(Frankle, Schwab and Morcos, 2020).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from edge_bench import variants
from edge_bench.documents import from_document
from edge_bench.errors import ConfigError
from supernet.sparsity.masks import Mask

PERTURBATIONS = "supernet.perturbations"
Weights = Mapping[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Point:
    """The step that is rewound to: which weights stand, what they were there and at the start of the run,
    and what another seed draws. The mask names the parameters that may be pruned; the others hold all.
    """

    mask: Mask
    rewound: Weights
    initial: Weights
    drawn_anew: Weights


@dataclass(frozen=True, kw_only=True)
class Perturbation(ABC):
    """A variant's fields are its options; `usual` lists those that are tried where nothing is said.

    Changed are the weights that stand, and they alone: what is pruned, biases and norms stay as they were
    unless they too may be pruned.
    """

    usual: ClassVar[tuple[Mapping[str, Any], ...]] = ({},)

    def of(self, point: Point, generator: np.random.Generator) -> dict[str, Tensor]:
        """Return the rewound weights, perturbed; what is drawn is drawn from `generator`."""
        stands = [point.rewound[name][one] for name, one in point.mask.items()]
        changed = self.changed(point, torch.cat(stands), generator)
        perturbed = dict(point.rewound)
        parts = torch.split(changed, [len(one) for one in stands])
        for (name, one), part in zip(point.mask.items(), parts, strict=True):
            perturbed[name] = point.rewound[name].clone()
            perturbed[name][one] = part.to(perturbed[name].dtype)
        return perturbed

    @abstractmethod
    def changed(self, point: Point, stands: Tensor, generator: np.random.Generator) -> Tensor:
        """Return other values for the weights that stand.

        Args:
            point: where they were found.
            stands: their values [n]: parameters in the order of the mask, each in the order of its indices.
            generator: what to draw from.
        """


def perturbation(table: Mapping[str, Any]) -> Perturbation:
    """Return what a table describes: `kind` and that kind's options.

    Raises:
        UnknownVariant, ConfigError: no such kind, or an option that cannot be used.
    """
    options = dict(table)
    kind = options.pop("kind", None)
    if not isinstance(kind, str):
        raise ConfigError(f"a perturbation must name its kind: {', '.join(variants.names(PERTURBATIONS))}")
    return from_document(variants.load(Perturbation, PERTURBATIONS, kind), options, where=kind)


def with_signs_of(values: Tensor, signs: Tensor) -> Tensor:
    """Return the magnitudes of `values` under the signs of `signs`, where a zero counts as positive."""
    # torch.copysign would take that of a negative zero.
    return torch.where(signs < 0, -values.abs(), values.abs())
