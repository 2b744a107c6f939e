"""Prices by the work that is done, corrected by a Gaussian process near what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import nnls

from edge_bench.choose.features import SHAPE
from edge_bench.choose.predictors import FeatureTable, LatencyPredictor, Matrix, Predictions
from edge_bench.errors import NotFittedError

LENGTHS = (0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0)
NOISES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
# Half of the rows, between these, are points of the process.
LEAST_POINTS, POINTS = 16, 96
FOLDS = 10
# Nine tenths of a normal distribution lie within so many standard deviations.
WITHIN_90 = 1.6449
LEAST_DEVIATION = 1e-4
# From a tenth to ten times: no interval says less.
MOST_REACH = 2.3026
# Above so many rows the correction is learnt from some of them, evenly taken.
MOST_ROWS = 800
BLOCK_MARK = "is_inverted_residual"
# Of a block, its shape; the rest of its features follow from that.
DERIVED = ("macs", "activations", "weights")
# A feature that never varied says nothing of how far another value lies; half of its own size is far.
LEAST_SPREAD = 0.35
# Deviation of the logarithm for a kind of block that was measured in fewer shapes than `FEW`: a guess, as
# nothing measured tells it. It makes the interval about as wide as from 0.6 to 1.6 times the price.
RARE_DEVIATION = 0.3
FEW = 3


class BlockPrices(LatencyPredictor):
    """Non-negative prices for kinds of work, times a correction that fades with distance.

    Of a block's shape (`choose.features.block_features`) it works out what is computed and moved:
    multiply-accumulates of the pointwise and the depthwise convolutions by kernel and stride, elements
    read, written and passed through h-swish or squeeze-excite. Prices of these, found by non-negative
    least squares on relative error, hold far from what was measured too; the logarithm of what they
    leave is a Gaussian process over the logarithms of the shape (Rasmussen and Williams, 2006, chapter 8:
    subset of regressors). Other tables of features are priced as they are. The parameters keep some
    points of the process, chosen where they say most, and no measurement.

    The interval follows the process: wide where nothing like the block was measured. Tenfold
    cross-validation on what was fitted sets its scale.
    """

    def __init__(self) -> None:
        self._names: tuple[str, ...] = ()
        self._prices: dict[str, float] = {}
        self._near: tuple[str, ...] = ()
        self._often: tuple[str, ...] = ()
        self._length, self._noise, self._signal = 1.0, 1.0, 0.0
        self._center: Matrix = np.zeros(0)
        self._spread: Matrix = np.zeros(0)
        self._points: Matrix = np.zeros((0, 0))
        self._weights: Matrix = np.zeros(0)
        self._scale = 1.0

    def fit(self, table: FeatureTable, latencies_ms: npt.ArrayLike) -> Self:
        latencies = np.asarray(latencies_ms, np.float64)
        if len(table) != len(latencies) or len(table) < 2:
            raise ValueError(f"{len(table)} rows and {len(latencies)} latencies; at least 2 of each")
        # What tells the blocks of whole networks apart adds nothing to their operators.
        names = tuple(name for name in table.names if not name.startswith(SHAPE))
        table = FeatureTable(names=names, values=table.columns(names))
        self._learn(table, latencies, choose=True)
        self._scale = self._calibrated(table, latencies)
        return self

    def fit_sums(self, tables: Sequence[FeatureTable], latencies_ms: npt.ArrayLike) -> Self:
        """Fit prices of blocks on whole networks, each a table of its blocks, and return this predictor.

        Nothing tells how a network's latency divides among its blocks but the differences between
        networks, so there are prices of work and no correction. The interval is that of a network,
        from tenfold cross-validation, given to each block as a share.
        """
        latencies = np.asarray(latencies_ms, np.float64)
        works = [work(table) for table in tables]
        names = tuple(works[0])
        summed = np.array([[one[name].sum() for name in names] for one in works])
        errors = np.empty(len(latencies))
        for fold in _folds(len(latencies)):
            prices = _priced(summed[~fold], latencies[~fold])
            errors[fold] = np.log(latencies[fold] / np.maximum(summed[fold] @ prices, 1e-9))
        self._names = tables[0].names
        self._prices = _kept(names, _priced(summed, latencies))
        self._signal = float(np.quantile(np.abs(errors), 0.9) / WITHIN_90) ** 2
        return self

    @property
    def noise_reach(self) -> float:
        """How far, as a logarithm, nine tenths of repeated measurements of one row lie from their mean."""
        return float(WITHIN_90 * max(np.sqrt(self._signal * self._noise), LEAST_DEVIATION))

    def predict(self, table: FeatureTable) -> Predictions:
        if not self._names:
            raise NotFittedError("this predictor has seen no measurement", hint="edge-bench fit")
        logs, deviations = self._logs(table)
        reach = np.minimum(WITHIN_90 * self._scale * deviations, MOST_REACH)
        return Predictions(
            latency_ms=np.exp(logs), low_ms=np.exp(logs - reach), high_ms=np.exp(logs + reach)
        )

    def parameters(self) -> dict[str, Any]:
        return {
            "names": list(self._names),
            "prices_ms": self._prices,
            "near": list(self._near),
            "often": list(self._often),
            "length": self._length,
            "noise": self._noise,
            "signal": self._signal,
            "center": self._center.tolist(),
            "spread": self._spread.tolist(),
            "points": self._points.tolist(),
            "weights": self._weights.tolist(),
            "scale": self._scale,
        }

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Self:
        loaded = cls()
        loaded._names = tuple(str(name) for name in parameters["names"])
        loaded._prices = {str(name): float(price) for name, price in parameters["prices_ms"].items()}
        loaded._near = tuple(str(name) for name in parameters["near"])
        loaded._often = tuple(str(name) for name in parameters["often"])
        loaded._length, loaded._noise = float(parameters["length"]), float(parameters["noise"])
        loaded._signal, loaded._scale = float(parameters["signal"]), float(parameters["scale"])
        loaded._center = np.array(parameters["center"], np.float64)
        loaded._spread = np.array(parameters["spread"], np.float64)
        loaded._weights = np.array(parameters["weights"], np.float64)
        points = np.array(parameters["points"], np.float64)
        loaded._points = points.reshape(len(loaded._weights), len(loaded._center))
        return loaded

    def _learn(self, table: FeatureTable, latencies: Matrix, *, choose: bool) -> None:
        """Find prices and correction; without `choose` the process keeps its length and noise."""
        works = work(table)
        prices = _priced(np.column_stack(list(works.values())), latencies)
        self._names, self._often = table.names, _often(table)
        self._prices = _kept(tuple(works), prices)
        derived = DERIVED if BLOCK_MARK in table.names else ()
        self._near = tuple(name for name in table.names if name not in derived)
        left = np.log(latencies) - self._log_sums(table)
        rows = np.unique(np.linspace(0, len(left) - 1, min(len(left), MOST_ROWS)).astype(int))
        near = table.columns(self._near)[rows]
        shapes = np.log1p(np.abs(near))
        self._center, self._spread = shapes.mean(0), np.maximum(shapes.std(0), LEAST_SPREAD)
        inputs, left = self._standardised(near), left[rows]
        distances = _squared_distances(inputs, inputs)
        if choose:
            self._length, self._noise = _likeliest(distances, left)
        kernel = np.exp(-distances / (2 * self._length**2))
        self._signal = max(_signal(kernel, left, self._noise), LEAST_DEVIATION**2)
        chosen = _telling(kernel, min(POINTS, max(LEAST_POINTS, len(inputs) // 2)))
        self._points = near[chosen]
        across = kernel[chosen]
        system = self._noise * kernel[np.ix_(chosen, chosen)] + across @ across.T
        self._weights = cho_solve(cho_factor(_stable(system)), across @ left)

    def _calibrated(self, table: FeatureTable, latencies: Matrix) -> float:
        """Return by how much the process's deviations must grow to hold what cross-validation left out."""
        count = len(latencies)
        shares = np.empty(count)
        for fold in _folds(count):
            part = type(self)()
            part._length, part._noise = self._length, self._noise
            if (~fold).sum() < 2:
                return 10.0
            part._learn(table.taken(~fold), latencies[~fold], choose=False)
            logs, deviations = part._logs(table.taken(fold))
            shares[fold] = np.abs(np.log(latencies[fold]) - logs) / deviations
        return max(float(np.quantile(shares, 0.9)) / WITHIN_90, 0.1)

    def scaled(self, factor: float) -> Self:
        """Return the same with every price times `factor`."""
        scaled = self.from_parameters(self.parameters())
        scaled._prices = {name: factor * price for name, price in self._prices.items()}
        return scaled

    def _logs(self, table: FeatureTable) -> tuple[Matrix, Matrix]:
        """Return the logarithms of the latencies, and their standard deviations."""
        ordered = FeatureTable(names=self._names, values=table.columns(self._names))
        logs = self._log_sums(ordered)
        if not len(self._weights):
            return logs, np.full(len(logs), np.sqrt(self._signal))
        points = self._standardised(self._points)
        distances = _squared_distances(self._standardised(ordered.columns(self._near)), points)
        across = np.exp(-distances / (2 * self._length**2))
        among = np.exp(-_squared_distances(points, points) / (2 * self._length**2))
        known = np.einsum("np,pn->n", across, cho_solve(cho_factor(_stable(among)), across.T))
        variance = self._signal * (np.clip(1 - known, 0, 1) + self._noise)
        variance += RARE_DEVIATION**2 * self._rare(ordered)
        return logs + across @ self._weights, np.sqrt(np.maximum(variance, LEAST_DEVIATION**2))

    def _rare(self, table: FeatureTable) -> npt.NDArray[np.bool_]:
        """Say of each row whether it is of a kind that was hardly measured."""
        kinds = [name for name in table.names if name.startswith("is_") and name not in self._often]
        return np.asarray(table.columns(kinds).any(1))

    def _log_sums(self, table: FeatureTable) -> Matrix:
        works = work(table)
        total = sum((works[name] * price for name, price in self._prices.items()), np.zeros(len(table)))
        return np.asarray(np.log(np.maximum(total, 1e-6)), np.float64)

    def _standardised(self, values: Matrix) -> Matrix:
        return np.asarray((np.log1p(np.abs(values)) - self._center) / self._spread, np.float64)


def work(table: FeatureTable) -> dict[str, Matrix]:
    """Return kinds of work by name, [rows] each: of blocks worked out from their shape, else the columns.

    Columns of zeros alone are there too, so that the names never depend on the rows.
    """
    column = {name: table.values[:, place] for place, name in enumerate(table.names)}
    if BLOCK_MARK not in column:
        return {**column, "rows": np.ones(len(table))}
    residual = column[BLOCK_MARK]
    before, mid, after = column["input_channels"], column["mid_channels"], column["output_channels"]
    read, written = column["input_size"] ** 2, column["output_size"] ** 2
    kernel, strided = column["kernel"], column["stride"] > 1
    squeezed = 2 * mid * column["squeezed_channels"]
    depthwise = residual * mid * written
    project = residual * mid * after * written
    expand = residual * np.maximum(column["macs"] - depthwise * kernel**2 - project - squeezed, 0)
    widened = residual * (expand > 0) * mid * read
    works = {
        "blocks": np.ones(len(table)),
        # All that multiplies matrices has one price at least, so that a kind never seen costs something.
        "dense.macs": expand + project + (1 - residual) * column["macs"],
        "expand.macs": expand,
        "expanded": widened,
        "depthwise.read": residual * mid * read * strided,
        "input": before * read,
        "output": after * written,
        "weights": column["weights"],
        "squeeze.macs": residual * squeezed,
        "squeezed": residual * mid * written * (squeezed > 0),
        "h_swish": column["h_swish"] * residual * (widened + depthwise),
        "added": column["residual"] * after * written,
    }
    for name, rows in (("1", ~strided), ("2", strided)):
        for power in (0, 1, 2):
            works[f"depthwise.stride_{name}.kernel^{power}"] = depthwise * kernel**power * rows
    for kind in ("convolution", "pointwise", "global_pool", "linear"):
        of_kind = column[f"is_{kind}"]
        works[f"{kind}.macs"] = of_kind * column["macs"]
        works[f"{kind}.activations"] = of_kind * column["activations"]
    return works


def _priced(works: Matrix, latencies: Matrix) -> Matrix:
    """Return non-negative prices [kinds] of work [rows, kinds], of least squared relative error."""
    scale = works.max(axis=0, initial=0.0)
    scale[scale == 0] = 1.0
    prices, _ = nnls(works / scale / latencies[:, None], np.ones(len(latencies)), maxiter=10_000)
    return np.asarray(prices / scale, np.float64)


def _kept(names: Sequence[str], prices: Matrix) -> dict[str, float]:
    return {name: float(price) for name, price in zip(names, prices, strict=True) if price > 0}


def _often(table: FeatureTable) -> tuple[str, ...]:
    """Return the kinds of block of which there are several rows."""
    kinds = [name for name in table.names if name.startswith("is_")]
    counts = (table.columns(kinds) != 0).sum(0)
    return tuple(name for name, count in zip(kinds, counts, strict=True) if count >= FEW)


def _folds(count: int) -> list[npt.NDArray[np.bool_]]:
    folds = min(FOLDS, count)
    return [np.arange(count) % folds == fold for fold in range(folds)]


def _squared_distances(one: Matrix, other: Matrix) -> Matrix:
    products = one @ other.T
    squares = (one**2).sum(1)[:, None] + (other**2).sum(1)[None] - 2 * products
    return np.asarray(np.maximum(squares, 0), np.float64)


def _likeliest(distances: Matrix, left: Matrix) -> tuple[float, float]:
    """Return the length and the noise under which what is left is likeliest."""
    best, chosen = -np.inf, (LENGTHS[-1], NOISES[-1])
    for length in LENGTHS:
        kernel = np.exp(-distances / (2 * length**2))
        for noise in NOISES:
            factor, lower = cho_factor(kernel + noise * np.eye(len(left)))
            solved = cho_solve((factor, lower), left)
            signal = max(float(left @ solved) / len(left), LEAST_DEVIATION**2)
            likelihood = -0.5 * len(left) * np.log(signal) - np.log(np.diag(factor)).sum()
            if likelihood > best:
                best, chosen = float(likelihood), (length, noise)
    return chosen


def _signal(kernel: Matrix, left: Matrix, noise: float) -> float:
    solved = cho_solve(cho_factor(kernel + noise * np.eye(len(left))), left)
    return float(left @ solved) / len(left)


def _telling(kernel: Matrix, count: int) -> list[int]:
    """Return the rows that say most of all others: each the least known after those before it."""
    count = min(count, len(kernel))
    remaining = np.ones(len(kernel))
    factors = np.zeros((count, len(kernel)))
    chosen: list[int] = []
    for place in range(count):
        row = int(remaining.argmax())
        if remaining[row] < 1e-8:
            break
        along = (kernel[row] - factors[:place, row] @ factors[:place]) / np.sqrt(remaining[row])
        factors[place] = along
        remaining = np.maximum(remaining - along**2, 0)
        chosen.append(row)
    return chosen


def _stable(matrix: Matrix) -> Matrix:
    return np.asarray(matrix + 1e-8 * np.trace(matrix) / len(matrix) * np.eye(len(matrix)), np.float64)
