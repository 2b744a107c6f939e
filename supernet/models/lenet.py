"""LeNet-5 with ReLU and max pooling: two convolutions and three fully connected layers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from torch import nn

from edge_bench.records import Operator
from edge_bench.records.operators import convolution, linear, pool
from supernet.models import ImageModel
from supernet.plain import he_conv, he_linear

_KERNEL, _POOLED = 5, 2


@dataclass(frozen=True, kw_only=True)
class Lenet(ImageModel):
    """The widths of LeNet-5 (LeCun et al., 1998). Both convolutions are padded, so that images of 4 pixels
    a side and more will do.
    """

    resolution: int = 28
    widths: tuple[int, int] = (6, 16)
    hidden: tuple[int, ...] = (120, 84)

    def check(self) -> None:
        self.check_sizes(_POOLED ** len(self.widths), widths=self.widths, hidden=self.hidden)

    def build(self, *, channels: int, classes: int) -> nn.Module:
        layers: list[nn.Module] = []
        for before, after in pairwise((channels, *self.widths)):
            layers += [he_conv(before, after, kernel=_KERNEL, bias=True), nn.ReLU(), nn.MaxPool2d(_POOLED)]
        layers.append(nn.Flatten())
        widths = self._flat
        for before, after in pairwise(widths):
            layers += [he_linear(before, after), nn.ReLU()]
        return nn.Sequential(*layers, he_linear(widths[-1], classes))

    def operators(self, *, channels: int, classes: int) -> Iterator[Operator]:
        size = self.resolution
        for before, after in pairwise((channels, *self.widths)):
            yield convolution(-1, before, after, size, kernel=_KERNEL, activation="relu")
            yield pool(after, size, _POOLED)
            size //= _POOLED
        for before, after in pairwise(self._flat):
            yield linear(before, after, "relu")
        yield linear(self._flat[-1], classes, None)

    @property
    def _flat(self) -> tuple[int, ...]:
        """The widths between the fully connected layers, the pixels that the last map holds first."""
        side = self.resolution // _POOLED ** len(self.widths)
        return (self.widths[-1] * side**2, *self.hidden)
