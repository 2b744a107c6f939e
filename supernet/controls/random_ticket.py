"""The random ticket: other initial weights under a mask drawn uniformly over all weights."""

from __future__ import annotations

import torch

from supernet.controls import Beginning, Control, Found
from supernet.sparsity import masks


class RandomTicket(Control):
    """The easiest to beat: small layers may lose all they have. See `layer_shuffled` beside it."""

    def begin(self, found: Found) -> Beginning:
        weights = sum(one.numel() for one in found.mask.values())
        stands = found.generator.permutation(weights) < masks.count(found.mask)
        mask = masks.unrolled(torch.from_numpy(stands), found.mask)
        return Beginning(mask=mask, weights=found.drawn_anew, step=0)
