"""Weights shuffled over all layers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from supernet.perturbations._shuffle import Groups, Shuffle
from supernet.sparsity import masks
from supernet.sparsity.masks import Mask


@dataclass(frozen=True, kw_only=True)
class ShuffleGlobally(Shuffle):
    """Not even the scale of a layer's weights is left, which differs where layers differ in width."""

    def groups(self, mask: Mask) -> Groups:
        return np.zeros(masks.count(mask), np.int64)
