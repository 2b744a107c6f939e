"""The shared statistics, held against numpy and scipy."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_bench.statistics import kendall, percentile, relative_errors, spearman

numbers = st.floats(-1e6, 1e6, allow_nan=False).map(lambda value: round(value, 3))
lists = st.lists(numbers, min_size=1, max_size=60)
# Few different values, so that most pairs hold ties.
pairs = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=2, max_size=40)


def holds_for(*drawn: st.SearchStrategy[object]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """As `given`, without a time limit for each example: the machine may be busy."""
    return lambda test: settings(deadline=None)(given(*drawn)(test))


@holds_for(lists, st.integers(1, 100))
def test_a_percentile_is_the_smallest_value_that_enough_values_do_not_exceed(
    values: list[float], percent: int
) -> None:
    found = percentile(values, percent)
    enough = Fraction(percent, 100) * len(values)
    assert found in values
    assert sum(value <= found for value in values) >= enough
    assert sum(value < found for value in values) < enough


# Percentages whose share of a hundred is exact in binary: there is nothing to round.
@holds_for(lists, st.sampled_from([12.5, 25, 50, 75, 87.5, 100]))
def test_percentiles_agree_with_numpy(values: list[float], percent: float) -> None:
    assert percentile(values, percent) == np.percentile(values, percent, method="inverted_cdf")


@holds_for(st.permutations([1.0, 2.0, 3.0, 4.0, 5.0]), st.integers(1, 100))
def test_a_percentile_does_not_depend_on_the_order(values: list[float], percent: int) -> None:
    assert percentile(values, percent) == percentile(sorted(values), percent)


def test_a_rank_is_not_rounded_up_by_a_binary_fraction() -> None:
    # 0.07 * 100 is 7.000000000000001 in binary; the rank is 7.
    assert percentile(list(range(1, 101)), 7) == 7


@pytest.mark.parametrize(("values", "percent"), [([], 50), ([1.0], 0), ([1.0], 100.1), ([1.0], -1)])
def test_a_percentile_of_nothing_or_outside_its_range_is_refused(
    values: list[float], percent: float
) -> None:
    with pytest.raises(ValueError):
        percentile(values, percent)


@holds_for(pairs)
def test_rank_correlations_agree_with_scipy_on_ties_too(pairs: list[tuple[int, int]]) -> None:
    first, second = ([float(value) for value in side] for side in zip(*pairs, strict=True))
    if len(set(first)) == 1 or len(set(second)) == 1:
        assert math.isnan(spearman(first, second)) and math.isnan(kendall(first, second))
    else:
        assert spearman(first, second) == pytest.approx(scipy.stats.spearmanr(first, second).statistic)
        assert kendall(first, second) == pytest.approx(scipy.stats.kendalltau(first, second).statistic)


@holds_for(st.lists(numbers, min_size=2, max_size=30, unique=True))
def test_rank_correlations_see_order_alone(values: list[float]) -> None:
    stretched = [math.atan(value / 1e5) * 3 + 1 for value in values]
    if len(set(stretched)) == len(values):
        for correlation in (spearman, kendall):
            assert correlation(values, stretched) == pytest.approx(1)
            assert correlation(values, [-value for value in values]) == pytest.approx(-1)


@holds_for(st.lists(st.tuples(st.floats(0.01, 1e4), st.floats(-0.9, 3)), min_size=1, max_size=30))
def test_relative_errors_are_shares_of_what_was_measured(pairs: list[tuple[float, float]]) -> None:
    actual = [value for value, _ in pairs]
    predicted = [value * (1 + share) for value, share in pairs]
    errors = relative_errors(predicted, actual)
    assert errors.shape == (len(pairs),)
    assert errors == pytest.approx([abs(share) for _, share in pairs], abs=1e-9)
