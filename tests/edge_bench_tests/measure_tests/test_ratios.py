"""The statistics of comparing, on noise whose truth is known."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_bench.measure.ratios import MIN_LAUNCHES, Ratio, rate_interval, ratio, signed_rank

Rounds = list[tuple[float, float]]
latencies = st.floats(1e-3, 1e3)
rounds = st.lists(st.tuples(latencies, latencies), min_size=1, max_size=6)
launches = st.lists(rounds, min_size=1, max_size=14)
margins = st.sampled_from([0.0, 0.01, 0.05])


def noisy_launch(generator: np.random.Generator, true_ratio: float, rounds: int = 8) -> Rounds:
    """Two processes, each of its own luck, under one drift that a round's neighbours share."""
    level_a, level_b = generator.normal(0, 0.01, 2)
    drift = autocorrelated(generator, 2 * rounds, 0.95) * 0.03
    own = autocorrelated(generator, 2 * rounds, 0.5) * 0.02
    logs = drift + own
    return [
        (math.exp(level_a + logs[2 * index]), true_ratio * math.exp(level_b + logs[2 * index + 1]))
        for index in range(rounds)
    ]


def autocorrelated(generator: np.random.Generator, count: int, phi: float) -> npt.NDArray[np.float64]:
    shocks = generator.standard_normal(count) * math.sqrt(1 - phi**2)
    values = [generator.standard_normal()]
    for shock in shocks[1:]:
        values.append(phi * values[-1] + shock)
    return np.array(values)


def until_sure(generator: np.random.Generator, true_ratio: float) -> Ratio:
    """As a comparison stops: when the interval is narrow enough, or the time is over."""
    measured: list[Rounds] = []
    while True:
        measured.append(noisy_launch(generator, true_ratio))
        found = ratio(measured)
        if (len(measured) >= 8 and found.half_width <= 0.01) or len(measured) == 20:
            return found


def trials(count: int, true_ratio: float) -> Iterator[Ratio]:
    for seed in range(count):
        yield until_sure(np.random.default_rng(seed), true_ratio)


@pytest.fixture(scope="module")
def of_alike_models() -> list[Ratio]:
    return list(trials(600, 1.0))


def test_alike_models_are_called_different_in_at_most_5_percent_however_autocorrelated_the_noise(
    of_alike_models: list[Ratio],
) -> None:
    found = [one.answer(0.0) for one in of_alike_models]
    alarms = sum(answer != "no difference seen" for answer in found)
    assert alarms / len(found) <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / len(found))


def test_the_usual_margin_leaves_hardly_a_false_alarm(of_alike_models: list[Ratio]) -> None:
    assert sum(one.answer(0.01) != "no difference seen" for one in of_alike_models) <= 6


def test_treating_rounds_as_independent_would_have_been_far_too_sure() -> None:
    generator = np.random.default_rng(0)
    alarms = 0
    for _ in range(200):
        pooled = [[one] for launch in range(8) for one in noisy_launch(generator, 1.0)]
        alarms += ratio(pooled).answer(0.0) != "no difference seen"
    assert alarms > 0.15 * 200


@pytest.mark.parametrize(("true_ratio", "answer"), [(1.05, "slower"), (1 / 1.05, "faster")])
def test_a_true_difference_of_5_percent_is_seen(true_ratio: float, answer: str) -> None:
    found = [one.answer(0.01) for one in trials(100, true_ratio)]
    assert found.count(answer) >= 95
    assert set(found) <= {answer, "no difference seen"}


@settings(deadline=None)
@given(launches, margins)
def test_swapping_the_models_inverts_the_ratio_and_the_answer(
    measured: list[Rounds], margin: float
) -> None:
    one, other = ratio(measured), ratio([[(b, a) for a, b in rounds] for rounds in measured])
    assert other.middle == pytest.approx(1 / one.middle)
    if one.low is None or one.high is None:
        assert other.low is None and other.high is None
    else:
        assert (other.low, other.high) == pytest.approx((1 / one.high, 1 / one.low))
    inverse = {"faster": "slower", "slower": "faster"}
    assert other.answer(margin) == inverse.get(one.answer(margin), "no difference seen")


@settings(deadline=None)
@given(launches, latencies, margins)
def test_another_unit_changes_nothing(measured: list[Rounds], factor: float, margin: float) -> None:
    one, other = ratio(measured), ratio([[(a * factor, b * factor) for a, b in r] for r in measured])
    assert other.middle == pytest.approx(one.middle)
    assert other.half_width == pytest.approx(one.half_width)


@settings(deadline=None)
@given(launches)
def test_the_interval_holds_the_ratio_and_needs_six_launches(measured: list[Rounds]) -> None:
    found = ratio(measured)
    if len(measured) < MIN_LAUNCHES:
        assert found.low is None and found.high is None
        assert found.answer(0.0) == "no difference seen" and not found.within(10)
    else:
        assert found.low is not None and found.high is not None
        assert found.low <= found.middle * (1 + 1e-9) and found.middle <= found.high * (1 + 1e-9)


@settings(deadline=None)
@given(launches, margins)
def test_an_answer_is_never_more_than_the_interval_says(measured: list[Rounds], margin: float) -> None:
    found = ratio(measured)
    answer = found.answer(margin)
    if answer == "slower":
        assert found.low is not None and found.low > 1 + margin
    if answer == "faster":
        assert found.high is not None and found.high < 1 / (1 + margin) + 1e-12
    if found.within(margin):
        assert answer == "no difference seen"


@pytest.mark.parametrize("count", [6, 8, 10, 15, 30])
def test_ranks_are_those_of_the_signed_rank_distribution(count: int) -> None:
    rank = signed_rank(count)
    assert rank is not None
    # All signs are equally likely: how often does the sum of positive ranks fall so low?
    sums = (np.random.default_rng(count).random((200_000, count)) < 0.5) @ np.arange(1, count + 1)
    assert 2 * (sums <= rank).mean() <= 0.0515
    assert 2 * (sums <= rank + 1).mean() >= 0.0485


def test_one_spoilt_launch_of_twelve_does_not_hide_a_difference() -> None:
    measured = [[(1.0, 1.05 + index / 1000)] for index in range(11)] + [[(1.0, 0.9)]]
    assert ratio(measured).answer(0.01) == "slower"


@pytest.mark.parametrize(("hits", "trials"), [(0, 100), (4, 100), (5, 100), (50, 100), (100, 100), (1, 1)])
def test_the_interval_of_a_rate_agrees_with_scipy(hits: int, trials: int) -> None:
    exact = scipy.stats.binomtest(hits, trials).proportion_ci(method="exact")
    assert rate_interval(hits, trials) == pytest.approx((exact.low, exact.high), abs=1e-9)


@pytest.mark.parametrize(("hits", "trials"), [(0, 0), (2, 1), (-1, 5)])
def test_a_rate_of_nothing_is_refused(hits: int, trials: int) -> None:
    with pytest.raises(ValueError, match="trials"):
        rate_interval(hits, trials)


@pytest.mark.parametrize("measured", [[], [[]]])
def test_a_ratio_of_nothing_is_refused(measured: list[Rounds]) -> None:
    with pytest.raises(ValueError, match="no rounds"):
        ratio(measured)
