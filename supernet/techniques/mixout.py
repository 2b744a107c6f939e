"""Mixout (Lee, Cho and Kang, 2020): in place of dropout, weights fall back to what they began with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from edge_bench.errors import ConfigError
from supernet.techniques._from_start import FromStart, trained_modules

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_UNSEEN = "a pruned weight that is mixed with the one it began with is not zero while the network trains"


@dataclass(frozen=True, kw_only=True)
class Mixout(FromStart):
    """Each step, what leaves an input neuron goes through the weights it began with at probability `rate`.

    A layer computes with u + M (w - u) / (1 - rate), u being the weights the run began with and M a 0 or 1
    for each of its inputs, alike for all outputs. Its mean is w, which is what is judged and deployed. With
    u = 0 it would be dropout. It pulls w toward u, the more the higher the rate (the paper: 0.7 to 0.9 for
    few examples). Fully connected layers and convolutions are mixed, attention's included; biases, norms
    and embeddings are not.

    The difference from u is scaled by 1 / (1 - rate), and so is its gradient: SGD wants a learning rate
    about (1 - rate) times as high. At high learning rates the noise is more than the pull, and
    `decay_to_start` beside it or alone is cheaper. It takes the place of the network's dropout
    (`[model] dropout = 0`), and memory for u.
    """

    excludes: ClassVar[Mapping[str, str]] = MappingProxyType(
        {**FromStart.excludes, **dict.fromkeys(("dpf", "gradual_pruning", "one_shot_pruning"), _UNSEEN)}
    )

    rate: float = 0.7

    def check(self, network: nn.Module) -> None:
        if not 0 <= self.rate < 1:
            raise ConfigError(f"{self.table} rate is {self.rate:g}; it must be at least 0 and below 1")
        if not _layers(network):
            raise ConfigError(f"{self.table} finds no fully connected layer or convolution to mix")

    def begin(self, network: nn.Module) -> None:
        for layer in _layers(network):
            groups = getattr(layer, "groups", 1)
            parametrize.register_parametrization(layer, "weight", Mixed(layer.weight, self.rate, groups))

    def before_step(
        self, network: nn.Module, generator: np.random.Generator, step: int, steps: int
    ) -> None:
        # Layers that share a weight share its mask.
        shared: dict[int, list[Mixed]] = {}
        for weight, mixed in _mixed(network):
            shared.setdefault(id(weight), []).append(mixed)
        counts = [len(ones[0].scale) for ones in shared.values()]
        kept = torch.from_numpy(generator.random(sum(counts)) >= self.rate)
        # In one piece: a copy to a GPU takes as long for one layer as for all.
        drawn = torch.split(kept.to(next(network.parameters()).device), counts)
        for ones, keeps in zip(shared.values(), drawn, strict=True):
            for mixed in ones:
                mixed.draw(keeps)

    def finish(self, network: nn.Module) -> None:
        for layer in _layers(network):
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)

    @torch.no_grad()
    def facts(self, network: nn.Module) -> Mapping[str, Any]:
        apart = [(weight - mixed.start).square().sum() for weight, mixed in _mixed(network)]
        return {
            "rate": self.rate,
            "mixed_weights": sum(weight.numel() for weight, _ in _mixed(network)),
            "distance_from_start": float(torch.stack(apart).sum().sqrt()),
        }


class Mixed(nn.Module):
    """A weight [outputs, inputs, ...], mixed in training with the one it began with.

    `start` is that one, and part of the state dict: a run that goes on mixes with it and not with what it
    has learned. `scale` [inputs] is M / (1 - rate) of the step.
    """

    start: Tensor
    scale: Tensor

    def __init__(self, weight: Tensor, rate: float, groups: int = 1) -> None:
        super().__init__()
        self.rate, self.groups = rate, groups
        self.register_buffer("start", weight.detach().clone())
        # Drawn before each step, so no checkpoint needs it.
        scale = torch.ones(groups * weight.shape[1], dtype=weight.dtype, device=weight.device)
        self.register_buffer("scale", scale, persistent=False)

    def draw(self, kept: Tensor) -> None:
        """Take the inputs [inputs] whose weights stand in this step."""
        self.scale.copy_(kept).div_(1 - self.rate)

    def forward(self, weight: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return weight
        scale = self.scale.view(self.groups, -1)
        if self.groups > 1:
            # Each group's outputs have inputs of their own.
            scale = scale.repeat_interleave(weight.shape[0] // self.groups, 0)
        scale = scale.view(*scale.shape, *(1,) * (weight.ndim - 2))
        return self.start + scale * (weight - self.start)


def _layers(network: nn.Module) -> list[Any]:
    return [module for module in trained_modules(network) if isinstance(module, LAYERS)]


def _mixed(network: nn.Module) -> list[tuple[Tensor, Mixed]]:
    """Return each mixed weight, as it is behind the mixing, with what mixes it."""
    found = []
    for layer in _layers(network):
        chain = layer.parametrizations.weight
        found += [(chain.original, one) for one in chain if isinstance(one, Mixed)]
    return found
