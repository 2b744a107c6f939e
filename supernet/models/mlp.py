"""Fully connected layers over the pixels of an image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from torch import nn

from edge_bench.records import Operator
from edge_bench.records.operators import linear
from supernet.models import ImageModel
from supernet.plain import he_linear


@dataclass(frozen=True, kw_only=True)
class Mlp(ImageModel):
    """Layers of `hidden` widths with ReLU, and a classifier: LeNet-300-100 (LeCun et al., 1998)."""

    resolution: int = 28
    hidden: tuple[int, ...] = (300, 100)

    def check(self) -> None:
        self.check_sizes(hidden=self.hidden)

    def build(self, *, channels: int, classes: int) -> nn.Module:
        widths = (channels * self.resolution**2, *self.hidden)
        layers: list[nn.Module] = [nn.Flatten()]
        for before, after in pairwise(widths):
            layers += [he_linear(before, after), nn.ReLU()]
        return nn.Sequential(*layers, he_linear(widths[-1], classes))

    def operators(self, *, channels: int, classes: int) -> Iterator[Operator]:
        widths = (channels * self.resolution**2, *self.hidden)
        for before, after in pairwise(widths):
            yield linear(before, after, "relu")
        yield linear(widths[-1], classes, None)
