"""Episodes: environments that go on side by side, what a policy does in them, and what that returns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_bench.records.quality import RETURN
from edge_bench.records.subnet import Metric, Split

Observations = npt.NDArray[np.float32]
Actions = npt.NDArray[np.int64]
# Of observations [n, size], logits [n, actions].
Policy = Callable[[Observations], npt.NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    """What one step led to in each environment: observations [n, size], and rewards and ends [n].

    An episode that was `cut` had not come to an end, only to its limit of steps.
    """

    observations: Observations
    rewards: npt.NDArray[np.float64]
    ended: npt.NDArray[np.bool_]
    cut: npt.NDArray[np.bool_]


class Environments(ABC):
    """`count` copies of one environment, of observations of `size` numbers and so many `actions`.

    An episode that is over begins anew in the next step, whose action and reward (0) count nothing.
    """

    count: int
    size: int
    actions: int

    @abstractmethod
    def begin(self, seed: int) -> Observations:
        """Begin all episodes anew and return what is observed; equal seeds give equal episodes."""

    @abstractmethod
    def step(self, actions: Actions) -> Happened:
        """Do one action [n] in each environment."""


@dataclass(frozen=True, kw_only=True)
class Episodes:
    """Episodes of one split, all begun by one seed; those of no two splits are alike."""

    environments: Environments
    seed: int

    def returns(self, policy: Policy) -> npt.NDArray[np.float64]:
        """Return the sum of rewards of each episode [n], the likeliest action done in every step."""
        environments = self.environments
        total = np.zeros(environments.count)
        going = np.ones(environments.count, np.bool_)
        observed = environments.begin(self.seed)
        while going.any():
            happened = environments.step(policy(observed).argmax(1))
            total += np.where(going, happened.rewards, 0.0)
            going &= ~(happened.ended | happened.cut)
            observed = happened.observations
        return total

    def metric(self, policy: Policy, split: Split) -> Metric:
        """Return the mean return over the episodes."""
        returns = self.returns(policy)
        return Metric(
            name=RETURN,
            value=float(returns.mean()),
            higher_is_better=True,
            split=split,
            examples=len(returns),
        )
