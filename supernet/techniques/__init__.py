"""Training techniques, one file each: what the tables `[techniques.NAME]` of a run file may name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from torch import nn

from edge_bench.files import Home

if TYPE_CHECKING:
    from supernet.run import RunConfig
    from supernet.tasks import Task


@dataclass(frozen=True, kw_only=True)
class Technique:
    """A way to train. A variant's fields are the options of its table; hooks do nothing unless overridden.

    `tasks` are those it can be used in. `excludes` names techniques that cannot be used beside it, each
    with the reason; one of the two says so. One that `replaces_layers` begins before those that put
    something around the weights of layers, and finishes behind them. Whatever a technique does to a network
    while that trains must be gone from what is cut out of it: no random operator, mask or buffer of it
    reaches a file.

    A technique keeps nothing in itself: what it knows beside the step stands in the network's state dict.
    So a run that was interrupted ends as an undisturbed one, and a finished run's network is made again
    by `begin`, its weights loaded, and `finish`.
    """

    tasks: ClassVar[tuple[str, ...]] = ()
    excludes: ClassVar[Mapping[str, str]] = MappingProxyType({})
    replaces_layers: ClassVar[bool] = False

    def check_run(self, run: RunConfig) -> None:
        """Raise a `ConfigError` where it does not fit the run file; no data is read yet."""

    def check(self, network: nn.Module) -> None:
        """Raise a `ConfigError` where an option does not fit the network."""

    def begin(self, network: nn.Module) -> None:
        """Put into an untrained network what training needs: parametrisations, buffers.

        The optimizer is made behind it and a checkpoint is loaded behind it. Nothing is drawn here.
        """

    def start(self, network: nn.Module, task: Task, home: Home) -> int:
        """Change the weights that a new run begins with; return the step from which it is trained.

        It is called once, behind `begin`, and not for a run that goes on from its checkpoint. Steps before
        the returned one count as done elsewhere: schedules begin behind them.

        Args:
            network: as `begin` left it, on its device.
            task: what is learned, and the run's configuration.
            home: where other runs lie.
        """
        return 0

    def before_step(
        self, network: nn.Module, generator: np.random.Generator, step: int, steps: int
    ) -> None:
        """Prepare one step of training.

        Args:
            network: on its device.
            generator: seeded by the run and the step, alike in every process: what is drawn from it
                depends on no step before, and is the same on all ranks.
            step: from 0, counted over the whole run.
            steps: of the whole run.
        """

    def before_update(self, network: nn.Module, step: int, steps: int) -> None:
        """Change the gradients, which are those of all processes, before they are clipped and the optimizer
        moves the weights; arguments as in `before_step`.
        """

    def after_step(self, network: nn.Module, step: int, steps: int) -> None:
        """Do what follows once the optimizer has moved the weights; arguments as in `before_step`."""

    def finish(self, network: nn.Module) -> None:
        """Take from the network all that the other hooks have put into it; plain modules remain."""

    def facts(self, network: nn.Module) -> Mapping[str, Any]:
        """Return what a subnet's `notes` tell of it; the network is trained and not yet finished."""
        return MappingProxyType({})
