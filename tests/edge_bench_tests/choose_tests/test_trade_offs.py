"""What a choice rests on: what is told of other budgets and of measurements happens, and nothing nearer."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pools import PRESETS, candidate, pools

from edge_bench.choose.landscape import Landscape
from edge_bench.choose.pick import pick
from edge_bench.choose.presets import Preset
from edge_bench.choose.trade_offs import dominance, exchanges, flips, looser, other_presets, tighter
from edge_bench.errors import NoCandidate
from edge_bench.records import Budget, Candidate, Frontier

LIMITS = st.none() | st.floats(0.1, 6)
ANY_PRESET = st.sampled_from(PRESETS)


def chosen(pool: list[Candidate], limit: float | None, preset: Preset) -> Candidate | None:
    """Return what is picked; None where nothing fits."""
    try:
        return pick(pool, Budget(max_latency_ms=limit), preset=preset).recommended
    except NoCandidate:
        return None


@given(pools, LIMITS, ANY_PRESET)
def test_below_the_told_budget_the_answer_is_the_told_one_and_above_it_stays(
    pool: list[Candidate], limit: float | None, preset: Preset
) -> None:
    now = chosen(pool, limit, preset)
    if now is None:
        return
    switch = tighter(Landscape.of(pool, Budget(max_latency_ms=limit)), preset)
    assert chosen(pool, switch.limit_ms, preset) is now
    assert chosen(pool, switch.limit_ms - 1e-9, preset) is switch.then is not now
    between = [one.latency_ms for one in pool if one.latency_ms >= switch.limit_ms]
    assert all(chosen(pool, at, preset) is now for at in between if limit is None or at <= limit)


@given(pools, LIMITS, ANY_PRESET)
def test_from_the_told_budget_on_the_answer_is_the_told_one_and_before_it_stays(
    pool: list[Candidate], limit: float | None, preset: Preset
) -> None:
    now = chosen(pool, limit, preset)
    if now is None:
        return
    switch = looser(Landscape.of(pool, Budget(max_latency_ms=limit)), preset)
    if switch is None:
        assert limit is None or all(
            chosen(pool, one.latency_ms, preset) is now for one in pool if one.latency_ms > limit
        )
        return
    assert limit is not None and switch.limit_ms > limit
    assert chosen(pool, switch.limit_ms, preset) is switch.then is not now
    before = [one.latency_ms for one in pool if limit < one.latency_ms < switch.limit_ms]
    assert all(chosen(pool, at, preset) is now for at in before)


@given(pools, LIMITS, ANY_PRESET)
def test_other_presets_are_told_where_they_choose_another(
    pool: list[Candidate], limit: float | None, preset: Preset
) -> None:
    now = chosen(pool, limit, preset)
    if now is None:
        return
    told = other_presets(Landscape.of(pool, Budget(max_latency_ms=limit)), preset)
    answers = {name: chosen(pool, limit, name) for name in PRESETS}
    assert told == {name: one for name, one in answers.items() if one is not now}


@given(pools, LIMITS, ANY_PRESET)
def test_a_measurement_is_told_exactly_where_it_can_change_the_answer(
    pool: list[Candidate], limit: float | None, preset: Preset
) -> None:
    now = chosen(pool, limit, preset)
    if now is None:
        return
    told = {
        (flip.candidate.name, flip.at_ms): flip.then.name if flip.then else None
        for flip in flips(Landscape.of(pool, Budget(max_latency_ms=limit)), preset)
    }
    expected = {}
    for place, one in enumerate(pool):
        for at_ms in (one.latency_low_ms, one.latency_high_ms):
            moved = [*pool[:place], replace(one, latency_ms=at_ms), *pool[place + 1 :]]
            then = chosen(moved, limit, preset)
            if (then.name if then else None) != now.name:
                expected[one.name, at_ms] = then.name if then else None
    # Of two that are alike in both, either may be told to be chosen in place of the other.
    assert told.keys() == expected.keys()
    by_name = {one.name: one for one in pool}
    for key, name in told.items():
        other = expected[key]
        assert (name is None) == (other is None)
        if name is not None and other is not None:
            assert by_name[name].quality == by_name[other].quality


@given(pools, st.integers(0, 24))
def test_what_is_dominated_is_counted_and_the_nearest_is_one_of_it(
    pool: list[Candidate], place: int
) -> None:
    one = pool[place % len(pool)]
    found = dominance(one, Landscape.of(pool, Budget()))
    beaten = [other for other in pool if one.dominates(other)]
    assert (found.count, found.others) == (len(beaten), len(pool) - 1)
    if found.nearest is None:
        assert not beaten
        return
    assert found.nearest in beaten
    # None of them lies between the two.
    assert not any(
        one.latency_ms <= other.latency_ms <= found.nearest.latency_ms
        and one.quality >= other.quality >= found.nearest.quality
        and (other.latency_ms, other.quality) != (found.nearest.latency_ms, found.nearest.quality)
        for other in beaten
    )


@given(pools, LIMITS)
def test_a_landscape_has_the_fronts_that_records_have(pool: list[Candidate], limit: float | None) -> None:
    budget = Budget(max_latency_ms=limit)
    land = Landscape.of(pool, budget)
    expected = Frontier.of(one for one in pool if budget.admits(one))
    assert list(map(id, land.front())) == list(map(id, expected.members))
    assert list(map(id, land.next_to_front())) == list(map(id, Frontier.of(expected.dominated).members))
    assert land.fitting == len(expected.members) + len(expected.dominated)


@given(pools)
def test_every_step_along_the_front_costs_time_and_gives_quality(pool: list[Candidate]) -> None:
    steps = exchanges(Landscape.of(pool, Budget()))
    members = Frontier.of(pool).members
    assert [step.faster for step in steps] == list(members[:-1])
    assert [step.better for step in steps] == list(members[1:])
    assert all(step.extra_ms > 0 and step.better.quality > step.faster.quality for step in steps)


def test_the_sentences_name_budgets_presets_neighbours_and_measurements() -> None:
    pool = [
        candidate("small", 0.90, 1.0),
        candidate("middle", 0.95, 2.0, source="predicted"),
        candidate("beaten", 0.94, 2.5),
        candidate("large", 0.99, 3.2, source="predicted"),
    ]
    picked = pick(pool, Budget(max_latency_ms=3))
    why, changes = " ".join(picked.reasons), " ".join(picked.changes)
    assert (
        "It dominates 1 of 3 others; the nearest is beaten, slower by 0.5 ms and worse by 1.00 points."
        in why
    )
    assert "It meets the budget with a probability of 99 %." in why
    assert "Below 2 ms it is small, 5.00 points worse." in changes
    assert "From 3.2 ms on it is large, 4.00 points better." in changes
    assert "Of the other presets speed chooses small (90.00 %)." in changes
    assert "Measuring large may change the answer" in changes
    assert "at 2.88 ms large would be chosen" in changes


@pytest.mark.parametrize("preset", PRESETS)
def test_a_lonely_candidate_is_told_what_ends_it(preset: Preset) -> None:
    changes = " ".join(
        pick([candidate("only", 0.9, 1.0)], Budget(max_latency_ms=1.05), preset=preset).changes
    )
    assert "Below 1 ms nothing fits. No larger latency budget changes it." in changes
    assert "Every other preset chooses the same." in changes
    assert "Measuring it again may change the answer" in changes and "nothing would fit" in changes
