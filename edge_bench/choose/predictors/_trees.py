"""Regression trees as arrays: read from what scikit-learn fitted, kept as JSON, walked in numpy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from edge_bench.choose.predictors import Matrix

Indices = npt.NDArray[np.intp]
# Rows walked at once: what they need stays in the processor's cache.
CHUNK = 1024


@dataclass(frozen=True, kw_only=True)
class Trees:
    """Some trees, their nodes one after another. A leaf leads to itself.

    Attributes:
        roots: [trees], the first node of each.
        feature, threshold, left, right, value: [nodes]. A row goes left where its feature is at most the
            threshold; the value of a leaf is what counts.
        depth: how many steps lead to the deepest leaf.
    """

    roots: Indices
    feature: Indices
    threshold: Matrix
    left: Indices
    right: Indices
    value: Matrix
    depth: int

    @classmethod
    def of(cls, trees: Sequence[tuple[Indices, Matrix, Indices, Indices, Matrix]]) -> Self:
        """Return trees given as feature, threshold, left, right, value each; leaves have left = right."""
        sizes = [len(value) for *_, value in trees]
        roots = np.cumsum([0, *sizes[:-1]], dtype=np.intp)
        feature, threshold, left, right, value = (np.concatenate(one) for one in zip(*trees, strict=True))
        offsets = np.repeat(roots, sizes)
        leaf = left == right
        itself = np.arange(len(value))
        left, right = np.where(leaf, itself, left + offsets), np.where(leaf, itself, right + offsets)
        return cls(
            roots=roots,
            feature=np.where(leaf, 0, feature).astype(np.intp),
            threshold=_rounded(np.where(leaf, 0.0, threshold), 9),
            left=left.astype(np.intp),
            right=right.astype(np.intp),
            value=_rounded(np.where(leaf, value, 0.0), 6),
            depth=_depth(roots, left, right),
        )

    def sums(self, values: Matrix) -> Matrix:
        """Return for features [rows, columns] the sum [rows] of what all trees say."""
        found = np.zeros(len(values))
        columns = values.shape[1]
        for start in range(0, len(values), CHUNK):
            part = np.ascontiguousarray(values[start : start + CHUNK])
            flat, rows = part.ravel(), (np.arange(len(part)) * columns)[:, None]
            node = np.broadcast_to(self.roots, (len(part), len(self.roots)))
            for _ in range(self.depth):
                goes_left = flat.take(self.feature.take(node) + rows) <= self.threshold.take(node)
                node = np.where(goes_left, self.left.take(node), self.right.take(node))
            found[start : start + CHUNK] = self.value.take(node).sum(axis=1)
        return found

    def parameters(self) -> dict[str, Any]:
        """Return all nodes as lists."""
        return {
            "roots": self.roots.tolist(),
            "feature": self.feature.tolist(),
            "threshold": self.threshold.tolist(),
            "left": self.left.tolist(),
            "right": self.right.tolist(),
            "value": self.value.tolist(),
        }

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Self:
        """Return the trees that `parameters` describes; `ValueError` where a node leads nowhere."""
        roots, feature, left, right = (
            np.array(parameters[name], np.intp) for name in ("roots", "feature", "left", "right")
        )
        if not all(((0 <= one) & (one < len(feature))).all() for one in (roots, left, right)):
            raise ValueError("a tree leads to a node that is not there")
        return cls(
            roots=roots,
            feature=feature,
            threshold=np.array(parameters["threshold"], np.float64),
            left=left,
            right=right,
            value=np.array(parameters["value"], np.float64),
            depth=_depth(roots, left, right),
        )


def _rounded(values: Matrix, digits: int) -> Matrix:
    """Return values to some significant digits: a document of a third of the length, and equal answers."""
    return np.array([float(f"{one:.{digits}g}") for one in values.tolist()], np.float64)


def _depth(roots: Indices, left: Indices, right: Indices) -> int:
    depth, level = 0, roots
    while len(level := level[left[level] != right[level]]):
        level = np.concatenate([left[level], right[level]])
        depth += 1
        if depth > len(left):
            raise ValueError("a tree leads back to where it came from")
    return depth
