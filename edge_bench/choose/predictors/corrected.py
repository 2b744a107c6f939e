"""Prices of operators, corrected for each shape of block as far as measurements bear it out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

from edge_bench.choose.features import SHAPE
from edge_bench.choose.predictors import BlockLearner, FeatureTable, Matrix
from edge_bench.choose.regression import ridge

# Of fewer networks leaving one out says nothing about a penalty.
FEWEST = 8
# What the error of a block measured alone counts beside that of a network: it runs in warm caches, and a
# runtime may change the layout of what goes in and comes out. Between 0.1 and 0.3 it hardly matters.
BLOCK_WEIGHT = 0.2


class Corrected(BlockLearner):
    """The default. First non-negative prices for operators, then a ridge regression of what they leave.

    What a runtime makes of a convolution depends on its shape in ways that sums of multiply-accumulates
    and elements do not tell. Each shape of block has two corrections, a constant and one for each
    pixel it computes; the penalty that draws them to nothing is the one that errs least on rows left out
    in turn, so that few or noisy measurements leave the prices as they were. Corrected prices are
    still a sum over blocks, which is what exact search needs. Boosted trees and a Gaussian process on
    the same residuals, each with one plain setting, gained nothing that stood out.

    Blocks that were measured alone may help few networks: in the surveys that `BLOCK_WEIGHT` was found on,
    16 networks of `lite_32` with them told the others within 0.3 % in LiteRT and 0.9 % in ONNX Runtime,
    without them within 1.6 % and 2.5 %. They are used where cross-validation on the networks gives the
    narrower interval with them.
    """

    def __init__(self) -> None:
        super().__init__()
        self._alone: FeatureTable | None = None
        self._alone_ms: Matrix = np.zeros(0)
        self._weight = 0.0
        self._handling: Matrix = np.zeros((0, 0))

    def beside(self, blocks: FeatureTable, latencies_ms: npt.ArrayLike) -> Self:
        self._alone, self._alone_ms = blocks, np.asarray(latencies_ms, np.float64)
        return self

    @property
    def uses_blocks(self) -> bool:
        return self._weight > 0

    def chosen(self, names: Sequence[str]) -> list[str]:
        """All features."""
        return list(names)

    def used(self, table: FeatureTable) -> tuple[str, ...]:
        """Those too that only a block measured alone has."""
        if self._alone is None:
            return super().used(table)
        both = FeatureTable(
            names=table.names, values=np.vstack([table.values, self._alone.columns(table.names)])
        )
        return super().used(both)

    def settle(self, values: Matrix, latencies_ms: Matrix) -> tuple[float, float]:
        """Fit without and with the blocks, and keep what has the narrower interval."""
        spans: dict[float, tuple[float, float]] = {}
        for weight in (0.0, BLOCK_WEIGHT) if self._alone is not None else (0.0,):
            self._weight = weight
            spans[weight] = self._cross_validated(values, latencies_ms)
        self._weight = min(spans, key=lambda weight: spans[weight][1])
        self.learn(values, latencies_ms)
        return spans[self._weight]

    def learn(self, values: Matrix, latencies_ms: Matrix) -> None:
        """Fit on networks, and where they have a weight on the blocks."""
        self._handling = np.zeros((len(values), 0))
        if self._weight and self._alone is not None:
            alone = self._alone.columns(self._names)
            moved = alone[:, [name.endswith(".activations") for name in self._names]].sum(axis=1)
            # What being measured alone costs: something, and something for each element that is moved.
            self._handling = np.zeros((len(values) + len(alone), 2))
            self._handling[len(values) :] = np.stack([np.ones(len(alone)), moved / moved.max()], axis=1)
            values = np.vstack([values, alone])
            latencies_ms = np.concatenate([latencies_ms, self._alone_ms])
        super().learn(values, latencies_ms)

    def solve(self, matrix: Matrix, latencies_ms: Matrix) -> Matrix:
        """Minimise squared relative errors, in two steps."""
        weights = np.where(self._handling.any(axis=1), self._weight, 1.0)
        corrects = np.array([name.startswith(SHAPE) for name in self._names] + [False])
        operators = np.hstack([matrix[:, ~corrects], self._handling])
        found, _ = nnls(operators * (weights / latencies_ms)[:, None], weights)
        prices = np.zeros(matrix.shape[1])
        prices[~corrects] = found[: np.count_nonzero(~corrects)]
        if corrects.any() and len(latencies_ms) >= FEWEST:
            summed = np.maximum(operators @ found, 1e-6)
            shares = matrix[:, corrects] / summed[:, None]
            largest = np.maximum(shares.max(axis=0), 1e-9)
            corrections, scale = ridge(shares / largest, latencies_ms / summed, weights=weights)
            prices *= scale
            prices[corrects] = corrections / largest
        return prices
