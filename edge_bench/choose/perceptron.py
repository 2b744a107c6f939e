"""A perceptron with ReLU between its layers, evaluated on one-hot architectures as fast as one core can."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edge_bench.choose.encoding import Encoding, Rows

Floats = npt.NDArray[np.float32]

# Activations of so many rows stay in a core's second-level cache; fewer keep the matrix product less
# busy (measured on an EPYC core at 400 hidden units: 128 to 1024 rows differ by less than 5 %).
BATCH = 256


class Perceptron:
    """Fully connected layers with ReLU between them and one output; float32, no torch.

    An architecture's score depends on which others are scored beside it by rounding alone (about 1e-7 of
    it): batches are of one size, but some processors' matrix products sum in an order that differs by row.

    Attributes:
        weights: one [inputs, outputs] a layer; the first has `Encoding.one_hot_width` inputs, the last
            one output.
        biases: one [outputs] a layer.
    """

    def __init__(self, weights: Sequence[npt.ArrayLike], biases: Sequence[npt.ArrayLike]) -> None:
        self.weights: list[Floats] = [np.ascontiguousarray(one, np.float32) for one in weights]
        self.biases: list[Floats] = [np.ascontiguousarray(one, np.float32) for one in biases]
        shapes = [one.shape for one in self.weights]
        follows = all(len(shape) == 2 for shape in shapes) and all(
            before[1] == after[0] for before, after in zip(shapes, shapes[1:], strict=False)
        )
        fits = [one.shape for one in self.biases] == [shape[1:] for shape in shapes]
        if not (shapes and follows and fits and shapes[-1][1] == 1):
            told = f"weights {shapes}, biases {[one.shape for one in self.biases]}"
            raise ValueError(f"these are no layers that follow each other to one output: {told}")
        self._shifts = self._folded()

    def score(self, encoding: Encoding, rows: Rows) -> npt.NDArray[np.float64]:
        """Return the output [n] for canonical `rows` [n, columns]."""
        if self.weights[0].shape[0] != encoding.one_hot_width:
            raise ValueError(
                f"the perceptron has {self.weights[0].shape[0]} inputs; architectures of space "
                f"'{encoding.space.name}' have {encoding.one_hot_width}"
            )
        scores = np.empty(len(rows))
        buffers = [np.empty((BATCH, one.shape[1]), np.float32) for one in self.weights]
        inputs = np.zeros((BATCH, encoding.one_hot_width), np.float32)
        for start in range(0, len(rows), BATCH):
            batch = rows[start : start + BATCH]
            inputs[: len(batch)] = encoding.one_hot(batch)
            scores[start : start + BATCH] = self._forward(inputs, buffers)[: len(batch)]
        return scores

    def _forward(self, values: Floats, buffers: Sequence[Floats]) -> Floats:
        for weights, shift, out in zip(self.weights, self._shifts, buffers, strict=True):
            values = np.matmul(values, weights, out=out)
            if out is not buffers[-1]:
                np.maximum(values, -shift, out=values)
        return values[:, 0] + self._shifts[-1]

    def _folded(self) -> list[Floats]:
        """Return what each layer's outputs lack, so that one pass over them does for bias and ReLU.

        relu(x + c) = max(x, -c) + c: a layer gives max(x, -c), and the c is left to the next layer,
        whose own shift becomes its bias plus c @ weights.
        """
        shifts = [self.biases[0].astype(np.float64)]
        for weights, bias in zip(self.weights[1:], self.biases[1:], strict=True):
            shifts.append(bias + shifts[-1] @ weights.astype(np.float64))
        return [shift.astype(np.float32) for shift in shifts]
