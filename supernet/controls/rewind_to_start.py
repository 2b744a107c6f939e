"""Rewound to the initial weights at every level: the original method (Frankle and Carbin, 2019)."""

from __future__ import annotations

from typing import ClassVar

from supernet.controls import Beginning, Control, Found


class RewindToStart(Control):
    """Tells what is due to rewinding late."""

    own_ladder: ClassVar[bool] = True

    def begin(self, found: Found) -> Beginning:
        return Beginning(mask=found.mask, weights=found.initial, step=0)
