"""A line through MACs: the baseline that any predictor must beat."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge_bench.choose.features import MACS
from edge_bench.choose.predictors import AdditivePredictor, Matrix


class Line(AdditivePredictor):
    """Latency = overhead + price × MACs, fitted on relative error as the others are."""

    def chosen(self, names: Sequence[str]) -> list[str]:
        """Only the sum of all MACs."""
        return [MACS]

    def solve(self, matrix: Matrix, latencies_ms: Matrix) -> Matrix:
        """Minimise the sum of squared relative errors."""
        weighted = matrix / latencies_ms[:, None]
        solved = np.linalg.lstsq(weighted, latencies_ms / latencies_ms, rcond=None)[0]
        return np.asarray(solved, np.float64)
