"""Trained weights go on at the learning rate of the rewound step (Renda, Frankle and Carbin, 2020)."""

from __future__ import annotations

from typing import ClassVar

from supernet.controls import Beginning, Control, Found


class LearningRateRewinding(Control):
    """No weight is rewound, only the schedule, so that a level takes as many steps as a ticket's."""

    own_ladder: ClassVar[bool] = True

    def begin(self, found: Found) -> Beginning:
        return Beginning(mask=found.mask, weights=found.trained, step=found.step)
