"""A few small perceptrons, averaged: once-for-all's own kind of predictor, and the fastest on many rows."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor

from edge_bench.choose.accuracy import AccuracyPredictor, Values
from edge_bench.choose.encoding import Encoding, Rows
from edge_bench.choose.perceptron import Perceptron

MEMBERS, HIDDEN = 4, 32
# Of squared weights, against standardised inputs and values: some hundreds of networks are few.
PENALTY = 1.0
ITERATIONS = 100


class Perceptrons(AccuracyPredictor):
    """One hidden layer over one-hot choices (Cai et al., 2020, have three wider ones for 16,000 networks).

    Each member starts from other weights. Members of one hidden layer side by side are one wide
    perceptron, so all are evaluated at once.
    """

    def solve(self, encoding: Encoding, rows: Rows, values: Values, generator: np.random.Generator) -> None:
        columns = encoding.one_hot(rows).astype(np.float64)
        center, deviation = columns.mean(axis=0), columns.std(axis=0)
        # A choice that no network differs in says nothing; it must not be scaled up.
        scale = np.where(deviation > 1e-9, 1 / np.maximum(deviation, 1e-9), 0.0)
        mean, spread = float(values.mean()), max(float(values.std()), 1e-12)
        inputs, hidden, outputs, constants = [], [], [], []
        for seed in generator.integers(2**31, size=MEMBERS).tolist():
            member = MLPRegressor(
                hidden_layer_sizes=(HIDDEN,),
                alpha=PENALTY,
                solver="lbfgs",
                max_iter=ITERATIONS,
                random_state=seed,
            )
            with warnings.catch_warnings():
                # The penalty decides where the fit ends; the last digits are not worth more passes.
                warnings.simplefilter("ignore", ConvergenceWarning)
                member.fit((columns - center) * scale, (values - mean) / spread)
            (into, out), (biases, constant) = member.coefs_, member.intercepts_
            inputs.append(scale[:, None] * into)
            hidden.append(biases - center @ inputs[-1])
            outputs.append(spread / MEMBERS * out)
            constants.append(float(constant[0]))
        self._network = Perceptron(
            weights=[np.hstack(inputs), np.vstack(outputs)],
            biases=[np.concatenate(hidden), np.array([mean + spread * float(np.mean(constants))])],
        )

    def evaluate(self, encoding: Encoding, rows: Rows) -> Values:
        return self._network.score(encoding, rows)

    def parameters(self) -> dict[str, Any]:
        return {
            "weights": [_decimals(one) for one in self._network.weights],
            "biases": [_decimals(one) for one in self._network.biases],
        }

    def restore(self, parameters: Mapping[str, Any]) -> None:
        self._network = Perceptron(weights=parameters["weights"], biases=parameters["biases"])


def _decimals(values: np.ndarray[Any, np.dtype[np.float32]]) -> Any:
    """Return float32 values as lists of the shortest decimals that give them back."""
    if values.ndim > 1:
        return [_decimals(one) for one in values]
    return [float(str(one)) for one in values]
