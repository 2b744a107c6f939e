"""The ticket's mask over other initial weights: tells what is due to the weights it began with."""

from __future__ import annotations

from supernet.controls import Beginning, Control, Found


class NewInitialisation(Control):
    """The weights are those of another seed, from the start of the run."""

    def begin(self, found: Found) -> Beginning:
        return Beginning(mask=found.mask, weights=found.drawn_anew, step=0)
