"""The optimizer of a run, and what happens to it where a phase begins."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from supernet.run import Training


def optimizer_of(network: nn.Module, training: Training) -> torch.optim.Optimizer:
    """Return the optimizer that `training` names; weight decay spares what has no zero to decay to."""
    decayed: list[nn.Parameter] = []
    spared: list[nn.Parameter] = []
    for name, parameter in network.named_parameters():
        # Biases, batch norms and the kernel transforms (whose rest is the identity, not zero).
        spare = parameter.ndim == 1 or ".transforms." in name
        (spared if spare else decayed).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": training.weight_decay},
        {"params": spared, "weight_decay": 0.0},
    ]
    if training.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=training.learning_rate, fused=True)
    if training.optimizer == "rmsprop":
        return torch.optim.RMSprop(groups, lr=training.learning_rate, alpha=0.99, eps=1e-8, foreach=True)
    return torch.optim.SGD(
        groups,
        lr=training.learning_rate,
        momentum=training.momentum,
        nesterov=training.momentum > 0,
        # Not fused: that fails where some parameter has had no gradient yet.
        foreach=True,
    )


def states_by_name(network: nn.Module, optimizer: torch.optim.Optimizer) -> list[dict[str, Tensor]]:
    """Return, for each kind of state that has the shape of its parameter, those tensors by name."""
    kinds: dict[str, dict[str, Tensor]] = {}
    for name, parameter in network.named_parameters():
        for kind, value in optimizer.state.get(parameter, {}).items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                kinds.setdefault(kind, {})[name] = value
    return list(kinds.values())
