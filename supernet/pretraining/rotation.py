"""Images turned by a quarter, a half or not at all; by how much is to be told (Gidaris et al., 2018)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from edge_bench.data import Images
from edge_bench.errors import ConfigError
from supernet.pretraining import Pretraining

TURNS = 4


@dataclass(frozen=True, kw_only=True)
class Rotation(Pretraining):
    """The images' own labels are not used: the first four classes stand for the quarter turns, of which
    each image has one for the whole run. So the classifier keeps its shape, and trains on from there.
    """

    tasks: ClassVar[tuple[str, ...]] = ("image_classification",)

    def images(self, images: Images, generator: np.random.Generator) -> Images:
        if len(images.class_names) < TURNS:
            raise ConfigError(
                f"[pretraining.rotation] needs {TURNS} classes to tell quarter turns by; the data has "
                f"{len(images.class_names)}"
            )
        turns = generator.integers(TURNS, size=len(images.labels))
        pixels = images.pixels.copy()
        for turn in range(1, TURNS):
            pixels[turns == turn] = np.rot90(pixels[turns == turn], turn, axes=(1, 2))
        return replace(images, pixels=pixels, labels=turns)
