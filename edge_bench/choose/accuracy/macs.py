"""A curve through log MACs, shifted by resolution: what is known of a network without measuring many."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edge_bench.choose.accuracy import AccuracyPredictor, Values
from edge_bench.choose.costs import macs_table
from edge_bench.choose.encoding import Encoding, Rows

# Of the ridge penalty, against columns of variance about 1: only there to make few networks solvable.
PENALTY = 1e-3


class Macs(AccuracyPredictor):
    """A parabola in the logarithm of the multiply-accumulates, and a constant for each resolution."""

    def solve(self, encoding: Encoding, rows: Rows, values: Values, generator: np.random.Generator) -> None:
        self._macs = macs_table(encoding)
        logs = np.log(self._macs(rows))
        self._center, self._scale = float(logs.mean()), float(logs.std()) or 1.0
        columns = self._columns(rows)
        self._mean = float(values.mean())
        normal = columns.T @ columns + PENALTY * np.eye(columns.shape[1])
        self._slopes = np.asarray(np.linalg.solve(normal, columns.T @ (values - self._mean)), np.float64)

    def evaluate(self, encoding: Encoding, rows: Rows) -> Values:
        # Not a matrix product: that sums in an order which depends on the number of rows.
        columns = self._columns(rows)
        shifted: Values = self._mean + (columns * self._slopes).sum(axis=1)
        return shifted

    def parameters(self) -> dict[str, Any]:
        return {
            "mean": self._mean,
            "log_macs_center": self._center,
            "log_macs_scale": self._scale,
            "slopes": self._slopes.tolist(),
        }

    def restore(self, parameters: Mapping[str, Any]) -> None:
        self._macs = macs_table(self.encoding)
        self._mean = float(parameters["mean"])
        self._center = float(parameters["log_macs_center"])
        self._scale = float(parameters["log_macs_scale"])
        self._slopes = np.asarray(parameters["slopes"], np.float64)

    def _columns(self, rows: Rows) -> Values:
        """Return [n, 2 + resolutions]: standardised log MACs, its square, one-hot resolution."""
        log = (np.log(self._macs(rows)) - self._center) / self._scale
        resolutions = rows[:, :1] == np.arange(len(self.encoding.space.resolutions))
        return np.column_stack([log, log**2, resolutions])
