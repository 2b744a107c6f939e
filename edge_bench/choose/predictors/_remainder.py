"""What adds up by prices, and a rest that a variant learns: the shape of boosted trees and the process."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from edge_bench.choose.predictors import Matrix, RelativePredictor
from edge_bench.choose.predictors.ridge import Ridge


class RemainderPredictor(RelativePredictor):
    """Ridge prices times e to the remainder. The remainder is learnt from prices that had not seen the row,
    since with many features prices follow the noise of the rows they are fitted on.

    `least_rows` is how many there must be to learn a remainder from.
    """

    folds: ClassVar[int] = 5
    least_rows: ClassVar[int]

    def __init__(self) -> None:
        super().__init__()
        self._prices = Ridge()
        self._floor_ms = 0.0

    @abstractmethod
    def learn_remainder(self, values: Matrix, latencies_ms: Matrix, priced_ms: Matrix) -> None:
        """Fit log(latency / prices) [rows] on features [rows, columns], at least `least_rows`."""

    @abstractmethod
    def forget_remainder(self) -> None:
        """Take the remainder for 0."""

    @abstractmethod
    def remainder(self, values: Matrix, priced_ms: Matrix) -> Matrix:
        """Return the remainder [rows] of features [rows, columns] that are priced so."""

    def learn(self, values: Matrix, latencies_ms: Matrix) -> None:
        # Prices may be negative; half of the least latency is where they are no longer believed.
        self._floor_ms = float(latencies_ms.min()) / 2
        self._prices.learn(values, latencies_ms)
        if len(values) < self.least_rows:
            self.forget_remainder()
            return
        priced_ms = np.maximum(self._prices.unseen(values, latencies_ms), self._floor_ms)
        self.learn_remainder(values, latencies_ms, priced_ms)

    def estimate(self, values: Matrix) -> Matrix:
        priced = self._priced(values)
        found: Matrix = priced * np.exp(self.remainder(values, priced))
        return found

    def learned(self) -> dict[str, Any]:
        return {**self._prices.learned(), "floor_ms": self._floor_ms}

    def load(self, learned: Mapping[str, Any]) -> None:
        self._prices.load(learned)
        self._floor_ms = float(learned["floor_ms"])

    def _priced(self, values: Matrix) -> Matrix:
        found: Matrix = np.maximum(self._prices.estimate(values), self._floor_ms)
        return found
