"""Labels drawn at random: what can be learned of the inputs alone, by heart (Zhang et al., 2017)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from edge_bench.data import Images
from edge_bench.text.examples import LabelledTexts
from supernet.pretraining import Pretraining


@dataclass(frozen=True, kw_only=True)
class RandomLabels(Pretraining):
    """Each example has one label for the whole run, drawn uniformly over the classes."""

    tasks: ClassVar[tuple[str, ...]] = ("image_classification", "text_classification")

    def images(self, images: Images, generator: np.random.Generator) -> Images:
        return replace(images, labels=_drawn(images, generator))

    def texts(self, texts: LabelledTexts, generator: np.random.Generator) -> LabelledTexts:
        return replace(texts, labels=_drawn(texts, generator))


def _drawn(examples: Images | LabelledTexts, generator: np.random.Generator) -> npt.NDArray[np.int64]:
    return generator.integers(len(examples.class_names), size=len(examples.labels))
