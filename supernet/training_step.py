"""A point of training as people name it: "3ep", "500it" or "3ep20it"."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import total_ordering

from edge_bench.errors import ConfigError

_FORM = re.compile(r"(?:(\d+)ep)?(?:(\d+)it)?")


@total_ordering
@dataclass(frozen=True)
class TrainingStep:
    """So many optimizer steps from the start, in a run whose epochs have `steps_per_epoch`."""

    count: int
    steps_per_epoch: int

    @classmethod
    def parse(cls, text: str, *, steps_per_epoch: int) -> TrainingStep:
        """Read epochs, iterations (optimizer steps) or both.

        Raises:
            ConfigError: `text` is of none of the forms.
        """
        found = _FORM.fullmatch(text)
        if not text or not found:
            raise ConfigError(
                f"'{text}' is no step of training", hint="e.g. 20it (steps), 3ep (epochs) or 3ep20it"
            )
        epochs, iterations = (int(one or 0) for one in found.groups())
        return cls(epochs * steps_per_epoch + iterations, steps_per_epoch)

    @property
    def epochs(self) -> int:
        """The whole epochs in it."""
        return self.count // self.steps_per_epoch

    @property
    def iterations(self) -> int:
        """The steps behind its last whole epoch."""
        return self.count % self.steps_per_epoch

    def __str__(self) -> str:
        epochs = f"{self.epochs}ep" if self.epochs else ""
        return f"{epochs}{self.iterations}it" if self.iterations or not epochs else epochs

    def __lt__(self, other: TrainingStep) -> bool:
        if other.steps_per_epoch != self.steps_per_epoch:
            raise ValueError(
                f"epochs of {self.steps_per_epoch} and of {other.steps_per_epoch} steps do not compare"
            )
        return self.count < other.count
