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
        self.penalty = float(model.alpha_)
        return np.asarray(model.coef_, np.float64)

    def unseen(self, values: Matrix, latencies_ms: Matrix) -> Matrix:
        """Return what each of the rows that were just learnt costs by prices of all the others.

        In closed form, by leverages (Hastie, Tibshirani and Friedman, 2009, section 7.10), at one penalty.
        """
        matrix = np.hstack([values, np.ones((len(values), 1))])
        scaled = matrix / np.maximum(np.abs(matrix).max(axis=0), 1e-300) / latencies_ms[:, None]
        gram = scaled.T @ scaled + self.penalty * np.eye(scaled.shape[1])
        leverage = (scaled * np.linalg.solve(gram, scaled.T).T).sum(axis=1)
        left = 1 - self.estimate(values) / latencies_ms
        found: Matrix = latencies_ms * (1 - left / np.maximum(1 - leverage, 1e-6))
        return found
