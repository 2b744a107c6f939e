"""A new device from few measurements: the predictor, and the choice of what to measure."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_bench.choose.predictors import FeatureTable, Matrix
from edge_bench.choose.predictors.transfer import Transfer
from edge_bench.choose.sampling import choose

OPERATORS = ("convolution.count", "pool.count", "add.count")


def networks(seed: int = 0, count: int = 400) -> FeatureTable:
    """Networks of three kinds of operators on two devices that price these differently."""
    generator = np.random.default_rng(seed)
    operators = generator.integers(1, 9, size=(count, 3)).astype(float)
    devices = operators @ np.array([[1.0, 0.2], [0.1, 0.9], [0.3, 0.3]]) + 0.5
    return FeatureTable(
        names=("device:board", "device:phone", *OPERATORS), values=np.hstack([devices, operators])
    )


def on_new_device(table: FeatureTable) -> Matrix:
    """Return latencies in ms: half the board's, twice the phone's, and more for what neither tells."""
    board, phone, *_ = table.values.T
    return np.asarray(0.5 * board + 2 * phone + 0.02 * table.values[:, 4] ** 2, np.float64)


def errors(predictor: Transfer, table: FeatureTable) -> Matrix:
    return np.abs(predictor.predict(table).latency_ms / on_new_device(table) - 1)


def test_ten_measurements_tell_a_device_that_others_resemble() -> None:
    table = networks()
    rows = list(choose(table, 10).rows)
    predictor = Transfer().fit(table.taken(rows), on_new_device(table)[rows])
    assert errors(predictor, table).mean() < 0.01


def test_chosen_measurements_tell_more_than_random_ones() -> None:
    table = networks()
    truth = on_new_device(table)
    chosen = list(choose(table, 6).rows)
    by_choice = errors(Transfer().fit(table.taken(chosen), truth[chosen]), table).mean()
    by_chance = []
    for seed in range(20):
        rows = np.random.default_rng(seed).choice(len(table), 6, replace=False)
        by_chance.append(errors(Transfer().fit(table.taken(rows), truth[rows]), table).mean())
    assert by_choice < np.median(by_chance)


def test_one_disturbed_measurement_is_outvoted() -> None:
    table = networks()
    rows = list(choose(table, 12).rows)
    latencies = on_new_device(table)[rows]
    latencies[5] *= 3
    predictor = Transfer().fit(table.taken(rows), latencies)
    assert np.median(errors(predictor, table)) < 0.1


def test_latencies_elsewhere_help_beyond_what_operators_tell() -> None:
    table = networks()
    # On board and phone something costs that no operator tells.
    hidden = np.random.default_rng(1).lognormal(0, 0.4, len(table))
    values = table.values.copy()
    values[:, :2] *= hidden[:, None]
    table = FeatureTable(names=table.names, values=values)
    alone = FeatureTable(names=OPERATORS, values=values[:, 2:])
    rows = list(choose(table, 10).rows)
    latencies = on_new_device(table)
    with_devices = errors(Transfer().fit(table.taken(rows), latencies[rows]), table)
    predicted = Transfer().fit(alone.taken(rows), latencies[rows]).predict(alone).latency_ms
    assert with_devices.mean() < np.abs(predicted / latencies - 1).mean() / 5


def test_networks_that_hardly_run_elsewhere_are_not_chosen() -> None:
    table = networks()
    values = table.values.copy()
    values[::3, 0] = 0.001
    idle = FeatureTable(names=table.names, values=values)
    assert not set(choose(idle, 20).rows) & set(range(0, len(table), 3))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), count=st.integers(1, 20), allowed=st.integers(20, 100))
def test_what_is_chosen_is_allowed_and_different_and_leaves_ever_less_uncertain(
    seed: int, count: int, allowed: int
) -> None:
    table = networks(seed, 150)
    among = np.random.default_rng(seed).choice(len(table), allowed, replace=False).tolist()
    chosen = choose(table, count, among=among, seed=seed)
    assert len(set(chosen.rows)) == count
    assert set(chosen.rows) <= set(among)
    assert list(chosen.uncertainty) == sorted(chosen.uncertainty, reverse=True)
    assert 0 < chosen.uncertainty[-1] <= chosen.uncertainty[0] < 1
    assert choose(table, count, among=among, seed=seed) == chosen


def test_more_samples_than_networks_are_refused() -> None:
    with pytest.raises(ValueError, match="5 of 3 networks"):
        choose(networks(), 5, among=[1, 2, 3])
