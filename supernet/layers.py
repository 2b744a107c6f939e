"""Elastic layers, which share their weights among all subnets.

A narrower layer is the prefix of the channels of the wider one, a smaller kernel the transformed
centre of the larger one (once-for-all, Cai et al., 2020). Elastic layers normalise by the statistics
of the batch at hand: running statistics belong to no single subnet, so none are kept here; a plain
network gets its own from `calibration.recalibrate`.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edge_bench.records.operators import squeezed_width
from supernet import plain
from supernet.convolution import depthwise, pointwise
from supernet.moving_average_norm import MovingAverageNorm, centred
from supernet.plain import BATCH_NORM_EPS, activation, scaled_by_mean_square
from supernet.ranks import Synchronised, synchronised_batch_norm


class ElasticNorm(Synchronised, nn.Module):
    """Batch norm over the first channels of x [n, c, h, w], always by the statistics of the batch.

    Where it is `synchronised`, the batch is that of all processes that train together. One `about_zero`
    takes no mean away, as `plain.BatchNorm`.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.about_zero = False
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        width = x.shape[1]
        weight, bias = self.weight[:width], self.bias[:width]
        if self.about_zero:
            return scaled_by_mean_square(x, x.square().mean((0, 2, 3)), weight, bias, BATCH_NORM_EPS)
        if self.synchronised:
            return synchronised_batch_norm(x, weight, bias, BATCH_NORM_EPS)
        return F.batch_norm(x, None, None, weight, bias, training=True, eps=BATCH_NORM_EPS)


class ElasticConv(nn.Module):
    """A convolution without bias, batch norm and an activation; any prefix of its channels.

    Input channels follow from the input; `outputs` chooses the first output channels. Where it is
    `centred`, the mean of a filter's weights is taken from them, over the inputs in use.
    """

    norm: ElasticNorm | MovingAverageNorm

    def __init__(self, inputs: int, outputs: int, *, kernel: int, stride: int, act: str | None) -> None:
        super().__init__()
        self.stride, self.act, self.centred = stride, act, False
        self.weight = nn.Parameter(_he_normal(outputs, inputs, kernel, fan=outputs * kernel**2))
        self.norm = ElasticNorm(outputs)
        self.activation = activation(act)

    def forward(self, x: Tensor, outputs: int) -> Tensor:
        """Return [n, outputs, h / stride, w / stride] of x [n, inputs, h, w], prefixes of its channels."""
        weight = self._filters(x.shape[1], outputs)
        if weight.shape[-1] == 1:
            x = pointwise(x, weight, stride=self.stride)
        else:
            x = F.conv2d(x, weight, stride=self.stride, padding=weight.shape[-1] // 2)
        normalised: Tensor = self.activation(self.norm(x))
        return normalised

    def plain(self, inputs: int, outputs: int) -> nn.Sequential:
        """Return the plain layers of a prefix of the channels."""
        weight = self._filters(inputs, outputs)
        return _conv_norm(weight, self.norm, stride=self.stride, groups=1, act=self.act)

    def _filters(self, inputs: int, outputs: int) -> Tensor:
        weight = self.weight[:outputs, :inputs]
        return centred(weight) if self.centred else weight


class ElasticDepthwise(nn.Module):
    """A depthwise convolution of elastic kernel, batch norm and an activation.

    A smaller kernel is the centre of the next larger one, multiplied by a learned matrix that all
    channels share (7 → 5 → 3); each matrix starts as the identity, that is, as the plain centre.
    """

    def __init__(self, width: int, *, kernels: tuple[int, ...], stride: int, act: str | None) -> None:
        super().__init__()
        self.kernels, self.stride, self.act = kernels, stride, act
        self.weight = nn.Parameter(_he_normal(width, 1, kernels[-1], fan=kernels[-1] ** 2))
        self.transforms = nn.ParameterDict(
            {f"{larger}to{smaller}": torch.eye(smaller**2) for smaller, larger in pairwise(kernels)}
        )
        self.norm = ElasticNorm(width)
        self.activation = activation(act)

    def forward(self, x: Tensor, kernel: int) -> Tensor:
        x = depthwise(x, self._kernel(x.shape[1], kernel), stride=self.stride)
        normalised: Tensor = self.activation(self.norm(x))
        return normalised

    def plain(self, width: int, kernel: int) -> nn.Sequential:
        """Return the plain layers of the first `width` channels with `kernel`."""
        weight = self._kernel(width, kernel)
        return _conv_norm(weight, self.norm, stride=self.stride, groups=width, act=self.act)

    def _kernel(self, width: int, kernel: int) -> Tensor:
        weight = self.weight[:width]
        for smaller, larger in reversed(list(pairwise(self.kernels))):
            if larger <= kernel:
                break
            edge = (larger - smaller) // 2
            centre = weight[:, :, edge : edge + smaller, edge : edge + smaller].reshape(width, -1)
            transformed = centre @ self.transforms[f"{larger}to{smaller}"].t()
            weight = transformed.reshape(width, 1, smaller, smaller)
        return weight


class ElasticSqueezeExcite(nn.Module):
    """Scale each channel by what the whole map says (Hu et al., 2018), with a hard sigmoid."""

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = squeezed_width(width)
        self.reduce = nn.Conv2d(width, hidden, 1)
        self.expand = nn.Conv2d(hidden, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return x [n, width, h, w] scaled, by the weights of its first `width` channels."""
        width = x.shape[1]
        hidden = squeezed_width(width)
        assert self.reduce.bias is not None and self.expand.bias is not None
        # As matrices: a 1×1 convolution of one pixel takes oneDNN twice as long.
        scale = F.linear(
            x.mean((2, 3)), self.reduce.weight[:hidden, :width].flatten(1), self.reduce.bias[:hidden]
        )
        scale = F.linear(
            F.relu(scale), self.expand.weight[:width, :hidden].flatten(1), self.expand.bias[:width]
        )
        return x * F.hardsigmoid(scale)[:, :, None, None]

    def plain(self, width: int) -> plain.SqueezeExcite:
        """Return the plain layer over the first `width` channels."""
        hidden = squeezed_width(width)
        assert self.reduce.bias is not None and self.expand.bias is not None
        return plain.squeeze_excite(
            plain.conv(self.reduce.weight[:hidden, :width], self.reduce.bias[:hidden]),
            plain.conv(self.expand.weight[:width, :hidden], self.expand.bias[:width]),
        )


def _conv_norm(
    weight: Tensor, norm: nn.Module, *, stride: int, groups: int, act: str | None
) -> nn.Sequential:
    """Return the plain layers of a weight [outputs, inputs / groups, k, k] and the norm behind it."""
    assert isinstance(norm, ElasticNorm)
    scale, shift = norm.weight[: len(weight)], norm.bias[: len(weight)]
    return plain.conv_norm(
        weight, scale, shift, stride=stride, groups=groups, act=act, about_zero=norm.about_zero
    )


def _he_normal(outputs: int, inputs: int, kernel: int, *, fan: int) -> Tensor:
    # He et al. (2015), by the fan-out, as MobileNets are initialised.
    return torch.randn(outputs, inputs, kernel, kernel) * math.sqrt(2 / fan)
