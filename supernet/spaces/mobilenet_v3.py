"""The once-for-all space: MobileNetV3 blocks with h-swish and squeeze-excite at 128–224 px."""

from __future__ import annotations

from dataclasses import dataclass

from edge_bench.records.arch import Activation, SearchSpace, Stage, scaled_width
from supernet.spaces import Space, check_lengths, check_multiplier, checked


@dataclass(frozen=True, kw_only=True)
class MobilenetV3(Space):
    """The space of once-for-all (Cai et al., 2020): five stages of MobileNetV3 blocks.

    Each stage's activation and squeeze-excite are MobileNetV3-Large's (Howard et al., 2019). Every
    width is multiplied by `width_multiplier` and rounded to a multiple of 8.
    """

    stem_width: int = 16
    widths: tuple[int, ...] = (24, 40, 80, 112, 160)
    strides: tuple[int, ...] = (2, 2, 2, 1, 2)
    activations: tuple[Activation, ...] = ("relu", "relu", "h_swish", "h_swish", "h_swish")
    squeeze_excite: tuple[bool, ...] = (False, True, False, True, True)
    depths: tuple[int, ...] = (2, 3, 4)
    kernels: tuple[int, ...] = (3, 5, 7)
    expands: tuple[int, ...] = (3, 4, 6)
    head_width: int = 960
    feature_width: int = 1280
    resolutions: tuple[int, ...] = tuple(range(128, 225, 4))
    width_multiplier: float = 1.0

    def build(self, *, input_channels: int, classes: int) -> SearchSpace:
        """Return the space; `ConfigError` names the option that cannot be."""
        check_multiplier(self.width_multiplier)
        listed = (self.widths, self.strides, self.activations, self.squeeze_excite)
        names = ("widths", "strides", "activations", "squeeze_excite")
        check_lengths(**dict(zip(names, listed, strict=True)))
        stages = tuple(
            Stage(
                width=self._scaled(width),
                stride=stride,
                depths=self.depths,
                kernels=self.kernels,
                expands=self.expands,
                activation=activation,
                squeeze_excite=squeezes,
            )
            for width, stride, activation, squeezes in zip(*listed, strict=True)
        )
        space = SearchSpace(
            name="mobilenet_v3",
            input_channels=input_channels,
            classes=classes,
            resolutions=self.resolutions,
            stem_width=self._scaled(self.stem_width),
            stem_stride=2,
            stages=stages,
            head_width=self._scaled(self.head_width),
            feature_width=self._scaled(self.feature_width) if self.feature_width else 0,
            stem_block=True,
            activation="h_swish",
        )
        return checked(space)

    def _scaled(self, width: int) -> int:
        return scaled_width(width, self.width_multiplier, 8)
