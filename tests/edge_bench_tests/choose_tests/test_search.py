"""Searches find exactly the front they promise, and answer impossible limits with what comes nearest."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_bench.choose.costs import BlockTable, macs_table, peak_memory_table, size_table
from edge_bench.choose.encoding import Encoding, Rows
from edge_bench.choose.search import Limit, Problem, exact, nearest, search
from edge_bench.choose.search.enumeration import enumerate_all
from edge_bench.choose.search.evolution import evolve
from edge_bench.choose.search.exact import TooLarge, merge, relaxed
from edge_bench.choose.search.fronts import hypervolume
from edge_bench.records import SearchSpace

SEEDS = st.integers(0, 2**32)


def additive(encoding: Encoding, seed: int, *, grain: int = 2**30) -> BlockTable:
    """A random table of multiples of 1 / `grain`, whose sums no order changes; a small one makes ties."""
    generator = np.random.default_rng(seed)
    shape = macs_table(encoding).blocks.shape
    base, blocks = generator.integers(0, grain, shape[0]), generator.integers(0, 2 * grain, shape)
    return BlockTable(encoding=encoding, name="random", base=base / grain, blocks=blocks / grain)


def crossed(encoding: Encoding) -> Callable[[Rows], np.ndarray]:
    """A quality that no table gives: more of everything, but blocks disagree with their neighbours."""
    weights = np.random.default_rng(5).normal(0, 1, encoding.columns)

    def quality(rows: Rows) -> np.ndarray:
        scaled = rows / np.maximum(encoding.choices - 1, 1)
        return scaled.sum(1) + np.sin(3 * scaled @ weights)

    return quality


def assert_same_front(problem: Problem, found_by: Callable[[Problem], object]) -> None:
    ours, truth = found_by(problem), enumerate_all(problem)
    assert np.allclose(ours.costs, truth.costs, rtol=1e-12)
    assert np.allclose(ours.qualities, truth.qualities, rtol=1e-12)


@pytest.fixture(scope="module")
def small(small_space: SearchSpace) -> Encoding:
    return Encoding(small_space)


@given(seed=SEEDS, grain=st.sampled_from([4, 2**30]))
@settings(max_examples=40, deadline=None)
def test_merging_gives_the_front_that_listing_every_architecture_gives(
    small: Encoding, seed: int, grain: int
) -> None:
    quality, cost = (additive(small, seed + more, grain=grain) for more in (0, 1))
    assert_same_front(Problem(encoding=small, quality=quality, cost=cost), merge)


@given(seed=SEEDS, shares=st.lists(st.floats(0.1, 0.9), min_size=4, max_size=4))
@settings(max_examples=40, deadline=None)
def test_merging_keeps_any_number_of_limits_exactly(
    small: Encoding, seed: int, shares: list[float]
) -> None:
    quality, cost, more = (additive(small, seed + step) for step in range(3))
    costs = {"cost": cost, "more": more, "size": size_table(small), "memory": peak_memory_table(small)}
    limits = []
    for share, (name, table) in zip(shares, costs.items(), strict=True):
        seen = table(small.sample(200, np.random.default_rng(seed)))
        limits.append(Limit(name=name, cost=table, at_most=float(np.quantile(seen, 0.4 + 0.6 * share))))
    problem = Problem(encoding=small, quality=quality, cost=cost, limits=tuple(limits))
    assert_same_front(problem, merge)


def test_the_front_of_a_huge_space_holds_real_architectures_with_the_scores_it_reports(
    mobile_space: SearchSpace,
) -> None:
    encoding = Encoding(mobile_space)
    quality, cost = additive(encoding, 1), macs_table(encoding)
    found = search(Problem(encoding=encoding, quality=quality, cost=cost))
    assert found.method == "exact merge" and found.considered == mobile_space.size() > 10**15
    archs = encoding.decode(found.rows)
    assert all(map(mobile_space.contains, archs))
    rows = encoding.encode(archs)
    assert np.array_equal(quality(rows), found.qualities) and np.array_equal(cost(rows), found.costs)
    assert (np.diff(found.costs) > 0).all() and (np.diff(found.qualities) > 0).all()


def test_no_architecture_near_the_front_of_a_huge_space_beats_it(mobile_space: SearchSpace) -> None:
    encoding = Encoding(mobile_space)
    problem = Problem(encoding=encoding, quality=additive(encoding, 1), cost=macs_table(encoding))
    found = merge(problem)
    rivals = evolve(problem, evaluations=3000, seed=1, start=found.rows[::20])
    below = np.searchsorted(found.costs, rivals.costs, side="right") - 1
    assert (below >= 0).all() and (found.qualities[below] >= rivals.qualities - 1e-12).all()


def test_a_space_of_few_architectures_is_listed_where_predictors_are_no_sums(small: Encoding) -> None:
    problem = Problem(encoding=small, quality=crossed(small), cost=macs_table(small))
    found = search(problem)
    rows = np.concatenate(list(small.enumerate()))
    qualities, costs = problem.quality(rows), problem.cost(rows)
    beaten = (
        (costs[None] <= costs[:, None])
        & (qualities[None] >= qualities[:, None])
        & ((costs[None] < costs[:, None]) | (qualities[None] > qualities[:, None]))
    ).any(1)
    assert found.method == "enumeration"
    assert set(zip(found.costs, found.qualities, strict=True)) == set(
        zip(costs[~beaten], qualities[~beaten], strict=True)
    )


def test_evolution_scores_no_architecture_twice_and_none_in_two_spellings(
    mobile_space: SearchSpace,
) -> None:
    encoding = Encoding(mobile_space)
    scored: list[Rows] = []

    def quality(rows: Rows) -> np.ndarray:
        scored.append(rows.copy())
        return crossed(encoding)(rows)

    found = evolve(Problem(encoding=encoding, quality=quality, cost=macs_table(encoding)), evaluations=1500)
    rows = np.concatenate(scored)
    assert len(np.unique(rows, axis=0)) == len(rows) == found.considered == 1500
    assert np.array_equal(rows, encoding.canonical(rows))


def test_evolution_depends_on_its_seed_alone(mobile_space: SearchSpace) -> None:
    encoding = Encoding(mobile_space)
    problem = Problem(encoding=encoding, quality=crossed(encoding), cost=macs_table(encoding))
    one, same, other = (evolve(problem, evaluations=800, seed=seed) for seed in (3, 3, 4))
    assert np.array_equal(one.rows, same.rows)
    assert not np.array_equal(one.rows, other.rows)


def test_evolution_comes_to_the_exact_front(small: Encoding) -> None:
    problem = Problem(encoding=small, quality=crossed(small), cost=macs_table(small))
    truth, found = enumerate_all(problem), evolve(problem, evaluations=400)
    worst = {"worst_cost": float(truth.costs[-1]) + 1, "worst_quality": float(truth.qualities[0]) - 1}
    reached = hypervolume(found.costs, found.qualities, **worst)
    assert reached >= 0.99 * hypervolume(truth.costs, truth.qualities, **worst)


def test_evolution_of_a_whole_space_ends(small: Encoding) -> None:
    problem = Problem(encoding=small, quality=crossed(small), cost=macs_table(small))
    found, truth = evolve(problem, evaluations=10**9, population=50), enumerate_all(problem)
    assert found.considered <= small.space.size()
    assert np.array_equal(found.costs, truth.costs)


def test_evolution_finds_its_way_into_narrow_limits(mobile_space: SearchSpace) -> None:
    encoding = Encoding(mobile_space)
    macs, size = macs_table(encoding), size_table(encoding)
    smallest = encoding.encode([mobile_space.smallest()])
    limits = tuple(
        Limit(name=table.name, cost=table, at_most=1.3 * float(table(smallest)[0]))
        for table in (macs, size)
    )
    problem = Problem(encoding=encoding, quality=crossed(encoding), cost=macs, limits=limits)
    assert (problem.excess(encoding.sample(2000, np.random.default_rng(0))) > 0).all()
    found = search(problem, evaluations=2000)
    assert found.method == "NSGA-II" and len(found.rows) > 5
    assert (problem.excess(found.rows) == 0).all()


def test_limits_too_many_to_merge_are_searched_from_what_relaxing_them_gives(
    mobile_space: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exact, "MOST_PAIRS", 1000)
    encoding = Encoding(mobile_space)
    size = size_table(encoding)
    at_most = float(np.median(size(encoding.sample(500, np.random.default_rng(0)))))
    problem = Problem(
        encoding=encoding,
        quality=additive(encoding, 1),
        cost=macs_table(encoding),
        limits=(Limit(name="size", cost=size, at_most=at_most),),
    )
    with pytest.raises(TooLarge):
        merge(problem)
    start = relaxed(problem)
    assert len(start) and (size(start) <= at_most).all()
    found = search(problem, evaluations=2000)
    assert found.method == "NSGA-II" and (size(found.rows) <= at_most).all()
    worst = {"worst_cost": float(found.costs.max()) * 2, "worst_quality": 0.0}
    blind = evolve(problem, evaluations=2000)
    assert hypervolume(found.costs, found.qualities, **worst) > hypervolume(
        blind.costs, blind.qualities, **worst
    )


@given(seed=SEEDS)
@settings(max_examples=40, deadline=None)
def test_impossible_limits_have_an_empty_front_and_a_nearest_architecture(
    small: Encoding, seed: int
) -> None:
    tables = [additive(small, seed), size_table(small), peak_memory_table(small)]
    limits = tuple(
        Limit(name=table.name, cost=table, at_most=0.8 * float(table(table.cheapest())[0]))
        for table in tables
    )
    problem = Problem(encoding=small, quality=additive(small, 1), cost=tables[0], limits=limits)
    assert not len(merge(problem).rows)
    answer = nearest(problem)
    everything = np.concatenate(list(small.enumerate()))
    least = problem.excess(everything).min()
    assert answer.excess <= least * 1.0000001 + 0.02
    if answer.proven:
        assert answer.excess == pytest.approx(least)
    assert answer.costs == tuple(float(limit.cost(answer.row)[0]) for limit in limits)


@given(seed=SEEDS)
@settings(max_examples=40, deadline=None)
def test_one_impossible_limit_is_answered_by_the_cheapest_architecture(small: Encoding, seed: int) -> None:
    cost = additive(small, seed)
    limit = Limit(name="cost", cost=cost, at_most=0.1)
    answer = nearest(Problem(encoding=small, quality=cost, cost=cost, limits=(limit,)))
    assert answer.proven
    assert answer.costs[0] == min(cost(rows).min() for rows in small.enumerate())
