"""Fronts and hypervolumes against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_bench.choose.search.fronts import hypervolume, nondominated, pareto

CASES = {
    "seed": st.integers(0, 2**32),
    "count": st.integers(1, 1500),
    "grain": st.sampled_from([3, 40, 10**9]),
}


def dominated(points: np.ndarray) -> np.ndarray:
    """Whether another row is nowhere larger and somewhere smaller, or is equal and stands before."""
    nowhere = (points[None] <= points[:, None]).all(2)
    equal = (points[None] == points[:, None]).all(2)
    before = np.tri(len(points), k=-1, dtype=bool)
    return ((nowhere & ~equal) | (equal & before)).any(1)


@given(**CASES)
@settings(max_examples=40, deadline=None)
def test_a_front_is_what_no_other_point_dominates(seed: int, count: int, grain: int) -> None:
    generator = np.random.default_rng(seed)
    costs, qualities = generator.integers(0, grain, (2, count)).astype(float)
    front = pareto(costs, qualities)
    truth = np.flatnonzero(~dominated(np.stack([costs, -qualities], axis=1)))
    assert np.array_equal(np.sort(front), truth)
    assert (np.diff(costs[front]) > 0).all() and (np.diff(qualities[front]) > 0).all()


@given(**CASES, objectives=st.integers(2, 4))
@settings(max_examples=40, deadline=None)
def test_nondominated_rows_are_what_no_other_row_dominates(
    seed: int, count: int, grain: int, objectives: int
) -> None:
    points = np.random.default_rng(seed).integers(0, grain, (min(count, 700), objectives)).astype(float)
    assert np.array_equal(nondominated(points), np.flatnonzero(~dominated(points)))


def test_a_hypervolume_is_the_area_between_the_points_and_the_worst() -> None:
    costs, qualities = np.array([1.0, 2.0, 2.5, 9.0]), np.array([1.0, 3.0, 2.0, 9.0])
    # The third point is dominated, the fourth beyond the worst cost.
    area = (4 - 1) * 1 + (4 - 2) * (3 - 1)
    assert hypervolume(costs, qualities, worst_cost=4, worst_quality=0) == pytest.approx(area)
    assert hypervolume(costs[:0], qualities[:0], worst_cost=4, worst_quality=0) == 0
