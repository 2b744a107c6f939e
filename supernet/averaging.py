"""An exponential moving average of a network's weights, judged and cut in place of the weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class WeightAverage:
    """After each step the average moves toward the weights by 1 − `decay`.

    Early in a run the decay is at most (1 + step) / (10 + step), so that the average forgets the
    random weights it began from (as TensorFlow's `ExponentialMovingAverage` does).
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.tensors: dict[str, Tensor] = {
            name: parameter.detach().clone() for name, parameter in network.named_parameters()
        }

    @torch.no_grad()
    def follow(self, network: nn.Module, step: int) -> None:
        """Take in the weights after `step` (from 0)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        weights = [parameter.detach() for parameter in network.parameters()]
        torch._foreach_lerp_(list(self.tensors.values()), weights, 1 - decay)
