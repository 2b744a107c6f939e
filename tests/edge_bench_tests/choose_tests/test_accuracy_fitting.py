"""Fitting accuracy: what is held out stays out, the kind is chosen without it, resuming changes nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from edge_bench.choose.accuracy_fitting import (
    AUTO,
    Measured,
    check,
    errors_of,
    fit_accuracy,
    kinds,
    measure_chosen,
    measure_held_out,
    open_accuracy_predictor,
)
from edge_bench.choose.costs import macs_table
from edge_bench.choose.encoding import Encoding
from edge_bench.documents import from_document, to_document
from edge_bench.errors import ConfigError
from edge_bench.records import ArchConfig, FittedAccuracyPredictor, Metric, SearchSpace
from supernet.spaces.lite import Lite

ENCODING = Encoding(
    Lite(widths=(8, 12), strides=(1, 2), resolutions=(16, 24)).build(input_channels=1, classes=4)
)


class Bench:
    """Measures by a formula and counts what it was asked for."""

    def __init__(self, encoding: Encoding = ENCODING) -> None:
        self.encoding = encoding
        self.asked: list[ArchConfig] = []

    def __call__(self, archs: Sequence[ArchConfig]) -> list[Metric]:
        self.asked += archs
        rows = self.encoding.encode(archs)
        noise = [np.random.default_rng(int(arch.key, 16)).normal(0, 0.002) for arch in archs]
        logs = np.log(macs_table(self.encoding)(rows))
        values = 0.2 + 0.03 * logs + 0.02 * rows[:, self.encoding.kernel_columns[1]] + noise
        return [
            Metric(
                name="accuracy", value=float(one), higher_is_better=True, split="selection", examples=500
            )
            for one in values
        ]


@pytest.fixture(scope="module")
def made() -> tuple[Measured, Measured]:
    unseen = measure_held_out(ENCODING, Bench(), 40, seed=1)
    return measure_chosen(ENCODING, Bench(), 60, without=unseen.rows, seed=1), unseen


def test_as_many_are_measured_as_asked_for_and_none_twice() -> None:
    bench = Bench()
    unseen = measure_held_out(ENCODING, bench, 30, seed=2)
    seen = measure_chosen(ENCODING, bench, 50, without=unseen.rows, seed=2)
    assert (len(unseen), len(seen)) == (30, 50)
    assert len({arch.key for arch in bench.asked}) == 80
    assert [metric.value for metric in seen.metrics] == [
        metric.value for metric in Bench()(ENCODING.decode(seen.rows))
    ]


def test_what_is_held_out_depends_on_the_seed_and_not_on_what_is_fitted() -> None:
    first, second = Bench(), Bench()
    measure_held_out(ENCODING, first, 30, seed=2)
    measure_held_out(ENCODING, second, 30, seed=2)
    assert first.asked == second.asked
    measure_held_out(ENCODING, second, 30, seed=3)
    assert {arch.key for arch in second.asked[30:]} != {arch.key for arch in first.asked}
    extremes = {ENCODING.space.smallest().key, ENCODING.space.largest().key}
    assert not extremes & {arch.key for arch in second.asked}


@pytest.mark.slow
def test_the_same_networks_are_chosen_again_so_that_an_interrupted_fit_goes_on() -> None:
    unseen = measure_held_out(ENCODING, Bench(), 20, seed=5)
    first, second = Bench(), Bench()
    measure_chosen(ENCODING, first, 40, without=unseen.rows, seed=5)
    measure_chosen(ENCODING, second, 40, without=unseen.rows, seed=5)
    assert first.asked == second.asked


def test_the_kind_that_errs_least_in_cross_validation_is_taken(made: tuple[Measured, Measured]) -> None:
    fitted = fit_accuracy(ENCODING, *made, run="r")
    errors = {kind: one.rmse_points for kind, one in fitted.cross_validated.items()}
    assert fitted.kind == min(errors, key=errors.__getitem__)
    assert set(kinds()) < set(errors)
    assert fitted.held_out.rmse_points < fitted.baselines["macs"].rmse_points
    assert fitted.baselines["macs"].rmse_points < fitted.baselines["mean"].rmse_points
    assert fitted.held_out.kendall is not None and fitted.held_out.kendall > 0.9
    assert fitted.baselines["mean"].kendall is None


@pytest.mark.slow
def test_held_out_values_move_neither_the_choice_nor_the_fit(made: tuple[Measured, Measured]) -> None:
    seen, unseen = made
    fitted = fit_accuracy(ENCODING, seen, unseen, run="r")
    shuffled = Measured(rows=unseen.rows, metrics=unseen.metrics[::-1])
    other = fit_accuracy(ENCODING, seen, shuffled, run="r")
    assert (other.kind, other.parameters) == (fitted.kind, fitted.parameters)
    assert other.cross_validated == fitted.cross_validated
    assert other.held_out != fitted.held_out


def test_a_network_on_both_sides_is_refused(made: tuple[Measured, Measured]) -> None:
    seen, unseen = made
    both = Measured(
        rows=np.concatenate([seen.rows, unseen.rows[:1]]), metrics=(*seen.metrics, unseen.metrics[0])
    )
    with pytest.raises(ValueError, match="held-out"):
        fit_accuracy(ENCODING, both, unseen, run="r")


@pytest.mark.parametrize("kind", [AUTO, *kinds()])
def test_a_stored_predictor_predicts_the_same(made: tuple[Measured, Measured], kind: str) -> None:
    seen, unseen = made
    fitted = fit_accuracy(ENCODING, seen, unseen, run="r", kind=kind)
    read = from_document(FittedAccuracyPredictor, json.loads(json.dumps(to_document(fitted))))
    assert read == fitted
    predicted = open_accuracy_predictor(read, ENCODING.space).predict(unseen.rows)
    assert errors_of(predicted, unseen.values) == fitted.held_out


def test_a_predictor_of_another_space_is_refused(
    made: tuple[Measured, Measured], space: SearchSpace
) -> None:
    fitted = fit_accuracy(ENCODING, *made, run="r", kind="mean")
    with pytest.raises(ConfigError, match="was fitted for space"):
        open_accuracy_predictor(fitted, space)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"nets": 3}, "3 networks to fit on are asked for; at least 20 are needed"),
        ({"held_out": 3}, "3 networks to judge on are asked for; at least 10 are needed"),
        ({"nets": 10**9}, "are too many of them"),
        ({"kind": "aditive"}, "Did you mean 'additive'"),
    ],
)
def test_what_cannot_be_fitted_is_said(asked: dict[str, Any], said: str) -> None:
    possible: dict[str, Any] = {"nets": 40, "held_out": 20, "kind": AUTO}
    check(ENCODING.space, **possible)
    with pytest.raises(ConfigError, match=said):
        check(ENCODING.space, **{**possible, **asked})
