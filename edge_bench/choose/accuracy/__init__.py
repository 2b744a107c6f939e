"""Accuracy predictors, one file each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from edge_bench.choose.costs import BlockTable
from edge_bench.choose.encoding import Encoding, Rows
from edge_bench.errors import NotFittedError

Values = npt.NDArray[np.float64]


class AccuracyPredictor(ABC):
    """Learns how good the subnets of a trained supernet are from some that were measured.

    A predictor belongs to one search space, by its `Encoding`. What it predicts is in the unit of the
    values it was fitted on, for accuracy a fraction. A row's prediction does not depend on which others
    are predicted beside it. State is a plain document, never a pickle.
    """

    def __init__(self) -> None:
        self._encoding: Encoding | None = None

    def fit(self, encoding: Encoding, rows: Rows, values: npt.ArrayLike, *, seed: int = 0) -> Self:
        """Fit on canonical `rows` [n, columns] measured as `values` [n], and return this predictor.

        Equal arguments make equal predictors; `seed` draws whatever a variant leaves to chance.

        Raises:
            ValueError: fewer than 2 networks, not one value for each, or a value that is not finite.
        """
        measured = np.asarray(values, np.float64)
        if len(rows) != len(measured) or len(rows) < 2:
            raise ValueError(f"{len(rows)} networks and {len(measured)} values; at least 2 of each")
        if not np.isfinite(measured).all():
            raise ValueError("a value is not finite")
        self._encoding = encoding
        self.solve(encoding, rows, measured, np.random.default_rng(seed))
        return self

    def predict(self, rows: Rows) -> Values:
        """Return the predicted values [n] of canonical `rows` [n, columns].

        Raises:
            NotFittedError: nothing was fitted or loaded yet, or `rows` are of another space.
        """
        encoding = self.encoding
        if rows.ndim != 2 or rows.shape[1] != encoding.columns:
            raise NotFittedError(
                f"the predictor was fitted for {encoding.columns} columns; rows have shape {rows.shape}"
            )
        return self.evaluate(encoding, rows)

    @property
    def encoding(self) -> Encoding:
        """The encoding of the rows it was fitted on; `NotFittedError` before that."""
        if self._encoding is None:
            raise NotFittedError("this predictor has seen no measurement", hint="edge-bench fit accuracy")
        return self._encoding

    @classmethod
    def from_parameters(cls, encoding: Encoding, parameters: Mapping[str, Any]) -> Self:
        """Return the predictor that `parameters` was read from, for the same search space."""
        loaded = cls()
        loaded._encoding = encoding
        loaded.restore(parameters)
        return loaded

    def contributions(self) -> BlockTable | None:
        """Return what each block adds to the prediction, or None where blocks do not add up.

        Where there is a table it gives what `predict` gives, but for the order of the sum.
        """
        return None

    @abstractmethod
    def solve(self, encoding: Encoding, rows: Rows, values: Values, generator: np.random.Generator) -> None:
        """Find what `parameters` returns, from at least 2 networks and finite values."""

    @abstractmethod
    def evaluate(self, encoding: Encoding, rows: Rows) -> Values:
        """Return the predicted values [n] of `rows` [n, columns]."""

    @abstractmethod
    def parameters(self) -> dict[str, Any]:
        """Return all that `from_parameters` needs beside the encoding, as JSON can say it."""

    @abstractmethod
    def restore(self, parameters: Mapping[str, Any]) -> None:
        """Take over what `parameters` returned."""
