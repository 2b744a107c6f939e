"""The residual networks of small images: ResNet-20, 32, 44, 56, 110."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, nn

from edge_bench.errors import ConfigError
from edge_bench.records import Operator
from edge_bench.records.operators import add, convolution, global_pool, linear, strided
from supernet.models import ImageModel
from supernet.network import PlainNetwork
from supernet.plain import conv_norm_drawn, he_linear

_STAGES = 3
# In a stage each block has two convolutions; the stem and the classifier are two layers more.
_LAYERS_A_STAGE, _LAYERS_AROUND = 2 * _STAGES, 2


@dataclass(frozen=True, kw_only=True)
class Resnet(ImageModel):
    """Three stages of blocks of two 3×3 convolutions (He et al., 2016, section 4.2), `depth` layers in all.

    `width` is that of the first stage; the others are twice and four times as wide, at half and a quarter
    of the side. Where width or side change, the shortcut is a 1×1 convolution with batch norm (their
    option B).
    """

    resolution: int = 32
    depth: int = 20
    width: int = 16

    def check(self) -> None:
        self.check_sizes(2 ** (_STAGES - 1), width=(self.width,))
        blocks, rest = divmod(self.depth - _LAYERS_AROUND, _LAYERS_A_STAGE)
        if rest or not 1 <= blocks <= 200:
            raise ConfigError(
                f"[model] depth is {self.depth}; it must be 6n + 2, such as 8, 14, 20, 32, 44, 56 or 110"
            )

    def build(self, *, channels: int, classes: int) -> nn.Module:
        layers: list[nn.Module] = [conv_norm_drawn(channels, self.width, kernel=3, act="relu")]
        layers += [_Block(*shape) for shape in self._blocks()]
        return PlainNetwork(nn.Sequential(*layers), None, he_linear(self._last_width, classes))

    def operators(self, *, channels: int, classes: int) -> Iterator[Operator]:
        size = self.resolution
        yield convolution(-1, channels, self.width, size, kernel=3, activation="relu")
        for number, (before, after, stride) in enumerate(self._blocks()):
            small = strided(size, stride)
            yield convolution(number, before, after, size, kernel=3, stride=stride, activation="relu")
            yield convolution(number, after, after, small, kernel=3)
            if before != after:
                yield convolution(number, before, after, size, kernel=1, stride=stride)
            yield add(number, after, small, "relu")
            size = small
        yield global_pool(self._last_width, size)
        yield linear(self._last_width, classes, None)

    @property
    def _last_width(self) -> int:
        return self.width << (_STAGES - 1)

    def _blocks(self) -> Iterator[tuple[int, int, int]]:
        """Yield input channels, output channels and stride of each block."""
        before = self.width
        for stage in range(_STAGES):
            for _ in range((self.depth - _LAYERS_AROUND) // _LAYERS_A_STAGE):
                after = self.width * 2**stage
                yield before, after, 1 if before == after else 2
                before = after


class _Block(nn.Module):
    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.first = conv_norm_drawn(before, after, kernel=3, stride=stride, act="relu")
        self.second = conv_norm_drawn(after, after, kernel=3)
        self.shortcut = (
            nn.Identity() if before == after else conv_norm_drawn(before, after, kernel=1, stride=stride)
        )
        self.activation = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        summed: Tensor = self.activation(self.second(self.first(x)) + self.shortcut(x))
        return summed
