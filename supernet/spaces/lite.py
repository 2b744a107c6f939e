"""Inverted residuals with ReLU6 and nothing that quantizes badly; by default for 16–32 px images."""

from __future__ import annotations

from dataclasses import dataclass

from edge_bench.records.arch import SearchSpace, Stage, scaled_width
from supernet.spaces import Space, check_lengths, check_multiplier, checked


@dataclass(frozen=True, kw_only=True)
class Lite(Space):
    """MobileNetV2-like blocks (Sandler et al., 2018) made elastic as in once-for-all (Cai et al., 2020).

    No h-swish and no squeeze-excite: int8 pays, and sparse kernels can run. Every width is
    multiplied by `width_multiplier` and rounded to a multiple of `divisor`.
    """

    stem_width: int = 16
    stem_stride: int = 2
    widths: tuple[int, ...] = (24, 40, 64)
    strides: tuple[int, ...] = (1, 2, 2)
    depths: tuple[int, ...] = (1, 2, 3)
    kernels: tuple[int, ...] = (3, 5)
    expands: tuple[int, ...] = (2, 3, 4)
    head_width: int = 128
    resolutions: tuple[int, ...] = (16, 24, 32)
    width_multiplier: float = 1.0
    divisor: int = 8

    def build(self, *, input_channels: int, classes: int) -> SearchSpace:
        """Return the space; `ConfigError` names the option that cannot be."""
        check_multiplier(self.width_multiplier)
        check_lengths(widths=self.widths, strides=self.strides)
        stages = tuple(
            Stage(
                width=self._scaled(width),
                stride=stride,
                depths=self.depths,
                kernels=self.kernels,
                expands=self.expands,
            )
            for width, stride in zip(self.widths, self.strides, strict=True)
        )
        space = SearchSpace(
            name="lite",
            input_channels=input_channels,
            classes=classes,
            resolutions=self.resolutions,
            stem_width=self._scaled(self.stem_width),
            stem_stride=self.stem_stride,
            stages=stages,
            head_width=self._scaled(self.head_width),
            divisor=self.divisor,
        )
        return checked(space)

    def _scaled(self, width: int) -> int:
        # A multiplier of 1 keeps widths as they are written, multiples of the divisor or not.
        if self.width_multiplier == 1:
            return width
        return scaled_width(width, self.width_multiplier, self.divisor)
