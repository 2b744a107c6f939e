"""Training techniques, one file each: what the tables `[techniques.NAME]` of a run file may name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import nn


@dataclass(frozen=True, kw_only=True)
class Technique:
    """A way to train. A variant's fields are the options of its table; hooks do nothing unless overridden.

    `tasks` are those it can be used in. Whatever it does to a network while that trains must be gone
    from what is cut out of it: no random operator, mask or buffer of a technique reaches a file.
    """

    tasks: ClassVar[tuple[str, ...]] = ()

    def check(self, network: nn.Module) -> None:
        """Raise a `ConfigError` where an option does not fit the network."""

    def before_step(self, network: nn.Module, generator: np.random.Generator) -> None:
        """Prepare one step of training.

        `generator` is seeded by the run and the step, alike in every process: what is drawn from it
        depends on no step before, and is the same on all ranks.
        """

    def finish(self, network: nn.Module) -> None:
        """Take from the network what `before_step` has left in it."""
