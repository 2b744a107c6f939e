"""Batch-norm statistics of a subnet, estimated on training images."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from supernet.plain import BatchNorm


@torch.no_grad()
def recalibrate(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Give every batch norm of a plain `network` the pooled moments of `batches`, in place.

    Statistics of the supernet belong to no single subnet; without its own, a small subnet's
    accuracy can drop to chance. One pass: each batch is normalised by its own statistics, and the
    moments of all are pooled by the law of total variance, so the mean and (population) variance are
    exact over all examples, where an average of batch variances would miss the variance of the
    batch means. A batch norm `about_zero` gets the mean square instead. The network is left in evaluation
    mode.

    Args:
        network: a network of `nn.BatchNorm2d` layers.
        batches: inputs [n, channels, size, size]; each of at least 2 values a channel everywhere.
    """
    pooled = {norm: _Moments() for norm in network.modules() if isinstance(norm, nn.BatchNorm2d)}
    hooks = [norm.register_forward_hook(moments.count) for norm, moments in pooled.items()]
    for norm in pooled:
        norm.momentum = 1.0  # The running statistics become those of the latest batch.
    network.train()
    try:
        for batch in batches:
            network(batch)
    finally:
        for hook in hooks:
            hook.remove()
    for norm, moments in pooled.items():
        norm.momentum = 0.1
        moments.write(norm)
    network.eval()


class _Moments:
    """Count, mean and variance of all values seen, pooled in double precision."""

    def __init__(self) -> None:
        self.examples = 0
        self.mean = torch.zeros(())
        self.squares = torch.zeros(())

    def count(self, norm: nn.Module, inputs: tuple[Tensor, ...], _: Tensor) -> None:
        assert isinstance(norm, nn.BatchNorm2d)
        assert norm.running_mean is not None and norm.running_var is not None
        values = inputs[0].numel() // inputs[0].shape[1]
        mean = norm.running_mean.double()
        # Torch keeps the unbiased variance; the sum of squared deviations undoes that. A mean square has
        # no such thing, and the mean is 0 throughout.
        about_zero = isinstance(norm, BatchNorm) and norm.about_zero
        squares = norm.running_var.double() * (values if about_zero else values - 1)
        total = self.examples + values
        shift = mean - self.mean
        self.squares = self.squares + squares + shift**2 * (self.examples * values / total)
        self.mean = self.mean + shift * (values / total)
        self.examples = total

    def write(self, norm: nn.BatchNorm2d) -> None:
        assert norm.running_mean is not None and norm.running_var is not None
        if not self.examples:
            raise ValueError("recalibration needs at least one batch")
        norm.running_mean.copy_(self.mean)
        norm.running_var.copy_(self.squares / self.examples)
