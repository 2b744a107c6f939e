"""Fitting an accuracy predictor on subnets measured for it, and saying how far it errs on others."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from edge_bench import variants
from edge_bench.choose.accuracy import AccuracyPredictor, Values
from edge_bench.choose.active import informative_rows, random_rows, spread_rows
from edge_bench.choose.encoding import Encoding, Rows
from edge_bench.choose.fitting import space_key
from edge_bench.errors import ConfigError
from edge_bench.records import (
    AccuracyErrors,
    ArchConfig,
    FittedAccuracyPredictor,
    Metric,
    SearchSpace,
)
from edge_bench.statistics import kendall, spearman
from edge_bench.store import now

ACCURACY = "edge_bench.choose.accuracy"
BASELINES = ("macs", "mean")
AUTO = "auto"
LEAST_NETS, LEAST_HELD_OUT = 20, 10
# The share of the networks that fill the space before any is chosen by disagreement, and the rounds.
FIRST_SHARE = 0.4
ROUNDS = 6
FOLDS = 5
# What the generators of a fit are for; part of their seed.
_HELD_OUT, _CHOICE, _FOLDS = 0, 1, 2

# Told what to measure, returns the metric of each.
Measure = Callable[[Sequence[ArchConfig]], Sequence[Metric]]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Rows [n, columns] of a space and the metric of each, all of one name, split and direction."""

    rows: Rows
    metrics: tuple[Metric, ...]

    @property
    def values(self) -> Values:
        """The metrics' values [n]."""
        return np.array([metric.value for metric in self.metrics])

    def __len__(self) -> int:
        return len(self.metrics)


def kinds() -> tuple[str, ...]:
    """Return the kinds of accuracy predictor, without the baselines."""
    return tuple(name for name in variants.names(ACCURACY) if name not in BASELINES)


def check(space: SearchSpace, *, nets: int, held_out: int, kind: str = AUTO) -> None:
    """Raise what would stop a fit of `nets` networks, judged on `held_out` others, before any is measured.

    Raises:
        ConfigError: too few are asked for, or more than the space can spare.
        UnknownVariant, MissingExtra: no predictor of that kind, or a library that it needs.
    """
    for name, given, least in (("fit", nets, LEAST_NETS), ("judge", held_out, LEAST_HELD_OUT)):
        if given < least:
            raise ConfigError(f"{given} networks to {name} on are asked for; at least {least} are needed")
    if space.size() < 2 * (nets + held_out):
        raise ConfigError(
            f"space '{space.name}' has {space.size()} networks; {nets} to fit on and {held_out} to judge "
            "on are too many of them",
            hint="give fewer --nets and --held-out",
        )
    for name in (*kinds(), *BASELINES) if kind == AUTO else (kind, *BASELINES):
        _load(name)


def measure_held_out(encoding: Encoding, measure: Measure, count: int, *, seed: int) -> Measured:
    """Draw and measure networks to judge on: half of them uniform, half spread over MACs and resolution.

    They depend on the space, `count` and `seed` alone.
    """
    generator = np.random.default_rng([seed, _HELD_OUT])
    drawn = random_rows(encoding, count - count // 2, generator)
    # The extremes are for fitting: there is no learning them from others.
    extremes = encoding.encode([encoding.space.smallest(), encoding.space.largest()])
    taken = np.concatenate([drawn, extremes])
    spread = spread_rows(encoding, count - len(drawn), generator, without=taken)
    return measured(encoding, measure, np.concatenate([drawn, spread]))


def measure_chosen(
    encoding: Encoding,
    measure: Measure,
    count: int,
    *,
    without: Rows,
    seed: int,
) -> Measured:
    """Choose and measure up to `count` networks to fit on, none of them among `without`.

    A first part fills the space; the rest is chosen in rounds, each by what was measured before.
    """
    generator = np.random.default_rng([seed, _CHOICE])
    first = round(FIRST_SHARE * count)
    chosen = measured(encoding, measure, spread_rows(encoding, first, generator, without=without))
    rounds = np.diff(np.linspace(first, count, ROUNDS + 1).round().astype(int)).tolist()
    for wanted in rounds:
        sign = 1.0 if chosen.metrics[0].higher_is_better else -1.0
        rows = informative_rows(
            encoding,
            chosen.rows,
            sign * chosen.values,
            wanted,
            generator,
            make=[_load(kind) for kind in kinds()],
            without=without,
        )
        chosen = _joined(chosen, measured(encoding, measure, rows))
    return chosen


def measured(encoding: Encoding, measure: Measure, rows: Rows) -> Measured:
    """Measure the networks of `rows` [n, columns]."""
    return Measured(rows=rows, metrics=tuple(measure(encoding.decode(rows))))


def fit_accuracy(
    encoding: Encoding, fitted: Measured, held_out: Measured, *, run: str, kind: str = AUTO, seed: int = 0
) -> FittedAccuracyPredictor:
    """Fit the predictor `kind` and the baselines on the same networks, and judge all on others.

    Args:
        encoding: of the run's space.
        fitted: the networks to fit on.
        held_out: networks that are in no way used to fit, nor to choose the kind.
        run: the trained run's name.
        kind: a name of `kinds()`, or "auto" for the one that errs least in cross-validation.
        seed: of the folds and of what a predictor leaves to chance.

    Raises:
        UnknownVariant: no predictor of that kind.
        ValueError: a network stands on both sides.
    """
    if {row.tobytes() for row in fitted.rows} & {row.tobytes() for row in held_out.rows}:
        raise ValueError("a held-out network is among the fitted ones")
    tried = (*kinds(), *BASELINES) if kind == AUTO else (kind,)
    validated = {name: cross_validated(name, encoding, fitted, seed=seed) for name in tried}
    best = min(validated, key=lambda name: validated[name].rmse_points)
    predictors = {
        name: _load(name)().fit(encoding, fitted.rows, fitted.values, seed=seed)
        for name in {best, *BASELINES}
    }
    errors = {
        name: errors_of(one.predict(held_out.rows), held_out.values) for name, one in predictors.items()
    }
    metric = fitted.metrics[0]
    return FittedAccuracyPredictor(
        id=f"{run}-{best}",
        kind=best,
        run=run,
        space=space_key(encoding.space),
        metric=metric.name,
        split=metric.split,
        examples=metric.examples,
        fitted_networks=len(fitted),
        parameters=predictors[best].parameters(),
        held_out=errors[best],
        baselines={name: errors[name] for name in BASELINES},
        cross_validated=validated,
        created=now(),
    )


def open_accuracy_predictor(fitted: FittedAccuracyPredictor, space: SearchSpace) -> AccuracyPredictor:
    """Return the predictor that `fitted` describes.

    Raises:
        ConfigError: it was fitted for another space.
    """
    if fitted.space != space_key(space):
        raise ConfigError(
            f"predictor '{fitted.id}' was fitted for space '{fitted.space}', not '{space_key(space)}'",
            hint="edge-bench fit accuracy --run RUN",
        )
    return _load(fitted.kind).from_parameters(Encoding(space), fitted.parameters)


def cross_validated(kind: str, encoding: Encoding, fitted: Measured, *, seed: int) -> AccuracyErrors:
    """Return the errors that predictors of `kind` make on fitted networks which they were not shown.

    The networks are left out in `FOLDS` parts drawn by `seed`, the same for every kind.
    """
    order = np.random.default_rng([seed, _FOLDS]).permutation(len(fitted))
    fold = np.empty(len(fitted), int)
    fold[order] = np.arange(len(fitted)) % FOLDS
    predicted = np.empty(len(fitted))
    for number in range(FOLDS):
        out = fold == number
        predictor = _load(kind)().fit(encoding, fitted.rows[~out], fitted.values[~out], seed=seed)
        predicted[out] = predictor.predict(fitted.rows[out])
    return errors_of(predicted, fitted.values)


def errors_of(predicted: Values, values: Values) -> AccuracyErrors:
    """Return the errors of predictions [n] against measured values [n], both fractions."""
    return AccuracyErrors(
        networks=len(values),
        rmse_points=100 * math.sqrt(float(((predicted - values) ** 2).mean())),
        kendall=_unless_flat(kendall(predicted, values)),
        spearman=_unless_flat(spearman(predicted, values)),
    )


def _joined(first: Measured, second: Measured) -> Measured:
    return Measured(
        rows=np.concatenate([first.rows, second.rows]), metrics=(*first.metrics, *second.metrics)
    )


def _unless_flat(correlation: float) -> float | None:
    return None if math.isnan(correlation) else correlation


def _load(kind: str) -> type[AccuracyPredictor]:
    return variants.load(AccuracyPredictor, ACCURACY, kind)
