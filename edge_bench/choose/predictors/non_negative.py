"""Non-negative least squares on relative error: every operator costs something, none pays back."""

from __future__ import annotations

import numpy as np
from scipy.optimize import nnls

from edge_bench.choose.predictors import AdditivePredictor, Matrix


class NonNegative(AdditivePredictor):
    """Prices that cannot be negative keep sums sensible outside the fitted networks."""

    def solve(self, matrix: Matrix, latencies_ms: Matrix) -> Matrix:
        """Minimise the sum of squared relative errors under prices ≥ 0."""
        prices, _ = nnls(matrix / latencies_ms[:, None], latencies_ms / latencies_ms)
        return np.asarray(prices, np.float64)
