"""Dropout (Srivastava et al., 2014) in networks for images; a `[model]` for text has it as an option."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from edge_bench.errors import ConfigError
from supernet.techniques import Technique


@dataclass(frozen=True, kw_only=True)
class Dropout(Technique):
    """Each number that a fully connected layer reads is 0 at probability `rate`, the others are divided by
    1 - `rate`. With `inputs` so are the numbers a network reads itself, where its first layer is one.

    Draws depend on the step alone; several processes drop the same places of their own examples. On small
    networks, and where few steps are made, it costs more than it brings.
    """

    tasks: ClassVar[tuple[str, ...]] = ("image_classification",)

    rate: float = 0.1
    inputs: bool = False

    def check(self, network: nn.Module) -> None:
        if not 0 <= self.rate < 1:
            raise ConfigError(
                f"[techniques.dropout] rate is {self.rate:g}; it must be at least 0 and below 1"
            )
        if not self._layers(network):
            raise ConfigError(
                "[techniques.dropout] finds no fully connected layer behind the network's first one",
                hint="techniques.dropout.inputs = true drops what the first one reads",
            )

    def begin(self, network: nn.Module) -> None:
        for layer in self._layers(network):
            dropped = _Dropped(self.rate)
            dropped.handle = layer.register_forward_pre_hook(dropped)

    def before_step(
        self, network: nn.Module, generator: np.random.Generator, step: int, steps: int
    ) -> None:
        device = next(network.parameters()).device
        for dropped in _dropped(network):
            dropped.draws = torch.Generator(device).manual_seed(int(generator.integers(2**62)))

    def finish(self, network: nn.Module) -> None:
        for dropped in _dropped(network):
            dropped.handle.remove()

    def _layers(self, network: nn.Module) -> list[nn.Linear]:
        weighed = [one for one in network.modules() if list(one.parameters(recurse=False))]
        return [one for one in weighed[not self.inputs :] if isinstance(one, nn.Linear)]


class _Dropped:
    """What is called before a layer reads."""

    handle: Any
    draws: torch.Generator

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def __call__(self, layer: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor | None:
        if not layer.training or self.rate == 0:
            return None
        (x,) = inputs
        drawn = torch.rand(x.shape, generator=self.draws, device=x.device)
        return x * ((drawn >= self.rate) / (1 - self.rate)).to(x.dtype)


def _dropped(network: nn.Module) -> list[_Dropped]:
    hooks = (hook for module in network.modules() for hook in module._forward_pre_hooks.values())
    return [hook for hook in hooks if isinstance(hook, _Dropped)]
