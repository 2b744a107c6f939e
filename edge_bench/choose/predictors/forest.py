"""A random forest on latency: the plain baseline that any predictor of many networks must beat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from sklearn.ensemble import RandomForestRegressor

from edge_bench.choose.predictors import Matrix, RelativePredictor
from edge_bench.choose.predictors._trees import Trees

TREES, LEAF = 50, 3


class Forest(RelativePredictor):
    """The mean of 50 trees (Breiman, 2001). It answers within what it has seen and never beyond: no network
    is slower than the slowest that was measured.
    """

    adds_up: ClassVar[bool] = False
    folds: ClassVar[int] = 5

    def learn(self, values: Matrix, latencies_ms: Matrix) -> None:
        """Fit trees whose leaves hold at least 3 networks."""
        model = RandomForestRegressor(TREES, min_samples_leaf=LEAF, random_state=0)
        model.fit(values, latencies_ms)
        self._trees = Trees.of([_arrays(one.tree_) for one in model.estimators_])

    def estimate(self, values: Matrix) -> Matrix:
        # The trees were grown on single precision; what they split lies between such numbers.
        rounded = values.astype(np.float32).astype(np.float64)
        return self._trees.sums(rounded) / len(self._trees.roots)

    def learned(self) -> dict[str, Any]:
        return self._trees.parameters()

    def load(self, learned: Mapping[str, Any]) -> None:
        self._trees = Trees.from_parameters(learned)


def _arrays(tree: Any) -> tuple[Any, ...]:
    return (
        tree.feature.astype(np.intp),
        tree.threshold,
        np.maximum(tree.children_left, 0),
        np.maximum(tree.children_right, 0),
        tree.value[:, 0, 0],
    )
