"""A Gaussian process: a plane through one-hot choices and log MACs, and a smooth rest that bends it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from edge_bench.choose.accuracy import AccuracyPredictor, Values
from edge_bench.choose.costs import macs_table
from edge_bench.choose.encoding import Encoding, Rows

# Against the plane's variance of 1: that of the rest and of the noise; and how far likeness reaches,
# in standard deviations of a column.
VARIANCES = (0.0, 0.03, 0.1, 0.3, 1.0)
NOISES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
REACHES = (0.35, 0.5, 0.7, 1.0, 2.0)
# Log MACs say more than any one choice.
LOG_MACS_WEIGHT = 4.0
CONSTANT = 0.01
BATCH = 1024


class GaussianProcess(AccuracyPredictor):
    """Linear plus squared-exponential covariance (Rasmussen and Williams, 2006, chapters 2 and 5).

    Its three hyperparameters are those of a grid under which the measurements are likeliest. Cubic in the
    number of networks it is fitted on, so it is meant for some hundreds.
    """

    def solve(self, encoding: Encoding, rows: Rows, values: Values, generator: np.random.Generator) -> None:
        self._macs, self._support = macs_table(encoding), rows.copy()
        raw = self._raw(encoding, rows)
        self._center, self._deviation = raw.mean(axis=0), np.maximum(raw.std(axis=0), 1e-9)
        self._mean, self._spread = float(values.mean()), max(float(values.std()), 1e-12)
        standardised = (values - self._mean) / self._spread

        plane, bent = self._columns(raw)
        linear = plane @ plane.T / plane.shape[1] + CONSTANT
        squares = _squared_distances(bent, bent)
        likeliest = np.inf
        for variance, noise, reach in itertools.product(VARIANCES, NOISES, REACHES):
            covariance = linear + variance * np.exp(-squares / (2 * reach**2))
            factor = np.linalg.cholesky(covariance + noise * np.eye(len(rows)))
            whitened = np.linalg.solve(factor, standardised)
            # The overall variance that makes the values likeliest is known, and put in.
            scale = float(whitened @ whitened) / len(rows)
            unlikeliness = len(rows) / 2 * np.log(scale + 1e-300) + float(np.log(np.diag(factor)).sum())
            if unlikeliness < likeliest:
                likeliest = unlikeliness
                self._variance, self._reach = variance, reach
                self._weights: Values = np.linalg.solve(factor.T, whitened)
        self._prepare(encoding)

    def evaluate(self, encoding: Encoding, rows: Rows) -> Values:
        predicted = np.empty(len(rows))
        for start in range(0, len(rows), BATCH):
            plane, bent = self._columns(self._raw(encoding, rows[start : start + BATCH]))
            squares = _squared_distances(bent, self._bent_support)
            alike = self._variance * np.exp(-squares / (2 * self._reach**2))
            predicted[start : start + BATCH] = plane @ self._slopes + alike @ self._weights
        values: Values = self._mean + self._spread * (predicted + CONSTANT * self._weights.sum())
        return values

    def parameters(self) -> dict[str, Any]:
        return {
            "support": self._support.tolist(),
            "weights": self._weights.tolist(),
            "variance": self._variance,
            "reach": self._reach,
            "center": self._center.tolist(),
            "deviation": self._deviation.tolist(),
            "mean": self._mean,
            "spread": self._spread,
        }

    def restore(self, parameters: Mapping[str, Any]) -> None:
        self._macs = macs_table(self.encoding)
        self._support = np.asarray(parameters["support"], np.uint8)
        self._weights = np.asarray(parameters["weights"], np.float64)
        self._variance, self._reach = float(parameters["variance"]), float(parameters["reach"])
        self._center = np.asarray(parameters["center"], np.float64)
        self._deviation = np.asarray(parameters["deviation"], np.float64)
        self._mean, self._spread = float(parameters["mean"]), float(parameters["spread"])
        self._prepare(self.encoding)

    def _prepare(self, encoding: Encoding) -> None:
        plane, self._bent_support = self._columns(self._raw(encoding, self._support))
        self._slopes: Values = plane.T @ self._weights / plane.shape[1]

    def _raw(self, encoding: Encoding, rows: Rows) -> Values:
        """Return [n, columns]: the one-hot choices, log MACs and its square about the support's mean."""
        logs = np.log(self._macs(rows))
        curve = (logs - np.log(self._macs(self._support)).mean()) ** 2
        return np.column_stack([encoding.one_hot(rows), logs, curve])

    def _columns(self, raw: Values) -> tuple[Values, Values]:
        """Return what the plane sees [n, columns], and what the rest sees [n, columns - 1]: no square."""
        scaled = (raw - self._center) / self._deviation
        plane = scaled.copy()
        plane[:, -2:] *= LOG_MACS_WEIGHT
        # Divided so that squared distances are means over columns.
        return plane, scaled[:, :-1] / np.sqrt(raw.shape[1] - 1)


def _squared_distances(first: Values, second: Values) -> Values:
    """Return [n, m] squared Euclidean distances of the rows of two matrices."""
    squares = (first**2).sum(axis=1)[:, None] + (second**2).sum(axis=1) - 2 * first @ second.T
    positive: Values = np.maximum(squares, 0.0)
    return positive
