"""Masks: which weights of a network stand, by magnitude, to the exact count."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Literal

import torch
from torch import Tensor, nn

from edge_bench.errors import ConfigError, did_you_mean

# By the name of a parameter: true where a weight stands.
Mask = Mapping[str, Tensor]
Scope = Literal["global", "layer"]
LAYERS = (nn.modules.conv._ConvNd, nn.Linear, nn.Embedding, nn.RNNBase, nn.RNNCellBase)


def prunable(network: nn.Module, *, biases: bool = False, exclude: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the names of the parameters that may be pruned, in the network's order.

    They are the weights of convolutions, linear layers, embeddings and recurrent layers, and their
    biases where `biases`; never those of norms. A name that matches a pattern of `exclude`
    ("classifier.*", "*embedding*") is left out.

    Raises:
        ConfigError: a pattern matches none of them, or none is left.
    """
    names = [
        f"{prefix}.{name}" if prefix else name
        for prefix, layer in network.named_modules()
        if isinstance(layer, LAYERS)
        for name, parameter in layer.named_parameters(recurse=False)
        if biases or parameter.ndim > 1
    ]
    for pattern in exclude:
        if not any(fnmatch(name, pattern) for name in names):
            raise ConfigError(
                f"exclude holds '{pattern}', which no weight is called.{did_you_mean(pattern, names)}",
                hint=f"weights are called {names[0]}, … {names[-1]}; * stands for any letters",
            )
    left = tuple(name for name in names if not any(fnmatch(name, pattern) for pattern in exclude))
    if not left:
        raise ConfigError("no weight is left to prune", hint="exclude fewer")
    return left


def kept_count(weights: int, sparsity: float) -> int:
    """Return how many of so many weights stand at a sparsity: rounded once, halves up."""
    return weights - math.floor(weights * sparsity + 0.5)


def sparsity_after(rounds: int, rate: float) -> float:
    """Return the share pruned after `rounds` that each prune `rate` of what remains."""
    return 1 - (1 - rate) ** rounds


def cubic_ramp(progress: float) -> float:
    """Return the share of the final sparsity at a `progress` from 0 to 1 (Zhu & Gupta, 2017, eq. 1).

    It rises fast while weights are plenty, and levels off.
    """
    return 1 - (1 - min(progress, 1.0)) ** 3


def ones(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the mask under which all weights stand."""
    return {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in weights.items()}


def count(mask: Mask) -> int:
    """Return how many weights stand."""
    return sum(int(one.sum()) for one in mask.values())


def largest(
    weights: Mapping[str, Tensor], keep: int, *, scope: Scope = "global", among: Mask | None = None
) -> dict[str, Tensor]:
    """Return the mask under which exactly `keep` weights stand: those of largest magnitude.

    Equal magnitudes stand in the order of the network. With scope "layer" each parameter keeps an
    equal share of its weights, to one weight.

    Args:
        weights: by name.
        keep: how many stand.
        scope: "global" compares the weights of all parameters, "layer" those of each by itself.
        among: only these may stand; all where it is not given.

    Raises:
        ValueError: fewer than `keep` may stand.
    """
    keys = {name: weight.detach().abs().float() for name, weight in weights.items()}
    if among is not None:
        # Below any magnitude: an exact zero that stands goes before one that fell.
        keys = {name: torch.where(among[name], key, -1.0) for name, key in keys.items()}
    room = count(among) if among is not None else sum(key.numel() for key in keys.values())
    if not 0 <= keep <= room:
        raise ValueError(f"{keep} weights cannot stand of {room}")
    if scope == "layer":
        sizes = [int(among[name].sum()) if among is not None else key.numel() for name, key in keys.items()]
        shares = shared_out(keep, sizes)
        return {name: _top(key, share) for (name, key), share in zip(keys.items(), shares, strict=True)}
    # In the order of indices, whatever the layout in memory.
    return unrolled(_top(torch.cat([key.flatten() for key in keys.values()]), keep), weights)


def unrolled(flat: Tensor, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a row of all weights' entries as a mask shaped `like` the weights."""
    parts = torch.split(flat, [weight.numel() for weight in like.values()])
    return {name: part.view(like[name].shape) for name, part in zip(like, parts, strict=True)}


def shared_out(keep: int, sizes: Sequence[int]) -> list[int]:
    """Return how many of `keep` each of `sizes` gets: its share to within one, `keep` in all."""
    total, passed, shares = sum(sizes), 0, []
    for size in sizes:
        upto = ((passed + size) * keep * 2 + total) // (2 * total)
        shares.append(upto - (passed * keep * 2 + total) // (2 * total))
        passed += size
    return shares


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """How many of how many weights stand, of all and of each parameter."""

    kept: int
    weights: int
    layers: Mapping[str, tuple[int, int]]

    @classmethod
    def of(cls, mask: Mask) -> Statistics:
        layers = {name: (int(one.sum()), one.numel()) for name, one in mask.items()}
        return cls(kept=count(mask), weights=sum(one.numel() for one in mask.values()), layers=layers)

    @property
    def sparsity(self) -> float:
        return 1 - self.kept / self.weights

    @property
    def left_by_layer(self) -> dict[str, float]:
        """The share that stands of each parameter."""
        return {name: kept / of for name, (kept, of) in self.layers.items()}


def _top(keys: Tensor, keep: int) -> Tensor:
    """Return true at the `keep` largest of keys of any shape, equal ones in order."""
    flat = keys.flatten()
    if keep == 0:
        return torch.zeros_like(keys, dtype=torch.bool)
    threshold = flat.kthvalue(len(flat) - keep + 1).values
    top = flat > threshold
    ties = (flat == threshold).nonzero().flatten()
    top[ties[: keep - int(top.sum())]] = True
    return top.view(keys.shape)
