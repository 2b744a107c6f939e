"""Elastic layers, which share their weights among all subnets, and the plain layers cut from them.

A narrower layer is the prefix of the channels of the wider one, a smaller kernel the transformed
centre of the larger one (once-for-all, Cai et al., 2020). Elastic layers normalise by the statistics
of the batch at hand: running statistics belong to no single subnet, so none are kept here; a plain
network gets its own from `calibration.recalibrate`.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edge_bench.records.operators import squeezed_width

BATCH_NORM_EPS = 1e-5


def activation(name: str | None) -> nn.Module:
    """Return the plain layer of an activation's name in `records.arch`; identity for None."""
    kinds: dict[str | None, type[nn.Module]] = {
        "relu": nn.ReLU,
        "relu6": nn.ReLU6,
        "h_swish": nn.Hardswish,
        None: nn.Identity,
    }
    return kinds[name]()


class ElasticNorm(nn.Module):
    """Batch norm over the first channels of x [n, c, h, w], always by the statistics of the batch."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        width = x.shape[1]
        weight, bias = self.weight[:width], self.bias[:width]
        return F.batch_norm(x, None, None, weight, bias, training=True, eps=BATCH_NORM_EPS)

    def plain(self, width: int) -> nn.BatchNorm2d:
        """Return batch norm over the first `width` channels, its statistics still to be estimated."""
        norm = nn.BatchNorm2d(width, eps=BATCH_NORM_EPS)
        norm.weight.data.copy_(self.weight[:width])
        norm.bias.data.copy_(self.bias[:width])
        return norm


class ElasticConv(nn.Module):
    """A convolution without bias, batch norm and an activation; any prefix of its channels.

    Input channels follow from the input; `outputs` chooses the first output channels.
    """

    def __init__(self, inputs: int, outputs: int, *, kernel: int, stride: int, act: str | None) -> None:
        super().__init__()
        self.stride, self.act = stride, act
        self.weight = nn.Parameter(_he_normal(outputs, inputs, kernel, fan=outputs * kernel**2))
        self.norm = ElasticNorm(outputs)
        self.activation = activation(act)

    def forward(self, x: Tensor, outputs: int) -> Tensor:
        weight = self.weight[:outputs, : x.shape[1]]
        x = F.conv2d(x, weight, stride=self.stride, padding=weight.shape[-1] // 2)
        normalised: Tensor = self.activation(self.norm(x))
        return normalised

    def plain(self, inputs: int, outputs: int) -> nn.Sequential:
        """Return the plain layers of a prefix of the channels."""
        weight = self.weight[:outputs, :inputs]
        return _plain_conv(weight, self.norm, stride=self.stride, groups=1, act=self.act)


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
        width, size = x.shape[1], x.shape[-1]
        weight = self._kernel(width, kernel)
        if size < kernel:
            # oneDNN's gradient of a kernel larger than its map takes 5 ms where 0.5 ms would do. More
            # of the zeros that pad the map anyway change no number that is kept.
            x = F.pad(x, (0, kernel - size, 0, kernel - size))
        x = F.conv2d(x, weight, stride=self.stride, padding=kernel // 2, groups=width)
        if size < kernel:
            after = -(-size // self.stride)
            x = x[:, :, :after, :after]
        normalised: Tensor = self.activation(self.norm(x))
        return normalised

    def plain(self, width: int, kernel: int) -> nn.Sequential:
        """Return the plain layers of the first `width` channels with `kernel`."""
        weight = self._kernel(width, kernel)
        return _plain_conv(weight, self.norm, stride=self.stride, groups=width, act=self.act)

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
        width = x.shape[1]
        hidden = squeezed_width(width)
        scale = x.mean((2, 3), keepdim=True)
        scale = F.relu(F.conv2d(scale, self.reduce.weight[:hidden, :width], self.reduce.bias[:hidden]))  # type: ignore[index]
        scale = F.conv2d(scale, self.expand.weight[:width, :hidden], self.expand.bias[:width])  # type: ignore[index]
        return x * F.hardsigmoid(scale)

    def plain(self, width: int) -> SqueezeExcite:
        """Return the plain layer over the first `width` channels."""
        hidden = squeezed_width(width)
        plain = SqueezeExcite(width, hidden)
        with torch.no_grad():
            plain.reduce.weight.copy_(self.reduce.weight[:hidden, :width])
            plain.reduce.bias.copy_(self.reduce.bias[:hidden])  # type: ignore[union-attr, index]
            plain.expand.weight.copy_(self.expand.weight[:width, :hidden])
            plain.expand.bias.copy_(self.expand.bias[:width])  # type: ignore[union-attr, index]
        return plain


class SqueezeExcite(nn.Module):
    """The plain form of `ElasticSqueezeExcite`."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(width, hidden, 1)
        self.expand = nn.Conv2d(hidden, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        scale = F.relu(self.reduce(x.mean((2, 3), keepdim=True)))
        return x * F.hardsigmoid(self.expand(scale))


class Residual(nn.Module):
    """Layers in a row, their input added to their output."""

    def __init__(self, layers: nn.Sequential) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, x: Tensor) -> Tensor:
        added: Tensor = x + self.layers(x)
        return added


def _plain_conv(
    weight: Tensor, norm: ElasticNorm, *, stride: int, groups: int, act: str | None
) -> nn.Sequential:
    outputs, inputs, kernel, _ = weight.shape
    conv = nn.Conv2d(
        inputs * groups, outputs, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False
    )
    conv.weight.data.copy_(weight.detach())
    layers = OrderedDict[str, nn.Module](conv=conv, norm=norm.plain(outputs))
    if act is not None:
        layers["activation"] = activation(act)
    return nn.Sequential(layers)


def _he_normal(outputs: int, inputs: int, kernel: int, *, fan: int) -> Tensor:
    # He et al. (2015), by the fan-out, as MobileNets are initialised.
    return torch.randn(outputs, inputs, kernel, kernel) * math.sqrt(2 / fan)
