"""Weights shuffled within each layer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from supernet.perturbations._shuffle import Groups, Shuffle
from supernet.sparsity.masks import Mask


@dataclass(frozen=True, kw_only=True)
class ShuffleWithinLayer(Shuffle):
    """Each layer keeps the distribution of its weights, which training may have changed."""

    def groups(self, mask: Mask) -> Groups:
        counts = [int(one.sum()) for one in mask.values()]
        return np.repeat(np.arange(len(counts)), counts)
