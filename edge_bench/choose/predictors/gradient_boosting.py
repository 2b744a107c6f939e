"""Gradient boosting: small trees on what ridge prices leave, each on the errors of those before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor

from edge_bench.choose.predictors import Matrix
from edge_bench.choose.predictors._remainder import RemainderPredictor
from edge_bench.choose.predictors._trees import Trees


class GradientBoosting(RemainderPredictor):
    """The mean, in logarithms, of trees on what prices leave and of trees alone: the first hold where
    costs add up, the second where they do not, as on a GPU that waits for its kernels to be launched.

    Fitted on absolute errors of log latency (Friedman, 2001), so that single disturbed measurements and
    slow spells of a machine do not draw it away. Under 100 networks it is ridge: trees would fit noise.
    """

    folds: ClassVar[int] = 3
    least_rows: ClassVar[int] = 100

    def learn_remainder(self, values: Matrix, latencies_ms: Matrix, priced_ms: Matrix) -> None:
        """Fit both kinds of trees."""
        self._onward: Boosted | None = Boosted.fitted(values, np.log(latencies_ms / priced_ms), trees=100)
        self._alone: Boosted | None = Boosted.fitted(values, np.log(latencies_ms), trees=200)

    def forget_remainder(self) -> None:
        self._onward = self._alone = None

    def remainder(self, values: Matrix, priced_ms: Matrix) -> Matrix:
        if self._onward is None or self._alone is None:
            return np.zeros(len(values))
        alone = self._alone.evaluate(values) - np.log(priced_ms)
        found: Matrix = (self._onward.evaluate(values) + alone) / 2
        return found

    def learned(self) -> dict[str, Any]:
        return {
            **super().learned(),
            "onward": self._onward.parameters() if self._onward else None,
            "alone": self._alone.parameters() if self._alone else None,
        }

    def load(self, learned: Mapping[str, Any]) -> None:
        super().load(learned)
        self._onward, self._alone = (
            Boosted.from_parameters(learned[name]) if learned[name] else None
            for name in ("onward", "alone")
        )


@dataclass(frozen=True)
class Boosted:
    """A constant plus the sum of trees."""

    start: float
    trees: Trees

    @classmethod
    def fitted(cls, values: Matrix, targets: Matrix, *, trees: int) -> Self:
        """Fit trees of at most 8 leaves on the absolute errors of `targets` [rows]."""
        model = HistGradientBoostingRegressor(
            loss="absolute_error",
            max_iter=trees,
            learning_rate=0.1,
            max_leaf_nodes=8,
            max_depth=4,
            min_samples_leaf=20,
            early_stopping=False,
            random_state=0,
        ).fit(values, targets)
        # scikit-learn has no public way to these trees; a test holds our sums against its own.
        arrays = [_arrays(one.nodes) for (one,) in model._predictors]
        return cls(float(np.ravel(model._baseline_prediction)[0]), Trees.of(arrays))

    def evaluate(self, values: Matrix) -> Matrix:
        return self.start + self.trees.sums(values)

    def parameters(self) -> dict[str, Any]:
        return {"start": self.start, "trees": self.trees.parameters()}

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Self:
        return cls(float(parameters["start"]), Trees.from_parameters(parameters["trees"]))


def _arrays(nodes: Any) -> tuple[Any, ...]:
    left, right = nodes["left"].astype(np.intp), nodes["right"].astype(np.intp)
    feature = nodes["feature_idx"].astype(np.intp)
    leaf = nodes["is_leaf"].astype(bool)
    return (
        feature,
        nodes["num_threshold"],
        np.where(leaf, 0, left),
        np.where(leaf, 0, right),
        nodes["value"],
    )
