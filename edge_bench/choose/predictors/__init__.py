"""Latency predictors, one file each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from edge_bench.choose.features import SHAPE
from edge_bench.errors import NotFittedError
from edge_bench.records.prediction import Prediction

Matrix = npt.NDArray[np.float64]
# Begins the names of features that are latencies on other devices, in ms.
DEVICE = "device:"
# The 95th percentiles of Student's t with 2 to 8 degrees of freedom.
STUDENT_T = (2.920, 2.353, 2.132, 2.015, 1.943, 1.895, 1.860)


@dataclass(frozen=True, kw_only=True)
class FeatureTable:
    """What predictors see of networks, or of the blocks of networks: a row each, a column a feature.

    Attributes:
        names: of the columns, all different.
        values: [rows, columns].
    """

    names: tuple[str, ...]
    values: Matrix

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, float]]) -> FeatureTable:
        """Return the table of `rows`, at least one; the first tells the names, all have them."""
        names = tuple(rows[0])
        return cls(
            names=names, values=np.array([[row[name] for name in names] for row in rows], np.float64)
        )

    def __len__(self) -> int:
        return len(self.values)

    def taken(self, rows: npt.ArrayLike) -> FeatureTable:
        """Return the table of some rows, by their numbers or a mask."""
        return FeatureTable(names=self.names, values=self.values[np.asarray(rows)])

    def columns(self, names: Sequence[str]) -> Matrix:
        """Return the values [rows, names] of some columns.

        Raises:
            NotFittedError: a column is not there, so that the predictor was fitted on others.
        """
        places = {name: place for place, name in enumerate(self.names)}
        unknown = [name for name in names if name not in places]
        if unknown:
            raise NotFittedError(f"the predictor was fitted on other features: '{unknown[0]}' is not given")
        return self.values[:, [places[name] for name in names]]


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """Latencies in ms [n], each with the ends of its 90 % interval [n]."""

    latency_ms: Matrix
    low_ms: Matrix
    high_ms: Matrix

    def __iter__(self) -> Iterator[Prediction]:
        for latency, low, high in zip(self.latency_ms, self.low_ms, self.high_ms, strict=True):
            yield Prediction(latency_ms=float(latency), low_ms=float(low), high_ms=float(high))


class LatencyPredictor(ABC):
    """Learns milliseconds from features. State is a plain document, never a pickle.

    `adds_up` says whether it finds prices that add up exactly, and so holds beyond what it was fitted on.
    """

    adds_up: ClassVar[bool] = True

    @abstractmethod
    def fit(self, table: FeatureTable, latencies_ms: npt.ArrayLike) -> Self:
        """Fit on what was measured and return this predictor.

        Raises:
            ValueError: there are fewer than two rows, or not as many latencies as rows.
        """

    @abstractmethod
    def predict(self, table: FeatureTable) -> Predictions:
        """Return latencies with their 90 % intervals.

        Raises:
            NotFittedError: nothing was fitted or loaded yet, or on other features.
        """

    @abstractmethod
    def parameters(self) -> dict[str, Any]:
        """Return all that `from_parameters` needs, as JSON can say it."""

    @classmethod
    @abstractmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Self:
        """Return the predictor that `parameters` was read from."""


class RelativePredictor(LatencyPredictor):
    """A predictor whose interval is a share of the latency, found by leaving out what was fitted.

    It reaches as far as 90 % of the relative errors that cross-validation in `folds` made, on a
    logarithmic scale and the same in both directions, with the correction for a finite sample that makes
    it hold nine of ten unseen networks on average: the ceil(0.9 (n + 1))-th smallest of n errors (split
    conformal prediction over folds: Vovk, *Cross-conformal predictors*, 2015). A variant fills in `learn`,
    `estimate`, `learned` and `load`.
    """

    folds: ClassVar[int] = 10

    def __init__(self) -> None:
        self._names: tuple[str, ...] = ()
        self._ratios = (1.0, 1.0)

    @abstractmethod
    def learn(self, values: Matrix, latencies_ms: Matrix) -> None:
        """Fit on features [rows, columns] and latencies [rows], forgetting an earlier fit."""

    @abstractmethod
    def estimate(self, values: Matrix) -> Matrix:
        """Return latencies [rows] for features [rows, columns]."""

    @abstractmethod
    def learned(self) -> dict[str, Any]:
        """Return what `learn` found, as JSON can say it."""

    @abstractmethod
    def load(self, learned: Mapping[str, Any]) -> None:
        """Take what `learned` returned."""

    def settle(self, values: Matrix, latencies_ms: Matrix) -> tuple[float, float]:
        """Learn all that was measured, and return the ratios that span the interval."""
        ratios = self._cross_validated(values, latencies_ms)
        self.learn(values, latencies_ms)
        return ratios

    def interval(self, values: Matrix) -> tuple[Matrix | float, Matrix | float]:
        """Return what the latencies of features [rows, columns] are multiplied by for low and high."""
        return self._ratios

    def chosen(self, names: Sequence[str]) -> list[str]:
        """Return the features that are used, of those there are: all but those that tell blocks apart."""
        return [name for name in names if not name.startswith(SHAPE)]

    def used(self, table: FeatureTable) -> tuple[str, ...]:
        """Return those of the chosen features that are not 0 everywhere."""
        wanted = self.chosen(table.names)
        columns = zip(wanted, table.columns(wanted).T, strict=True)
        return tuple(name for name, one in columns if one.any())

    def fit(self, table: FeatureTable, latencies_ms: npt.ArrayLike) -> Self:
        latencies = np.asarray(latencies_ms, np.float64)
        if len(table) != len(latencies) or len(table) < 2:
            raise ValueError(f"{len(table)} networks and {len(latencies)} latencies; at least 2 of each")
        self._names = self.used(table)
        values = table.columns(self._names)
        self._ratios = self.settle(values, latencies)
        return self

    def predict(self, table: FeatureTable) -> Predictions:
        if not self._names:
            raise NotFittedError("this predictor has seen no measurement", hint="edge-bench fit")
        values = table.columns(self._names)
        latency = np.maximum(self.estimate(values), 1e-6)
        low, high = self.interval(values)
        return Predictions(latency_ms=latency, low_ms=latency * low, high_ms=latency * high)

    def parameters(self) -> dict[str, Any]:
        return {"names": list(self._names), "interval_ratios": list(self._ratios), **self.learned()}

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Self:
        loaded = cls()
        loaded._names = tuple(str(name) for name in parameters["names"])
        low, high = parameters["interval_ratios"]
        loaded._ratios = (float(low), float(high))
        loaded.load(parameters)
        return loaded

    def _cross_validated(self, values: Matrix, latencies: Matrix) -> tuple[float, float]:
        count = len(latencies)
        ratios = np.empty(count)
        for fold in range(min(self.folds, count)):
            left_out = np.arange(count) % min(self.folds, count) == fold
            self.learn(values[~left_out], latencies[~left_out])
            ratios[left_out] = latencies[left_out] / np.maximum(self.estimate(values[left_out]), 1e-6)
        reach = float(np.exp(_reach(np.abs(np.log(np.maximum(ratios, 1e-6))))))
        return 1 / reach, reach


def _reach(errors: Matrix) -> float:
    """Return what 90 % of further errors stay below, as `errors` tell, all of them 0 or more."""
    count = len(errors)
    place = int(np.ceil(0.9 * (count + 1)))
    if place <= count:
        return float(np.sort(errors)[place - 1])
    # Too few for an order statistic: as if they were normally distributed about nothing.
    return float(STUDENT_T[count - 2] * np.sqrt((errors**2).mean() * (1 + 1 / count)))


class AdditivePredictor(RelativePredictor):
    """A constant plus a price for each feature; what differs between variants is how prices are found."""

    def __init__(self) -> None:
        super().__init__()
        self._prices: Matrix = np.zeros(0)
        self._overhead_ms = 0.0

    @abstractmethod
    def solve(self, matrix: Matrix, latencies_ms: Matrix) -> Matrix:
        """Return prices [columns] for features [networks, columns]; the last column is all ones."""

    @property
    def overhead_ms(self) -> float:
        """What a network costs beside its operators."""
        return self._overhead_ms

    @property
    def prices_ms(self) -> dict[str, float]:
        """What each feature costs in ms, of a network or of a part; one not listed, nothing."""
        return dict(zip(self._names, self._prices.tolist(), strict=True))

    def learn(self, values: Matrix, latencies_ms: Matrix) -> None:
        scale = np.abs(values).max(axis=0, initial=0.0)
        scale[scale == 0] = 1.0
        solved = self.solve(np.hstack([values / scale, np.ones((len(values), 1))]), latencies_ms)
        self._prices = solved[:-1] / scale
        self._overhead_ms = float(solved[-1])

    def estimate(self, values: Matrix) -> Matrix:
        return np.asarray(values @ self._prices + self._overhead_ms, np.float64)

    def learned(self) -> dict[str, Any]:
        return {"prices_ms": self._prices.tolist(), "overhead_ms": self._overhead_ms}

    def load(self, learned: Mapping[str, Any]) -> None:
        self._prices = np.array(learned["prices_ms"], np.float64)
        self._overhead_ms = float(learned["overhead_ms"])


class BlockLearner(AdditivePredictor):
    """An additive predictor that learns from blocks measured alone too, where that helps."""

    @abstractmethod
    def beside(self, blocks: FeatureTable, latencies_ms: npt.ArrayLike) -> Self:
        """Take blocks measured alone, with the features of networks, for the next fit."""

    @property
    @abstractmethod
    def uses_blocks(self) -> bool:
        """Whether the fit found that they help to tell networks."""
