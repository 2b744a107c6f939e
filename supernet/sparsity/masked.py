"""Networks that train under masks: a pruned parameter is seen through one, exact zeros where it is false.

Masks are buffers, and so part of the state dict. `detach` leaves plain parameters with the zeros in them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.utils import parametrize

from supernet.sparsity.masks import Mask

_ORIGINAL = re.compile(r"(?:(.*)\.)?parametrizations\.(\w+)\.original")
_MASK = re.compile(r"(?:(.*)\.)?parametrizations\.(\w+)\.\d+\.mask")


class Masked(nn.Module):
    """A weight where the mask is true, else 0; a pruned weight has no gradient.

    `regrown` counts the weights that came to stand again after they had been pruned.
    """

    mask: Tensor
    regrown: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        # In the weight's own memory order, so that the masked weight has it too.
        self.register_buffer("mask", torch.ones_like(weight, dtype=torch.bool))
        self.register_buffer("regrown", torch.zeros((), dtype=torch.long, device=weight.device))

    def forward(self, weight: Tensor) -> Tensor:
        # A product would leave zeros with a sign, which do not compress.
        return torch.where(self.mask, weight, 0.0)

    def take(self, mask: Tensor) -> None:
        """Take another mask and count what it lets stand again."""
        mask = mask.to(self.mask.device)
        self.regrown += (mask & ~self.mask).sum()
        self.mask.copy_(mask)


class StraightThrough(Masked):
    """As `Masked`, but the gradient passes as if there were no mask.

    So pruned weights are trained on, and may stand again (Lin et al., 2020: the gradient is taken
    at the masked weights and applied to the dense ones).
    """

    def forward(self, weight: Tensor) -> Tensor:
        masked: Tensor = _PassedOn.apply(weight, self.mask)  # type: ignore[no-untyped-call]
        return masked


class _PassedOn(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, mask: Tensor) -> Tensor:
        return torch.where(mask, weight, 0.0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


def attach(network: nn.Module, names: Iterable[str], kind: type[Masked]) -> None:
    """See the parameters of these names through masks under which all weights stand."""
    for name in names:
        layer, tensor = _place(network, name)
        parametrize.register_parametrization(layer, tensor, kind(getattr(layer, tensor)))


def detach(network: nn.Module) -> None:
    """Make the masked weights the parameters; nothing else is left of the masks."""
    for name in masks_in(network):
        parametrize.remove_parametrizations(*_place(network, name))


def masks_in(network: nn.Module) -> dict[str, Masked]:
    """Return what each pruned parameter is seen through, by the parameter's name without masks."""
    return {
        f"{prefix}.{name}" if prefix else name: one
        for prefix, layer in network.named_modules()
        if parametrize.is_parametrized(layer)
        for name, chain in layer.parametrizations.items()
        for one in chain
        if isinstance(one, Masked)
    }


def mask_of(network: nn.Module) -> dict[str, Tensor]:
    """Return the mask a network is under."""
    return {name: one.mask for name, one in masks_in(network).items()}


def dense_weights(network: nn.Module) -> dict[str, Tensor]:
    """Return the pruned parameters as they are behind their masks."""
    dense = {}
    for name in masks_in(network):
        layer, tensor = _place(network, name)
        dense[name] = layer.parametrizations[tensor].original  # type: ignore[union-attr, index]
    return dense


def take(network: nn.Module, mask: Mask) -> None:
    """Put a network under another mask; `ValueError` where that is of other parameters."""
    masks = masks_in(network)
    if masks.keys() != mask.keys():
        raise ValueError(f"the mask is of {sorted(mask)}, the network of {sorted(masks)}")
    for name, one in masks.items():
        one.take(mask[name])


def plain_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict as that of the network without masks, zeros in place of what they hide."""
    mask = mask_in(state)
    plain: dict[str, Tensor] = {}
    for name, tensor in state.items():
        original = _ORIGINAL.fullmatch(name)
        if original:
            name = _joined(original)
            plain[name] = torch.where(mask[name], tensor, 0.0) if name in mask else tensor
        elif ".parametrizations." not in f".{name}":
            plain[name] = tensor
    return plain


def mask_in(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the mask that a state dict holds; empty where it holds none."""
    return {_joined(found): tensor for name, tensor in state.items() if (found := _MASK.fullmatch(name))}


@torch.no_grad()
def load_plain(network: nn.Module, plain: Mapping[str, Tensor]) -> None:
    """Copy the state dict of a network without masks into one with masks, which stay as they are."""
    for name, tensor in network.state_dict().items():
        original = _ORIGINAL.fullmatch(name)
        if original or ".parametrizations." not in f".{name}":
            tensor.copy_(plain[_joined(original) if original else name])


def _place(network: nn.Module, name: str) -> tuple[nn.Module, str]:
    prefix, _, tensor = name.rpartition(".")
    return network.get_submodule(prefix), tensor


def _joined(found: re.Match[str]) -> str:
    return f"{found[1]}.{found[2]}" if found[1] else found[2]
