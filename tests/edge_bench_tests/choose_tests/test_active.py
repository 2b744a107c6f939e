"""Which architectures are chosen to be measured: distinct, spread, and where there is most to learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_bench.choose.accuracy import Values
from edge_bench.choose.accuracy.additive import Additive
from edge_bench.choose.active import informative_rows, random_rows, spread_rows
from edge_bench.choose.costs import macs_table
from edge_bench.choose.encoding import Encoding, Rows
from edge_bench.records import SearchSpace
from supernet.spaces.lite import Lite

SMALL = Encoding(
    Lite(widths=(8, 12), strides=(1, 2), resolutions=(16, 24)).build(input_channels=1, classes=4)
)


@pytest.fixture
def encoding(space: SearchSpace) -> Encoding:
    return Encoding(space)


def keys(rows: Rows) -> set[bytes]:
    return {row.tobytes() for row in rows}


def values_of(encoding: Encoding, rows: Rows) -> Values:
    return np.log(macs_table(encoding)(rows))


def test_spread_rows_hold_both_extremes_and_every_resolution_alike(encoding: Encoding) -> None:
    rows = spread_rows(encoding, 40, np.random.default_rng(0))
    space = encoding.space
    assert encoding.decode(rows[:2]) == [space.smallest(), space.largest()]
    counts = np.bincount(rows[2:, 0], minlength=len(space.resolutions))
    assert counts.max() - counts.min() <= 1


def test_spread_rows_reach_further_than_random_ones(encoding: Encoding) -> None:
    generator = np.random.default_rng(1)
    spread, uniform = spread_rows(encoding, 60, generator)[2:], random_rows(encoding, 60, generator)
    assert values_of(encoding, spread).std() > 1.15 * values_of(encoding, uniform).std()


@settings(max_examples=25, deadline=None)
@given(count=st.integers(1, 60), taken=st.integers(0, 30), seed=st.integers(0, 1000))
def test_chosen_rows_are_distinct_canonical_and_none_of_those_excluded(
    count: int, taken: int, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    without = random_rows(SMALL, taken, generator)
    rows = spread_rows(SMALL, count, generator, without=without)
    assert len(keys(rows)) == len(rows) == count
    assert not keys(rows) & keys(without)
    assert np.array_equal(rows, SMALL.canonical(rows))
    seen = spread_rows(SMALL, 20, generator, without=without)
    more = informative_rows(
        SMALL, seen, values_of(SMALL, seen), count, generator, make=[Additive], without=without
    )
    assert len(keys(more)) == len(more) == count
    assert not keys(more) & (keys(without) | keys(seen))
    assert np.array_equal(more, SMALL.canonical(more))


def test_informative_rows_are_where_nothing_was_measured_yet() -> None:
    generator = np.random.default_rng(2)
    column = SMALL.expand_columns[0]
    drawn = random_rows(SMALL, 200, generator)
    # Of one expand ratio only two networks were measured.
    rare, common = drawn[drawn[:, column] == 2], drawn[drawn[:, column] != 2]
    seen = np.concatenate([common[:60], rare[:2]])
    noisy = values_of(SMALL, seen) + 0.8 * (seen[:, column] == 2) + generator.normal(0, 0.05, len(seen))
    nothing = drawn[:0]
    chosen = [
        informative_rows(
            SMALL, seen, noisy, 40, np.random.default_rng(seed), make=[Additive], without=nothing
        )
        for seed in range(5)
    ]
    share = np.mean(np.concatenate(chosen)[:, column] == 2)
    assert share > 0.6


def test_rows_near_the_front_come_before_rows_far_below_it() -> None:
    generator = np.random.default_rng(3)
    column = SMALL.kernel_columns[0]
    seen = spread_rows(SMALL, 60, generator)
    # A small kernel in the first place costs little and is worth much: those without it lie below.
    values = values_of(SMALL, seen) + 3.0 * (seen[:, column] == 0) + generator.normal(0, 0.1, len(seen))
    chosen = [
        informative_rows(
            SMALL, seen, values, 40, np.random.default_rng(seed), make=[Additive], without=seen[:0]
        )
        for seed in range(5)
    ]
    assert np.mean(np.concatenate(chosen)[:, column] == 0) > 0.5
