"""Weight decay toward the weights a run begins with (L2-SP: Li, Grandvalet and Davoine, 2018)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from edge_bench.errors import ConfigError
from supernet.techniques._from_start import FromStart, trained_modules

_SUFFIX = "_at_start"


@dataclass(frozen=True, kw_only=True)
class DecayToStart(FromStart):
    """Adds `strength` / 2 · ‖w - u‖² to the loss, u being the weights the run began with.

    That is what Lee, Cho and Kang (2020) compare Mixout with. It is part of the gradient, which Adam scales
    as a whole: so it pulls at low rates of learning too, where AdamW's decay, beside the gradient, does
    next to nothing in a short run. Every trained weight is held, biases and norms too; one that has no
    gradient in a step (LayerDrop) stays. Ordinary decay pulls toward zero at the same time unless
    `training.weight_decay` is 0.
    """

    strength: float = 0.01

    def check(self, network: nn.Module) -> None:
        if self.strength < 0:
            raise ConfigError(f"{self.table} strength is {self.strength:g}; it must be at least 0")

    def begin(self, network: nn.Module) -> None:
        seen: set[int] = set()
        for module in trained_modules(network):
            for name, parameter in list(module.named_parameters(recurse=False)):
                if id(parameter) not in seen:
                    seen.add(id(parameter))
                    module.register_buffer(f"{name}{_SUFFIX}", parameter.detach().clone())

    @torch.no_grad()
    def before_update(self, network: nn.Module, step: int, steps: int) -> None:
        for parameter, start in _held(network):
            if parameter.grad is not None:
                parameter.grad.add_(parameter - start, alpha=self.strength)

    def finish(self, network: nn.Module) -> None:
        for module, name, _ in _buffers(network):
            delattr(module, f"{name}{_SUFFIX}")

    @torch.no_grad()
    def facts(self, network: nn.Module) -> Mapping[str, Any]:
        apart = [(parameter - start).square().sum() for parameter, start in _held(network)]
        return {"strength": self.strength, "distance_from_start": float(torch.stack(apart).sum().sqrt())}


def _buffers(network: nn.Module) -> list[tuple[nn.Module, str, Tensor]]:
    """Return what the weights began with: the module of each, the parameter's name in it, and its start."""
    return [
        (module, name.removesuffix(_SUFFIX), start)
        for module in network.modules()
        for name, start in module.named_buffers(recurse=False)
        if name.endswith(_SUFFIX)
    ]


def _held(network: nn.Module) -> Iterator[tuple[nn.Parameter, Tensor]]:
    """Yield each parameter that is held, with what it began with."""
    for module, name, start in _buffers(network):
        owner: Any = module
        if parametrize.is_parametrized(module, name):
            # Another technique that began behind this one sees it through something.
            owner, name = owner.parametrizations[name], "original"
        yield owner.get_parameter(name), start
