"""Lottery tickets by iterative magnitude pruning with late rewinding (Frankle et al., 2019 and 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from edge_bench.errors import ConfigError
from edge_bench.files import Home
from supernet.controls import Beginning, Found, control
from supernet.perturbations import Point, perturbation
from supernet.sparsity import masked
from supernet.techniques._sparse import SparseTechnique
from supernet.training_step import TrainingStep

if TYPE_CHECKING:
    from supernet.tasks import Task

# What this generator of a run is for; part of its seed (3 is that of controls).
_PERTURBATION = 4


@dataclass(frozen=True, kw_only=True)
class LotteryTicket(SparseTechnique):
    """A run file says how to prune; `edge-bench tickets` trains the levels and fills in the rest.

    Each level prunes `rate` of the weights that remain by the magnitudes they were trained to, puts the
    others back to what the dense run had at step `rewind` ("20it", "3ep", "3ep20it"; "0it" for the initial
    ones), and trains them from that step to the end. The mask stays as it is.

    `level` counts the rounds of pruning behind a run, `dense` is the folder of the dense run, `below`
    that of the run whose weights are pruned, and `control` what is trained in place of the ticket.
    `early` is the step of the dense run that weights are put back to where it is not `rewind`: a run that
    was pre-trained has other steps than those it stands for. `perturbation` is done to them there.
    """

    rate: float = 0.2
    rewind: str = "1ep"
    level: int = 0
    control: str = ""
    dense: str = ""
    below: str = ""
    early: str = ""
    perturbation: Mapping[str, Any] = field(default_factory=dict)

    def check(self, network: nn.Module) -> None:
        super().check(network)
        self.check_options()
        if not (self.dense and self.below):
            raise ConfigError(
                f"{self.table} is trained level by level, each from the one below",
                hint="edge-bench tickets RUN.toml",
            )

    def check_options(self) -> None:
        """Raise a `ConfigError` where the options of a run file cannot be used."""
        self.check_share("rate", below=1)
        if not self.rate:
            raise ConfigError(f"{self.table} rate is 0; it must be above 0")
        TrainingStep.parse(self.rewind, steps_per_epoch=1)

    def start(self, network: nn.Module, task: Task, home: Home) -> int:
        found = Found(self, network, task, home)
        if self.control:
            begins = control(self.control).begin(found)
        else:
            begins = Beginning(mask=found.mask, weights=found.rewound, step=found.step)
        weights = begins.weights
        if self.perturbation:
            point = Point(
                mask=begins.mask, rewound=weights, initial=found.initial, drawn_anew=found.drawn_anew
            )
            seed = (task.config.seed, _PERTURBATION, self.level)
            weights = perturbation(self.perturbation).of(point, np.random.default_rng(seed))
        masked.load_plain(network, weights)
        masked.take(network, begins.mask)
        return begins.step

    def facts(self, network: nn.Module) -> Mapping[str, Any]:
        named: dict[str, Any] = {"level": self.level, "rewind": self.rewind}
        if self.control:
            named["control"] = self.control
        if self.perturbation:
            named["perturbation"] = dict(self.perturbation)
        return {**named, **super().facts(network)}
