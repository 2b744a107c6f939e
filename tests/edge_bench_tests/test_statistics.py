"""The shared statistics, held against numpy and scipy."""

from __future__ import annotations

import math
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_bench.statistics import (
    kendall,
    percentile,
    percentile_bound,
    relative_errors,
    runs_needed,
    spearman,
)

# LoadGen run on a system that answers at once; its trace tells the latency of every query.
LOADGEN = textwrap.dedent("""
    import sys
    import mlperf_loadgen as loadgen

    folder, count, percent = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])

    def answer(queries):
        for query in queries:
            loadgen.QuerySamplesComplete([loadgen.QuerySampleResponse(query.id, 0, 0)])

    system = loadgen.ConstructSUT(answer, lambda: None)
    library = loadgen.ConstructQSL(1, 1, lambda samples: None, lambda samples: None)
    settings = loadgen.TestSettings()
    settings.scenario = loadgen.TestScenario.SingleStream
    settings.mode = loadgen.TestMode.PerformanceOnly
    settings.single_stream_target_latency_percentile = percent / 100
    settings.min_query_count = settings.max_query_count = count
    settings.min_duration_ms = 0
    output = loadgen.LogOutputSettings()
    output.outdir = folder
    output.copy_summary_to_stdout = False
    log = loadgen.LogSettings()
    log.log_output = output
    log.enable_trace = True
    loadgen.StartTestWithLogSettings(system, library, settings, log)
    loadgen.DestroyQSL(library)
    loadgen.DestroySUT(system)
""")

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


@pytest.mark.parametrize(
    ("percent", "above", "runs"),
    [(90, 0, 44), (95, 0, 90), (99, 0, 459), (90, 1, 64), (95, 1, 130), (99, 1, 662)],
)
def test_the_runs_that_a_bound_needs_are_those_that_loadgen_asks_for(
    percent: float, above: int, runs: int
) -> None:
    assert runs_needed(percent, above=above) == runs


@pytest.mark.parametrize("percent", [90, 95, 99])
def test_there_is_no_bound_of_too_few_values(percent: float) -> None:
    enough = list(range(runs_needed(percent)))
    assert percentile_bound(enough[:-1], percent) is None
    assert percentile_bound(enough, percent) == enough[-1]
    assert percentile_bound([], percent) is None


@pytest.mark.parametrize("percent", [0, 100, -1])
def test_the_bound_of_no_percentile_is_refused(percent: float) -> None:
    with pytest.raises(ValueError, match="it must lie in"):
        percentile_bound([1.0], percent)


@holds_for(st.integers(1, 5_000), st.sampled_from([50, 90, 95, 99, 99.9]))
def test_the_rank_of_a_bound_is_the_lowest_that_the_binomial_distribution_allows(
    count: int, percent: float
) -> None:
    bound = percentile_bound(np.arange(count), percent)
    above = 0 if bound is None else count - int(bound)
    may = scipy.stats.binom(count, 1 - percent / 100).cdf
    assert above == 0 or may(above) <= 0.01 * (1 + 1e-9)
    assert may(above + 1) >= 0.01 * (1 - 1e-9)


@holds_for(st.lists(numbers, min_size=64, max_size=300), st.sampled_from([90, 95]), st.randoms())
def test_a_bound_is_a_value_no_smaller_than_its_percentile_in_any_order(
    values: list[float], percent: float, random: object
) -> None:
    bound = percentile_bound(values, percent)
    if bound is not None:
        assert bound in values and bound >= percentile(values, percent)
    shuffled = list(values)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert percentile_bound(shuffled, percent) == bound


@pytest.mark.parametrize(("count", "percent"), [(64, 90), (200, 90), (200, 95), (700, 99)])
def test_a_percentile_lies_above_its_bound_in_one_percent_of_samples(count: int, percent: float) -> None:
    draws = np.random.default_rng(count).random((4000, count))
    missed = np.mean([percentile_bound(one, percent) < percent / 100 for one in draws])
    # Three standard errors of a share of 1 % over 4,000 trials.
    assert missed <= 0.01 + 3 * math.sqrt(0.01 * 0.99 / 4000)


@pytest.mark.parametrize(
    ("count", "percent"), [(63, 90), (64, 90), (100, 90), (129, 95), (130, 95), (700, 99), (5000, 90)]
)
def test_a_bound_is_that_of_loadgen_to_the_nanosecond(tmp_path: Path, count: int, percent: float) -> None:
    pytest.importorskip("mlperf_loadgen")
    command = [sys.executable, "-c", LOADGEN, str(tmp_path), str(count), str(percent)]
    subprocess.run(command, check=True, timeout=120)
    trace = (tmp_path / "mlperf_log_trace.json").read_text(encoding="utf-8")
    stamps = re.findall(r'"issue_start_ns":(-?\d+),"complete_ns":(-?\d+)', trace)
    latencies = [int(completed) - int(issued) for issued, completed in stamps]
    assert len(latencies) == count
    summary = (tmp_path / "mlperf_log_summary.txt").read_text(encoding="utf-8")
    told = re.search(rf"{percent:.1f}th percentile estimate: (\d+)", summary)
    assert percentile_bound(latencies, percent) == (int(told[1]) if told else None)


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
