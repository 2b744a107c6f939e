from __future__ import annotations

import numpy as np
import pytest
import scipy.signal
from hypothesis import given
from hypothesis import strategies as st

from edge_bench.measure.intervals import correlation_time, lower_rank, median_interval, p50_interval
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


def drifting(phi: float, trials: int, blocks: int, runs: int) -> np.ndarray:
    """Return runs [trials, blocks, runs] around 0 of which each resembles the one before: AR(1)."""
    noise = np.random.default_rng(7).normal(size=(trials, blocks * runs))
    noise[:, 1:] *= np.sqrt(1 - phi**2)
    return scipy.signal.lfilter([1], [1, -phi], noise, axis=1).reshape(trials, blocks, runs)


@pytest.mark.parametrize(
    ("phi", "blocks", "runs"),
    [(0.0, 10, 20), (0.5, 10, 20), (0.9, 10, 20), (0.95, 10, 50), (0.95, 100, 20), (0.99, 20, 200)],
)
def test_the_median_lies_inside_in_93_percent_where_runs_resemble_the_ones_before(
    phi: float, blocks: int, runs: int
) -> None:
    inside = [low <= 0 <= high for low, high in map(p50_interval, drifting(phi, 500, blocks, runs))]
    assert np.mean(inside) >= 0.93


def test_stopping_as_soon_as_the_interval_is_narrow_does_not_make_it_too_sure() -> None:
    inside, lengths = [], []
    for trial in np.exp(0.03 * drifting(0.9, 150, 100, 20)):
        for count in range(10, 101):
            low, high = p50_interval(trial[:count])
            if high - low <= 0.02:
                break
        inside.append(low <= 1 <= high)
        lengths.append(count)
    assert 10 < np.median(lengths) < 100, "neither the first look nor the last decides"
    # Three standard errors of a share of 93 % over 150 trials.
    assert np.mean(inside) >= 0.93 - 3 * np.sqrt(0.93 * 0.07 / 150)


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.9])
def test_the_correlation_time_is_that_of_the_process(phi: float) -> None:
    # The signs of a Gaussian pair with correlation r correlate by 2/π·arcsin r.
    known = 1 + 2 * sum(2 / np.pi * np.arcsin(phi**lag) for lag in range(1, 500))
    told = [correlation_time(trial.ravel()) for trial in drifting(phi, 40, 10, 400)]
    assert np.mean(told) == pytest.approx(known, rel=0.15)


@pytest.mark.parametrize("runs", [[3.0], [3.0, 3.0], [3.0] * 50])
def test_runs_that_are_all_alike_have_no_correlation_to_speak_of(runs: list[float]) -> None:
    assert p50_interval([runs]) == (3.0, 3.0)


@given(st.lists(values, min_size=1, max_size=8))
def test_the_interval_of_blocks_holds_the_median_of_all_runs(blocks: list[list[float]]) -> None:
    low, high = p50_interval(blocks)
    assert low <= percentile([value for block in blocks for value in block], 50) <= high


def test_no_values_have_no_interval() -> None:
    with pytest.raises(ValueError, match="no values"):
        median_interval([])
