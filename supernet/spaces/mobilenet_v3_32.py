"""The once-for-all space for images of 28–32 px; its last maps are 4×4."""

from __future__ import annotations

from dataclasses import dataclass

from supernet.spaces import Choices
from supernet.spaces.mobilenet_v3 import MobilenetV3


@dataclass(frozen=True, kw_only=True)
class MobilenetV3At32(MobilenetV3):
    """Five stages, shrinking a map 8 times in all; kernels of 3 and 5.

    By default the last map is 4×4; options may make it smaller.
    """

    stem_stride: int = 1
    strides: tuple[int, ...] = (1, 2, 2, 1, 2)
    kernels: Choices = (3, 5)
    resolutions: tuple[int, ...] = (28, 32)
