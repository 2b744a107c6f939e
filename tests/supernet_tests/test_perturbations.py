"""Perturbations: what each leaves as it was, and what it changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from edge_bench import variants
from edge_bench.errors import ConfigError, UnknownVariant
from supernet.perturbations import PERTURBATIONS, Perturbation, Point, perturbation

# Every kind with its usual options.
USUAL: list[dict[str, Any]] = [
    {"kind": name, **options}
    for name in variants.names(PERTURBATIONS)
    for options in variants.load(Perturbation, PERTURBATIONS, name).usual
]
SHUFFLES = ("shuffle_globally", "shuffle_within_layer", "shuffle_within_filter")
SHAPES = {"convolution": (3, 2, 2, 2), "linear": (4, 5), "bias": (4,), "last": (2, 3)}


@st.composite
def points(draw: st.DrawFn) -> Point:
    """Weights of small whole numbers, so that there are equal ones and zeros, some of them pruned; and a
    norm that is not.
    """
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    share = draw(st.sampled_from([0.0, 0.3, 0.8, 1.0]))

    def weights() -> dict[str, Tensor]:
        drawn = {
            name: torch.from_numpy(generator.integers(-4, 5, shape)).float()
            for name, shape in SHAPES.items()
        }
        return {**drawn, "norm": torch.from_numpy(generator.standard_normal(4)).float()}

    return Point(
        mask={name: torch.from_numpy(generator.random(shape) < share) for name, shape in SHAPES.items()},
        rewound=weights(),
        initial=weights(),
        drawn_anew=weights(),
    )


SEEDS = st.integers(0, 100)


def done(table: dict[str, Any], point: Point, seed: int = 0) -> dict[str, Tensor]:
    return perturbation(table).of(point, np.random.default_rng(seed))


def standing(weights: dict[str, Tensor] | Any, point: Point, name: str) -> Tensor:
    return weights[name][point.mask[name]]


def ordered(values: Tensor) -> list[float]:
    return sorted(values.flatten().tolist())


def groups_of(kind: str, point: Point, weights: Any) -> list[list[float]]:
    """Return the values that stand of each group of a shuffle, sorted."""
    if kind == "shuffle_globally":
        return [ordered(torch.cat([standing(weights, point, name) for name in point.mask]))]
    if kind == "shuffle_within_layer":
        return [ordered(standing(weights, point, name)) for name in point.mask]
    return [
        ordered(weights[name][row][point.mask[name][row]])
        for name, mask in point.mask.items()
        for row in range(len(mask))
    ]


@pytest.mark.parametrize("table", USUAL, ids=str)
@given(point=points(), seed=SEEDS)
@settings(max_examples=25, deadline=None)
def test_what_is_pruned_and_what_is_no_weight_stays_as_it_was(
    table: dict[str, Any], point: Point, seed: int
) -> None:
    before = {name: one.clone() for name, one in point.rewound.items()}
    after = done(table, point, seed)
    assert after.keys() == before.keys() and torch.equal(after["norm"], before["norm"])
    for name, mask in point.mask.items():
        assert torch.equal(after[name][~mask], before[name][~mask])
    # What was given is not changed in place.
    assert all(torch.equal(point.rewound[name], one) for name, one in before.items())


@pytest.mark.parametrize("table", USUAL, ids=str)
@given(point=points(), seed=SEEDS)
@settings(max_examples=10, deadline=None)
def test_a_seed_decides_all_that_is_drawn(table: dict[str, Any], point: Point, seed: int) -> None:
    once, again = done(table, point, seed), done(table, point, seed)
    assert all(torch.equal(once[name], again[name]) for name in once)


@pytest.mark.parametrize("keep_signs", [False, True])
@pytest.mark.parametrize("kind", SHUFFLES)
@given(point=points(), seed=SEEDS)
@settings(max_examples=25, deadline=None)
def test_a_shuffle_keeps_the_values_of_each_group(
    kind: str, keep_signs: bool, point: Point, seed: int
) -> None:
    after = done({"kind": kind, "keep_signs": keep_signs}, point, seed)
    assert groups_of(kind, point, after) == groups_of(kind, point, point.rewound)


@pytest.mark.parametrize("kind", [table["kind"] for table in USUAL if table.get("keep_signs")])
@given(point=points(), seed=SEEDS)
@settings(max_examples=25, deadline=None)
def test_signs_are_kept_where_that_is_asked_for(kind: str, point: Point, seed: int) -> None:
    after = done({"kind": kind, "keep_signs": True}, point, seed)
    for name in point.mask:
        negative = standing(point.rewound, point, name) < 0
        assert (standing(after, point, name)[negative] <= 0).all()
        assert (standing(after, point, name)[~negative] >= 0).all()


def large(generator: np.random.Generator) -> dict[str, Tensor]:
    scales = {"first": 0.5, "second": 2.0}
    return {
        name: torch.from_numpy(scale * generator.standard_normal((200, 300)))
        for name, scale in scales.items()
    }


@pytest.fixture
def wide() -> Point:
    """Two layers of 60,000 weights, the second four times as wide spread as the first; half are pruned."""
    generator = np.random.default_rng(0)
    weights = [large(generator) for _ in range(3)]
    mask = {name: torch.from_numpy(generator.random(one.shape) < 0.5) for name, one in weights[0].items()}
    rewound = {name: 3 * one for name, one in weights[0].items()}
    return Point(mask=mask, rewound=rewound, initial=weights[1], drawn_anew=weights[2])


@pytest.mark.parametrize("kind", SHUFFLES)
@pytest.mark.parametrize("keep_signs", [False, True])
def test_a_shuffle_moves_nearly_all_and_each_place_alike(kind: str, keep_signs: bool, wide: Point) -> None:
    after = done({"kind": kind, "keep_signs": keep_signs}, wide)
    for name in wide.mask:
        one, other = standing(after, wide, name), standing(wide.rewound, wide, name)
        assert (one != other).float().mean() > 0.95
        magnitudes = torch.stack([one.abs(), other.abs()])
        assert abs(float(torch.corrcoef(magnitudes)[0, 1])) < 0.03
        # Half of the signs change, or none.
        assert float((one * other < 0).double().mean()) == pytest.approx(0 if keep_signs else 0.5, abs=0.02)


@pytest.mark.parametrize("keep_signs", [False, True])
def test_weights_drawn_anew_are_those_of_another_seed(keep_signs: bool, wide: Point) -> None:
    after = done({"kind": "reinitialise", "keep_signs": keep_signs}, wide)
    for name in wide.mask:
        one, drawn = standing(after, wide, name), standing(wide.drawn_anew, wide, name)
        assert torch.equal(one.abs(), drawn.abs()) and torch.equal(one, drawn) != keep_signs


@pytest.mark.parametrize("of_weights", ["initial", "rewound"])
@pytest.mark.parametrize("deviations", [0.5, 3.0])
def test_noise_has_the_deviation_that_is_stated(deviations: float, of_weights: str, wide: Point) -> None:
    after = done({"kind": "noise", "deviations": deviations, "of_weights": of_weights}, wide)
    layers = wide.initial if of_weights == "initial" else wide.rewound
    for name in wide.mask:
        added = standing(after, wide, name) - standing(wide.rewound, wide, name)
        assert float(added.std()) == pytest.approx(deviations * float(layers[name].std()), rel=0.02)
        assert abs(float(added.mean())) < 0.02 * float(added.std())


def test_what_cannot_be_used_is_told() -> None:
    with pytest.raises(UnknownVariant, match="shuffle_globally"):
        perturbation({"kind": "shuffle_globaly"})
    with pytest.raises(ConfigError, match="unknown key 'noise.sigma'"):
        perturbation({"kind": "noise", "sigma": 2})
    with pytest.raises(ConfigError, match="noise deviations is 0; it must be above 0"):
        perturbation({"kind": "noise", "deviations": 0})
    with pytest.raises(ConfigError, match="must name its kind: noise, reinitialise"):
        perturbation({"deviations": 1})
