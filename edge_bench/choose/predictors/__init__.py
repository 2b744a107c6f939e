"""Latency predictors, one file each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from edge_bench.errors import NotFittedError
from edge_bench.records.prediction import Prediction

Matrix = npt.NDArray[np.float64]


class LatencyPredictor(ABC):
    """Learns milliseconds from features of whole networks. State is a plain document, never a pickle.

    Features are what `choose/features.py` makes of a network: names to numbers, the same names for
    every network of a fit.
    """

    @abstractmethod
    def fit(self, features: Sequence[Mapping[str, float]], latencies_ms: Sequence[float]) -> Self:
        """Fit on measured networks and return this predictor."""

    @abstractmethod
    def predict(self, features: Mapping[str, float]) -> Prediction:
        """Return the latency and its 90 % interval.

        Raises:
            NotFittedError: nothing was fitted or loaded yet.
        """

    @abstractmethod
    def parameters(self) -> dict[str, Any]:
        """Return all that `from_parameters` needs, as JSON can say it."""

    @classmethod
    @abstractmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Self:
        """Return the predictor that `parameters` was read from."""


class AdditivePredictor(LatencyPredictor):
    """A constant plus a price for each feature; what differs between variants is how prices are found.

    The interval holds the middle 90 % of the relative errors that tenfold cross-validation made on
    the fitted networks, so it speaks of networks that were not seen.
    """

    folds = 10

    def __init__(self) -> None:
        self._prices: dict[str, float] = {}
        self._overhead_ms = 0.0
        self._ratios = (1.0, 1.0)

    @abstractmethod
    def solve(self, matrix: Matrix, latencies_ms: Matrix) -> Matrix:
        """Return prices [columns] for features [networks, columns]; the last column is all ones."""

    def chosen(self, names: Sequence[str]) -> list[str]:
        """Return the features that are priced, of those there are."""
        return list(names)

    def fit(self, features: Sequence[Mapping[str, float]], latencies_ms: Sequence[float]) -> Self:
        if len(features) != len(latencies_ms) or len(features) < 2:
            raise ValueError(
                f"{len(features)} networks and {len(latencies_ms)} latencies; at least 2 of each"
            )
        names = [name for name in self.chosen(list(features[0])) if any(one[name] for one in features)]
        raw = np.array([[one[name] for name in names] for one in features], np.float64).reshape(
            -1, len(names)
        )
        scale = np.abs(raw).max(axis=0) if names else np.ones(0)
        matrix = np.hstack([raw / scale, np.ones((len(raw), 1))])
        latencies = np.asarray(latencies_ms, np.float64)
        solved = self.solve(matrix, latencies)
        self._prices = {
            name: float(price / unit) for name, price, unit in zip(names, solved[:-1], scale, strict=True)
        }
        self._overhead_ms = float(solved[-1])
        self._ratios = self._cross_validated(matrix, latencies)
        return self

    def predict(self, features: Mapping[str, float]) -> Prediction:
        if not self._prices and not self._overhead_ms:
            raise NotFittedError("this predictor has seen no measurement", hint="edge-bench fit")
        unknown = [name for name in self._prices if name not in features]
        if unknown:
            raise NotFittedError(f"the predictor was fitted on other features: '{unknown[0]}' is not given")
        latency = max(self._overhead_ms + self.price(features), 1e-6)
        low, high = self._ratios
        return Prediction(latency_ms=latency, low_ms=latency * low, high_ms=latency * high)

    @property
    def overhead_ms(self) -> float:
        """What a network costs beside its operators."""
        return self._overhead_ms

    def price(self, features: Mapping[str, float]) -> float:
        """Return what features cost in ms, those of a network or of a part; an absent one counts 0."""
        return sum(price * features.get(name, 0.0) for name, price in self._prices.items())

    def parameters(self) -> dict[str, Any]:
        return {
            "prices_ms": dict(self._prices),
            "overhead_ms": self._overhead_ms,
            "interval_ratios": list(self._ratios),
        }

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Self:
        loaded = cls()
        loaded._prices = {str(name): float(price) for name, price in parameters["prices_ms"].items()}
        loaded._overhead_ms = float(parameters["overhead_ms"])
        low, high = parameters["interval_ratios"]
        loaded._ratios = (float(low), float(high))
        return loaded

    def _cross_validated(self, matrix: Matrix, latencies: Matrix) -> tuple[float, float]:
        count = len(latencies)
        ratios = np.empty(count)
        for fold in range(min(self.folds, count)):
            left_out = np.arange(count) % min(self.folds, count) == fold
            prices = self.solve(matrix[~left_out], latencies[~left_out])
            ratios[left_out] = latencies[left_out] / np.maximum(matrix[left_out] @ prices, 1e-6)
        # Few networks may all err to one side; the interval still encloses the prediction.
        return min(1.0, float(np.quantile(ratios, 0.05))), max(1.0, float(np.quantile(ratios, 0.95)))
