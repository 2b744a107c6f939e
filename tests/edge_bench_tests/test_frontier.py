"""What lies on the front, whatever the candidates and their order."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_bench.records import Budget, Candidate, Frontier, Metric


def candidate(
    latency_ms: float,
    value: float,
    *,
    name: str = "any",
    higher_is_better: bool = True,
    size_bytes: int | None = None,
    peak_memory_mb: float | None = None,
) -> Candidate:
    metric = Metric(
        name="quality", value=value, higher_is_better=higher_is_better, split="selection", examples=10
    )
    return Candidate(
        name=name,
        subnet=None,
        artifact=name,
        format="onnx",
        precision="fp32",
        device="this-machine",
        runtime="onnxruntime",
        threads=1,
        metric=metric,
        latency_ms=latency_ms,
        latency_low_ms=latency_ms,
        latency_high_ms=latency_ms,
        source="measured",
        size_bytes=size_bytes,
        peak_memory_mb=peak_memory_mb,
    )


def drawn(draw: st.DrawFn, *, higher_is_better: bool) -> list[Candidate]:
    # Few different values, so that candidates are often equal in one or both.
    unknown_or_size = st.none() | st.integers(1, 9).map(lambda mb: mb * 1_000_000)
    rows = draw(
        st.lists(
            st.tuples(st.integers(1, 8), st.integers(0, 8), unknown_or_size, st.none() | st.integers(1, 9)),
            max_size=25,
        )
    )
    return [
        candidate(
            float(latency),
            value / 8,
            name=f"n{index}",
            higher_is_better=higher_is_better,
            size_bytes=size,
            peak_memory_mb=memory,
        )
        for index, (latency, value, size, memory) in enumerate(rows)
    ]


@st.composite
def many(draw: st.DrawFn) -> list[Candidate]:
    """Candidates whose metric all point the same way, up (accuracy) or down (perplexity)."""
    return drawn(draw, higher_is_better=draw(st.booleans()))


limits = st.none() | st.integers(1, 9).map(float)
budgets = st.builds(Budget, max_latency_ms=limits, max_size_mb=limits, max_peak_memory_mb=limits)


def holds_for(*given_by: st.SearchStrategy[object]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """As `given`, without a time limit for each example: the machine may be busy."""
    return lambda test: settings(deadline=None)(given(*given_by)(test))


def points(candidates: Sequence[Candidate]) -> list[tuple[float, float]]:
    return [(one.latency_ms, one.quality) for one in candidates]


@holds_for(many())
def test_no_member_is_dominated_and_every_other_is_or_equals_a_member(given: list[Candidate]) -> None:
    front = Frontier.of(given)
    assert not any(one.dominates(member) for one in given for member in front.members)
    members = points(front.members)
    for other in front.dominated:
        dominated = any(member.dominates(other) for member in front.members)
        assert dominated or (other.latency_ms, other.quality) in members


@holds_for(many())
def test_the_front_and_the_rest_are_everything_once(given: list[Candidate]) -> None:
    front = Frontier.of(given)
    assert sorted(one.name for one in (*front.members, *front.dominated)) == sorted(
        one.name for one in given
    )


@holds_for(many())
def test_members_come_fastest_first_and_each_slower_one_is_better(given: list[Candidate]) -> None:
    members = points(Frontier.of(given).members)
    assert members == sorted(set(members))
    assert [quality for _, quality in members] == sorted({quality for _, quality in members})


@holds_for(many(), st.randoms(use_true_random=False))
def test_the_order_of_candidates_does_not_move_the_front(
    given: list[Candidate], generator: random.Random
) -> None:
    shuffled = list(given)
    generator.shuffle(shuffled)
    assert points(Frontier.of(shuffled).members) == points(Frontier.of(given).members)


def test_of_equals_the_first_given_stays_on_the_front() -> None:
    first, second = candidate(2.0, 0.5, name="first"), candidate(2.0, 0.5, name="second")
    assert Frontier.of([first, second]).members == (first,)
    assert Frontier.of([second, first]).members == (second,)


@holds_for(many(), budgets)
def test_within_is_the_front_of_what_fits(given: list[Candidate], budget: Budget) -> None:
    fitting = [one for one in given if budget.admits(one)]
    within = Frontier.of(given).within(budget)
    assert points(within.members) == points(Frontier.of(fitting).members)
    assert len(within.members) + len(within.dominated) == len(fitting)


@holds_for(many(), budgets)
def test_a_budget_holds_what_is_known_against_each_limit(given: list[Candidate], budget: Budget) -> None:
    for one in given:
        over = [
            limit is not None and cost is not None and cost > limit
            for limit, cost in (
                (budget.max_latency_ms, one.latency_ms),
                (budget.max_size_mb, one.size_bytes / 1e6 if one.size_bytes else None),
                (budget.max_peak_memory_mb, one.peak_memory_mb),
            )
        ]
        assert budget.admits(one) == (not any(over))


@holds_for(many())
def test_no_budget_admits_everything(given: list[Candidate]) -> None:
    assert Frontier.of(given).within(Budget()) == Frontier.of(given)


@pytest.mark.parametrize(("higher_is_better", "better"), [(True, 0.9), (False, 0.1)])
def test_a_metric_that_should_be_low_is_turned(higher_is_better: bool, better: float) -> None:
    one, other = (
        candidate(1.0, value, name=str(value), higher_is_better=higher_is_better) for value in (0.1, 0.9)
    )
    (member,) = Frontier.of([one, other]).members
    assert member.metric.value == better
