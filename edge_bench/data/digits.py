"""scikit-learn's digits: 1,797 real scans of 8 by 8 pixels, always at hand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.datasets import load_digits

from edge_bench.data import Images, ImageSource, choose_split, resize
from edge_bench.records.subnet import Split


@dataclass(frozen=True, kw_only=True)
class Digits(ImageSource):
    """Optical recognition of handwritten digits (Alpaydin and Kaynak, 1998), one channel.

    Two thirds of each class train, a sixth selects and a sixth tests, drawn once by `seed`.
    """

    seed: int = 0

    def load(self, split: Split, *, size: int | None = None) -> Images:
        """Read one split: uint8 [n, 8, 8, 1], or resized."""
        loaded = load_digits()
        # Sixteen is white in the scans; 255 is white in an image.
        pixels = np.round(loaded.images * (255 / 16)).astype(np.uint8)[..., None]
        labels = loaded.target.astype(np.int64)
        chosen = choose_split(labels, split, selection=1 / 6, test=1 / 6, seed=self.seed)
        pixels = pixels[chosen]
        return Images(
            pixels=resize(pixels, size) if size else pixels,
            labels=labels[chosen],
            class_names=tuple(str(digit) for digit in range(10)),
        )

    def channels(self) -> int:
        """One: grey."""
        return 1
