"""A table of what was measured: exact where it has the row, prices of blocks where it has not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from edge_bench.choose.predictors import FeatureTable, LatencyPredictor, Predictions
from edge_bench.choose.predictors.block_prices import BlockPrices
from edge_bench.errors import NotFittedError


class LookupTable(LatencyPredictor):
    """The price list that is summed over a network's blocks, as once-for-all does (Cai et al., 2020).

    A row whose features are all those of a measured one gets what was measured, the mean where it was
    measured more than once; its interval is the noise that the prices of blocks found about it. Any other
    row is priced by `block_prices`. The parameters hold every measurement: for a price list of hundreds of
    blocks some tens of kilobytes.
    """

    def __init__(self) -> None:
        self._names: tuple[str, ...] = ()
        self._measured: dict[tuple[float, ...], float] = {}
        self._others = BlockPrices()

    def fit(self, table: FeatureTable, latencies_ms: npt.ArrayLike) -> Self:
        latencies = np.asarray(latencies_ms, np.float64)
        self._others.fit(table, latencies)
        found: dict[tuple[float, ...], list[float]] = {}
        for row, latency in zip(table.values.tolist(), latencies.tolist(), strict=True):
            found.setdefault(tuple(row), []).append(latency)
        self._names = table.names
        self._measured = {row: float(np.mean(told)) for row, told in found.items()}
        return self

    def predict(self, table: FeatureTable) -> Predictions:
        if not self._names:
            raise NotFittedError("this predictor has seen no measurement", hint="edge-bench fit")
        rows = [self._measured.get(tuple(row)) for row in table.columns(self._names).tolist()]
        there = np.array([row is not None for row in rows])
        priced = self._others.predict(table)
        latency = np.where(there, [row or 0.0 for row in rows], priced.latency_ms)
        reach = np.log(priced.high_ms / priced.latency_ms)
        reach[there] = np.minimum(reach[there], self._others.noise_reach)
        return Predictions(
            latency_ms=latency, low_ms=latency * np.exp(-reach), high_ms=latency * np.exp(reach)
        )

    def parameters(self) -> dict[str, Any]:
        return {
            "names": list(self._names),
            "rows": [list(row) for row in self._measured],
            "latencies_ms": list(self._measured.values()),
            "others": self._others.parameters(),
        }

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Self:
        loaded = cls()
        loaded._names = tuple(str(name) for name in parameters["names"])
        latencies = [float(latency) for latency in parameters["latencies_ms"]]
        rows = [tuple(map(float, row)) for row in parameters["rows"]]
        loaded._measured = dict(zip(rows, latencies, strict=True))
        loaded._others = BlockPrices.from_parameters(parameters["others"])
        return loaded
