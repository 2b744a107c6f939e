"""Whether an exported file treats the borders of an image as the network does.

Padding conventions differ: PyTorch pads a convolution alike on both sides, TensorFlow's SAME at stride 2
pads an even side below and right only. Real samples may not show it: a wrong padding that moves the whole
map is lost in mean pooling where the objects stand before an empty border. So images that are black but for
one border, or one corner, are compared as well. What networks know of position they have from this padding
(Islam et al., 2020).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge_bench.data import prepare
from edge_bench.errors import ParityError
from edge_bench.records import Preprocessing

Floats = npt.NDArray[np.float32]

_HINT_PADDING = (
    "beyond the border the file computes with other numbers than the network was trained with: each "
    "convolution must pad each side by as many zeros as the network's does"
)
_HINT_EITHER = (
    "a convolution pads otherwise (SAME at stride 2 pads an even side below and right only), or an "
    "operator was converted wrongly: take another format, and report the subnet's arch"
)
# Rows and columns that are white, by what they are called.
_FIRST, _LAST, _ALL = slice(0, 1), slice(-1, None), slice(None)
_WHITE = {
    "top edge": (_FIRST, _ALL),
    "bottom edge": (_LAST, _ALL),
    "left edge": (_ALL, _FIRST),
    "right edge": (_ALL, _LAST),
    "top left corner": (_FIRST, _FIRST),
    "top right corner": (_FIRST, _LAST),
    "bottom left corner": (_LAST, _FIRST),
    "bottom right corner": (_LAST, _LAST),
}


def border_inputs(preprocessing: Preprocessing) -> Floats:
    """Return prepared inputs [n, channels, size, size]: black images, each white at another border, and
    one that is white in its middle.
    """
    size = preprocessing.size
    pixels = np.zeros((len(_WHITE) + 1, size, size, preprocessing.channels), np.uint8)
    for image, (rows, columns) in zip(pixels, _WHITE.values(), strict=False):
        image[rows, columns] = 255
    half = slice(size // 2, size // 2 + 1)
    pixels[-1, half, half] = 255
    return prepare(pixels, preprocessing)


def border_error(file: Path, expected: Floats, alone: Floats, *, tolerance: float | None) -> float:
    """Return the largest absolute difference between a file's logits and the network's at any border.

    Args:
        file: the exported file.
        expected: the network's logits [n, classes] for `border_inputs`.
        alone: the file's, run one image at a time.
        tolerance: the largest difference allowed; None only reports it, as for int8.

    Raises:
        ParityError: a logit differs by more than `tolerance`, or is no number; the border is named.
    """
    errors = np.abs(alone - expected).max(axis=1)
    *borders, middle = (float(error) for error in np.where(np.isfinite(errors), errors, np.inf))
    worst, border = max(zip(borders, _WHITE, strict=True))
    allowed = float("inf") if tolerance is None else tolerance
    if np.isfinite(worst) and worst <= allowed:
        return worst
    raise ParityError(
        f"'{file.suffix[1:]}' differs from the network by {worst:.3g} in a logit of an image that is white "
        f"at its {border} alone ({middle:.3g} where it is white in its middle); at most {allowed:.3g} is "
        "allowed",
        hint=_HINT_PADDING if middle <= allowed else _HINT_EITHER,
    )
