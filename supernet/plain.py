"""The plain layers that subnets are made of, put together around weights that are at hand, and drawn
anew for networks that are trained alone.

Building a layer the usual way draws weights that are thrown away, and takes 50 µs even where none are
drawn; a network has about a hundred. Copies of a few prototypes take a fifth of that.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from functools import cache
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from supernet.ranks import Synchronised, synchronised_batch_norm

BATCH_NORM_EPS = 1e-5

M = TypeVar("M", bound=nn.Module)


class BatchNorm(Synchronised, nn.BatchNorm2d):
    """Batch norm that can be trained; where it is `synchronised`, over the batch of all processes.

    Its running statistics are not what a subnet is judged with: `calibration.recalibrate` estimates those.
    One `about_zero` takes no mean away: its `running_mean` stays 0, and its variance is the mean square.
    """

    about_zero = False

    def forward(self, x: Tensor) -> Tensor:
        if self.training and self.about_zero:
            return self._by_mean_square(x)
        if self.training and self.synchronised:
            return synchronised_batch_norm(x, self.weight, self.bias, self.eps)
        return super().forward(x)

    def _by_mean_square(self, x: Tensor) -> Tensor:
        square = x.square().mean((0, 2, 3))
        assert self.running_var is not None and self.num_batches_tracked is not None
        assert self.momentum is not None
        self.running_var.lerp_(square.detach(), self.momentum)
        self.num_batches_tracked.add_(1)
        return scaled_by_mean_square(x, square, self.weight, self.bias, self.eps)


def scaled_by_mean_square(x: Tensor, square: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """Return x [n, c, h, w] over the root of its mean square [c], scaled and shifted channel by channel."""
    scale = weight * (square + eps).rsqrt()
    return x * scale[:, None, None] + bias[:, None, None]


class SqueezeExcite(nn.Module):
    """Scale each channel by what the whole map says (Hu et al., 2018), with a hard sigmoid."""

    def __init__(self, reduce: nn.Conv2d, expand: nn.Conv2d) -> None:
        super().__init__()
        self.reduce = reduce
        self.expand = expand

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


def activation(name: str | None) -> nn.Module:
    """Return the plain layer of an activation's name in `records.arch`; identity for None."""
    kinds: dict[str | None, type[nn.Module]] = {
        "relu": nn.ReLU,
        "relu6": nn.ReLU6,
        "h_swish": nn.Hardswish,
        None: nn.Identity,
    }
    return kinds[name]()


def he_conv(
    inputs: int,
    outputs: int,
    *,
    kernel: int,
    stride: int = 1,
    bias: bool = False,
    padding: int | None = None,
) -> nn.Conv2d:
    """Return a convolution, its weights drawn by the fan-out (He et al., 2015); padded by kernel // 2
    where no `padding` is given.
    """
    around = kernel // 2 if padding is None else padding
    layer = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=around, bias=bias)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def he_linear(inputs: int, outputs: int) -> nn.Linear:
    """Return a fully connected layer, its weights drawn by the fan-in (He et al., 2015), its biases 0."""
    layer = nn.Linear(inputs, outputs)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    nn.init.zeros_(layer.bias)
    return layer


def conv_norm_drawn(
    inputs: int, outputs: int, *, kernel: int, stride: int = 1, act: str | None = None
) -> nn.Sequential:
    """Return a convolution of drawn weights, batch norm, and an activation (None for none)."""
    layers = OrderedDict[str, nn.Module](
        conv=he_conv(inputs, outputs, kernel=kernel, stride=stride),
        norm=BatchNorm(outputs, eps=BATCH_NORM_EPS),
    )
    if act is not None:
        layers["activation"] = activation(act)
    return nn.Sequential(layers)


def conv_norm(
    weight: Tensor,
    scale: Tensor,
    shift: Tensor,
    *,
    stride: int,
    groups: int,
    act: str | None,
    about_zero: bool = False,
) -> nn.Sequential:
    """Return a convolution, batch norm whose statistics are still to be estimated, and an activation.

    Args:
        weight: of the convolution, [outputs, inputs / groups, k, k].
        scale: of the batch norm, [outputs].
        shift: of the batch norm, [outputs].
        stride: of the convolution, which is padded by k // 2.
        groups: of the convolution.
        act: the activation's name; None for none.
        about_zero: whether the batch norm takes no mean away.
    """
    layers = skeleton(_conv_norm_prototype(weight.shape[-1], stride, act))
    conv, norm = layers._modules["conv"], layers._modules["norm"]
    assert isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
    _fill(conv, weight, None, groups)
    vars(norm).update(num_features=len(scale), about_zero=about_zero)
    norm._parameters.update(weight=_copied(scale), bias=_copied(shift))
    norm._buffers.update(
        running_mean=torch.zeros_like(scale),
        running_var=torch.ones_like(scale),
        num_batches_tracked=torch.zeros((), dtype=torch.long, device=scale.device),
    )
    return layers


def conv(weight: Tensor, bias: Tensor) -> nn.Conv2d:
    """Return a convolution of copies of weight [outputs, inputs, k, k] and bias [outputs]."""
    layer = skeleton(_conv_prototype(weight.shape[-1], 1))
    _fill(layer, weight, bias, 1)
    return layer


def linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    """Return a fully connected layer of copies of weight [outputs, inputs] and bias [outputs]."""
    layer = skeleton(_linear_prototype())
    vars(layer).update(in_features=weight.shape[1], out_features=weight.shape[0])
    layer._parameters.update(weight=_copied(weight), bias=_copied(bias))
    return layer


def sequence(layers: Mapping[str, nn.Module], *, residual: bool = False) -> nn.Module:
    """Return named layers in a row; where `residual`, their input is added to their output."""
    row = skeleton(_sequence_prototype())
    row._modules.update(layers)
    if not residual:
        return row
    around = skeleton(_residual_prototype())
    around._modules["layers"] = row
    return around


def squeeze_excite(reduce: nn.Conv2d, expand: nn.Conv2d) -> SqueezeExcite:
    """Return a squeeze-excite of its two convolutions."""
    layer = skeleton(_squeeze_prototype())
    layer._modules.update(reduce=reduce, expand=expand)
    return layer


def skeleton(module: M) -> M:
    """Return a module of the structure of `module`, to be given tensors of its own: it has the same."""
    copied = object.__new__(type(module))
    attributes = vars(copied)
    for name, value in vars(module).items():
        attributes[name] = value.copy() if isinstance(value, dict) else value
    children = attributes["_modules"]
    for name, child in children.items():
        children[name] = None if child is None else skeleton(child)
    return copied


def _fill(conv: nn.Conv2d, weight: Tensor, bias: Tensor | None, groups: int) -> None:
    outputs, inputs, _, _ = weight.shape
    vars(conv).update(in_channels=inputs * groups, out_channels=outputs, groups=groups)
    conv._parameters.update(weight=_copied(weight), bias=None if bias is None else _copied(bias))


def _copied(tensor: Tensor) -> nn.Parameter:
    copied = tensor.clone(memory_format=torch.contiguous_format)
    return nn.Parameter(copied, requires_grad=False)


@cache
def _conv_norm_prototype(kernel: int, stride: int, act: str | None) -> nn.Sequential:
    layers = OrderedDict[str, nn.Module](
        conv=_conv_prototype(kernel, stride), norm=BatchNorm(1, eps=BATCH_NORM_EPS)
    )
    if act is not None:
        layers["activation"] = activation(act)
    return nn.Sequential(layers)


@cache
def _conv_prototype(kernel: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(1, 1, kernel, stride=stride, padding=kernel // 2, bias=False)


@cache
def _linear_prototype() -> nn.Linear:
    return nn.Linear(1, 1)


@cache
def _sequence_prototype() -> nn.Sequential:
    return nn.Sequential()


@cache
def _residual_prototype() -> Residual:
    return Residual(nn.Sequential())


@cache
def _squeeze_prototype() -> SqueezeExcite:
    return SqueezeExcite(_conv_prototype(1, 1), _conv_prototype(1, 1))
