"""What every accuracy predictor must do: a file put into `choose/accuracy/` is tested by being there."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest

from edge_bench import variants
from edge_bench.choose.accuracy import AccuracyPredictor, Values
from edge_bench.choose.accuracy_fitting import ACCURACY, BASELINES, kinds
from edge_bench.choose.active import random_rows, spread_rows
from edge_bench.choose.costs import macs_table
from edge_bench.choose.encoding import Encoding, Rows
from edge_bench.errors import NotFittedError
from edge_bench.records import SearchSpace
from edge_bench.statistics import kendall

FITTED = 120


@pytest.fixture(params=variants.names(ACCURACY))
def kind(request: pytest.FixtureRequest) -> type[AccuracyPredictor]:
    return load(request.param)


@pytest.fixture(params=kinds())
def kind_that_learns(request: pytest.FixtureRequest) -> type[AccuracyPredictor]:
    return load(request.param)


@pytest.fixture
def encoding(space: SearchSpace) -> Encoding:
    return Encoding(space)


@pytest.fixture
def rows(encoding: Encoding) -> Rows:
    """Distinct networks that fill the space; the extremes first, the rest in no order."""
    generator = np.random.default_rng(5)
    drawn = spread_rows(encoding, FITTED + 60, generator)
    return np.concatenate([drawn[:2], drawn[2 + generator.permutation(len(drawn) - 2)]])


def load(name: str) -> type[AccuracyPredictor]:
    return variants.load(AccuracyPredictor, ACCURACY, name)


def accuracy(encoding: Encoding, rows: Rows) -> Values:
    """As of a real supernet: more helps ever less, resolution and the first blocks matter most, and not
    all networks of equal MACs are equally good.
    """
    logs = np.log(macs_table(encoding)(rows))
    larger = encoding.kernel_columns[0], encoding.expand_columns[-1]
    return (
        0.3 + 0.04 * logs - 0.02 * (rows[:, 0] == 0) + 0.03 * rows[:, larger[0]] - 0.01 * rows[:, larger[1]]
    )


def test_accuracies_of_networks_not_seen_are_predicted_better_than_by_the_baselines(
    kind_that_learns: type[AccuracyPredictor], encoding: Encoding, rows: Rows
) -> None:
    noise = np.random.default_rng(1).normal(0, 0.002, FITTED)
    values = accuracy(encoding, rows[:FITTED]) + noise
    unseen = accuracy(encoding, rows[FITTED:])
    learned, macs, mean = (
        rmse(one().fit(encoding, rows[:FITTED], values).predict(rows[FITTED:]), unseen)
        for one in (kind_that_learns, *map(load, BASELINES))
    )
    assert learned < 0.6 * macs < macs < mean
    predicted = kind_that_learns().fit(encoding, rows[:FITTED], values).predict(rows[FITTED:])
    assert kendall(predicted, unseen) > 0.85


def test_parameters_that_went_through_json_predict_the_same(
    kind: type[AccuracyPredictor], encoding: Encoding, rows: Rows
) -> None:
    predictor = kind().fit(encoding, rows[:FITTED], accuracy(encoding, rows[:FITTED]))
    told = json.loads(json.dumps(predictor.parameters(), allow_nan=False))
    again = kind.from_parameters(Encoding(encoding.space), told)
    assert again.predict(rows).tolist() == predictor.predict(rows).tolist()


def test_equal_seeds_make_equal_predictors(
    kind: type[AccuracyPredictor], encoding: Encoding, rows: Rows
) -> None:
    fit = partial(kind().fit, encoding, rows[:40], accuracy(encoding, rows[:40]))
    assert (
        fit(seed=3).parameters()
        == kind().fit(encoding, rows[:40], accuracy(encoding, rows[:40]), seed=3).parameters()
    )


def test_a_prediction_depends_on_no_other_row(
    kind: type[AccuracyPredictor], encoding: Encoding, rows: Rows
) -> None:
    predictor = kind().fit(encoding, rows[:FITTED], accuracy(encoding, rows[:FITTED]))
    whole = predictor.predict(rows)
    assert whole.shape == (len(rows),) and whole.dtype == np.float64
    one_by_one = np.concatenate([predictor.predict(rows[at : at + 1]) for at in range(0, len(rows), 7)])
    assert one_by_one == pytest.approx(whole[::7], abs=1e-12)
    assert predictor.predict(rows[:0]).shape == (0,)


def test_contributions_add_up_to_the_prediction(
    kind: type[AccuracyPredictor], encoding: Encoding, rows: Rows
) -> None:
    predictor = kind().fit(encoding, rows[:FITTED], accuracy(encoding, rows[:FITTED]))
    table = predictor.contributions()
    if table is None:
        pytest.skip("its predictions are no sums over blocks")
    unseen = random_rows(encoding, 50, np.random.default_rng(2))
    assert table(unseen) == pytest.approx(predictor.predict(unseen), abs=1e-12)
    assert not table.largest


def test_the_unit_of_values_is_the_unit_of_predictions(
    kind_that_learns: type[AccuracyPredictor], encoding: Encoding, rows: Rows
) -> None:
    values = accuracy(encoding, rows[:FITTED])
    shares = kind_that_learns().fit(encoding, rows[:FITTED], values).predict(rows)
    points = kind_that_learns().fit(encoding, rows[:FITTED], 100 * values - 7).predict(rows)
    assert (points + 7) / 100 == pytest.approx(shares, abs=1e-3)


def test_networks_measured_alike_are_predicted_alike(
    kind: type[AccuracyPredictor], encoding: Encoding, rows: Rows
) -> None:
    predictor = kind().fit(encoding, rows[:20], np.full(20, 0.7))
    assert predictor.predict(rows) == pytest.approx(np.full(len(rows), 0.7), abs=1e-6)


def test_nothing_is_predicted_before_a_fit(kind: type[AccuracyPredictor], rows: Rows) -> None:
    with pytest.raises(NotFittedError, match="has seen no measurement"):
        kind().predict(rows)
    if kind.contributions is not AccuracyPredictor.contributions:
        with pytest.raises(NotFittedError, match="has seen no measurement"):
            kind().contributions()


def test_rows_of_another_space_are_refused(
    kind: type[AccuracyPredictor], encoding: Encoding, rows: Rows
) -> None:
    predictor = kind().fit(encoding, rows[:20], accuracy(encoding, rows[:20]))
    with pytest.raises(NotFittedError, match=f"fitted for {encoding.columns} columns"):
        predictor.predict(rows[:, 1:])


@pytest.mark.parametrize(
    ("values", "said"),
    [([], "at least 2 of each"), ([0.5], "at least 2 of each"), ([0.5, float("nan")], "not finite")],
)
def test_a_fit_says_what_is_missing(
    kind: type[AccuracyPredictor], encoding: Encoding, rows: Rows, values: list[float], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        kind().fit(encoding, rows[: len(values)], values)


def rmse(predicted: Values, values: Values) -> float:
    return float(np.sqrt(((predicted - values) ** 2).mean()))
