"""Latency predictors, one file each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Self

from edge_bench.records.prediction import Prediction


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
