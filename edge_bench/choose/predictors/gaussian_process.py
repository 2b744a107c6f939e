"""A Gaussian process on what ridge prices leave, with an interval of its own for each network."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from scipy.linalg import cholesky, solve_triangular
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

from edge_bench.choose.predictors import Matrix
from edge_bench.choose.predictors._remainder import RemainderPredictor

# Rows that the reaches are found on, that predictions lean on, and that an interval is told from: the cost
# is cubic, quadratic and quadratic in them.
TUNED, SUPPORT, SPREAD = 400, 2000, 256
# More features than this share one reach, so that the data can still tell it.
OWN_REACH = 24
CLIPPED_DEVIATIONS = 2.5
# How much of the mean error is given for a larger share within ±10 %.
YIELDED = 0.05
DIGITS = 7
CHUNK = 4096


class GaussianProcess(RemainderPredictor):
    """Squared-exponential covariance, a reach for each feature, plus noise (Rasmussen and Williams, 2006).

    Noise is taken for normal, which latencies are not: residuals of rows left out that exceed 2.5 robust
    deviations are clipped to that and the process is fitted again (Huber, 1981). An interval is the
    posterior's deviation, times what covers the middle 90 % of the fitted rows when each is left out.
    """

    least_rows: ClassVar[int] = 20

    def settle(self, values: Matrix, latencies_ms: Matrix) -> tuple[float, float]:
        if len(values) < self.least_rows:
            return super().settle(values, latencies_ms)
        self.learn(values, latencies_ms)
        low, high = np.exp(np.quantile(self._standardised, (0.05, 0.95)))
        return min(1.0, float(low)), max(1.0, float(high))

    def interval(self, values: Matrix) -> tuple[Matrix | float, Matrix | float]:
        """Return the ratios of a posterior deviation of 1, to the power of that of each row."""
        low, high = super().interval(values)
        if not len(self._support):
            return low, high
        deviation = self._deviation(values)
        return low**deviation, high**deviation

    def learn_remainder(self, values: Matrix, latencies_ms: Matrix, priced_ms: Matrix) -> None:
        """Find reaches and noise on some rows, and the weights of all, twice: the second time clipped."""
        rows = np.random.default_rng(0).permutation(len(values))[:SUPPORT]
        self._center, spread = values.mean(axis=0), values.std(axis=0)
        self._scale = np.where(spread > 0, spread, 1.0)
        scaled = (values[rows] - self._center) / self._scale
        measured = np.log(latencies_ms[rows] / priced_ms[rows])
        targets, self._constant = measured, float(np.median(measured))
        for last in (False, True):
            self._tune(scaled[:TUNED], targets[:TUNED] - self._constant)
            self._support = _rounded(scaled / self._reach)
            inverse = np.linalg.inv(self._covariance(self._support, self._support) + self._white(len(rows)))
            self._weights = _rounded(inverse @ (targets - self._constant))
            unseen = targets - self._weights / np.diag(inverse)
            if not last:
                residual = measured - unseen
                middle = np.median(residual)
                most = CLIPPED_DEVIATIONS * 1.4826 * float(np.median(np.abs(residual - middle)))
                targets = unseen + middle + np.clip(residual - middle, -most, most)
        self._prepare()
        shift = _middle(measured - unseen)
        self._constant += shift
        self._standardised = (measured - unseen - shift) / self._deviation(values[rows])

    def forget_remainder(self) -> None:
        self._support = np.zeros((0, 0))

    def remainder(self, values: Matrix, priced_ms: Matrix) -> Matrix:
        found = np.zeros(len(values))
        if not len(self._support):
            return found
        for start in range(0, len(values), CHUNK):
            alike = self._covariance(self._reached(values[start : start + CHUNK]), self._support)
            found[start : start + CHUNK] = self._constant + alike @ self._weights
        return found

    def learned(self) -> dict[str, Any]:
        if not len(self._support):
            return {**super().learned(), "process": None}
        process = {
            "center": self._center.tolist(),
            "scale": self._scale.tolist(),
            "reach": self._reach.tolist(),
            "support": self._support.tolist(),
            "weights": self._weights.tolist(),
            "constant": self._constant,
            "variance": self._variance,
            "noise": self._noise,
        }
        return {**super().learned(), "process": process}

    def load(self, learned: Mapping[str, Any]) -> None:
        super().load(learned)
        if (process := learned["process"]) is None:
            self.forget_remainder()
            return
        self._center, self._scale, self._reach, self._support, self._weights = (
            np.array(process[name], np.float64)
            for name in ("center", "scale", "reach", "support", "weights")
        )
        self._constant, self._variance, self._noise = (
            float(process[name]) for name in ("constant", "variance", "noise")
        )
        self._prepare()

    def _tune(self, scaled: Matrix, targets: Matrix) -> None:
        """Find variance, reaches and noise by likelihood, from where features matter little."""
        columns = scaled.shape[1]
        reaches = np.full(columns, 3.0) if columns <= OWN_REACH else np.sqrt(columns)
        overall = float(targets.var()) + 1e-10
        kernel = ConstantKernel(1.0, (1e-3, 1e3)) * RBF(reaches, (1e-1, 1e4)) + WhiteKernel(
            0.3, (1e-5, 1e2)
        )
        model = GaussianProcessRegressor(kernel, random_state=0)
        with warnings.catch_warnings():
            # An optimum at a bound says that a feature does not matter, or that there is no noise.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(scaled, targets / np.sqrt(overall))
        fitted = model.kernel_
        self._reach = np.broadcast_to(fitted.k1.k2.length_scale, columns).astype(np.float64)
        self._variance = float(fitted.k1.k1.constant_value) * overall
        self._noise = float(fitted.k2.noise_level) * overall

    def _covariance(self, first: Matrix, second: Matrix) -> Matrix:
        squares = (first**2).sum(axis=1)[:, None] + (second**2).sum(axis=1) - 2 * first @ second.T
        found: Matrix = self._variance * np.exp(-np.maximum(squares, 0.0) / 2)
        return found

    def _white(self, rows: int) -> Matrix:
        return self._noise * np.eye(rows)

    def _reached(self, values: Matrix) -> Matrix:
        found: Matrix = (values - self._center) / self._scale / self._reach
        return found

    def _prepare(self) -> None:
        few = self._support[:SPREAD]
        self._factor = cholesky(self._covariance(few, few) + self._white(len(few)), lower=True)

    def _deviation(self, values: Matrix) -> Matrix:
        """Return the posterior's deviation [rows], noise included, were only the first rows known."""
        found = np.empty(len(values))
        few = self._support[:SPREAD]
        for start in range(0, len(values), CHUNK):
            alike = self._covariance(few, self._reached(values[start : start + CHUNK]))
            known = (solve_triangular(self._factor, alike, lower=True) ** 2).sum(axis=0)
            left = np.maximum(self._variance - known, 0.0) + self._noise
            found[start : start + CHUNK] = np.sqrt(left)
        return found


def _middle(residuals: Matrix) -> float:
    """Return the shift of log latency that leaves most within ±10 %, of those that hardly cost mean error.

    Noise that only ever slows a machine is askew: the least mean error lies below where most latencies
    are. Where shifts are as good, it is the middle one.
    """
    shifts = np.linspace(-0.05, 0.05, 101)
    errors = np.abs(np.expm1(shifts[:, None] - residuals))
    means, shares = errors.mean(axis=1), (errors <= 0.1).mean(axis=1)
    good = means <= means.min() * (1 + YIELDED)
    best = np.flatnonzero(good & (shares >= shares[good].max()))
    return float(shifts[best[len(best) // 2]])


def _rounded(values: Matrix) -> Matrix:
    """Return values to some significant digits, so that the document is shorter and answers the same."""
    return np.array([float(f"{one:.{DIGITS}g}") for one in values.ravel().tolist()]).reshape(values.shape)
