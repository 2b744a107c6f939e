"""Ridge regression: its penalty is the one that leaving out each value in turn finds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_bench.choose.regression import PENALTIES, Values, ridge


def solved(columns: Values, values: Values, penalty: float) -> tuple[Values, float]:
    center, mean = columns.mean(axis=0), values.mean()
    centered = columns - center
    normal = centered.T @ centered + penalty * np.eye(columns.shape[1])
    slopes = np.linalg.solve(normal, centered.T @ (values - mean))
    return slopes, float(mean - center @ slopes)


def left_out_error(columns: Values, values: Values, penalty: float) -> float:
    errors = []
    for out in range(len(values)):
        kept = np.arange(len(values)) != out
        # About the mean of all, as in the closed form, which holds the constant's share fixed.
        slopes, constant = solved(columns[kept], values[kept], penalty)
        errors.append(values[out] - columns[out] @ slopes - constant)
    return float(np.mean(np.square(errors)))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), noise=st.sampled_from([0.01, 0.3, 2.0]))
def test_the_penalty_errs_no_more_on_values_left_out_than_any_other(seed: int, noise: float) -> None:
    generator = np.random.default_rng(seed)
    columns = generator.normal(size=(25, 6))
    values = columns @ generator.normal(size=6) + noise * generator.normal(size=25) + 3
    slopes, constant = ridge(columns, values)
    errors = np.array([left_out_error(columns, values, penalty) for penalty in PENALTIES])
    best = solved(columns, values, float(PENALTIES[errors.argmin()]))
    assert slopes == pytest.approx(best[0], abs=1e-8)
    assert constant == pytest.approx(best[1], abs=1e-8)


def test_columns_that_repeat_each_other_share_the_slope() -> None:
    generator = np.random.default_rng(0)
    one = generator.normal(size=40)
    slopes, constant = ridge(np.column_stack([one, one, np.ones(40)]), 2 * one + 5)
    assert slopes == pytest.approx([1, 1, 0], abs=1e-3)
    assert constant == pytest.approx(5, abs=1e-3)


def test_values_that_do_not_vary_are_the_constant() -> None:
    slopes, constant = ridge(np.eye(5), np.full(5, 0.25))
    assert slopes == pytest.approx(np.zeros(5)) and constant == 0.25


def test_a_row_of_hardly_any_weight_changes_nothing() -> None:
    generator = np.random.default_rng(1)
    columns = generator.normal(size=(30, 3))
    values = columns @ np.array([1.0, -2.0, 0.5]) + 4
    wild = np.append(values, 1000.0)
    slopes, constant = ridge(np.vstack([columns, np.ones(3)]), wild, weights=np.append(np.ones(30), 1e-6))
    assert slopes == pytest.approx([1.0, -2.0, 0.5], abs=1e-2)
    assert constant == pytest.approx(4, abs=1e-2)
    assert ridge(columns, values, weights=np.ones(30))[0] == pytest.approx(ridge(columns, values)[0])
