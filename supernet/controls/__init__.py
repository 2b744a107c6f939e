"""Controls of a lottery ticket, one file each: what a level begins with in place of the ticket."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from torch import Tensor, nn

from edge_bench import variants
from edge_bench.errors import ConfigError
from edge_bench.files import Home
from supernet import checkpoint
from supernet.run import CHECKPOINT_FILE, KEPT_FILE, Training, read_record
from supernet.sparsity import masked, masks
from supernet.sparsity.masks import Mask
from supernet.training_step import TrainingStep

if TYPE_CHECKING:
    from supernet.tasks import Task
    from supernet.techniques.lottery_ticket import LotteryTicket

CONTROLS = "supernet.controls"
Weights = Mapping[str, Tensor]
# What this generator of a run is for; part of its seed (0 to 2 are taken by the trainer and the weights).
_CONTROL = 3


@dataclass(frozen=True, kw_only=True)
class Beginning:
    """A mask, a network's weights without masks, and the step of the run that training goes on from."""

    mask: Mask
    weights: Weights
    step: int


class Found:
    """What a level may begin with: networks trained below it, the rewound one, and the ticket's mask."""

    def __init__(self, ticket: LotteryTicket, network: nn.Module, task: Task, home: Home) -> None:
        """Look at the runs that `ticket` names; `network` is as the dense run began with it.

        Raises:
            ConfigError: one of them is not there or not finished, or has no step to rewind to.
        """
        self.ticket, self.network, self.task = ticket, network, task
        self._dense, self._below = (_finished(home.runs / run) for run in (ticket.dense, ticket.below))
        record = read_record(self._dense)
        per_epoch = record.config.training.steps_per_epoch(record.images)
        self.step = TrainingStep.parse(ticket.rewind, steps_per_epoch=per_epoch).count
        self._early = TrainingStep.parse(ticket.early or ticket.rewind, steps_per_epoch=per_epoch).count

    @cached_property
    def mask(self) -> Mask:
        """The ticket's: of the weights that stand one level below, those of largest magnitude."""
        return self._largest(self._state, masked.mask_in(self._state) or None)

    @property
    def one_shot_mask(self) -> Mask:
        """As many of the dense network's weights."""
        return self._largest(checkpoint.read_weights(self._dense / CHECKPOINT_FILE), None)

    @property
    def trained(self) -> Weights:
        """The network of the level below, trained to its end."""
        return masked.plain_state(self._state)

    @property
    def rewound(self) -> Weights:
        """The dense network at the step that is rewound to."""
        if not self._early:
            return self.initial
        return checkpoint.read_weights(self._dense / KEPT_FILE.format(step=self._early))

    @property
    def initial(self) -> Weights:
        """The network that the dense run began with."""
        return masked.plain_state(self.network.state_dict())

    @property
    def drawn_anew(self) -> Weights:
        """A network of other initial weights."""
        return self.task.drawn(int(self.generator.integers(2**31))).state_dict()

    @property
    def generator(self) -> np.random.Generator:
        """What a control may draw from; it begins alike whenever it is asked for."""
        return np.random.default_rng([self.task.config.seed, _CONTROL, self.ticket.level])

    @cached_property
    def _state(self) -> Weights:
        return checkpoint.read_weights(self._below / CHECKPOINT_FILE)

    def _largest(self, state: Weights, among: Mask | None) -> Mask:
        plain = masked.plain_state(state)
        weights = {name: plain[name] for name in masked.masks_in(self.network)}
        share = masks.sparsity_after(self.ticket.level, self.ticket.rate)
        keep = masks.kept_count(sum(weight.numel() for weight in weights.values()), share)
        return masks.largest(weights, keep, scope=self.ticket.scope, among=among)


class Control(ABC):
    """What to compare a ticket with, at its own count of weights.

    `own_ladder` says whether a level prunes the network that the control itself has trained one level
    below; else it begins beside the ticket, from the ticket's level below.
    """

    own_ladder: ClassVar[bool] = False

    @abstractmethod
    def begin(self, found: Found) -> Beginning:
        """Return what a level begins with."""

    def training(self, training: Training) -> Training:
        """Return how a level is trained: as the dense network, unless overridden."""
        return training


def control(name: str) -> Control:
    """Return the control of a name; `UnknownVariant` names the nearest."""
    return variants.load(Control, CONTROLS, name)()


def _finished(folder: Path) -> Path:
    progress = checkpoint.read_progress(folder / CHECKPOINT_FILE, run=read_record(folder).digest)
    if progress is None or not progress.finished:
        raise ConfigError(
            f"[techniques.lottery_ticket] begins with run '{folder.name}', which is not finished",
            hint="edge-bench tickets RUN.toml trains all levels in turn",
        )
    return folder
