"""Weights shuffled within each filter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from supernet.perturbations._shuffle import Groups, Shuffle
from supernet.sparsity.masks import Mask


@dataclass(frozen=True, kw_only=True)
class ShuffleWithinFilter(Shuffle):
    """A filter is all that leads to one unit: an output channel of a convolution, a row of a linear or
    recurrent layer; of an embedding, the vector of one token. A bias has but one weight, and stays.
    """

    def groups(self, mask: Mask) -> Groups:
        counts = [one.flatten(1).sum(1) if one.ndim > 1 else one.long() for one in mask.values()]
        filters = np.concatenate([count.cpu().numpy() for count in counts])
        return np.repeat(np.arange(len(filters)), filters)
