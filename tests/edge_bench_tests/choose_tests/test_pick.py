"""Picking: within the budget, nothing better passed over, and the reasons true."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pools import PRESETS, candidate, pools

from edge_bench.choose.pick import ALTERNATIVES, pick
from edge_bench.choose.presets import Preset
from edge_bench.errors import NoCandidate
from edge_bench.records import Budget, Candidate, Frontier


@given(pools, st.floats(0.05, 6), st.sampled_from(PRESETS))
def test_a_pick_fits_the_budget_and_nothing_that_fits_dominates_it(
    pool: list[Candidate], limit: float, preset: Preset
) -> None:
    budget = Budget(max_latency_ms=limit)
    fitting = [one for one in pool if one.latency_ms <= limit]
    if not fitting:
        nearest = min(one.latency_ms for one in pool)
        with pytest.raises(NoCandidate, match=f"nearest miss is net\\d+ with latency {nearest:.4g} ms"):
            pick(pool, budget, preset=preset)
        return
    chosen = pick(pool, budget, preset=preset).recommended
    assert chosen in fitting
    assert not any(other.dominates(chosen) for other in fitting)
    best = max(one.quality for one in fitting)
    fastest = min(one.latency_ms for one in fitting)
    if preset == "accuracy":
        assert chosen.quality == best
    elif preset == "speed":
        assert chosen.latency_ms == fastest
    else:
        near = [one for one in fitting if one.quality >= best - 0.01]
        assert chosen.latency_ms == min(one.latency_ms for one in near)


@given(pools)
def test_alternatives_are_few_others_on_the_front(pool: list[Candidate]) -> None:
    picked = pick(pool, Budget())
    assert len(picked.alternatives) <= ALTERNATIVES
    assert picked.recommended not in picked.alternatives
    assert set(map(id, picked.alternatives)) <= set(map(id, Frontier.of(pool).members))


def test_of_a_long_front_the_nearest_in_latency_are_told_fastest_first() -> None:
    pool = [candidate(f"net{index}", 0.5 + index / 100, 1.0 + index) for index in range(12)]
    picked = pick(pool, Budget(max_latency_ms=10))
    assert picked.recommended.name == "net9"
    assert [one.name for one in picked.alternatives] == ["net5", "net6", "net7", "net8"]
    assert [one.name for one in picked.members] == ["net5", "net6", "net7", "net8", "net9"]


known_or_not = st.none() | st.integers(1, 9)


@given(
    st.lists(st.tuples(st.integers(1, 9), known_or_not, known_or_not), min_size=1, max_size=12),
    st.tuples(known_or_not, known_or_not, known_or_not),
    st.sampled_from(PRESETS),
)
def test_no_limit_of_a_budget_is_exceeded_and_a_miss_is_named(
    costs: list[tuple[int, int | None, int | None]],
    limits: tuple[int | None, int | None, int | None],
    preset: Preset,
) -> None:
    pool = [
        candidate(
            f"<net{index}>",
            0.5,
            float(latency),
            size_bytes=None if size is None else size * 1_000_000,
            peak_memory_mb=memory,
        )
        for index, (latency, size, memory) in enumerate(costs)
    ]
    budget = Budget(max_latency_ms=limits[0], max_size_mb=limits[1], max_peak_memory_mb=limits[2])
    try:
        chosen = pick(pool, budget, preset=preset).recommended
    except NoCandidate as error:
        assert any(one.name in error.message for one in pool)
        assert all(_exceeds(cost, limits) for cost in costs)
    else:
        assert not _exceeds(costs[pool.index(chosen)], limits)


def _exceeds(cost: tuple[int | None, ...], limits: tuple[int | None, ...]) -> bool:
    pairs = zip(cost, limits, strict=True)
    return any(spent is not None and limit is not None and spent > limit for spent, limit in pairs)


def test_reasons_tell_measured_from_predicted_and_what_the_neighbours_cost() -> None:
    pool = [
        candidate("small", 0.90, 1.0),
        candidate("middle", 0.95, 2.0, source="predicted", warning="outside what was measured"),
        candidate("large", 0.99, 4.0),
    ]
    said = " ".join(pick(pool, Budget(max_latency_ms=3)).reasons)
    assert "predicted, not measured; it lies outside what was measured" in said
    assert "Going down to small saves 1 ms and costs 5.00 points" in said
    assert "Going up to large costs 2 ms and gives 4.00 points" in said
    assert "was measured here" in " ".join(pick(pool, Budget(max_latency_ms=1)).reasons)


def test_reasons_say_who_measured_an_imported_latency() -> None:
    one = candidate("only", 0.9, 2.0, source="imported", origin="loadgen", latency_is="mean")
    said = " ".join(pick([one], Budget()).reasons)
    assert "2 ms (mean) was not measured here: loadgen reported it" in said
    assert "was measured here" not in said


def test_the_nearest_miss_names_every_limit_it_breaks() -> None:
    pool = [candidate("only", 0.9, 2.0, size_bytes=3_000_000)]
    with pytest.raises(NoCandidate, match="2 ms against at most 1 and size 3 MB against at most 0.5"):
        pick(pool, Budget(max_latency_ms=1, max_size_mb=0.5))


def test_an_empty_pool_says_how_to_fill_it() -> None:
    with pytest.raises(NoCandidate) as told:
        pick([], Budget())
    assert "quickstart" in told.value.hint
