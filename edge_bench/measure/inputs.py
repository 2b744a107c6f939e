"""Inputs for a model of which nothing but its tensors is known, and integers as real numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_bench.records.artifact import TensorSpec

# Where a file leaves a side open: images of this side, sequences of this length.
FREE_IMAGE_SIDE = 224
FREE_LENGTH = 128


def random_feeds(
    specs: Sequence[TensorSpec], *, batch: int, seed: int = 0
) -> dict[str, npt.NDArray[np.generic]]:
    """Return random inputs by name, the same for the same seed.

    Real numbers are uniform in 0…1; quantized integers take their whole range; other integers are 0
    or 1, which every table of tokens, mask and segment holds.
    """
    generator = np.random.default_rng(seed)
    return {spec.name: _random(spec, batch, generator) for spec in specs}


def concrete_shape(spec: TensorSpec, batch: int) -> tuple[int, ...]:
    """Return the shape to feed: an open first side is the batch, others a usual size."""
    usual = FREE_IMAGE_SIDE if len(spec.shape) == 4 else FREE_LENGTH
    first, *others = spec.shape or (1,)
    sides = (batch if first is None else first, *(usual if side is None else side for side in others))
    return sides if spec.shape else ()


def quantized(real: npt.NDArray[np.float32], spec: TensorSpec) -> npt.NDArray[np.generic]:
    """Return real inputs as the tensor `spec` takes them, any shape."""
    dtype = np.dtype(spec.dtype)
    if spec.scale is None or dtype.kind not in "iu":
        return real.astype(dtype)
    limits = np.iinfo(dtype)
    raw = np.rint(real / np.float32(spec.scale)) + (spec.zero_point or 0)
    return np.asarray(raw.clip(limits.min, limits.max), dtype)


def dequantized(raw: npt.NDArray[Any], spec: TensorSpec) -> npt.NDArray[np.float32]:
    """Return what the tensor `spec` answered as real numbers, any shape."""
    if spec.scale is None or raw.dtype.kind not in "iu":
        return raw.astype(np.float32)
    centred = raw.astype(np.float32) - np.float32(spec.zero_point or 0)
    return centred * np.float32(spec.scale)


def _random(spec: TensorSpec, batch: int, generator: np.random.Generator) -> npt.NDArray[np.generic]:
    shape, dtype = concrete_shape(spec, batch), np.dtype(spec.dtype)
    if dtype.kind == "f":
        return np.asarray(generator.random(shape), dtype)
    if dtype.kind in "iu" and spec.scale is not None and dtype.itemsize == 1:
        limits = np.iinfo(dtype)
        return np.asarray(generator.integers(limits.min, limits.max, shape, endpoint=True), dtype)
    return np.asarray(generator.integers(0, 2, shape), dtype)
