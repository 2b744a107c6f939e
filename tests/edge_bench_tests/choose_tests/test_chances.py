"""How likely a budget is met: what the stated intervals say, neither more nor less."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from edge_bench.choose.chances import COVERAGE, SUREST, below, chance, told_chance
from edge_bench.choose.percentiles import percentile_interval
from edge_bench.records import Budget, Candidate, Metric
from edge_bench.records.frontier import Source

TIMES = st.floats(0.01, 1000)
FACTORS = st.floats(1.001, 3)
SOURCES = st.sampled_from(("measured", "predicted"))


def candidate(source: Source, latency_ms: float, low_ms: float, high_ms: float) -> Candidate:
    return Candidate(
        name="one",
        subnet="one",
        artifact="one-onnx-fp32",
        format="onnx",
        precision="fp32",
        device="this-machine",
        runtime="onnxruntime",
        threads=1,
        metric=Metric(name="accuracy", value=0.9, higher_is_better=True, split="selection", examples=300),
        latency_ms=latency_ms,
        latency_low_ms=low_ms,
        latency_high_ms=high_ms,
        source=source,
    )


def chance_of(one: Candidate, limit_ms: float) -> float:
    found = chance(one, Budget(max_latency_ms=limit_ms))
    assert found is not None
    return found


@given(SOURCES, TIMES, FACTORS, FACTORS, TIMES, TIMES)
def test_a_larger_budget_is_never_less_likely_met(
    source: Source, middle: float, down: float, up: float, limit: float, other: float
) -> None:
    one = candidate(source, middle, middle / down, middle * up)
    smaller, larger = sorted((limit, other))
    assert 0 <= chance_of(one, smaller) <= chance_of(one, larger) <= 1


@given(SOURCES, TIMES, FACTORS, FACTORS)
def test_it_is_even_at_the_middle_and_what_the_interval_states_at_its_ends(
    source: Source, middle: float, down: float, up: float
) -> None:
    one = candidate(source, middle, middle / down, middle * up)
    outside = (1 - COVERAGE[source]) / 2
    assert chance_of(one, middle) == 0.5
    assert chance_of(one, one.latency_high_ms) == pytest.approx(1 - outside)
    assert chance_of(one, one.latency_high_ms) >= COVERAGE[source]
    assert chance_of(one, one.latency_low_ms) == pytest.approx(outside)


@given(SOURCES, TIMES, FACTORS, TIMES)
def test_a_chance_is_the_same_in_any_unit(
    source: Source, middle: float, reach: float, limit: float
) -> None:
    one = candidate(source, middle, middle / reach, middle * reach)
    other = candidate(source, 1e3 * middle, 1e3 * middle / reach, 1e3 * middle * reach)
    assert chance_of(one, limit) == pytest.approx(chance_of(other, 1e3 * limit), abs=1e-9)


@given(TIMES, FACTORS, TIMES)
def test_a_narrower_interval_is_surer_on_its_side(middle: float, reach: float, limit: float) -> None:
    assume(limit != middle)
    wide = candidate("measured", middle, middle / reach**2, middle * reach**2)
    narrow = candidate("measured", middle, middle / reach, middle * reach)
    if limit > middle:
        assert chance_of(narrow, limit) >= chance_of(wide, limit)
    else:
        assert chance_of(narrow, limit) <= chance_of(wide, limit)


def test_of_a_prediction_nobody_is_surer_than_its_networks_allow() -> None:
    one = candidate("predicted", 1.0, 0.99, 1.01)
    assert chance_of(one, 1000) == SUREST
    assert chance_of(one, 0.001) == pytest.approx(1 - SUREST)
    assert chance_of(replace(one, source="measured"), 1000) == 1


def test_a_number_without_an_interval_has_no_chance_and_no_limit_asks_for_none() -> None:
    told = candidate("imported", 1.0, 1.0, 1.0)
    assert chance(told, Budget(max_latency_ms=2)) is None
    assert chance(candidate("measured", 1.0, 0.9, 1.1), Budget()) is None
    assert chance(candidate("imported", 1.0, 0.9, 1.1), Budget(max_latency_ms=1.1)) == pytest.approx(0.975)


def test_an_interval_of_no_width_is_a_step() -> None:
    assert [below(limit, 2, 2, 2, coverage=0.95) for limit in (1.9, 2, 2.1)] == [0, 0.5, 1]


@given(st.floats(1, 100), st.floats(0.1, 20), st.floats(1, 120))
def test_each_limit_makes_a_budget_less_likely_met(peak: float, half: float, limit: float) -> None:
    one = replace(
        candidate("predicted", 1.0, 0.8, 1.2),
        size_bytes=1_000_000,
        peak_memory_mb=peak,
        peak_memory_low_mb=peak - half,
        peak_memory_high_mb=peak + half,
        memory_source="predicted",
    )
    alone = chance_of(one, 1.1)
    both = chance(one, Budget(max_latency_ms=1.1, max_peak_memory_mb=limit))
    memory = chance(one, Budget(max_peak_memory_mb=limit))
    assert both is not None and memory is not None
    assert both == pytest.approx(alone * memory) and both <= min(alone, memory)
    assert chance(one, Budget(max_latency_ms=1.1, max_size_mb=2)) == alone
    assert chance(one, Budget(max_latency_ms=1.1, max_size_mb=0.5)) == 0
    measured = replace(one, memory_source="measured")
    assert chance(measured, Budget(max_peak_memory_mb=limit)) == float(peak <= limit)


@pytest.mark.parametrize(
    ("probability", "told"), [(0.0, "< 1 %"), (0.5, "50 %"), (0.976, "98 %"), (1.0, "> 99 %")]
)
def test_nobody_is_told_that_something_is_certain(probability: float, told: str) -> None:
    assert told_chance(probability) == told


@given(
    st.lists(st.lists(st.integers(1, 10**6), min_size=1, max_size=30), min_size=1, max_size=12),
    st.sampled_from((50, 90)),
)
def test_a_percentile_lies_within_its_interval_and_that_among_the_runs(
    blocks: list[list[int]], percent: float
) -> None:
    low, high = percentile_interval(blocks, percent)
    runs = sorted(run for block in blocks for run in block)
    middle = runs[math.ceil(percent / 100 * len(runs) - 1e-9) - 1]
    assert runs[0] <= low <= middle <= high <= runs[-1]
    assert {low, high} <= set(map(float, runs))
