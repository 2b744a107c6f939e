"""The once-for-all space: MobileNetV3 blocks with h-swish and squeeze-excite at 128–224 px."""

from __future__ import annotations

from dataclasses import dataclass

from edge_bench.records.arch import Activation, SearchSpace
from supernet.spaces import Choices, Space


@dataclass(frozen=True, kw_only=True)
class MobilenetV3(Space):
    """The space of once-for-all (Cai et al., 2020): five stages of MobileNetV3 blocks.

    Each stage's activation and squeeze-excite are MobileNetV3-Large's (Howard et al., 2019).
    `feature_width` is that of a fully connected layer before the classifier; 0 leaves it out.
    """

    stem_width: int = 16
    stem_stride: int = 2
    widths: tuple[int, ...] = (24, 40, 80, 112, 160)
    strides: tuple[int, ...] = (2, 2, 2, 1, 2)
    activations: tuple[Activation, ...] = ("relu", "relu", "h_swish", "h_swish", "h_swish")
    squeeze_excite: tuple[bool, ...] = (False, True, False, True, True)
    depths: Choices = (2, 3, 4)
    kernels: Choices = (3, 5, 7)
    expands: Choices = (3, 4, 6)
    head_width: int = 960
    feature_width: int = 1280
    resolutions: tuple[int, ...] = tuple(range(128, 225, 4))

    def build(self, *, input_channels: int, classes: int) -> SearchSpace:
        """Return the space; `ConfigError` names the option that cannot be."""
        return self.assembled(
            input_channels=input_channels,
            classes=classes,
            activations=self.activations,
            squeeze_excite=self.squeeze_excite,
            feature_width=self.feature_width,
            stem_block=True,
            activation="h_swish",
        )
