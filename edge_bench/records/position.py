"""What a probe of position found in a network's maps, and the maps that it reads out (Islam, Jia and Bruce,
2020).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Maps = npt.NDArray[np.float32]

TARGETS = ("H", "V", "G", "HS", "VS")
SIDE = 28
# Sources beside the stages: the control, and all stages together.
IMAGE, ALL = "image", "all"
STRIPES = 4
# The Gaussian falls to 0.6 at a quarter of the side from the middle.
_DEVIATION = 0.25


def targets(names: tuple[str, ...] = ()) -> dict[str, Maps]:
    """Return the maps [28, 28], from 0 to 1, that are read out, by name; all five where none is named.

    H and V rise from left to right and from top to bottom; G is a Gaussian around the middle; HS and VS are
    four pairs of stripes, dark and bright, that follow one another along H and V.
    """
    places = (np.arange(SIDE) + 0.5) / SIDE
    ramp = np.linspace(0, 1, SIDE)
    bell = np.exp(-((places - 0.5) ** 2) / (2 * _DEVIATION**2))
    stripes = np.floor(2 * STRIPES * places) % 2
    across = {"H": ramp, "HS": stripes}
    down = {"V": ramp, "VS": stripes}
    both = np.outer(bell, bell)
    made = {
        **{name: np.tile(row, (SIDE, 1)) for name, row in across.items()},
        **{name: np.tile(row[:, None], (1, SIDE)) for name, row in down.items()},
        "G": (both - both.min()) / (both.max() - both.min()),
    }
    return {name: made[name].astype(np.float32) for name in names or TARGETS}


@dataclass(frozen=True, kw_only=True)
class Stage:
    """The end of a block: its name in the network, and its map's channels and side in pixels."""

    name: str
    channels: int
    side: int


@dataclass(frozen=True, kw_only=True)
class Score:
    """How well a target is read out of a source, one figure for each seed.

    `source` is "image" (the control: no network), a stage's name, or "all" stages together. `spearman` is
    the rank correlation of predicted and wanted map, `mae` their mean absolute difference; of each held-out
    image, their mean.
    """

    source: str
    target: str
    spearman: tuple[float, ...]
    mae: tuple[float, ...]

    @property
    def mean_spearman(self) -> float:
        return float(np.mean(self.spearman))

    @property
    def mean_mae(self) -> float:
        return float(np.mean(self.mae))


@dataclass(frozen=True, kw_only=True)
class PositionFindings:
    """What a probe of position found in the network of a subnet's id.

    `wide_convolutions` are those that see beyond one pixel, `padded_convolutions` those of them that are
    padded. `predicted` holds, by source and target, the mean map [28][28] of the first seed's predictions
    for the held-out images, to show them.
    """

    network: str
    stages: tuple[Stage, ...]
    padded_convolutions: int
    wide_convolutions: int
    scores: tuple[Score, ...]
    steps: int
    readout_images: int
    held_out_images: int
    predicted: Mapping[str, Mapping[str, tuple[tuple[float, ...], ...]]]

    @property
    def sources(self) -> tuple[str, ...]:
        """The image, each stage by depth, and all of them together."""
        return (IMAGE, *(stage.name for stage in self.stages), ALL)

    @property
    def targets(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(score.target for score in self.scores))

    def score(self, source: str, target: str) -> Score:
        """Return one of the scores; `KeyError` where it was not measured."""
        for score in self.scores:
            if (score.source, score.target) == (source, target):
                return score
        raise KeyError((source, target))
