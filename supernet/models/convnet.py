"""A plain row of 3×3 convolutions, each with a norm and ReLU, and a classifier of the maps' means."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from torch import nn

from edge_bench.errors import ConfigError
from edge_bench.records import Operator
from edge_bench.records.operators import convolution, convolved, global_pool, group_norm, linear
from supernet.models import ImageModel
from supernet.network import PlainNetwork
from supernet.plain import BATCH_NORM_EPS, BatchNorm, he_conv, he_linear

_KERNEL = 3


@dataclass(frozen=True, kw_only=True)
class Convnet(ImageModel):
    """One convolution for each of `widths`, with the stride at the same place of `strides` (empty: all 1).

    `norm` is what stands behind each convolution: "batch", which folds into it, "group" (Wu & He, 2018)
    over so many `groups`, which a device has to compute, or "none", where the convolution has biases.
    `padding` "zeros" keeps the side of a map but for strides; with "none" each convolution takes 2 pixels
    of it, and nothing tells the network where an image ends (Islam, Jia and Bruce, 2020).
    """

    resolution: int = 32
    widths: tuple[int, ...] = (32, 32, 64, 64, 96)
    strides: tuple[int, ...] = (1, 2, 1, 2, 1)
    norm: Literal["batch", "group", "none"] = "batch"
    groups: int = 8
    padding: Literal["zeros", "none"] = "zeros"

    def check(self) -> None:
        self.check_sizes(widths=self.widths, strides=self.strides)
        if not self.widths:
            raise ConfigError("[model] widths is empty; name the width of each convolution")
        if self.strides and len(self.strides) != len(self.widths):
            raise ConfigError(
                f"[model] has {len(self.widths)} widths and {len(self.strides)} strides",
                hint="give a stride for each width, or an empty list for 1 everywhere",
            )
        if self.norm == "group" and (self.groups < 1 or any(one % self.groups for one in self.widths)):
            raise ConfigError(
                f"[model] groups is {self.groups}; every width must be a multiple of it, and widths is "
                f"{list(self.widths)}"
            )
        for number, (_, _, size, stride) in enumerate(self._layers(channels=1), 1):
            if _after(size, stride, padded=self._padded) < 1:
                raise ConfigError(
                    f"[model] convolution {number} has a map of {size} pixels a side, too small for its "
                    f"kernel of {_KERNEL} without padding",
                    hint='raise resolution, lower strides, or say padding = "zeros"',
                )

    def build(self, *, channels: int, classes: int) -> nn.Module:
        rows = [self._row(before, after, stride) for before, after, _, stride in self._layers(channels)]
        return PlainNetwork(nn.Sequential(*rows), None, he_linear(self.widths[-1], classes))

    def operators(self, *, channels: int, classes: int) -> Iterator[Operator]:
        side = self.resolution
        for before, after, size, stride in self._layers(channels):
            grouped = self.norm == "group"
            act = None if grouped else "relu"
            yield convolution(
                -1, before, after, size, kernel=_KERNEL, stride=stride, activation=act, padded=self._padded
            )
            side = _after(size, stride, padded=self._padded)
            if grouped:
                yield group_norm(after, side, "relu")
        yield global_pool(self.widths[-1], side)
        yield linear(self.widths[-1], classes, None)

    @property
    def _padded(self) -> bool:
        return self.padding == "zeros"

    def _layers(self, channels: int) -> Iterator[tuple[int, int, int, int]]:
        """Yield input channels, output channels, side of the input and stride of each convolution."""
        before, size = channels, self.resolution
        for after, stride in zip(self.widths, self.strides or (1,) * len(self.widths), strict=True):
            yield before, after, size, stride
            before, size = after, _after(size, stride, padded=self._padded)

    def _row(self, before: int, after: int, stride: int) -> nn.Sequential:
        padding = None if self._padded else 0
        bias = self.norm == "none"
        layers = OrderedDict[str, nn.Module](
            conv=he_conv(before, after, kernel=_KERNEL, stride=stride, bias=bias, padding=padding)
        )
        if self.norm == "batch":
            layers["norm"] = BatchNorm(after, eps=BATCH_NORM_EPS)
        elif self.norm == "group":
            layers["norm"] = nn.GroupNorm(self.groups, after)
        layers["activation"] = nn.ReLU()
        return nn.Sequential(layers)


def _after(size: int, stride: int, *, padded: bool) -> int:
    return convolved(size, _KERNEL, stride, padded=padded)
