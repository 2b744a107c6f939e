"""The mean of what was measured: what any predictor must beat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edge_bench.choose.accuracy import AccuracyPredictor, Values
from edge_bench.choose.encoding import Encoding, Rows


class Mean(AccuracyPredictor):
    """Predicts every network alike."""

    def solve(self, encoding: Encoding, rows: Rows, values: Values, generator: np.random.Generator) -> None:
        self._mean = float(values.mean())

    def evaluate(self, encoding: Encoding, rows: Rows) -> Values:
        return np.full(len(rows), self._mean)

    def parameters(self) -> dict[str, Any]:
        return {"mean": self._mean}

    def restore(self, parameters: Mapping[str, Any]) -> None:
        self._mean = float(parameters["mean"])
