"""Sorting the expanded channels of each block by importance, so that a narrow subnet keeps the best.

A subnet of a smaller expand ratio is the prefix of a block's expanded channels. Before widths open,
channels are put in descending order of the L1 norm of the weights that read them in the projection
(once-for-all, Cai et al., 2020, section 3.3). Every layer between is permuted alike, so each network
that could be chosen before computes what it did (to rounding).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from edge_bench.records import SearchSpace
from edge_bench.records.operators import squeezed_width
from supernet.network import ElasticNetwork


@dataclass(frozen=True)
class Reorder:
    """Entries of the parameter or buffer `name` along `dimension`, to be taken in `order`."""

    name: str
    dimension: int
    order: Tensor


# What a norm holds along its channels: its parameters, and the averages that a technique may keep.
_NORM = (("weight", 0), ("bias", 0), ("mean_square", 0), ("batches", 0), ("squares", 1), ("gradients", 1))
# Within a block: what lies along the expanded channels, and along the hidden ones of squeeze-excite.
_EXPANDED = (
    ("expand.weight", 0),
    *((f"expand.norm.{name}", dimension) for name, dimension in _NORM),
    ("depthwise.weight", 0),
    *((f"depthwise.norm.{name}", dimension) for name, dimension in _NORM),
    ("squeeze.reduce.weight", 1),
    ("squeeze.expand.weight", 0),
    ("squeeze.expand.bias", 0),
    ("project.weight", 1),
)
_HIDDEN = (("squeeze.reduce.weight", 0), ("squeeze.reduce.bias", 0), ("squeeze.expand.weight", 1))


@torch.no_grad()
def importance_orders(network: ElasticNetwork, trained: SearchSpace) -> list[Reorder]:
    """Return what sorts each block's channels.

    Args:
        network: the elastic network of a space.
        trained: what was open so far (`phases.narrowed`). Channels stay within the widths that were
            choices there, so that those networks stay what they are.
    """
    state = network.state_dict()
    width = trained.stem_width
    orders = []
    for offset, stage in zip(trained.offsets, trained.stages, strict=True):
        for source in range(offset, offset + max(stage.depths)):
            block = f"blocks.{source}"
            mids = [trained.mid_width(width, expand) for expand in stage.expands]
            norms = state[f"{block}.project.weight"].abs().sum(dim=(0, 2, 3))
            orders += _reorders(state, block, _EXPANDED, _within(norms, mids))
            if stage.squeeze_excite:
                norms = state[f"{block}.squeeze.expand.weight"].abs().sum(dim=(0, 2, 3))
                hidden = [squeezed_width(mid) for mid in mids]
                orders += _reorders(state, block, _HIDDEN, _within(norms, hidden))
            width = stage.width
    return orders


@torch.no_grad()
def reorder(orders: Iterable[Reorder], tensors: Mapping[str, Tensor]) -> None:
    """Put `tensors`, by their names in the state dict, in their new order in place.

    Missing names are passed over.
    """
    for one in orders:
        if one.name in tensors:
            tensor = tensors[one.name]
            tensor.copy_(tensor.index_select(one.dimension, one.order))


def _reorders(
    state: Mapping[str, Tensor], block: str, places: Iterable[tuple[str, int]], order: Tensor
) -> list[Reorder]:
    named = ((f"{block}.{name}", dimension) for name, dimension in places)
    return [Reorder(name, dimension, order) for name, dimension in named if name in state]


def _within(norms: Tensor, ends: list[int]) -> Tensor:
    """Return the descending order of `norms`, each stretch between two `ends` sorted by itself."""
    starts = [0, *ends[:-1]]
    parts = [
        start + norms[start:end].argsort(descending=True, stable=True)
        for start, end in zip(starts, ends, strict=True)
    ]
    return torch.cat(parts)
