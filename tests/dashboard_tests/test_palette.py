"""Colours that stay apart for colour-blind eyes, and stand out from either ground.

How a colour is seen without one of the three kinds of cones: Machado, Oliveira and Fernandes, 2009, at full
severity, of the two frequent kinds. How far two lie apart: CIELAB, where some 2 can just be told apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt
import pytest

from dashboard import architecture
from dashboard.family_figures import DASHES, LINES
from dashboard.family_figures import SYMBOLS as LINE_SYMBOLS
from dashboard.figures import COLOURS, INK, OTHER, PAINTS

Colour = npt.NDArray[np.float64]
SIGHT = {
    "three kinds of cones": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
WHITE = np.array([0.9505, 1.0, 1.089])
GROUNDS = ("#ffffff", "#0e1117", "#191919")
APART = 15.0


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("together", [tuple(COLOURS.values()), PAINTS, LINES])
def test_what_meets_on_a_chart_differs_in_colour_to_any_eye(together: Sequence[str], sight: str) -> None:
    for one, other in combinations(together, 2):
        assert _distance(one, other, sight) > APART, f"{one} and {other}"


def test_lines_differ_in_form_as_well() -> None:
    forms = [
        (LINE_SYMBOLS[place % len(LINE_SYMBOLS)], DASHES[place // len(LINES) % len(DASHES)])
        for place in range(len(LINES) * len(DASHES))
    ]
    assert len(set(forms)) == len(forms)


def test_a_second_distribution_differs_from_the_first_though_both_are_of_one_kind() -> None:
    for paint in COLOURS.values():
        assert max(_distance(paint, OTHER, sight) for sight in SIGHT) > APART / 2


@pytest.mark.parametrize("ground", GROUNDS)
def test_marks_and_words_stand_out_from_the_ground(ground: str) -> None:
    marks = {
        *COLOURS.values(),
        *PAINTS,
        *LINES,
        OTHER,
        architecture.MACS,
        architecture.WEIGHTS,
        architecture.MAPS,
    }
    for mark in marks:
        assert _contrast(mark, ground) >= 3, mark
    ink = INK["light" if ground == "#ffffff" else "dark"][0]
    assert _contrast(ink, ground) >= 7


def _distance(one: str, other: str, sight: str) -> float:
    seen = (_lab(SIGHT[sight] @ _linear(colour)) for colour in (one, other))
    return float(np.linalg.norm(np.subtract(*seen)))


def _contrast(one: str, other: str) -> float:
    """Return how many times brighter the one is than the other, as WCAG 2 counts it."""
    light, deep = sorted((float(TO_XYZ[1] @ _linear(colour)) for colour in (one, other)), reverse=True)
    return (light + 0.05) / (deep + 0.05)


def _linear(colour: str) -> Colour:
    channels = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def _lab(linear: Colour) -> Colour:
    shares = TO_XYZ @ np.clip(linear, 0, 1) / WHITE
    x, y, z = np.where(shares > 0.008856, np.cbrt(shares), 7.787 * shares + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])
