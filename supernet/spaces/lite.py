"""Inverted residuals with ReLU6 and nothing that quantizes badly, at 128–224 px."""

from __future__ import annotations

from dataclasses import dataclass

from edge_bench.records.arch import SearchSpace
from supernet.spaces import Choices, Space


@dataclass(frozen=True, kw_only=True)
class Lite(Space):
    """MobileNetV2's blocks and head (Sandler et al., 2018), with once-for-all's choices (Cai et al., 2020).

    No h-swish and no squeeze-excite: int8 pays, and sparse kernels can run.
    """

    stem_width: int = 16
    stem_stride: int = 2
    widths: tuple[int, ...] = (24, 40, 80, 112, 160)
    strides: tuple[int, ...] = (2, 2, 2, 1, 2)
    depths: Choices = (2, 3, 4)
    kernels: Choices = (3, 5, 7)
    expands: Choices = (3, 4, 6)
    head_width: int = 1280
    resolutions: tuple[int, ...] = tuple(range(128, 225, 4))

    def build(self, *, input_channels: int, classes: int) -> SearchSpace:
        """Return the space; `ConfigError` names the option that cannot be."""
        return self.assembled(input_channels=input_channels, classes=classes)
