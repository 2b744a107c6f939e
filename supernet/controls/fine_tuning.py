"""Trained weights go on at a low learning rate: what is usually done behind pruning."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from supernet.controls import Beginning, Control, Found
from supernet.run import Training

# Of the peak, from which it falls to zero: the run's own end has none left.
RATE_SHARE = 0.1


class FineTuning(Control):
    """It takes as many steps as a ticket's level, at a tenth of the learning rate."""

    own_ladder: ClassVar[bool] = True

    def begin(self, found: Found) -> Beginning:
        return Beginning(mask=found.mask, weights=found.trained, step=found.step)

    def training(self, training: Training) -> Training:
        return replace(training, learning_rate=RATE_SHARE * training.learning_rate, warmup=0.0)
