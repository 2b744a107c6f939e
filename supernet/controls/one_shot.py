"""The dense network pruned to the level's count in one round, and rewound."""

from __future__ import annotations

from supernet.controls import Beginning, Control, Found


class OneShot(Control):
    """Tells what is due to pruning in many rounds."""

    def begin(self, found: Found) -> Beginning:
        return Beginning(mask=found.one_shot_mask, weights=found.rewound, step=found.step)
