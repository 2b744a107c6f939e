"""Transfer: what other devices take, and what is done, weighed by a few measurements of a new device.

Three steps, each of which a handful of measurements can carry:

1. Latencies of the device are a sum of other devices' latencies and of operators, in shares that cannot
   be negative, with a penalty on each share. Both sides are divided by the measured latency, so that it
   is relative error that counts, and a measurement that strays weighs less (Cauchy weights).
2. What is left is a Gaussian process over the operators, linear and RBF in equal parts (Rasmussen and
   Williams, 2006), averaged over strengths and noises by how well each explains the measurements.
3. Measurements left out in turn tell the interval.

The constants were found with source and validation devices of HELP as pretended new devices
(`benchmarks/few_shot_latency.py` holds the protocol).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from scipy.optimize import nnls

from edge_bench.choose.predictors import DEVICE, Matrix, RelativePredictor

# Of squared shares, where a feature's mean over the measured networks is one typical latency.
PENALTY = 0.01
# More features of operators than this share the trust that so many have.
OPERATORS = 8
# Below this share of the median a latency is not weighed up further: relative error has no meaning there.
LEAST = 0.1
# Residuals beyond some times the median one count less; a few passes suffice.
ROBUSTNESS, PASSES, LEAST_RESIDUAL = 4.0, 6, 0.05
STRENGTHS, NOISES = (0.0, 0.03, 0.1), (0.02, 0.05, 0.1, 0.2)
# No correction makes a network more than this many times slower or faster.
MOST_CORRECTION = 2.0


class Transfer(RelativePredictor):
    """Features called `device:NAME` are latencies in ms on other devices; without any it still predicts."""

    folds: ClassVar[int] = 20

    def __init__(self) -> None:
        super().__init__()
        self._shares: Matrix = np.zeros(0)
        self._overhead_ms = 0.0
        self._center: Matrix = np.zeros(0)
        self._spread: Matrix = np.zeros(0)
        self._seen: Matrix = np.zeros((0, 0))
        self._weights: Matrix = np.zeros(0)

    def learn(self, values: Matrix, latencies_ms: Matrix) -> None:
        typical = float(np.median(latencies_ms))
        scale = np.abs(values).mean(axis=0)
        scale[scale == 0] = 1.0
        scale[self._own()] *= np.sqrt(max(1.0, len(self._own()) / OPERATORS))
        weight = typical / np.maximum(latencies_ms, LEAST * typical)
        matrix = np.hstack([values / scale, np.ones((len(values), 1))]) * weight[:, None]
        target = weight * latencies_ms / typical
        shares = robust_shares(matrix, target)
        self._shares = shares[:-1] / scale * typical
        self._overhead_ms = float(shares[-1] * typical)
        self._correct(values[:, self._own()], target - matrix @ shares)

    def estimate(self, values: Matrix) -> Matrix:
        summed = values @ self._shares + self._overhead_ms
        correction = _kernel(self._placed(values[:, self._own()]), self._seen) @ self._weights
        bound = np.log(MOST_CORRECTION)
        return np.asarray(summed * np.exp(np.clip(correction, -bound, bound)), np.float64)

    def learned(self) -> dict[str, Any]:
        return {
            "shares": self._shares.tolist(),
            "overhead_ms": self._overhead_ms,
            "center": self._center.tolist(),
            "spread": self._spread.tolist(),
            "seen": self._seen.tolist(),
            "weights": self._weights.tolist(),
        }

    def load(self, learned: Mapping[str, Any]) -> None:
        self._shares = np.array(learned["shares"], np.float64)
        self._overhead_ms = float(learned["overhead_ms"])
        self._center = np.array(learned["center"], np.float64)
        self._spread = np.array(learned["spread"], np.float64)
        self._weights = np.array(learned["weights"], np.float64)
        self._seen = np.array(learned["seen"], np.float64).reshape(len(self._weights), -1)

    def shares(self) -> dict[str, float]:
        """Return what a unit of each feature adds in ms before the correction, where it adds anything."""
        named = zip(self._names, self._shares.tolist(), strict=True)
        return {name: share for name, share in named if share > 0}

    def _correct(self, operators: Matrix, residuals: Matrix) -> None:
        """Learn what the sum leaves of each measured network, a share of its latency."""
        self._center, self._spread = operators.mean(axis=0), operators.std(axis=0)
        self._seen = self._placed(operators)
        self._weights = _weights(_kernel(self._seen, self._seen), residuals)

    def _placed(self, operators: Matrix) -> Matrix:
        """Return operators [rows, features] by their spread over what was measured; others as 0."""
        known = self._spread > 1e-9 * np.abs(self._center)
        spread = np.where(known, self._spread, np.inf)
        return np.asarray((operators - self._center) / spread / np.sqrt(max(1, known.sum())), np.float64)

    def _own(self) -> list[int]:
        """Return the columns that are not latencies of other devices."""
        return [place for place, name in enumerate(self._names) if not name.startswith(DEVICE)]


def robust_shares(matrix: Matrix, target: Matrix) -> Matrix:
    """Return shares [columns] >= 0 of least squared residuals plus penalty; what strays counts less."""
    penalty = np.sqrt(PENALTY) * np.eye(matrix.shape[1])
    trust = np.ones(len(target))
    shares = np.zeros(matrix.shape[1])
    for _ in range(1 + PASSES):
        rows = np.vstack([matrix * trust[:, None], penalty])
        shares, _ = nnls(rows, np.concatenate([target * trust, np.zeros(matrix.shape[1])]))
        residuals = np.abs(matrix @ shares - target)
        usual = max(1.48 * float(np.median(residuals)), LEAST_RESIDUAL)
        trust = np.sqrt(1 / (1 + (residuals / usual / ROBUSTNESS) ** 2))
    return shares


def _kernel(rows: Matrix, seen: Matrix) -> Matrix:
    squares = (rows**2).sum(axis=1)[:, None] + (seen**2).sum(axis=1)
    products = rows @ seen.T
    return np.asarray(0.5 * products + 0.5 * np.exp(products - squares / 2), np.float64)


def _weights(kernel: Matrix, residuals: Matrix) -> Matrix:
    """Return what each measured network adds to a correction, averaged by evidence."""
    evidence, weights = [], []
    for strength in STRENGTHS:
        for noise in NOISES:
            covariance = strength**2 * kernel + noise**2 * np.eye(len(residuals))
            solved = np.linalg.solve(covariance, residuals)
            evidence.append(-0.5 * residuals @ solved - 0.5 * np.linalg.slogdet(covariance)[1])
            weights.append(strength**2 * solved)
    trusted = np.exp(np.array(evidence) - max(evidence))
    return np.asarray(trusted @ np.array(weights) / trusted.sum(), np.float64)
