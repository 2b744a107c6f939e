"""Prices of operators, corrected for each shape of block as far as whole networks bear it out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge_bench.choose.features import SHAPE
from edge_bench.choose.predictors import AdditivePredictor, Matrix
from edge_bench.choose.predictors.non_negative import NonNegative
from edge_bench.choose.regression import ridge

# Of fewer networks leaving one out says nothing about a penalty.
FEWEST = 8


class Corrected(AdditivePredictor):
    """The default. First non-negative prices for operators, then a ridge regression of what they leave.

    What a runtime makes of a convolution depends on its shape in ways that sums of multiply-accumulates
    and elements do not tell. Each shape of block has two corrections, a constant and one for each
    pixel it computes; the penalty that draws them to nothing is the one that errs least on fitted
    networks left out in turn, so that few or noisy measurements leave the prices as they were.
    Corrected prices are still a sum over blocks, which is what exact search needs. Boosted trees and a
    Gaussian process on the same residuals gained nothing on networks not seen.
    """

    def chosen(self, names: Sequence[str]) -> list[str]:
        """All features."""
        return list(names)

    def solve(self, matrix: Matrix, latencies_ms: Matrix) -> Matrix:
        """Minimise squared relative errors, in two steps."""
        corrects = np.array([name.startswith(SHAPE) for name in self._names] + [False])
        prices = np.zeros(matrix.shape[1])
        prices[~corrects] = NonNegative().solve(matrix[:, ~corrects], latencies_ms)
        if corrects.any() and len(latencies_ms) >= FEWEST:
            summed = np.maximum(matrix @ prices, 1e-6)
            shares = matrix[:, corrects] / summed[:, None]
            largest = np.maximum(shares.max(axis=0), 1e-9)
            corrections, scale = ridge(shares / largest, latencies_ms / summed)
            prices *= scale
            prices[corrects] = corrections / largest
        return prices
