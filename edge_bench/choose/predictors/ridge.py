"""Ridge regression on relative error, its penalty chosen by leave-one-out."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import RidgeCV

from edge_bench.choose.predictors import AdditivePredictor, Matrix


class Ridge(AdditivePredictor):
    """Prices may be negative: it can fit what sums cannot, and strays sooner outside the range."""

    def solve(self, matrix: Matrix, latencies_ms: Matrix) -> Matrix:
        """Minimise squared relative errors plus a penalty on the prices."""
        model = RidgeCV(alphas=np.logspace(-6, 1, 15), fit_intercept=False)
        model.fit(matrix / latencies_ms[:, None], latencies_ms / latencies_ms)
        return np.asarray(model.coef_, np.float64)
