"""The ticket's weights under its mask shuffled within each layer: as many weights a layer, other ones."""

from __future__ import annotations

import torch

from supernet.controls import Beginning, Control, Found


class LayerShuffled(Control):
    """Tells what is due to which weights stand rather than how many in each layer."""

    def begin(self, found: Found) -> Beginning:
        generator = found.generator
        mask = {
            name: one.flatten()[torch.from_numpy(generator.permutation(one.numel()))].view(one.shape)
            for name, one in found.mask.items()
        }
        return Beginning(mask=mask, weights=found.rewound, step=found.step)
