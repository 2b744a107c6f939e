from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_bench.measure.intervals import lower_rank, median_interval, p50_interval
from edge_bench.statistics import percentile

values = st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=300)


@given(values)
def test_the_interval_is_ordered_holds_the_nearest_rank_median_and_is_made_of_values(
    given: list[float],
) -> None:
    low, high = median_interval(given)
    assert low <= percentile(given, 50) <= high
    assert low in given and high in given


@given(values, st.randoms())
def test_the_order_of_the_values_does_not_matter(given: list[float], random: object) -> None:
    shuffled = list(given)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert median_interval(shuffled) == median_interval(given)


@given(values, st.floats(0.5, 4.0))
def test_another_unit_scales_the_interval(given: list[float], factor: float) -> None:
    low, high = median_interval(given)
    scaled = median_interval([value * factor for value in given])
    assert scaled == pytest.approx((low * factor, high * factor))


@pytest.mark.parametrize(("count", "rank"), [(1, 0), (5, 0), (6, 0), (8, 0), (9, 1), (20, 5), (100, 39)])
def test_ranks_are_those_of_the_binomial_table(count: int, rank: int) -> None:
    assert lower_rank(count) == rank


@pytest.mark.parametrize("count", [1001, 5000])
def test_large_counts_take_a_rank_that_is_no_narrower_than_the_exact_one(count: int) -> None:
    draws = np.random.default_rng(0).binomial(count, 0.5, 400_000)
    assert (draws <= lower_rank(count)).mean() <= 0.0255


@pytest.mark.parametrize("count", [6, 25, 200])
def test_the_median_lies_inside_in_at_least_95_percent(count: int) -> None:
    draws = np.random.default_rng(count).lognormal(size=(4000, count))
    inside = [low <= 1.0 <= high for low, high in map(median_interval, draws)]
    # Three standard errors of a share of 95 % over 4,000 trials.
    assert np.mean(inside) >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / 4000)


def test_drift_from_block_to_block_widens_the_interval_enough() -> None:
    generator = np.random.default_rng(3)
    levels = generator.normal(0, 0.05, (600, 20, 1))
    blocks = np.exp(levels + generator.normal(0, 0.005, (600, 20, 30)))
    by_block = np.mean([low <= 1 <= high for low, high in map(p50_interval, blocks)])
    by_run = np.mean([low <= 1 <= high for low, high in (median_interval(one.ravel()) for one in blocks)])
    assert by_block >= 0.93
    assert by_run < 0.75, "runs alone would have been far too sure"


@given(st.lists(values, min_size=1, max_size=8))
def test_the_interval_of_blocks_holds_the_median_of_all_runs(blocks: list[list[float]]) -> None:
    low, high = p50_interval(blocks)
    assert low <= percentile([value for block in blocks for value in block], 50) <= high


def test_no_values_have_no_interval() -> None:
    with pytest.raises(ValueError, match="no values"):
        median_interval([])
