"""What single predictors promise beside the contract of all."""

from __future__ import annotations

import json

import numpy as np
import pytest
import sklearn.linear_model
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor

from edge_bench.choose.predictors import FeatureTable, LatencyPredictor, Matrix
from edge_bench.choose.predictors import forest as forests
from edge_bench.choose.predictors.forest import Forest
from edge_bench.choose.predictors.gaussian_process import GaussianProcess
from edge_bench.choose.predictors.gradient_boosting import Boosted, GradientBoosting
from edge_bench.choose.predictors.ridge import Ridge
from edge_bench.errors import NotFittedError

NAMES = ("macs", "width", "depth")


def table(rows: int, seed: int = 0) -> FeatureTable:
    return FeatureTable(names=NAMES, values=np.random.default_rng(seed).uniform(1, 3, (rows, 3)))


def bent_ms(given: FeatureTable) -> Matrix:
    """Each part waits for the slower of computing and moving, which no sum of prices says."""
    macs, width, depth = given.values.T
    found: Matrix = depth * np.maximum(macs, width) + np.sin(4 * width)
    return found


def disturbed_ms(given: FeatureTable, share: float) -> Matrix:
    """The same, measured in slow spells for a `share` of the rows."""
    slow = np.random.default_rng(1).random(len(given)) < share
    found: Matrix = bent_ms(given) * np.where(slow, 1.4, 1.0)
    return found


def mean_error(predictor: LatencyPredictor, given: FeatureTable) -> float:
    return float(np.abs(predictor.predict(given).latency_ms / bent_ms(given) - 1).mean())


@pytest.fixture(scope="module")
def seen() -> FeatureTable:
    return table(400)


@pytest.mark.parametrize("kind", [GradientBoosting, GaussianProcess])
def test_what_does_not_add_up_is_learnt_better_than_by_prices_and_by_a_forest(
    kind: type[LatencyPredictor], seen: FeatureTable
) -> None:
    unseen, latencies = table(200, seed=2), bent_ms(seen)
    bent = mean_error(kind().fit(seen, latencies), unseen)
    assert bent < mean_error(Ridge().fit(seen, latencies), unseen) / 2
    assert bent < mean_error(Forest().fit(seen, latencies), unseen)


@pytest.mark.parametrize("kind", [GradientBoosting, GaussianProcess])
def test_slow_spells_of_a_machine_do_not_draw_predictions_away(
    kind: type[LatencyPredictor], seen: FeatureTable
) -> None:
    unseen, latencies = table(200, seed=2), disturbed_ms(seen, 0.15)
    disturbed = mean_error(kind().fit(seen, latencies), unseen)
    assert disturbed < mean_error(Forest().fit(seen, latencies), unseen) * 0.75


def test_the_process_is_less_sure_of_what_is_unlike_all_it_was_fitted_on(seen: FeatureTable) -> None:
    predictor = GaussianProcess().fit(seen, bent_ms(seen))
    near, far = predictor.predict(FeatureTable(names=NAMES, values=np.array([[2.0, 2, 2], [9.0, 1, 7]])))
    width = [(one.high_ms - one.low_ms) / one.latency_ms for one in (near, far)]
    assert width[1] > 2 * width[0]


@pytest.mark.parametrize("kind", [GradientBoosting, GaussianProcess, Forest])
def test_nine_of_ten_intervals_hold_what_was_not_seen(
    kind: type[LatencyPredictor], seen: FeatureTable
) -> None:
    noise = np.random.default_rng(5)
    predictor = kind().fit(seen, bent_ms(seen) * noise.lognormal(0, 0.1, len(seen)))
    unseen = table(2000, seed=6)
    measured = bent_ms(unseen) * noise.lognormal(0, 0.1, len(unseen))
    predicted = predictor.predict(unseen)
    held = np.mean((predicted.low_ms <= measured) & (measured <= predicted.high_ms))
    assert 0.85 < held < 0.95


@pytest.mark.parametrize("kind", [GradientBoosting, GaussianProcess, Forest])
def test_a_fit_on_many_networks_goes_through_json(kind: type[LatencyPredictor], seen: FeatureTable) -> None:
    predictor = kind().fit(seen, bent_ms(seen))
    again = kind.from_parameters(json.loads(json.dumps(predictor.parameters(), allow_nan=False)))
    unseen = table(3000, seed=2)
    assert list(again.predict(unseen)) == list(predictor.predict(unseen))


def test_boosted_trees_say_what_scikit_learn_says(seen: FeatureTable) -> None:
    targets = np.log(bent_ms(seen))
    options = {"max_leaf_nodes": 8, "max_depth": 4, "min_samples_leaf": 20, "early_stopping": False}
    model = HistGradientBoostingRegressor(
        loss="absolute_error", max_iter=30, learning_rate=0.1, random_state=0, **options
    )
    expected = model.fit(seen.values, targets).predict(table(500, seed=2).values)
    ours = Boosted.fitted(seen.values, targets, trees=30).evaluate(table(500, seed=2).values)
    assert ours == pytest.approx(expected, rel=1e-4)


def test_a_forest_says_what_scikit_learn_says(seen: FeatureTable) -> None:
    model = RandomForestRegressor(50, min_samples_leaf=forests.LEAF, random_state=0)
    expected = model.fit(seen.values, bent_ms(seen)).predict(table(500, seed=2).values)
    ours = Forest().fit(seen, bent_ms(seen)).predict(table(500, seed=2)).latency_ms
    assert ours == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("wrong", [{"left": 10_000}, {"left": -1}])
def test_trees_that_lead_nowhere_are_refused(seen: FeatureTable, wrong: dict[str, int]) -> None:
    parameters = Forest().fit(seen, bent_ms(seen)).parameters()
    for name, node in wrong.items():
        parameters[name][0] = node
    with pytest.raises(ValueError, match="not there"):
        Forest.from_parameters(parameters)


def test_trees_that_lead_back_are_refused(seen: FeatureTable) -> None:
    parameters = Forest().fit(seen, bent_ms(seen)).parameters()
    parameters["left"][parameters["left"][0]] = 0
    with pytest.raises(ValueError, match="back"):
        Forest.from_parameters(parameters)


def test_other_features_are_refused(seen: FeatureTable) -> None:
    predictor = GaussianProcess().fit(seen, bent_ms(seen))
    with pytest.raises(NotFittedError, match="'macs' is not given"):
        predictor.predict(FeatureTable(names=("area",), values=np.ones((1, 1))))


def test_a_row_is_priced_by_the_others_as_if_it_had_not_been_there() -> None:
    given, generator = table(40), np.random.default_rng(3)
    latencies = (given.values @ [1.0, 0.5, 2.0]) * generator.lognormal(0, 0.1, 40)
    ridge = Ridge()
    ridge.learn(given.values, latencies)
    unseen = ridge.unseen(given.values, latencies)
    others = np.arange(40) != 7
    scale = np.abs(given.values).max(axis=0)
    matrix = np.hstack([given.values / scale, np.ones((40, 1))])
    model = sklearn.linear_model.Ridge(alpha=ridge.penalty, fit_intercept=False)
    model.fit(matrix[others] / latencies[others, None], np.ones(39))
    assert unseen[7] == pytest.approx(float(matrix[7] @ model.coef_))
