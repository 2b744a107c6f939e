"""Advantage actor-critic (A2C): what a block of steps in environments teaches a policy and its critic.

Mnih et al., 2016, section 4, with all environments in step and in place of their threads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from edge_bench.episodes import Environments, Happened, Observations
from supernet.models.policy import ActorCritic, Policy

Flags = npt.NDArray[np.bool_]


@dataclass(kw_only=True)
class Going:
    """Environments in the middle of their episodes: what is observed, whose next step only begins an
    episode anew, and what each episode has returned so far.
    """

    environments: Environments
    observed: Observations
    over: Flags
    returned: npt.NDArray[np.float64]

    @classmethod
    def begun(cls, environments: Environments, seed: int) -> Self:
        """Begin all episodes."""
        return cls(
            environments=environments,
            observed=environments.begin(seed),
            over=np.zeros(environments.count, np.bool_),
            returned=np.zeros(environments.count),
        )

    def step(self, actions: npt.NDArray[np.int64]) -> tuple[Happened, Flags, list[float]]:
        """Do a step; return what happened, where it counts, and the returns of episodes that are over."""
        counts = ~self.over
        happened = self.environments.step(actions)
        self.returned += np.where(counts, happened.rewards, 0.0)
        self.observed, self.over = happened.observations, counts & (happened.ended | happened.cut)
        returns: list[float] = self.returned[self.over].tolist()
        self.returned[self.over] = 0.0
        return happened, counts, returns


def block_loss(
    network: ActorCritic, going: Going, policy: Policy, frames: int, generator: np.random.Generator
) -> tuple[Tensor, list[float]]:
    """Act for some steps and return the mean loss of a frame, and the returns of episodes that are over.

    Args:
        network: acts, drawing each action from its distribution.
        going: the environments, which go on behind the block with the next one.
        policy: weighs the parts of the loss.
        frames: steps in all environments together.
        generator: what actions are drawn with.
    """
    device = next(network.parameters()).device
    count, actions = going.environments.count, going.environments.actions
    # The likeliest of logits with such noise is a draw from their distribution (Gumbel, 1954).
    noise = generator.gumbel(size=(frames // count, count, actions))
    logits, values, done, happened, counted = [], [], [], [], []
    returns: list[float] = []
    for drawn in noise:
        scores, value = network(torch.from_numpy(going.observed).to(device))
        action = (scores.detach().cpu().numpy() + drawn).argmax(1)
        told, counts, over = going.step(action)
        logits.append(scores)
        values.append(value)
        done.append(action)
        happened.append(told)
        counted.append(counts)
        returns += over
    with torch.no_grad():
        _, last = network(torch.from_numpy(going.observed).to(device))
    known = [value.detach().cpu().numpy() for value in (*values[1:], last)]
    targets = discounted(happened, known, discount=policy.discount, scale=policy.reward_scale)
    value = torch.stack(values)
    weights = torch.from_numpy(np.stack(counted)).to(device, value.dtype)
    target = torch.from_numpy(targets).to(device, value.dtype)
    log_probabilities = F.log_softmax(torch.stack(logits), -1)
    chosen = log_probabilities.gather(-1, torch.from_numpy(np.stack(done)).to(device)[..., None])[..., 0]
    entropy = -(log_probabilities.exp() * log_probabilities).sum(-1)
    losses = (
        -chosen * (target - value.detach())
        + policy.value_weight * (target - value).square()
        - policy.entropy * entropy
    )
    return (losses * weights).sum() / weights.sum().clamp(min=1.0), returns


def discounted(
    happened: list[Happened], following: list[npt.NDArray[np.float32]], *, discount: float, scale: float
) -> npt.NDArray[np.float64]:
    """Return the discounted returns [steps, n] of a block's steps.

    `following` are the values [n] of what each step led to. They stand for what comes behind the block, and
    behind an episode that was cut at its limit; behind one that ended there is nothing.
    """
    behind = following[-1].astype(np.float64)
    returns = []
    for told, value in zip(reversed(happened), reversed(following), strict=True):
        behind = np.where(told.cut, value, behind) * ~told.ended
        behind = scale * told.rewards + discount * behind
        returns.append(behind)
    return np.stack(returns[::-1])
