"""Images without detail: scaled down and up again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from edge_bench.data import Images, resize
from edge_bench.errors import ConfigError
from supernet.pretraining import Pretraining


@dataclass(frozen=True, kw_only=True)
class Blurred(Pretraining):
    """To 1 / `factor` of their side in pixels and back, bilinear."""

    tasks: ClassVar[tuple[str, ...]] = ("image_classification",)

    factor: int = 4

    def check(self) -> None:
        if self.factor < 2:
            raise ConfigError(f"[pretraining.blurred] factor is {self.factor}; it must be at least 2")

    def images(self, images: Images, generator: np.random.Generator) -> Images:
        side = images.pixels.shape[1]
        if side < 2 * self.factor:
            raise ConfigError(
                f"[pretraining.blurred] factor is {self.factor}, but images of {side} pixels would have "
                f"{side // self.factor} left of a side",
                hint=f"a factor of at most {side // 2} leaves 2",
            )
        return replace(images, pixels=resize(resize(images.pixels, side // self.factor), side))
