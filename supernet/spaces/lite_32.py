"""The blocks of `lite` for images of 16–32 px; its last maps are at least 4×4."""

from __future__ import annotations

from dataclasses import dataclass

from supernet.spaces import Choices
from supernet.spaces.lite import Lite


@dataclass(frozen=True, kw_only=True)
class LiteAt32(Lite):
    """Three stages, shrinking a map 4 times in all; kernels of 3 and 5.

    By default the last map is at least 4×4. Options may make it smaller, as images of digits allow.
    """

    stem_stride: int = 1
    widths: tuple[int, ...] = (24, 40, 64)
    strides: tuple[int, ...] = (1, 2, 2)
    depths: Choices = (1, 2, 3)
    kernels: Choices = (3, 5)
    expands: Choices = (2, 3, 4)
    head_width: int = 128
    resolutions: tuple[int, ...] = (16, 24, 32)
