"""A perceptron that acts: what to do at an observation, and while it learns, what that will return."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from torch import Tensor, nn

from edge_bench.errors import ConfigError
from edge_bench.records import Operator, PlainSpace
from edge_bench.records.operators import linear
from supernet.models import Model


@dataclass(frozen=True, kw_only=True)
class Policy(Model):
    """Layers of `hidden` widths with ReLU under two heads, logits of actions and a value, trained by
    advantage actor-critic (A2C; Mnih et al., 2016, without their threads).

    Rewards are multiplied by `reward_scale` and count `discount` times as much a step later. The loss is
    that of the policy, `value_weight` times that of the value, less `entropy` times the entropy of what is
    done.
    """

    tasks: ClassVar[tuple[str, ...]] = ("control",)

    hidden: tuple[int, ...] = (128, 128, 128)
    discount: float = 0.99
    reward_scale: float = 0.01
    value_weight: float = 0.5
    entropy: float = 0.01

    def check(self) -> None:
        for width in self.hidden:
            if width < 1:
                raise ConfigError(f"[model] hidden holds {width}; valid choices: 1 or more")
        if not 0 <= self.discount <= 1:
            raise ConfigError(f"[model] discount is {self.discount:g}; it must lie between 0 and 1")
        if not self.reward_scale > 0:
            raise ConfigError(f"[model] reward_scale is {self.reward_scale:g}; it must be above 0")
        for name in ("value_weight", "entropy"):
            if (value := getattr(self, name)) < 0:
                raise ConfigError(f"[model] {name} is {value:g}; it must be at least 0")

    def space(self, *, observed: int, actions: int) -> PlainSpace:
        """Return the space of the one policy for observations of so many numbers."""
        return PlainSpace(
            name=type(self).__module__.rpartition(".")[2],
            resolution=1,
            operators=tuple(self._operators(observed, actions)),
        )

    def build(self, *, observed: int, actions: int) -> ActorCritic:
        """Return the network as training begins with it."""
        return ActorCritic((observed, *self.hidden), actions)

    def _operators(self, observed: int, actions: int) -> list[Operator]:
        widths = (observed, *self.hidden)
        hidden = [linear(before, after, "relu") for before, after in pairwise(widths)]
        return [*hidden, linear(widths[-1], actions, None)]


class ActorCritic(nn.Module):
    """Two heads over one body. What is judged and cut is the policy alone."""

    def __init__(self, widths: tuple[int, ...], actions: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.actor, self.critic = nn.Linear(widths[-1], actions), nn.Linear(widths[-1], 1)

    def forward(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits [n, actions] and values [n] of observations [n, numbers]."""
        seen = self.body(observation)
        return self.actor(seen), self.critic(seen)[:, 0]

    def policy(self) -> nn.Module:
        """Return the network of logits alone, in evaluation mode, with copies of the weights."""
        return _Policy(copy.deepcopy(self.body), copy.deepcopy(self.actor)).eval()


class _Policy(nn.Module):
    def __init__(self, body: nn.Module, actor: nn.Module) -> None:
        super().__init__()
        self.body, self.actor = body, actor

    def forward(self, observation: Tensor) -> Tensor:
        logits: Tensor = self.actor(self.body(observation))
        return logits
